"""`studio export`, `apps`, `set` and `grid`: pictures for chat apps, and pictures that belong together."""

import functools
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from PIL import Image

from models.data.pixels import read_picture
from models.messages import Refused
from studio import settings
from studio.backends.base import Backend
from studio.backends.embedded import Embedded
from studio.backends.registry import open_backend
from studio.batch.plan import safe_name
from studio.commands import options
from studio.commands.base import Home, Json, Model, app, print_rows
from studio.commands.files import each
from studio.export.apps import APPS, App, app_named, fit
from studio.export.drawing import Drawing, both
from studio.export.pack import Sticker, check_count, pack, pack_name, title_of
from studio.export.svg import svg
from studio.fields import PROMPT_LIMIT
from studio.files import ready_folder, write_whole
from studio.foreground import Batch, run
from studio.grid import SETTINGS, Axis, Grid
from studio.house import House
from studio.metadata import encoded, provenance_in, read
from studio.requests import ImageRequest, enlarge, image_request, job_id, resolve
from studio.sets import KINDS, Member, make_set
from studio.shelves import Folder, GalleryShelf, Shelf, holds_another
from studio.wildcards import Wildcards

For = Annotated[str, typer.Option("--for", metavar="APP", help="`studio apps` lists them.")]
Pack = Annotated[
    str, typer.Option("--pack", metavar="NAME", help="Put them into one zip file for the app, with icons and papers.")
]
Cover = Annotated[Path | None, typer.Option(metavar="FILE", help="The pack's icon (else its first picture).")]
Rim = Annotated[bool, typer.Option("--outline", help="With a white rim.")]
AGAIN = ("again", "out", "as_json", "home")  # what `studio grid --again` looks at
Plain = Annotated[bool, typer.Option("--no-metadata", help="Files that say nothing: no prompt, no settings, no mark.")]


@app.command()
def apps(as_json: Json = False) -> None:
    """List the chat apps and what they take."""
    print_rows(
        [_told(one) for one in APPS.values()], as_json, lambda row: f"{row['app']}\t{row['title']}\t{row['takes']}"
    )


@app.command()
def export(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="PNG, WebP, JPEG or GIF.")],
    for_app: For = "",
    outline: Rim = False,
    as_svg: Annotated[bool, typer.Option("--svg", help="Traced, as SVG.")] = False,
    pack_title: Pack = "",
    cover: Cover = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where to put them (else beside each file).")] = None,
    no_metadata: Plain = False,
    as_json: Json = False,
) -> None:
    """Make pictures ready for a chat app, give them a white rim, or trace them as SVG."""
    chosen = app_named(for_app) if for_app else None
    if (pack_title or cover) and (chosen is None or as_svg or not pack_title):
        raise Refused("a pack is made with --pack NAME and --for APP, without --svg.")
    if not (chosen or outline or as_svg):
        raise Refused("say what to make: --for APP, --svg or --outline; `studio apps` lists the apps.")
    if chosen and pack_title:
        _check_pack(pack_title, len(files), chosen)
    if out:
        ready_folder(out, len(files))
    if chosen and pack_title:
        stickers = [_sticker(file, chosen, outline, no_metadata) for file in files]
        _print_pack(_write_pack(stickers, pack_title, chosen, cover, outline, out or Path()), as_json)
        return
    taken: set[Path] = set()

    def make(file: Path) -> dict[str, Any]:
        made = _made(file, chosen, outline, as_svg, no_metadata)
        return {"files": [_write(_free(out or file.parent, name, taken), data) for name, data in made.items()]}

    rows, code = each(files, make)
    print_rows(rows, as_json, lambda row: "\n".join(f"{one['path']}\t{one['bytes']} bytes" for one in row["files"]))
    raise typer.Exit(code)


@app.command("set")
def set_of(
    kind: Annotated[str, typer.Argument(metavar="KIND", help=f"{', '.join(KINDS)}.")],
    first: Annotated[str, typer.Argument(metavar="SUBJECT|EMOTION|STYLE", help="What is the same in all of them.")],
    words: Annotated[list[str] | None, typer.Argument(metavar="[WORD]...", help="What differs (else six).")] = None,
    style: options.Style = "",
    negative: options.Negative = "",
    seed: Annotated[int | None, typer.Option(help="One for all of them.")] = None,
    steps: options.Steps = None,
    guidance: options.Guidance = None,
    scheduler: options.Scheduler = "",
    size: options.Size = None,
    out: options.Out = None,
    pack_title: Pack = "",
    for_app: For = "",
    outline: Rim = False,
    model: Model = "embedded",
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Make pictures that belong together: `emotions cat`, `subjects happy`, `style noto cat dog pizza`."""
    chosen = app_named(for_app) if for_app else None
    if bool(pack_title) != bool(chosen):
        raise Refused("a pack is made with --pack NAME and --for APP.")
    fields = {"style": style, "negative": negative, "seed": seed, "steps": steps, "guidance": guidance}
    fields |= {"scheduler": scheduler, "size": size, "model": model}
    members = make_set(kind, first, words or (), **fields)
    if chosen:
        _check_pack(pack_title, len(members), chosen)
    backend = open_backend(model)
    can = backend.capabilities()
    shape = {"shape": can.shape(len(members))}
    lists = Wildcards(settings.wildcards(settings.home(home)))
    requests = [resolve(member.request.model_copy(update=shape), can, lists) for member in members]
    labels = {job_id(request, backend.digest()): one.label for request, one in zip(requests, members, strict=True)}
    named = _names(members, labels)
    for job, name in named.items():
        if out and holds_another(out / name, job):
            raise Refused(f"{out / name} is there already and is another picture; give another --out.")
    batch = _run(backend, requests, out, home, named)
    rows = [{**row.as_dict(), "label": labels[row.job_id]} for row in batch.rows]
    packed = None
    if chosen and not batch.code:
        stickers = [_sticker(Path(row["path"]), chosen, outline, False, row["label"]) for row in rows]
        packed = _write_pack(stickers, pack_title, chosen, None, outline, out or Path())
    _finish(batch, rows, packed, as_json)


@app.command()
def grid(
    context: typer.Context,
    prompt: Annotated[str, typer.Argument(help="English or Chinese.")] = "",
    x: Annotated[str, typer.Option("--x", metavar="SETTING=VALUES", help=f"{', '.join(SETTINGS)}; 1-4, a, b...")] = "",
    y: Annotated[str, typer.Option("--y", metavar="SETTING=VALUES", help="The same, for the rows.")] = "",
    again: Annotated[Path | None, typer.Option(metavar="FILE", help="Make the grid of this sheet again.")] = None,
    style: options.Style = "",
    negative: options.Negative = "",
    seed: Annotated[int | None, typer.Option(help="One for all of them, unless it varies.")] = None,
    steps: options.Steps = None,
    guidance: options.Guidance = None,
    scheduler: options.Scheduler = "",
    size: options.Size = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="The sheet (else grid-....png here).")] = None,
    model: Model = "embedded",
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Compare two settings on one labelled sheet: `--x "seed=1-4" --y "style=noto, outline"`.

    Values as for A1111's X/Y/Z plot: a list, 1-5, 1-10 (+2), 1-10 [5]; for the prompt, words that it says and what to
    put in their place.
    """
    if again:
        _as_it_was(context)
        made = Grid.from_file(again)
    else:
        if not x:
            raise Refused('say what to compare, for example: --x "seed=1-4".')
        fields = {"style": style, "negative": negative, "seed": seed, "steps": steps, "guidance": guidance}
        fields |= {"scheduler": scheduler, "size": size, "model": model}
        made = Grid(image_request(prompt=prompt, **fields), Axis.parse(x), Axis.parse(y) if y else None)
    _compare(made, out or Path(made.name), home, as_json)


def _as_it_was(context: typer.Context) -> None:
    """Refused where anything was typed that a grid which is made again does not look at, though it be the usual."""
    typed = [one for one in context.command.params if _is_typed(context, one.name or "")]
    names = [
        one.opts[0] if one.opts[0].startswith("-") else f"the {one.name}" for one in typed if one.name not in AGAIN
    ]
    if names:
        listed = " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)
        raise Refused(f"--again makes the grid of a sheet again as it was; leave {listed} out.")


def _is_typed(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _compare(made: Grid, target: Path, home: Path | None, as_json: bool) -> None:
    """Draw a grid's pictures into the gallery, model by model, and write the sheet."""
    asked = made.requests()
    if target.is_dir():
        raise Refused(f"{target} is a folder; give a file, for example {target / made.name}.")
    ready_folder(target.parent, 1)
    paths, lists = dict[int, str](), Wildcards(settings.wildcards(settings.home(home)))
    problem, stopped = "", False
    for model in dict.fromkeys(request.model for request in asked):
        backend = open_backend(model)
        can = backend.capabilities()
        places = [place for place, request in enumerate(asked) if request.model == model]
        shape = {"shape": can.shape(len(places))}
        requests = [resolve(asked[place].model_copy(update=shape), can, lists) for place in places]
        batch = _run(backend, requests, None, home)
        found = {row.job_id: row.path for row in batch.rows}
        ids = [job_id(request, backend.digest()) for request in requests]
        paths |= {place: found[job] for place, job in zip(places, ids, strict=True) if job in found}
        problem, stopped = problem or batch.problem, stopped or batch.stopped
    batch = Batch([], problem, stopped)
    if not paths or stopped:
        _finish(batch, [], None, as_json)
        return
    write_whole(target, made.file([_opened(paths.get(place)) for place in range(len(asked))]))
    row = {"path": str(target), "columns": made.x.labels(), "rows": made.y.labels() if made.y else []}
    print_rows(
        [{**row, "pictures": [paths.get(place) for place in range(len(asked))]}], as_json, lambda one: one["path"]
    )
    if problem:
        typer.echo(f"studio: {problem}", err=True)
        raise typer.Exit(1)


def _run(
    backend: Backend,
    requests: list[ImageRequest],
    out: Path | None,
    home: Path | None,
    named: dict[str, str] | None = None,
) -> Batch:
    """Do them into a folder, under names by job, or into the gallery."""
    if out is not None:
        shelf: Shelf = Folder(out, (lambda job: [named[job.id]]) if named else None)
        return run(backend, requests, out, shelf)
    gallery = House(settings.home(home)).gallery
    for request in requests:
        gallery.take_out(job_id(request, backend.digest()))
    return run(backend, requests, gallery.folder, GalleryShelf(gallery))


def _names(members: Sequence[Member], labels: dict[str, str]) -> dict[str, str]:
    """A file name for each job: its number and label."""
    return {job: f"{n:02}-{safe_name(label) or 'picture'}.png" for n, (job, label) in enumerate(labels.items(), 1)}


def _opened(path: str | None) -> Image.Image | None:
    return None if path is None else _picture(Path(path))


def _picture(file: Path) -> Image.Image:
    try:
        return read_picture(file).convert("RGBA")
    except ValueError as error:
        raise Refused(f"{error}.") from error


@functools.cache
def _own() -> Embedded:
    return Embedded()


def _larger(file: Path) -> Image.Image | None:
    """The picture as our own model makes it larger, where the model is there."""
    can = _own().capabilities()
    return _own().enlarged(resolve(enlarge(str(file), max(can.sizes)), can)) if len(can.sizes) > 1 else None


def _made(file: Path, chosen: App | None, outline: bool, as_svg: bool, plain: bool) -> dict[str, bytes]:
    """The files that a picture becomes, by name."""
    says = None if plain else provenance_in(file)
    picture, larger = both(file, _picture(file), chosen.sizes[0] if chosen else None, _larger, outline)
    made = {f"{file.stem}.svg": svg(picture).encode()} if as_svg else {}
    if chosen:
        drawing = Drawing(picture, larger)
        for size in chosen.sizes:
            data, suffix = fit(drawing, chosen, size, says)
            more = f"-{size[0]}" if len(chosen.sizes) > 1 else ""
            made[f"{file.stem}-{chosen.name}{more}{suffix}"] = data
    elif outline and not as_svg:
        made[f"{file.stem}-outlined.png"] = encoded([picture], says, "png")
    return made


def _sticker(file: Path, chosen: App, outline: bool, plain: bool, label: str = "") -> Sticker:
    """A picture file as one of a pack, called by its label, else by its prompt, else by its name."""
    said = {} if plain else read(file)
    picture, larger = both(file, _picture(file), chosen.sizes[0], _larger, outline)
    request = said.get("request", {})
    prompt, model = (_folded(request.get(name)) for name in ("prompt", "model"))
    facts = {"prompt": prompt, "seed": said.get("seed"), "model": model}
    label = label or prompt or file.stem
    return Sticker(
        picture,
        label,
        says=None if plain else provenance_in(file),
        facts=facts if request else {},
        larger=larger,
    )


def _folded(value: object) -> str:
    """What a file says, which may be anything, as a line of text."""
    return " ".join(str(value or "").split())[:PROMPT_LIMIT]


def _check_pack(title: str, count: int, chosen: App) -> None:
    """Refused, before any work is done, where no such pack can be made."""
    title_of(title)
    check_count(count, chosen)


def _write_pack(
    stickers: list[Sticker], title: str, chosen: App, cover: Path | None, outline: bool, folder: Path
) -> dict[str, Any]:
    front = _sticker(cover, chosen, outline, plain=True) if cover else None
    data = pack(stickers, title, chosen, front)
    return {**_write(folder / pack_name(title), data), "app": chosen.name, "stickers": len(stickers)}


def _write(target: Path, data: bytes) -> dict[str, Any]:
    write_whole(target, data)
    row: dict[str, Any] = {"path": str(target), "bytes": len(data)}
    if target.suffix in (".png", ".webp"):
        with Image.open(io.BytesIO(data)) as picture:
            row |= {"width": picture.width, "height": picture.height}
    return row


def _free(folder: Path, name: str, taken: set[Path]) -> Path:
    """A name that no other picture of this command has taken: those of two folders may have the same one."""
    target, number = folder / name, 2
    while target in taken:
        target, number = folder / f"{Path(name).stem}-{number}{Path(name).suffix}", number + 1
    taken.add(target)
    return target


def _told(one: App) -> dict[str, Any]:
    sizes = [f"{width} x {height}" for width, height in one.sizes]
    count = list(one.counts) or [one.least, one.most]
    takes = f"{one.kind.upper()} {', '.join(sizes)}, {one.limit:,} bytes"
    return {"app": one.name, "title": one.title, "zh": one.zh, "takes": takes, "limit": one.limit, "stickers": count}


def _print_pack(row: dict[str, Any], as_json: bool) -> None:
    print_rows([row], as_json, lambda one: f"{one['path']}\t{one['stickers']} stickers, {one['bytes']} bytes")


def _finish(batch: Batch, rows: list[dict[str, Any]], packed: dict[str, Any] | None, as_json: bool) -> None:
    """Print what was made and leave with the right code."""
    told = [*rows, *([packed] if packed else [])]
    if told or not batch.problem:
        print_rows(told, as_json, lambda row: row["path"])
    if batch.problem:
        typer.echo(f"studio: {batch.problem}", err=True)
    code = batch.code if batch.rows or not batch.problem else 2
    if code:
        raise typer.Exit(code)
