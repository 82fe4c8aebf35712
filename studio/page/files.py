"""Files that the page fetches: pictures, thumbnails, pictures made ready for other programs, ZIPs."""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath
from typing import IO, Any, cast
from urllib.parse import quote
from zipfile import ZIP_STORED, ZipFile

from fastapi import APIRouter, HTTPException
from fastapi.responses import Response, StreamingResponse
from PIL import Image

from models.messages import Refused
from models.references.credits import Credit, as_file
from studio.api.gallery import FOREVER, file_response, kept_of, small
from studio.api.routing import Rejected
from studio.batch.plan import safe_name
from studio.export.apps import APPS
from studio.export.clips import FORMATS, sheet
from studio.export.drawing import Larger
from studio.export.make import SHEET, Wanted, exported, one_file
from studio.media import MEDIA_TYPES
from studio.metadata.files import credits_in
from studio.page.clips import opened_clip
from studio.page.context import PageContext
from studio.page.language import routes
from studio.page.series_store import Series, SeriesStore

UNCACHED = {"cache-control": "no-cache"}  # what is made of a picture changes with the studio
TYPES = {**MEDIA_TYPES, ".svg": "image/svg+xml", ".zip": "application/zip"}
TYPES |= {one.suffix: one.media_type for one in FORMATS.values()}
LARGE = "large"  # a PNG in the largest size that the model makes
USES = {*APPS, *FORMATS, SHEET, LARGE, "png", "svg"}  # what a picture or clip can be made ready for


def router(context: PageContext) -> APIRouter:
    files, gallery, store = routes(), context.studio.gallery, context.series

    @files.get("/pictures/{name}")
    def picture(name: str) -> Response:
        return file_response(kept_of(gallery, PurePath(name).stem))

    @files.get("/thumbnails/{name}")
    def thumbnail(name: str) -> Response:
        data, kind = small(gallery, kept_of(gallery, PurePath(name).stem))
        return Response(data, media_type=kind, headers=FOREVER)

    @files.get("/clips/{digest}/sheet.png")
    def frames(digest: str) -> Response:
        path = context.file(digest, "clip")
        if path is None:
            raise HTTPException(404, "no such clip")
        return Response(sheet(opened_clip(path))[0], media_type="image/png", headers=FOREVER)

    @files.get("/downloads/{digest}/{use}")
    def download(digest: str, use: str, outline: bool = False) -> Response:
        path = context.file(digest, "image", "clip")
        if use not in USES:
            raise HTTPException(404, "nothing that a picture can be made ready for")
        if path is None:
            raise Rejected(404, "page.picture_damaged")
        data, suffix = made(path, use, outline, context.larger, context.can.enlarges)
        named = attachment(f"{digest[:16]}-{use}{suffix}")
        return Response(data, media_type=TYPES[suffix], headers={**UNCACHED, **named})

    @files.get("/series/{name}/pictures.zip")
    def pictures(name: str) -> StreamingResponse:
        series = series_of(store, name)
        title = PurePath(series.title).stem if series.kind == "batch" else no_slashes(series.title)
        return zip_response(store.files(series), f"{safe_name(title) or series.kind}.zip")

    return files


def made(path: Path, use: str, outline: bool, larger: Larger, size: int = 512) -> tuple[bytes, str]:
    """A picture or clip of the gallery as a file for `use`: one of APPS, a format, "svg" or LARGE (`size` pixels), with
    a white outline or without -> data, file suffix. What apps get, and a PNG, says nothing of itself.
    """
    opened(path)
    large: dict[str, Any] = {LARGE: {"format": "png", "size": size}, "svg": {"svg": True}}
    what = {"app": use} if use in APPS else large.get(use, {"format": use})
    files = exported(path, Wanted(**what, outline=outline, plain=use in APPS or use == "png"), larger)
    name, data = one_file(files if use == SHEET else dict([next(iter(files.items()))]))
    return data, PurePath(name).suffix


def opened(path: Path) -> Image.Image:
    """The picture (RGBA) of a file of the gallery; Refused where it is not there or can't be read."""
    try:
        with Image.open(path) as picture:
            return picture.convert("RGBA")
    except OSError as error:
        raise Refused("page.picture_damaged") from error


def series_of(store: SeriesStore, name: str, kind: str = "") -> Series:
    """A series that an address names; 404 where there is none, or none of that kind."""
    try:
        series = store.get(name)
    except KeyError as error:
        raise HTTPException(404, "no such series") from error
    if kind not in ("", series.kind):
        raise HTTPException(404, "no such series")
    return series


def no_slashes(title: str) -> str:
    """A title whose slashes are no folders."""
    return title.replace("/", " ").replace("\\", " ")


def attachment(name: str) -> dict[str, str]:
    """Headers that have the browser save an answer under a name."""
    return {"content-disposition": f"attachment; filename*=UTF-8''{quote(name)}"}


def zip_response(files: Iterable[tuple[str, Path | bytes]], name: str) -> StreamingResponse:
    """Files, or what is in them, as a ZIP of that name."""
    return StreamingResponse(zipped(files), media_type="application/zip", headers=attachment(name))


class _Pieces(list[bytes]):
    """What was written and not sent yet."""

    def write(self, data: bytes) -> int:
        self.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing waits anywhere else."""


def zipped(files: Iterable[tuple[str, Path | bytes]]) -> Iterator[bytes]:
    """The pieces of a ZIP with each file under its name, made while it is sent; a file that is gone by then is left
    out. Pictures are compressed already: they are stored as they are. The last file says whom they are owed to.
    """
    pieces, owed = _Pieces(), dict[Credit, None]()
    with ZipFile(cast("IO[bytes]", pieces), "w", ZIP_STORED) as archive:
        for name, source in files:
            with contextlib.suppress(OSError):
                data = source if isinstance(source, bytes) else source.read_bytes()
                archive.writestr(name, data)
                owed |= dict.fromkeys(credits_in(data))
            yield b"".join(pieces)
            pieces.clear()
        for name, data in as_file(owed).items():
            archive.writestr(name, data)
    yield b"".join(pieces)
