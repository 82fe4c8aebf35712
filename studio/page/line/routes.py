"""What the Queue tab's script fetches."""

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from studio.page.frame import Frame
from studio.page.line.desk import LineDesk
from studio.page.words import language


class Change(BaseModel):
    """What is to be done to which jobs; `before` is the job that the moved one is to stand before."""

    do: str = Field(max_length=20)
    jobs: list[str] = Field([], max_length=100_000)
    before: str = Field("", max_length=100)


def router(frame: Frame) -> APIRouter:
    """The routes of one page."""
    routes, desk = APIRouter(include_in_schema=False), LineDesk(frame)

    @routes.get("/line")
    def stand(request: Request) -> dict[str, Any]:
        return desk.stand(language(request.headers))

    @routes.post("/line/act")
    def act(request: Request, change: Change) -> dict[str, Any]:
        return desk.act(change.do, change.jobs, change.before, language(request.headers))

    return routes
