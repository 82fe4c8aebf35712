"""Shared by all routes for programs: the served studio, and errors as one sentence in JSON."""

import traceback
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from fastapi import APIRouter, Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException  # FastAPI raises both its own and this, of which its own is one
from starlette.routing import Match

from models.messages import Message, Refused, did_you_mean
from studio.events import Content
from studio.requests import MediaRequest
from studio.run import complain
from studio.studio import Studio

TAG = "task="  # before the task in the tags of a union of bodies: they stand in the places of pydantic's complaints
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


class Rejected(Refused):
    """A refusal with an HTTP status; that of other refusals is 422."""

    def __init__(self, status: int, code: str | Message, **values: Any) -> None:
        super().__init__(code, **values)
        self.status = status


class Route(APIRoute):
    """A route that answers errors with `{"error": "one sentence"}`: 422 where the request can't be done as it is."""

    keys: ClassVar[tuple[str, ...]] = ("error",)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, with its errors put into words."""
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except Refused as refusal:
                usual = 503 if refusal.message.code == "studio.closed" else 422
                return self.problem(getattr(refusal, "status", usual), refusal)
            except RequestValidationError as error:
                return self.problem(422, _first_problem(error))
            except HTTPException as error:
                return self.problem(error.status_code, str(error.detail))
            except Exception:
                complain(traceback.format_exc())
                return self.problem(500, Message("api.broken"))

        return handled

    @staticmethod
    def sentence(what: Refused | Message | str) -> str:
        """An error in words; the page's are in the reader's language."""
        return str(what)

    @classmethod
    def problem(cls, status: int, what: Refused | Message | str) -> JSONResponse:
        """The answer; lone surrogates, which JSON can't carry, become question marks."""
        text = cls.sentence(what).encode(errors="replace").decode()
        return JSONResponse(dict.fromkeys(cls.keys, text), status)


def _first_problem(error: RequestValidationError) -> Message:
    """pydantic's first complaint, without the value: it may be a picture."""
    first = error.errors()[0]
    if first["type"] == "value_error":
        return Message(str(first["ctx"]["error"]))
    if first["type"] == "union_tag_invalid":
        task = first["ctx"]["tag"].removeprefix(TAG)[:80]
        tasks = first["ctx"]["expected_tags"].replace("'", "").replace(TAG, "").split(", ")
        return Message("request.unknown_task", {"task": task, "hint": did_you_mean(task, tasks), "tasks": tasks})
    place = ".".join(part for part in map(str, first["loc"]) if part != "body" and not part.startswith(TAG))
    if first["type"] == "json_invalid":
        return Message("api.not_json")
    if not place:
        return Message("api.no_json")
    if first["type"] == "extra_forbidden":
        return Message("api.no_setting", {"name": place})
    return Message("api.invalid", {"name": place, "problem": f"{first['msg'][0].lower()}{first['msg'][1:]}"})


@dataclass(frozen=True)
class Served:
    """The served studio, the model of requests that name none, and the open streams of events."""

    studio: Studio
    model: str
    streams: set[object] = field(default_factory=set, compare=False)


async def answered(studio: Studio, request: MediaRequest) -> Content:
    """What the worker answers to a planned request, stored nowhere; HTTP 500 where it fails, 503 where it closes."""
    try:
        return await studio.acontent(request)
    except Refused as refusal:  # planning let it through: this is no error of the client
        raise Rejected(503 if refusal.message.code == "studio.closed" else 500, refusal.message) from refusal


async def served(request: Request) -> Any:
    """A dependency: what `serve` bound the routes to."""
    return request.state.served


ServedStudio = Annotated[Served, Depends(served)]


def serve(routes: APIRouter, context: Any) -> APIRouter:
    """The routes of a module, bound to what they serve."""

    async def bind(request: Request) -> None:
        request.state.served = context

    bound = APIRouter()
    bound.include_router(routes, dependencies=[Depends(bind)])
    return bound


def close(router: APIRouter, hint: str = "") -> None:
    """Add a last route that catches what no other does: 404, or 405 for a method that is not there."""

    async def nowhere(request: Request) -> Response:
        others = [route for route in router.routes if getattr(route, "endpoint", None) is not nowhere]
        if any(route.matches(request.scope)[0] == Match.PARTIAL for route in others):
            raise Rejected(405, "api.no_method", path=request.url.path, method=request.method, hint=hint)
        raise Rejected(404, "api.no_path", path=request.url.path[:200], hint=hint)

    router.add_api_route("/{rest:path}", nowhere, methods=METHODS, include_in_schema=False)
