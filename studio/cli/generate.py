"""`studio generate`, `embed`, `set` and `grid`: what a model makes, in this process."""

from pathlib import Path
from typing import Annotated, Any

import typer

from models.messages import Message, Refused
from studio import settings
from studio.backends.base import Backend
from studio.backends.registry import open_backend
from studio.batch.plan import safe_name
from studio.cli.base import Home, Json, Model, NoMetadata, Wildcards, app, leave, option, print_rows, warn
from studio.cli.files import App, Outline, Pack, check_pack, pack_files, picture_of
from studio.doors import request_fields, with_settings
from studio.events import Vector
from studio.export.apps import app_named
from studio.files import ready_folder, write_whole
from studio.foreground import STOPPED, Batch, run
from studio.grid import SETTINGS, Axis, Grid
from studio.house import House
from studio.prompts import given
from studio.requests import ImageRequest, apart, embed_request, image_request, job_id, resolve, resolve_embed
from studio.sense import WITHOUT
from studio.sets import KINDS, make_set
from studio.shelves import Folder, GalleryShelf, PlainFolder, Shelf, holds_another
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
    requests = [image_request(prompt=prompt, **said) for prompt in prompts or [""]]
    backend, planned = _planned(model, requests, home, wildcards)
    batch = _run(backend, planned, out, home, no_metadata)
    _finish(batch.problem, batch.stopped, [row.as_dict() for row in batch.rows], as_json)


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


@app.command("set")
@with_settings(*TOGETHER, annotate=option, before="out")
def set_of(
    kind: Annotated[str, typer.Argument(metavar="KIND", help=f"{', '.join(KINDS)}.")],
    first: Annotated[str, typer.Argument(metavar="SUBJECT|EMOTION|STYLE", help="What is the same in all of them.")],
    words: Annotated[list[str] | None, typer.Argument(metavar="[WORD]...", help="What differs (else six).")] = None,
    out: Out = None,
    pack_title: Pack = "",
    for_app: App = "",
    outline: Outline = False,
    model: Model = "embedded",
    as_json: Json = False,
    home: Home = None,
    **fields: Any,
) -> None:
    """Make pictures that belong together: `emotions cat`, `subjects happy`, `style noto cat dog pizza`."""
    chosen = app_named(for_app) if for_app else None
    if bool(pack_title) != bool(chosen):
        raise Refused("cli.pack_needs_app")
    members = make_set(kind, first, words or (), **fields, model=model)
    if chosen:
        check_pack(pack_title, len(members), chosen)
    backend, requests = _planned(model, [member.request for member in members], home)
    jobs = [job_id(request, backend.digest()) for request in requests]
    labels = {job: member.label for job, member in zip(jobs, members, strict=True)}
    names = {job: f"{n:02}-{safe_name(label) or 'picture'}.png" for n, (job, label) in enumerate(labels.items(), 1)}
    for job, name in names.items():
        if out and holds_another(out / name, job):
            raise Refused("cli.another_picture", path=out / name)
    batch = _run(backend, requests, out, home, names=names)
    rows = [{**row.as_dict(), "label": labels[row.job_id]} for row in batch.rows]
    if chosen and not batch.code:
        labelled = [(Path(row["path"]), row["label"]) for row in rows]
        rows.append(pack_files(labelled, pack_title, chosen, None, outline, False, out or Path()))
    _finish(batch.problem, batch.stopped, rows, as_json)


@app.command()
@with_settings(*TOGETHER, annotate=option, before="out")
def grid(
    context: typer.Context,
    prompt: Annotated[str, typer.Argument(help="English or Chinese.")] = "",
    x: Annotated[str, typer.Option("--x", metavar="SETTING=VALUES", help=f"{', '.join(SETTINGS)}; 1-4, a, b...")] = "",
    y: Annotated[str, typer.Option("--y", metavar="SETTING=VALUES", help="The same, for the rows.")] = "",
    again: Annotated[Path | None, typer.Option(metavar="FILE", help="Make the grid of this sheet again.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="The sheet (else grid-....png here).")] = None,
    model: Model = "embedded",
    as_json: Json = False,
    home: Home = None,
    **fields: Any,
) -> None:
    """Compare two settings on one labelled sheet: `--x "seed=1-4" --y "style=noto, outline"`.

    Values as for A1111's X/Y/Z plot: a list, 1-5, 1-10 (+2), 1-10 [5]; for the prompt, words that it says and what to
    put in their place.
    """
    if again:
        _check_nothing_else(context)
        made = Grid.from_file(again)
    elif x:
        request = image_request(prompt=prompt, **fields, model=model)
        made = Grid(request, Axis.parse(x), Axis.parse(y) if y else None)
    else:
        raise Refused("cli.grid_what")
    _make_sheet(made, out or Path(made.name), home, as_json)


def _check_nothing_else(context: typer.Context) -> None:
    """Refused where an option was typed that `--again` does not look at, even with its default value."""
    typed = [
        one
        for one in context.command.params
        if (source := context.get_parameter_source(one.name or "")) and source.name == "COMMANDLINE"
    ]
    names = [
        one.opts[0] if one.opts[0].startswith("-") else f"the {one.name}" for one in typed if one.name not in AGAIN
    ]
    if names:
        options = Message("cli.and", {"listed": names[:-1], "last": names[-1]}) if len(names) > 1 else names[0]
        raise Refused("cli.grid_again", options=options)


def _make_sheet(made: Grid, target: Path, home: Path | None, as_json: bool) -> None:
    """Draw a grid's pictures into the gallery, model by model, and write the sheet."""
    asked = made.requests()
    if target.is_dir():
        raise Refused("cli.is_folder", path=target, example=target / made.name)
    ready_folder(target.parent, 1)
    paths, problem, stopped = dict[int, str](), "", False
    for model in dict.fromkeys(request.model for request in asked):
        places = [place for place, request in enumerate(asked) if request.model == model]
        backend, requests = _planned(model, [asked[place] for place in places], home)
        batch = _run(backend, requests, None, home)
        found = {row.job_id: row.path for row in batch.rows}
        ids = [job_id(request, backend.digest()) for request in requests]
        paths |= {place: found[job] for place, job in zip(places, ids, strict=True) if job in found}
        problem, stopped = problem or batch.problem, stopped or batch.stopped
    pictures = [paths.get(place) for place in range(len(asked))]
    rows = []
    if paths and not stopped:
        write_whole(target, made.file([None if path is None else picture_of(Path(path)) for path in pictures]))
        axes = {"columns": made.x.labels(), "rows": made.y.labels() if made.y else []}
        rows = [{"path": str(target), **axes, "pictures": pictures}]
    _finish(problem, stopped, rows, as_json)


def _planned(
    model: str, asked: list[ImageRequest], home: Path | None, wildcards: Path | None = None
) -> tuple[Backend, list[ImageRequest]]:
    """The model, and the requests resolved for it; several of them are drawn in one batch shape."""
    backend = open_backend(model)
    can, lists = backend.capabilities(), Lists(wildcards or settings.wildcards(settings.home(home)))
    single = [one for request in asked for one in apart(request, can)]
    drawn = sum((one.variations or one.count) * (one.best_of or 1) for one in single)
    shape = can.shape(drawn) if len(single) > 1 else None
    return backend, [resolve(one.model_copy(update={"shape": shape}), can, lists) for one in single]


def _run(
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


def _finish(problem: str, stopped: bool, rows: list[dict[str, Any]], as_json: bool) -> None:
    """Print what was made, then the problem, and leave with the exit code."""
    if rows or not problem:
        print_rows(rows, as_json, lambda row: row["path"])
    if problem:
        warn(problem)
    leave(STOPPED if stopped else (1 if rows else 2) if problem else 0)
