"""What a series of jobs can be fetched as."""

from pathlib import PurePath
from urllib.parse import quote

from fastapi import APIRouter, HTTPException
from fastapi.responses import StreamingResponse

from studio.batch.plan import safe_name
from studio.page.frame import Frame
from studio.page.series import AllSeries, Series
from studio.page.zipped import zipped


def router(frame: Frame) -> APIRouter:
    """The routes."""
    routes, every = APIRouter(include_in_schema=False), AllSeries(frame.studio)

    @routes.get("/series/{name}/pictures.zip")
    def pictures(name: str) -> StreamingResponse:
        try:
            series = every.get(name)
            files = every.files(series)
        except KeyError as error:
            raise HTTPException(404, "no such series") from error
        return StreamingResponse(zipped(files), media_type="application/zip", headers=attached(series, ".zip"))

    return routes


def attached(series: Series, suffix: str) -> dict[str, str]:
    """Headers that have the browser save it under the series' title."""
    stem = safe_name(PurePath(series.title).stem) or series.kind
    return {"content-disposition": f"attachment; filename*=UTF-8''{quote(stem + suffix)}"}
