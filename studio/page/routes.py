"""Routes of the page: news of the studio, captions on request, exports and ZIPs."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePath
from typing import IO, Annotated, Any, cast
from urllib.parse import quote
from zipfile import ZIP_STORED, ZipFile

from anyio import to_thread
from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import Response, StreamingResponse
from PIL import Image
from pydantic import BaseModel, Field

from models.messages import Refused
from models.prompts.completion import complete
from models.prompts.weighting import plain
from models.references.credits import Credit, as_file
from studio.api.gallery import FOREVER, file_response
from studio.api.routing import Rejected
from studio.batch.plan import safe_name
from studio.clips import picture_of
from studio.export.apps import APPS
from studio.export.clips import FORMATS, Clip, sheet
from studio.export.drawing import Larger
from studio.export.make import SHEET, Wanted, bundled, exported
from studio.gallery import GalleryItem
from studio.media import media_types
from studio.metadata.files import credits_in
from studio.page.context import PageContext
from studio.page.html import new_router, reader, render, text
from studio.page.making import list_form
from studio.page.series import Series, SeriesStore
from studio.planner import resolve
from studio.ratings import Ratings
from studio.requests import has_words, make_request

Text = Annotated[str, Query(max_length=2_000)]
Jobs = Annotated[Sequence[str], Query()]
UNCACHED = {"cache-control": "no-cache"}  # exports change with the version of the studio
TYPES = {**media_types(), ".svg": "image/svg+xml", ".zip": "application/zip"}
TYPES |= {one.suffix: one.media_type for one in FORMATS.values()}
LARGE = "large"  # a PNG in the largest size that the model makes
USES = {*APPS, *FORMATS, SHEET, LARGE, "png", "svg"}  # apps and formats of a download


class ListText(BaseModel):
    """The lines of a list of wildcards."""

    text: str = Field(max_length=100_000)


def router(context: PageContext) -> APIRouter:
    router, store, ratings = new_router(), context.series, Ratings(context.studio.store)

    @router.get("/news")
    def news(job: Jobs = ()) -> dict[str, Any]:
        return context.poll.news(job)

    @router.get("/stage/{job}")
    def stage(job: str) -> dict[str, str]:
        return context.poll.shown(job)

    @router.get("/read")
    def chips(text: Text, negative: Text = "", fixed: bool = False) -> dict[str, str]:
        """The chips of a prompt and a negative prompt, as HTML; `fixed` ones have no buttons."""
        reading = context.read(text, negative=negative)[0] if has_words(text) else None
        return {"html": render("chips.chips", reading, fixed) if reading else ""}

    @router.get("/complete")
    def completion(text: Text) -> list[str]:
        """The prompt with its last word completed; empty if there is no completion."""
        return complete(text, count=1)

    @router.get("/lists/{name:path}")
    def list_of(name: str) -> dict[str, str]:
        """The form of a list of wildcards, as HTML."""
        return {"html": list_form(context.wildcards, name)}

    @router.post("/lists/{name:path}")
    def save_list(name: str, body: ListText) -> dict[str, str]:
        """Write a list. Refused for a bad name, a bad line, or no line."""
        context.wildcards.write(name, body.text)
        return {"sentence": text("lists.saved", name=name)}

    @router.post("/captions/{digest}")
    async def caption(digest: str, again: bool = False) -> dict[str, str]:
        """The caption of a picture or clip, as HTML; `again` writes a new one."""
        try:
            item = context.studio.gallery.get(digest)
            if (again or not item.caption) and item.medium.visual:
                languages = context.can.languages
                language = reader() if reader() in languages else next(iter(languages), "en")
                item = await to_thread.run_sync(describe, context, item, language)
        except KeyError as error:
            raise Rejected(404, "page.picture_damaged") from error
        return {"html": render("caption.answer", item, context.can.styles)}

    @router.get("/clips/{digest}/sheet.png")
    def frames(digest: str) -> Response:
        path = context.file(digest, "clip")
        if path is None:
            raise HTTPException(404, "no such clip")
        return Response(sheet(open_clip(path))[0], media_type="image/png", headers=FOREVER)

    @router.get("/downloads/{digest}/file")
    def stored_file(digest: str) -> Response:
        """The file itself, byte for byte."""
        try:
            response = file_response(context.studio.gallery.get(digest))
        except KeyError as error:
            raise Rejected(404, "page.picture_damaged") from error
        ratings.download([digest])
        return response

    @router.get("/downloads/{digest}/{use}")
    def download(digest: str, use: str, outline: bool = False, shown: bool = False) -> Response:
        """A picture made ready for `use`; one that is only `shown` does not count as downloaded."""
        path = context.file(digest, "image", "clip")
        if use not in USES:
            raise HTTPException(404, "nothing that a picture can be made ready for")
        if path is None:
            raise Rejected(404, "page.picture_damaged")
        data, suffix = export_file(path, use, outline, context.larger, context.can.enlarges)
        if not shown:
            ratings.download([digest])
        named = attachment(f"{digest[:16]}-{use}{suffix}")
        return Response(data, media_type=TYPES[suffix], headers={**UNCACHED, **named})

    @router.get("/series/{name}/pictures.zip")
    def pictures(name: str) -> StreamingResponse:
        series = series_of(store, name)
        title = PurePath(series.title).stem if series.kind == "batch" else no_slashes(series.title)
        return zip_response(store.files(series), f"{safe_name(title) or series.kind}.zip")

    return router


def export_file(path: Path, use: str, outline: bool, larger: Larger, size: int = 512) -> tuple[bytes, str]:
    """Export a picture or clip for `use` (an app of APPS, a format, "svg", or LARGE with `size` pixels), optionally
    with a white outline -> data, file suffix. Files for apps and PNGs hold no metadata.
    """
    opened(path)
    large: dict[str, Any] = {LARGE: {"format": "png", "size": size}, "svg": {"svg": True}}
    what = {"app": use} if use in APPS else large.get(use, {"format": use})
    files = exported(path, Wanted(**what, outline=outline, plain=use in APPS or use == "png"), larger)
    name, data = bundled(files if use == SHEET else dict([next(iter(files.items()))]))
    return data, PurePath(name).suffix


def opened(path: Path) -> Image.Image:
    """A picture file of the gallery, of a clip its first frame, as RGBA; Refused if it is missing or damaged."""
    try:
        return picture_of(path).convert("RGBA")
    except Refused as refusal:
        raise Refused("page.picture_damaged") from refusal


def open_clip(path: Path) -> Clip:
    """A clip file of the gallery; Refused if it is missing or damaged."""
    try:
        return Clip.read(path)
    except Refused as refusal:
        raise Refused("page.picture_damaged") from refusal


def describe(context: PageContext, item: GalleryItem, language: str) -> GalleryItem:
    """Write and store the caption of a picture. Waits for the worker; Refused if the model can't.

    The round trip is stored with it: the cosine between the caption and the prompt of the picture.
    """
    studio, model = context.studio, context.model
    request = make_request("caption", image={"path": str(item.path)}, language=language, model=model)
    answer = studio.content(resolve(request, context.can))
    caption, prompt, cosine = answer.data.decode(), plain(item.prompt).strip(), None
    if answer.known and prompt:
        before, after = studio.embed([prompt, caption], model=model)
        cosine = sum(a * b for a, b in zip(before.vector, after.vector, strict=True))
    sure = answer.score if answer.known else 0.0
    studio.gallery.mark([item.sha256], caption=caption, sure=sure, round_trip=cosine)
    return studio.gallery.get(item.sha256)


def series_of(store: SeriesStore, name: str, kind: str = "") -> Series:
    """The series of a URL; 404 if there is none, or none of that kind."""
    try:
        series = store.get(name)
    except KeyError as error:
        raise HTTPException(404, "no such series") from error
    if kind not in ("", series.kind):
        raise HTTPException(404, "no such series")
    return series


def no_slashes(title: str) -> str:
    """A title without slashes."""
    return title.replace("/", " ").replace("\\", " ")


def attachment(name: str) -> dict[str, str]:
    """Headers of a download with a file name."""
    return {"content-disposition": f"attachment; filename*=UTF-8''{quote(name)}"}


def zip_response(files: Iterable[tuple[str, Path | bytes]], name: str) -> StreamingResponse:
    """Files (paths or bytes) as a ZIP of that name."""
    return StreamingResponse(zipped(files), media_type="application/zip", headers=attachment(name))


class _Pieces(list[bytes]):
    """A write-only file that buffers what was not sent yet."""

    def write(self, data: bytes) -> int:
        self.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Does nothing: there is no other buffer."""


def zipped(files: Iterable[tuple[str, Path | bytes]]) -> Iterator[bytes]:
    """Stream a ZIP, without compression since pictures are compressed. Missing files are left out. The last file lists
    the credits.
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
