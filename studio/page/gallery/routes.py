"""What the Gallery tab's script fetches."""

import time
from datetime import date, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, Field

from models.messages import Refused
from studio.gallery import Filter
from studio.page.frame import Frame
from studio.page.gallery.desk import GalleryDesk
from studio.page.words import language
from studio.page.zipped import zipped

AT_ONCE = 100  # pictures of one change: the script sends more in slices, so that none takes long
EARLIEST, LATEST = date(1970, 1, 2), date(9000, 1, 1)  # that any system can turn into seconds

Number = Annotated[int | None, Query(ge=0, lt=2**63)]
Text = Annotated[str, Query(max_length=500)]
Day = Annotated[date | None, Query()]


def filtered(
    words: Text = "",
    style: Text = "",
    model: Text = "",
    tag: Text = "",
    board: Text = "",
    starred: bool = False,
    rating: Annotated[int, Query(ge=0, le=5)] = 0,
    since: Day = None,
    until: Day = None,
    bin: bool = False,
) -> Filter:
    """What the filters of the page say."""
    first = None if since is None else seconds(since)
    after = None if until is None else seconds(min(until, LATEST) + timedelta(days=1))
    return Filter(style, model, tag, board, starred, rating, first, after, bin, words.strip())


Wanted = Annotated[Filter, Depends(filtered)]


class Change(BaseModel):
    """What is to be done to which pictures."""

    do: str = Field(max_length=20)
    value: str = Field("", max_length=500)
    pictures: list[str] = Field(max_length=AT_ONCE)


class Choice(BaseModel):
    """Pictures for a zip. More than fit into one are refused with a sentence."""

    pictures: list[str] = Field(max_length=100_000)


def router(frame: Frame) -> APIRouter:
    """The routes of one page."""
    routes, desk = APIRouter(include_in_schema=False), GalleryDesk(frame)

    @routes.get("/gallery/page")
    def page(request: Request, wanted: Wanted, before: Number = None) -> dict[str, Any]:
        return desk.page(wanted, before, language(request.headers))

    @routes.get("/gallery/near")
    async def near(request: Request, wanted: Wanted) -> dict[str, Any]:
        return await desk.near(wanted, language(request.headers))

    @routes.post("/gallery/act")
    def act(request: Request, change: Change) -> dict[str, Any]:
        return desk.act(change.do, change.value, change.pictures, language(request.headers))

    @routes.post("/gallery/empty")
    def empty(request: Request) -> dict[str, Any]:
        return desk.empty_bin(language(request.headers))

    @routes.post("/gallery/zip")
    def pack(request: Request, choice: Choice) -> Response:
        try:
            files = desk.files(choice.pictures, language(request.headers))
        except Refused as refusal:
            return JSONResponse({"problem": str(refusal)}, 422)
        named = {"content-disposition": f'attachment; filename="studio-{time.strftime("%Y%m%d-%H%M%S")}.zip"'}
        return StreamingResponse(zipped(files), media_type="application/zip", headers=named)

    return routes


def seconds(day: date) -> float:
    """When a day begins here, in seconds since the epoch."""
    return time.mktime(min(max(day, EARLIEST), LATEST).timetuple())
