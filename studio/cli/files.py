"""Commands on picture files: `studio info`, `verify` and `strip` read, prove and remove what they say of themselves;
`export` and `apps` make them ready for chat apps.
"""

import contextlib
import functools
import io
import itertools
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

from models.data.pixels import read_picture
from models.messages import Refused
from studio.backends.embedded import Embedded
from studio.backends.registry import open_backend
from studio.cli.base import Common, command, each, leave
from studio.clips import ClipFile
from studio.export import apps as app_table
from studio.export.drawing import Drawing, both
from studio.export.pack import Sticker, check_pack, pack, pack_name
from studio.export.svg import svg
from studio.fields import PROMPT_LIMIT
from studio.files import ready_folder, why, write_whole
from studio.metadata import encoded, provenance_in, read, stripped
from studio.planner import resolve
from studio.requests import make_request
from studio.verify import verify as verified


@command()
def info(common: Common, files: list[Path]) -> None:
    """Show what clips are, and the settings that pictures and clips hold: the studio's, or those of other programs."""

    def look(file: Path) -> dict[str, Any]:
        clip, found = _clip_facts(file), dict[str, Any]()
        with contextlib.nullcontext() if not clip else contextlib.suppress(Refused):  # of some none are read
            found = read(file)
        if not (found or clip):
            raise Refused("cli.no_settings", path=file)
        return {**clip, **found}

    leave(_print_each(common, files, look, _settings_text)[1])


@command()
def verify(common: Common, files: list[Path], model: str | None = None) -> None:
    """Make pictures again from their settings and compare. Exit code 1 where one of them differs."""
    opener = functools.cache(open_backend)  # loaded once for all files
    rows, code = _print_each(common, files, lambda file: asdict(verified(file, model, opener)), _verdict_text)
    leave(code or int(any(row["result"] == "different" for row in rows)))


@command()
def strip(common: Common, files: list[Path], out: Path | None = None) -> None:
    """Write copies without settings or other metadata, NAME-plain.png beside NAME.png. No pixel changes."""

    def copy(file: Path) -> dict[str, Any]:
        data = stripped(file)
        target = out / file.name if out else file.with_stem(f"{file.stem}-plain")
        if out:
            ready_folder(out, 1)
        try:
            there = target.exists()
            if there and (target.is_dir() or target.read_bytes() != data):
                raise Refused("cli.another_file", path=target)
        except OSError as error:
            raise Refused(why(error, target.parent)) from error
        if not there:
            write_whole(target, data)
        return {"out": str(target)}

    leave(_print_each(common, files, copy, lambda row: str(row["out"]))[1])


def _print_each(
    common: Common, files: list[Path], do: Callable[[Path], dict[str, Any]], text: Callable[[dict[str, Any]], str]
) -> tuple[list[dict[str, Any]], int]:
    """Rows and exit code; printed as an object where one file was asked for, as a list where more were, or as text."""
    rows, code = each(files, do)
    if rows:
        common.print_document(rows[0] if len(files) == 1 else rows, "\n".join(map(text, rows)))
    return rows, code


def _clip_facts(file: Path) -> dict[str, Any]:
    """What a file is that moves; nothing for another one, or where it can't be read."""
    with contextlib.suppress(Refused):
        clip = ClipFile.open(file)
        if clip.count > 1:
            facts = {"format": clip.format, "codec": clip.codec, "width": clip.width, "height": clip.height}
            seconds = round(clip.seconds, 3)
            return {"clip": {**facts, "frames": clip.count, "seconds": seconds, "fps": round(clip.fps, 2)}}
    return {}


def _settings_text(row: dict[str, Any]) -> str:
    parts = [row.get(name) or {} for name in ("request", "other", "clip")]
    flat: Mapping[str, Any] = {**row, **parts[0], "seed": row.get("seed"), **parts[1], **parts[2]}
    shown = {key: value for key, value in flat.items() if key not in ("request", "other", "clip", "vector")}
    return "\n".join(f"{key}: {value}" for key, value in shown.items() if value not in ("", None, [], {}))


def _verdict_text(row: dict[str, Any]) -> str:
    psnr = f" ({row['psnr']} dB)" if row["psnr"] is not None else ""
    why = f": {row['why']}" if row["why"] else ""
    return f"{row['path']}\t{row['result']}{psnr}{why}"


# --- For chat apps ----------------------------------------------------------------------------------------------------


@command()
def apps(common: Common) -> None:
    """List the chat apps and what they take."""
    rows = []
    for one in app_table.APPS.values():
        sizes = ", ".join(f"{width} x {height}" for width, height in one.sizes)
        facts = {"app": one.name, "title": one.title, "zh": one.zh}
        takes = f"{one.kind.upper()} {sizes}, {one.limit:,} bytes"
        count = list(one.counts) or [one.least, one.most]
        rows.append({**facts, "takes": takes, "limit": one.limit, "stickers": count})
    common.print_rows(rows, lambda row: f"{row['app']}\t{row['title']}\t{row['takes']}")


@command()
def export(
    common: Common,
    files: list[Path],
    for_app: str = "",
    outline: bool = False,
    as_svg: bool = False,
    pack_title: str = "",
    cover: Path | None = None,
    out: Path | None = None,
) -> None:
    """Make pictures ready for a chat app, give them a white outline, or trace them as SVG."""
    chosen = app_table.app_named(for_app) if for_app else None
    if (pack_title or cover) and (chosen is None or as_svg or not pack_title):
        raise Refused("cli.pack_without_svg")
    if not (chosen or outline or as_svg):
        raise Refused("cli.export_what")
    if chosen and pack_title:
        check_pack(pack_title, len(files), chosen)
    if out:
        ready_folder(out, len(files))
    if chosen and pack_title:
        row = pack_files(
            [(file, "") for file in files], pack_title, chosen, cover, outline, common.no_metadata, out or Path()
        )
        common.print_rows([row], lambda one: f"{one['path']}\t{one['stickers']} stickers, {one['bytes']} bytes")
        return
    taken: set[Path] = set()

    def free(target: Path) -> Path:
        """A name that no other picture of this command has taken: those of two folders may have the same one."""
        names = itertools.chain([target], (target.with_stem(f"{target.stem}-{n}") for n in itertools.count(2)))
        taken.add(name := next(name for name in names if name not in taken))
        return name

    def make(file: Path) -> dict[str, Any]:
        made = _exported(file, chosen, outline, as_svg, common.no_metadata)
        return {"files": [_write(free((out or file.parent) / name), data) for name, data in made.items()]}

    rows, code = each(files, make)
    common.print_rows(rows, lambda row: "\n".join(f"{one['path']}\t{one['bytes']} bytes" for one in row["files"]))
    leave(code)


def pack_files(
    files: list[tuple[Path, str]],
    title: str,
    chosen: app_table.App,
    cover: Path | None,
    outline: bool,
    plain: bool,
    folder: Path,
) -> dict[str, Any]:
    """Write a pack of (file, label) into `folder` -> its row."""
    stickers = [_sticker(file, chosen, outline, plain, label) for file, label in files]
    front = _sticker(cover, chosen, outline, plain=True) if cover else None
    data = pack(stickers, title, chosen, front)
    return {**_write(folder / pack_name(title), data), "app": chosen.name, "stickers": len(stickers)}


def _sticker(file: Path, chosen: app_table.App, outline: bool, plain: bool, label: str = "") -> Sticker:
    """A picture file as one of a pack, called by its label, else by its prompt, else by its name."""
    said = {} if plain else read(file)
    picture, larger = both(file, picture_of(file), chosen.sizes[0], _enlarged, outline)
    request = said.get("request", {})  # which may hold anything
    prompt, model = (" ".join(str(request.get(name) or "").split())[:PROMPT_LIMIT] for name in ("prompt", "model"))
    facts = {"prompt": prompt, "seed": said.get("seed"), "model": model} if request else {}
    says = None if plain else provenance_in(file)
    return Sticker(picture, label or prompt or file.stem, says=says, facts=facts, larger=larger)


def picture_of(file: Path) -> Image.Image:
    """A picture file's pixels, straight RGBA; Refused where it can't be read."""
    return read_picture(file).convert("RGBA")


@functools.cache
def _embedded() -> Embedded:
    return Embedded()


def _enlarged(file: Path) -> Image.Image | None:
    """The picture as our own model enlarges it, where the model is there."""
    can = _embedded().capabilities()
    if len(can.sizes) == 1:
        return None
    asked = make_request("enlarge", image={"path": str(file)}, size=max(can.sizes))
    return _embedded().enlarged(resolve(asked, can))


def _exported(file: Path, chosen: app_table.App | None, outline: bool, as_svg: bool, plain: bool) -> dict[str, bytes]:
    """The files that a picture becomes, by name."""
    says = None if plain else provenance_in(file)
    picture, larger = both(file, picture_of(file), chosen.sizes[0] if chosen else None, _enlarged, outline)
    made = {f"{file.stem}.svg": svg(picture).encode()} if as_svg else {}
    if chosen:
        drawing = Drawing(picture, larger)
        for size in chosen.sizes:
            data, suffix = app_table.fit(drawing, chosen, size, says)
            more = f"-{size[0]}" if len(chosen.sizes) > 1 else ""
            made[f"{file.stem}-{chosen.name}{more}{suffix}"] = data
    elif outline and not as_svg:
        made[f"{file.stem}-outlined.png"] = encoded(picture, says, "png")
    return made


def _write(target: Path, data: bytes) -> dict[str, Any]:
    write_whole(target, data)
    row: dict[str, Any] = {"path": str(target), "bytes": len(data)}
    if target.suffix in (".png", ".webp"):
        with Image.open(io.BytesIO(data)) as picture:
            row |= {"width": picture.width, "height": picture.height}
    return row
