"""`studio generate` and `studio embed`: work that a model does."""

from pathlib import Path
from typing import Annotated

import typer

from models.messages import Refused
from studio import settings
from studio.backends.registry import open_backend
from studio.capabilities import FAST
from studio.cli import options
from studio.cli.base import Home, Json, Model, app, print_rows
from studio.events import Vector
from studio.foreground import Batch, run
from studio.house import House
from studio.prompts import ingredient
from studio.requests import apart, embed_request, image_request, job_id, resolve, resolve_embed
from studio.sense import WITHOUT
from studio.shelves import Folder, GalleryShelf, PlainFolder, Shelf
from studio.wildcards import Wildcards


@app.command()
def generate(
    prompts: options.Prompts = None,
    negative: options.Negative = "",
    style: options.Style = "",
    count: options.Count = 1,
    seed: options.Seed = None,
    steps: options.Steps = None,
    guidance: options.Guidance = None,
    scheduler: options.Scheduler = "",
    fast: options.Fast = False,
    best_of: options.BestOf = None,
    size: options.Size = None,
    like: options.Like = None,
    mix: options.Mix = None,
    without: options.Without = None,
    image: options.Start = None,
    strength: options.Strength = None,
    mask: options.Mask = None,
    expand: options.Expand = None,
    variations: options.Variations = None,
    wildcards: options.Lists = None,
    out: options.Out = None,
    no_metadata: options.NoMetadata = False,
    model: Model = "embedded",
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Make pictures from words, from another picture's sense (--like), from a blend of both (--mix), or from a
    picture itself (--image).

    "Like this but not that" is --like FILE --without THAT. With --image words may be left out: then it stays of its
    own sense.
    """
    parts = [*(mix or ()), *(f"{WITHOUT}:{part}" for part in without or ())]
    common = {"negative": negative, "style": style, "count": count, "seed": seed, "steps": steps, "guidance": guidance}
    common |= {"scheduler": _scheduler(scheduler, fast), "model": model}
    common["mix"] = tuple(ingredient(part) for part in parts)
    common |= {"like": _file(like), "image": _file(image), "mask": _file(mask), "strength": strength}
    common |= {"expand": expand, "variations": variations, "size": size, "best_of": best_of}
    backend = open_backend(model)
    can, lists = backend.capabilities(), Wildcards(wildcards or settings.wildcards(settings.home(home)))
    given = bool(parts) or like is not None or image is not None
    asked = [image_request(prompt=prompt, **common) for prompt in _prompts(prompts, given)]
    single = [one for request in asked for one in apart(request, can)]
    shape = (
        can.shape(sum((one.variations or one.count) * (one.best_of or 1) for one in single))
        if len(single) > 1
        else None
    )
    requests = [resolve(one.model_copy(update={"shape": shape}), can, lists) for one in single]
    folder, shelf = _place(out, no_metadata, home)
    if isinstance(shelf, GalleryShelf):
        for request in requests:
            shelf.gallery.take_out(job_id(request, backend.digest()))
    _finish(run(backend, requests, folder, shelf), as_json)


@app.command()
def embed(
    text: Annotated[list[str] | None, typer.Option(help="Words. Repeat it for more.")] = None,
    image: Annotated[list[str] | None, typer.Option(metavar="FILE", help="A picture. Repeat it for more.")] = None,
    model: Model = "embedded",
    as_json: Json = False,
) -> None:
    """Place words and pictures in the 128-dimensional semantic space."""
    request = resolve_embed(
        embed_request(texts=tuple(text or ()), pictures=tuple({"path": path} for path in image or ()), model=model)
    )
    backend = open_backend(model)
    backend.capabilities()
    backend.load()
    rows = [
        {"kind": event.kind, "input": event.input, "vector": list(event.vector)}
        for event in backend.run(request)
        if isinstance(event, Vector)
    ]
    print_rows(rows, as_json, lambda row: f"{row['input']}\t{' '.join(f'{value:.4f}' for value in row['vector'])}")


def _place(out: Path | None, plain: bool, home: Path | None) -> tuple[Path, Shelf]:
    """The folder that pictures go to, and how they lie in it."""
    if out is not None:
        return out, PlainFolder(out) if plain else Folder(out)
    if plain:
        raise Refused("the gallery holds no pictures without metadata; say where they are to go with --out.")
    gallery = House(settings.home(home)).gallery
    return gallery.folder, GalleryShelf(gallery)


def _scheduler(named: str, fast: bool) -> str:
    if fast and named not in ("", FAST):
        raise Refused(f"--fast and --scheduler {named} exclude each other; give one of them.")
    return FAST if fast else named


def _prompts(prompts: list[str] | None, given: bool) -> list[str]:
    """With a picture or a blend given, words may be left out."""
    if not prompts and not given:
        raise Refused('say what to make, for example: studio generate "a smiling cat".')
    return prompts or [""]


def _file(path: str | None) -> dict[str, str] | None:
    return None if path is None else {"path": path}


def _finish(batch: Batch, as_json: bool) -> None:
    """Print what was made and leave with the right code."""
    rows = [row.as_dict() for row in batch.rows]
    if rows or not batch.problem:
        print_rows(rows, as_json, lambda row: row["path"])
    if batch.problem:
        typer.echo(f"studio: {batch.problem}", err=True)
    if batch.code:
        raise typer.Exit(batch.code)
