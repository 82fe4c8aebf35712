"""`studio generate` and `embed`: what a model makes, in this process."""

from pathlib import Path
from typing import Annotated, Any

import typer

from models.messages import Refused
from studio import settings
from studio.backends.base import Backend
from studio.backends.registry import open_backend
from studio.cli.base import Home, Json, Model, NoMetadata, Wildcards, app, leave, option, print_rows, warn
from studio.doors import request_fields, with_settings
from studio.events import Vector
from studio.foreground import STOPPED, Batch, run
from studio.house import House
from studio.prompts import given
from studio.requests import ImageRequest, apart, embed_request, image_request, job_id, resolve, resolve_embed
from studio.sense import WITHOUT
from studio.shelves import Folder, GalleryShelf, PlainFolder, Shelf
from studio.wildcards import Wildcards as Lists

Out = Annotated[Path | None, typer.Option(help="Where to put them (else into the studio's gallery).")]
TOGETHER = ("style", "negative", "seed", "steps", "guidance", "scheduler", "size")  # settings of a set or a grid
AGAIN = ("again", "out", "as_json", "home")  # what `studio grid --again` looks at


@app.command()
@with_settings(
    *("negative", "style", "count", "seed", "steps", "guidance", "scheduler", "fast", "best_of", "size", "like"),
    *("image", "strength", "mask", "expand", "variations"),
    annotate=option,
    before="wildcards",
)
def generate(
    prompts: Annotated[list[str] | None, typer.Argument(metavar="[PROMPT]...", help="English or Chinese.")] = None,
    mix: Annotated[
        list[str] | None,
        typer.Option(metavar="W:PROMPT|FILE", help="A part of a blend; a negative weight takes away. Repeat it."),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(metavar="PROMPT|FILE", help=f"Take this meaning away: --mix {WITHOUT}:PROMPT. Repeat it."),
    ] = None,
    wildcards: Wildcards = None,
    out: Out = None,
    no_metadata: NoMetadata = False,
    model: Model = "embedded",
    as_json: Json = False,
    home: Home = None,
    **fields: Any,
) -> None:
    """Make pictures from words, from another picture's meaning (--like), from a blend of both (--mix), or from a
    picture itself (--image).

    "Like this but not that" is --like FILE --without THAT. With --image words may be left out: then the new picture
    keeps the meaning of the old one.
    """
    parts = [*(mix or ()), *(f"{WITHOUT}:{part}" for part in without or ())]
    said = given({**request_fields(fields), "mix": parts, "model": model})
    if not prompts and not (parts or said.get("like") or said.get("image")):
        raise Refused("cli.no_prompt")
    asked = [image_request(prompt=prompt, **said) for prompt in prompts or [""]]
    backend, requests = planned(model, asked, home, wildcards)
    batch = run_here(backend, requests, out, home, no_metadata)
    finish(batch.problem, batch.stopped, [row.as_dict() for row in batch.rows], as_json)


@app.command()
def embed(
    text: Annotated[list[str] | None, typer.Option(help="Words. Repeat it for more.")] = None,
    image: Annotated[list[str] | None, typer.Option(metavar="FILE", help="A picture. Repeat it for more.")] = None,
    model: Model = "embedded",
    as_json: Json = False,
) -> None:
    """Place words and pictures in the 128-dimensional semantic space."""
    pictures = tuple({"path": path} for path in image or ())
    request = resolve_embed(embed_request(texts=tuple(text or ()), pictures=pictures, model=model))
    backend = open_backend(model)
    backend.capabilities()
    backend.load()
    found = [event for event in backend.run(request) if isinstance(event, Vector)]
    rows = [{"kind": one.kind, "input": one.input, "vector": list(one.vector)} for one in found]
    print_rows(rows, as_json, lambda row: f"{row['input']}\t{' '.join(f'{value:.4f}' for value in row['vector'])}")


def planned(
    model: str, asked: list[ImageRequest], home: Path | None, wildcards: Path | None = None
) -> tuple[Backend, list[ImageRequest]]:
    """The model, and the requests resolved for it; several of them are drawn in one batch shape."""
    backend = open_backend(model)
    can, lists = backend.capabilities(), Lists(wildcards or settings.wildcards(settings.home(home)))
    single = [one for request in asked for one in apart(request, can)]
    drawn = sum((one.variations or one.count) * (one.best_of or 1) for one in single)
    shape = can.shape(drawn) if len(single) > 1 else None
    return backend, [resolve(one.model_copy(update={"shape": shape}), can, lists) for one in single]


def run_here(
    backend: Backend,
    requests: list[ImageRequest],
    out: Path | None,
    home: Path | None,
    plain: bool = False,
    names: dict[str, str] | None = None,
) -> Batch:
    """Do resolved requests: into the folder `out`, under `names` by job id, or into the gallery."""
    if out is not None:
        named = (lambda job: [names[job.id]]) if names else None
        shelf: Shelf = PlainFolder(out) if plain else Folder(out, named)
        return run(backend, requests, out, shelf)
    if plain:
        raise Refused("cli.plain_needs_out")
    gallery = House(settings.home(home)).gallery
    for request in requests:
        gallery.take_out(job_id(request, backend.digest()))
    return run(backend, requests, gallery.folder, GalleryShelf(gallery))


def finish(problem: str, stopped: bool, rows: list[dict[str, Any]], as_json: bool) -> None:
    """Print what was made, then the problem, and leave with the exit code."""
    if rows or not problem:
        print_rows(rows, as_json, lambda row: row["path"])
    if problem:
        warn(problem)
    leave(STOPPED if stopped else (1 if rows else 2) if problem else 0)
