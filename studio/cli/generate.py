"""`studio generate`, `animate`, `caption`, `embed`, `set` and `grid`: what a model makes, in this process."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from models.messages import Message, Refused
from studio import media, settings
from studio.backends.base import Backend
from studio.backends.base import run as run_request
from studio.backends.registry import open_backend
from studio.batch.plan import safe_name
from studio.cli.base import Home, Json, Model, NoMetadata, Wildcards, app, leave, option, print_rows, warn
from studio.cli.files import App, Outline, Pack, check_pack, pack_files, picture_of
from studio.doors import request_fields, with_settings
from studio.events import Vector
from studio.export.apps import app_named
from studio.files import ready_folder, write_whole
from studio.foreground import STOPPED, Batch, Row, run
from studio.grid import SETTINGS, Axis, Grid
from studio.home import Home as HomeFolder
from studio.metadata import read
from studio.planner import Job, plan, resolve
from studio.prompts import given
from studio.query import SUBTRACTED
from studio.requests import MediaRequest, make_request
from studio.sets import KINDS, make_set
from studio.sinks import BareFolderSink, FolderSink, GallerySink, Sink, file_names, holds_another
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
        typer.Option(metavar="PROMPT|FILE", help=f"Take this meaning away: --mix {SUBTRACTED}:PROMPT. Repeat it."),
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
    parts = [*(mix or ()), *(f"{SUBTRACTED}:{part}" for part in without or ())]
    said = given({**request_fields(fields), "mix": parts, "model": model})
    if not prompts and not (parts or said.get("like") or said.get("image")):
        raise Refused("cli.no_prompt")
    requests = [make_request(prompt=prompt, **said) for prompt in prompts or [""]]
    backend, jobs = _planned(model, requests, home, wildcards)
    batch = _run(backend, jobs, out, home, no_metadata)
    _finish(batch.problem, batch.stopped, [row.as_dict() for row in batch.rows], as_json)


@app.command()
@with_settings(
    *("negative", "style", "count", "seed", "steps", "guidance", "scheduler", "frames", "fps", "loop", "image", "last"),
    annotate=option,
    before="out",
)
def animate(
    prompt: Annotated[str, typer.Argument(help="English or Chinese.")] = "",
    out: Out = None,
    no_metadata: NoMetadata = False,
    model: Model = "embedded",
    as_json: Json = False,
    home: Home = None,
    **fields: Any,
) -> None:
    """Make clips (animated WebP) from words, from a first frame (--image), or from a first and a --last one."""
    request = make_request("clip", prompt=prompt, **given({**request_fields(fields), "model": model}))
    backend, jobs = _planned(model, [request], home)
    batch = _run(backend, jobs, out, home, no_metadata)
    _finish(batch.problem, batch.stopped, [_clip_row(row.as_dict()) for row in batch.rows], as_json)


def _clip_row(row: dict[str, Any]) -> dict[str, Any]:
    clip = media.read(Path(row["path"]).read_bytes(), "image/webp")
    return {**row, "frames": clip.frames, "fps": round(clip.frames / clip.seconds, 2) if clip.seconds else 0}


@app.command()
@with_settings("language", "long", "candidates", "seed", annotate=option, before="out")
def caption(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Picture files.")],
    out: Out = None,
    no_metadata: NoMetadata = False,
    model: Model = "embedded",
    as_json: Json = False,
    home: Home = None,
    **fields: Any,
) -> None:
    """Describe pictures in words."""
    requests = [make_request("caption", image={"path": file}, model=model, **fields) for file in files]
    backend, jobs = _planned(model, requests, home)
    batch = _run(backend, jobs, out, home, no_metadata)
    pictures = {job.id: file for job, file in zip(jobs, files, strict=True)}
    rows = [_caption_row(row, pictures[row.job_id]) for row in batch.rows]
    _finish(batch.problem, batch.stopped, rows, as_json, lambda row: f"{row['path']}\t{row['caption']}")


def _caption_row(row: Row, picture: str) -> dict[str, Any]:
    others = [{"text": text, "score": score} for text, score in read(Path(row.path)).get("candidates", [])]
    return {"path": picture, "caption": row.text, "score": row.score, "candidates": others, "file": row.path}


@app.command()
def embed(
    text: Annotated[list[str] | None, typer.Option(help="Words. Repeat it for more.")] = None,
    image: Annotated[list[str] | None, typer.Option(metavar="FILE", help="A picture. Repeat it for more.")] = None,
    model: Model = "embedded",
    as_json: Json = False,
) -> None:
    """Place words and pictures in the 128-dimensional semantic space."""
    images = tuple({"path": path} for path in image or ())
    asked, backend = make_request("embed", texts=tuple(text or ()), images=images, model=model), open_backend(model)
    request = resolve(asked, backend.capabilities())
    backend.load()
    found = [event for event in run_request(backend, request) if isinstance(event, Vector)]
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
    backend, jobs = _planned(model, [member.request for member in members], home)
    labels = {job.id: member.label for job, member in zip(jobs, members, strict=True)}
    names = {job: f"{n:02}-{safe_name(label) or 'picture'}.png" for n, (job, label) in enumerate(labels.items(), 1)}
    for job, name in names.items():
        if out and holds_another(out / name, job):
            raise Refused("cli.another_picture", path=out / name)
    batch = _run(backend, jobs, out, home, names=names)
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
        request = make_request(prompt=prompt, **fields, model=model)
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
        backend, jobs = _planned(model, [asked[place] for place in places], home)
        batch = _run(backend, jobs, None, home)
        found = {row.job_id: row.path for row in batch.rows}
        paths |= {place: found[job.id] for place, job in zip(places, jobs, strict=True) if job.id in found}
        problem, stopped = problem or batch.problem, stopped or batch.stopped
    pictures = [paths.get(place) for place in range(len(asked))]
    rows = []
    if paths and not stopped:
        write_whole(target, made.file([None if path is None else picture_of(Path(path)) for path in pictures]))
        axes = {"columns": made.x.labels(), "rows": made.y.labels() if made.y else []}
        rows = [{"path": str(target), **axes, "pictures": pictures}]
    _finish(problem, stopped, rows, as_json)


def _planned(
    model: str, asked: Sequence[MediaRequest], home: Path | None, wildcards: Path | None = None
) -> tuple[Backend, list[Job]]:
    """The model, and the jobs planned for it."""
    backend = open_backend(model)
    return backend, plan(asked, backend, Lists(wildcards or settings.wildcards(settings.home(home))))


def _run(
    backend: Backend,
    jobs: list[Job],
    out: Path | None,
    home: Path | None,
    plain: bool = False,
    names: dict[str, str] | None = None,
) -> Batch:
    """Do planned jobs: into the folder `out`, under `names` by job id, or into the gallery."""
    if out is not None:
        named = (lambda job: [names[job.id]]) if names else file_names
        sink: Sink = BareFolderSink(out) if plain else FolderSink(out, named)
        return run(backend, jobs, out, sink)
    if plain:
        raise Refused("cli.plain_needs_out")
    gallery = HomeFolder(settings.home(home)).gallery
    for job in jobs:
        gallery.take_out(job.id)
    return run(backend, jobs, gallery.folder, GallerySink(gallery))


def _finish(
    problem: str,
    stopped: bool,
    rows: list[dict[str, Any]],
    as_json: bool,
    line: Callable[[Any], str] = lambda row: str(row["path"]),
) -> None:
    """Print what was made, then the problem, and leave with the exit code."""
    if rows or not problem:
        print_rows(rows, as_json, line)
    if problem:
        warn(problem)
    leave(STOPPED if stopped else (1 if rows else 2) if problem else 0)
