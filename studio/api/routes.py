"""What the doors for programs share: an error is one sentence in JSON, and so is what is not there."""

import sys
import traceback
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException  # FastAPI raises both its own and this, of which its own is one
from starlette.routing import Match

from models.messages import Refused

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
BROKEN = "something went wrong in the studio; the terminal that it runs in says what."


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
                return self.problem(422, str(refusal))
            except RequestValidationError as error:
                return self.problem(422, sentence(error))
            except HTTPException as error:
                return self.problem(error.status_code, str(error.detail))
            except Exception:
                traceback.print_exc(file=sys.stderr)
                return self.problem(500, BROKEN)

        return handled

    @classmethod
    def problem(cls, status: int, sentence: str) -> JSONResponse:
        """The answer; half characters, which JSON can't carry, become question marks."""
        text = sentence.encode(errors="replace").decode()
        return JSONResponse(dict.fromkeys(cls.keys, text), status)


class SdRoute(Route):
    """As A1111's clients look for it."""

    keys = ("error", "detail", "errors")


def sentence(error: RequestValidationError) -> str:
    """pydantic's first complaint as one sentence, without the value: it may be a picture."""
    first = error.errors()[0]
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    place = ".".join(str(part) for part in first["loc"] if part != "body")
    if first["type"] == "json_invalid":
        return "the request is not JSON; send a JSON object."
    if not place:
        return "the request has no JSON object; send one, with content type application/json."
    if first["type"] == "extra_forbidden":
        return f"there is no setting {place!r} here."
    return f"{place}: {first['msg'][0].lower()}{first['msg'][1:]}."


def close(router: APIRouter, papers: str = "") -> APIRouter:
    """The router with a last route that catches what no other does: 404, or 405 for a method that is not there."""

    async def nowhere(request: Request) -> Response:
        others = [route for route in router.routes if getattr(route, "endpoint", None) is not nowhere]
        if any(route.matches(request.scope)[0] == Match.PARTIAL for route in others):
            raise HTTPException(405, f"{request.url.path} does not take {request.method}{papers}.")
        raise HTTPException(404, f"there is no {request.url.path[:200]} here{papers}.")

    router.add_api_route("/{rest:path}", nowhere, methods=METHODS, include_in_schema=False)
    return router
