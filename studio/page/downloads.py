"""What a series of jobs can be fetched as: its pictures, a pack for a chat app, a contact sheet."""

from pathlib import Path, PurePath
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response, StreamingResponse
from PIL import Image

from models.messages import Refused
from studio.batch.plan import safe_name
from studio.export.apps import APPS, App
from studio.export.drawing import Larger, both
from studio.export.pack import Sticker, pack, pack_name
from studio.gallery import Kept
from studio.metadata import provenance_in
from studio.page.compare.grids import grid_of
from studio.page.frame import Frame
from studio.page.refusals import in_language
from studio.page.series.store import AllSeries, Series
from studio.page.words import language
from studio.page.zipped import zipped

GONE = "a picture is gone or damaged; `studio doctor` says which."


def router(frame: Frame) -> APIRouter:
    """The routes."""
    routes, every = APIRouter(include_in_schema=False), AllSeries(frame.studio)

    def found(name: str) -> Series:
        try:
            return every.get(name)
        except KeyError as error:
            raise HTTPException(404, "no such series") from error

    @routes.get("/series/{name}/pictures.zip")
    def pictures(name: str) -> StreamingResponse:
        series = found(name)
        title = PurePath(series.title).stem if series.kind == "batch" else flat(series.title)
        stem = safe_name(title) or series.kind
        pieces = zipped(every.files(series))
        return StreamingResponse(pieces, media_type="application/zip", headers=attached(f"{stem}.zip"))

    @routes.get("/series/{name}/pack/{app}.zip")
    def packed(request: Request, name: str, app: str) -> Response:
        series = found(name)
        if app not in APPS:
            raise HTTPException(404, "no such app")
        try:
            data, title = packed_for(every, series, app, frame.larger), pack_name(flat(series.title))
        except (Refused, OSError) as problem:
            raise HTTPException(422, in_language(str(problem), language(request.headers))) from problem
        return Response(data, media_type="application/zip", headers=attached(title))

    @routes.get("/series/{name}/sheet.png")
    def sheet(name: str) -> Response:
        series = found(name)
        if series.kind != "compare":
            raise HTTPException(404, "no such sheet")
        grid, kept = grid_of(series), {one.job: one for one in every.pictures(series)}
        places = [_place(kept.get(one.id)) for one in every.members(series)]
        return Response(grid.file(places), media_type="image/png", headers=attached(grid.name))

    return routes


def packed_for(every: AllSeries, series: Series, app: str, larger: Larger) -> bytes:
    """A set as a pack for an app of APPS; Refused where the app takes no such pack, or the set is not all there."""
    kept, rim = {one.job: one for one in every.pictures(series)}, bool(series.about.get("outline"))
    members = every.members(series)
    if any(one.id not in kept for one in members):
        raise Refused("not all pictures of the set are there; wait for them, or go on with the rest.")
    stickers = [_sticker(kept[one.id], one.label, rim, APPS[app], larger) for one in members]
    return pack(stickers, series.title, APPS[app], stickers[int(series.about.get("cover", 0))])


def _sticker(kept: Kept, label: str, rim: bool, app: App, larger: Larger) -> Sticker:
    picture, more = both(kept.path, opened(kept.path), app.sizes[0], larger, rim)
    facts = {"prompt": kept.prompt, "seed": kept.seed, "model": kept.model}
    return Sticker(picture, label, says=provenance_in(kept.path), facts=facts, larger=more)


def opened(path: Path) -> Image.Image:
    """The picture (RGBA) of a file of the gallery; Refused where it is not there or can't be read."""
    try:
        with Image.open(path) as picture:
            return picture.convert("RGBA")
    except OSError as error:
        raise Refused(GONE) from error


def _place(kept: Kept | None) -> Image.Image | None:
    try:
        return opened(kept.path) if kept else None
    except Refused:
        return None


def flat(title: str) -> str:
    """A title whose slashes are no folders."""
    return title.replace("/", " ").replace("\\", " ")


def attached(name: str) -> dict[str, str]:
    """Headers that have the browser save an answer under a name."""
    return {"content-disposition": f"attachment; filename*=UTF-8''{quote(name)}"}
