"""Commands on picture files: `studio info`, `verify` and `strip` read, prove and remove what they say of themselves;
`frames` takes clips apart; `export` makes them ready for chat apps.
"""

import contextlib
import functools
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
from PIL import Image

from models.messages import Refused
from models.references.credits import as_file, lines
from studio.backends.base import open_backend
from studio.backends.embedded import Embedded
from studio.cli.base import FILE, Common, command, each, leave, options_of
from studio.clips import ClipFile, moves, video_format
from studio.export.apps import APPS, app_named
from studio.export.make import Wanted, exported, sticker_of, stills, wanted_fields
from studio.export.pack import check_pack, pack, pack_name
from studio.files import ready_folder, why, write_whole
from studio.metadata.files import credits_in, credits_of_record, read, stripped
from studio.planner import resolve
from studio.requests import make_request
from studio.run import plain_name
from studio.verify import verify as verified

files_argument = click.argument(
    "files", nargs=-1, required=True, type=FILE, metavar="FILE...", help="PNG, WebP, JPEG, AVIF or GIF."
)
pack_option = click.option(
    "pack_title",
    "--pack",
    default="",
    metavar="NAME",
    help="Put them into one zip file for the app, with icons and licences.",
)
for_app_option = click.option("for_app", "--for", default="", metavar="APP", help=f"One of {', '.join(APPS)}.")
outline_option = options_of(wanted_fields(), "outline")
TELLING = re.compile(r"[0-9a-f]{16}-\d+-\d+")  # as `studio.run.file_names`


@command("as_json")
@files_argument
def info(common: Common, files: Sequence[Path]) -> None:
    """Show what clips are, and the settings that pictures and clips hold: the studio's, or those of other programs."""

    def look(file: Path) -> dict[str, Any]:
        clip, record = _clip_facts(file), dict[str, Any]()
        with contextlib.nullcontext() if not clip else contextlib.suppress(Refused):  # of some clips none are read
            record = read(file)
        if not (record or clip):
            if video_format(file):  # why it is no clip
                ClipFile.open(file)
            raise Refused("cli.no_settings", path=file)
        return {**clip, **record}

    leave(_print_each(common, files, look, _settings_text)[1])


@command("as_json")
@files_argument
@click.option("--model", help="The model to make them with (else the one they name).")
def verify(common: Common, files: Sequence[Path], model: str | None) -> None:
    """Make pictures again from their settings and compare. Exit code 1 where one of them differs."""
    opener = functools.cache(open_backend)  # loaded once for all files
    rows, code = _print_each(common, files, lambda file: asdict(verified(file, model, opener)), _verdict_text)
    leave(code or int(any(row["result"] == "different" for row in rows)))


@command("as_json")
@files_argument
@click.option("--out", type=FILE, metavar="DIR", help="Where to put them (else beside each file).")
def strip(common: Common, files: Sequence[Path], out: Path | None) -> None:
    """Write copies without settings or other metadata, NAME-plain.png beside NAME.png. No pixel changes."""

    def copy(file: Path) -> dict[str, Any]:
        data = stripped(file)
        names_job = TELLING.fullmatch(file.stem)  # a guess at the prompt could be checked against the job's id
        stem = plain_name(data) if names_job else file.stem if out else f"{file.stem}-plain"
        target = (out or file.parent) / f"{stem}{file.suffix}"
        if out:
            ready_folder(out, 1)
        return {"out": _write_new(target, data)}

    leave(_print_each(common, files, copy, lambda row: str(row["out"]))[1])


@command("no_metadata", "as_json")
@click.argument("file", type=FILE, help="GIF, WebP, APNG, AVIF, WebM, MKV, MP4 or MOV.")
@click.option("--every", type=int, metavar="N", help="One frame in so many.")
@click.option("--at", type=float, metavar="SECONDS", help="The frame that is shown then.")
@click.option("--number", type=int, metavar="N", help="So many, evenly spread.")
@click.option("--out", type=FILE, metavar="DIR", help="Where to put them (else beside the file).")
def frames(
    common: Common, file: Path, every: int | None, at: float | None, number: int | None, out: Path | None
) -> None:
    """Write the frames of a clip as pictures, NAME-0001.png for the first one: all, or those that an option chooses.

    The frames of a clip of the studio keep its settings, and their numbers.
    """
    clip = ClipFile.open(file)
    chosen, folder = clip.choice(every, at, number), out or file.parent
    ready_folder(folder, len(chosen))
    rows = []
    for frame, data in stills(clip, chosen, common.no_metadata):
        path = _write_new(folder / f"{file.stem}-{frame.number:04}.png", data)
        rows.append({"path": path, "frame": frame.number, "time": round(frame.time, 3)})
    common.print_rows(rows, lambda row: str(row["path"]))


def _write_new(target: Path, data: bytes) -> str:
    """Write a file, unless it is there already; Refused where another one is."""
    try:
        there = target.exists()
        if there and (target.is_dir() or target.read_bytes() != data):
            raise Refused("cli.another_file", path=target)
    except OSError as error:
        raise Refused(why(error, target.parent)) from error
    if not there:
        write_whole(target, data)
    return str(target)


def _print_each(
    common: Common, files: Sequence[Path], do: Callable[[Path], dict[str, Any]], text: Callable[[dict[str, Any]], str]
) -> tuple[list[dict[str, Any]], int]:
    """Rows and exit code; printed as text, or as an object for one file and a list for more."""
    rows, code = each(files, do)
    if rows:
        common.print_document(rows[0] if len(files) == 1 else rows, "\n".join(map(text, rows)))
    return rows, code


def _clip_facts(file: Path) -> dict[str, Any]:
    """Format and sizes of a clip; nothing for another file, or where it can't be read."""
    with contextlib.suppress(Refused):
        clip = ClipFile.open(file)
        if clip.count > 1:
            facts = {"format": clip.format, "codec": clip.codec, "width": clip.width, "height": clip.height}
            seconds = round(clip.seconds, 3)
            return {"clip": {**facts, "frames": clip.count, "seconds": seconds, "fps": round(clip.fps, 2)}}
    return {}


def _settings_text(row: dict[str, Any]) -> str:
    parts = [row.get(name) or {} for name in ("request", "other", "clip")]
    origin = {"seed": row.get("seed"), "credits": lines(credits_of_record(row))}
    flat: Mapping[str, Any] = {**row, **parts[0], **origin, **parts[1], **parts[2]}
    shown = {key: value for key, value in flat.items() if key not in ("request", "other", "clip", "vector")}
    return "\n".join(f"{key}: {value}" for key, value in shown.items() if value not in ("", None, [], {}))


def _verdict_text(row: dict[str, Any]) -> str:
    psnr = f" ({row['psnr']} dB)" if row["psnr"] is not None else ""
    why = f": {row['why']}" if row["why"] else ""
    return f"{row['path']}\t{row['result']}{psnr}{why}"


# --- For chat apps ----------------------------------------------------------------------------------------------------


@command("no_metadata", "as_json")
@click.argument(
    "files",
    nargs=-1,
    required=True,
    type=FILE,
    metavar="FILE...",
    help="PNG, WebP, JPEG or GIF; those that move as they are.",
)
@for_app_option
@options_of(wanted_fields(), "format", "size", "fps", "outline", "matte", "ground", "svg")
@pack_option
@click.option("--cover", type=FILE, metavar="FILE", help="The pack's icon (else its first picture).")
@click.option("--out", type=FILE, metavar="DIR", help="Where to put them (else beside each file).")
def export(
    common: Common,
    files: Sequence[Path],
    for_app: str,
    pack_title: str,
    cover: Path | None,
    out: Path | None,
    **fields: Any,
) -> None:
    """Make pictures and clips ready for a chat app, or for a web page: in another format or size, with a white outline,
    traced as SVG.
    """
    if (pack_title or cover) and not (for_app and pack_title and not fields["svg"]):
        raise Refused("cli.pack_without_svg")
    wanted = Wanted(for_app, **fields, plain=common.no_metadata)
    if pack_title:
        check_pack(pack_title, len(files), app_named(for_app), sum(moves(file) for file in files if file.is_file()))
    if out:
        ready_folder(out, len(files))
    if pack_title:
        row = pack_files([(file, "") for file in files], pack_title, wanted, cover, out or Path())
        common.print_rows([row], lambda row: f"{row['path']}\t{row['stickers']} stickers, {row['bytes']} bytes")
        return
    taken: set[Path] = set()

    def free(target: Path) -> Path:
        """A name that no other picture of this command has: those of two folders may have equal names."""
        names = itertools.chain([target], (target.with_stem(f"{target.stem}-{n}") for n in itertools.count(2)))
        taken.add(name := next(name for name in names if name not in taken))
        return name

    def make(file: Path) -> dict[str, Any]:
        contents = exported(file, wanted, _enlarged)
        return {"files": [_write(free((out or file.parent) / name), data) for name, data in contents.items()]}

    rows, code = each(files, make)
    if out:  # with the credits of what was there before
        owed = itertools.chain.from_iterable(map(credits_in, (*files, *sorted(out.iterdir()))))
        for name, data in as_file(owed).items():
            write_whole(out / name, data)
    common.print_rows(rows, lambda row: "\n".join(f"{file['path']}\t{file['bytes']} bytes" for file in row["files"]))
    leave(code)


def pack_files(
    files: list[tuple[Path, str]], title: str, wanted: Wanted, cover: Path | None, folder: Path
) -> dict[str, Any]:
    """Write a pack of (file, label) into `folder` -> its row."""
    app = wanted.for_app
    assert app
    stickers = [sticker_of(file, wanted, _enlarged, label) for file, label in files]
    front = sticker_of(cover, replace(wanted, plain=True), _enlarged) if cover else None
    data = pack(stickers, title, app, front)
    return {**_write(folder / pack_name(title), data), "app": app.name, "stickers": len(stickers)}


@functools.cache
def _embedded() -> Embedded:
    return Embedded()


def _enlarged(file: Path) -> Image.Image | None:
    """The picture as our own model enlarges it, where the model is there."""
    can = _embedded().capabilities()
    if not can.enlarges:
        return None
    request = make_request("enlarge", image=file, size=can.enlarges)
    return _embedded().enlarged(resolve(request, can))


def _write(target: Path, data: bytes) -> dict[str, Any]:
    """Write a file -> its row, with what it holds as it is read back."""
    write_whole(target, data)
    row: dict[str, Any] = {"path": str(target), "bytes": len(data)}
    if target.suffix not in (".svg", ".json", ".zip"):
        clip = ClipFile.open(target)
        row |= {"width": clip.width, "height": clip.height}
        row |= {"frames": clip.count, "seconds": round(clip.seconds, 3)} if clip.count > 1 else {}
    return row
