"""The studio's own API, /api/v1: jobs with their news as they happen, the gallery, search, and what there is."""

import functools
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, HTTPException, Path, Query, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse

from models.messages import Refused
from studio.api.api_gallery import Gallery
from studio.api.api_models import (
    PREFIX,
    SHA256,
    Given,
    Health,
    ImageJob,
    JobOut,
    Jobs,
    ModelOut,
    Move,
    Problem,
    StyleOut,
)
from studio.api.docs import page
from studio.api.news import job_out, stream
from studio.api.pictures import Uploads, uploads
from studio.api.routes import Route, close
from studio.backends.registry import KINDS, offered, open_backend
from studio.metadata import version
from studio.prompts import only
from studio.queue import OPEN, State
from studio.studio import Studio

Id = Annotated[str, Path(pattern=SHA256, description="The job's id, 64 hexadecimal digits.")]
ERRORS: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "There is none."},
    422: {"model": Problem, "description": "It can't be done as it was asked for."},
}


def router(studio: Studio, model: str) -> APIRouter:
    """The routes of /api/v1. `model` is what a job is done with that names none."""
    routes = APIRouter(prefix=PREFIX, route_class=Route, responses=ERRORS)
    Line(studio, model).add_to(routes)
    Gallery(studio, model).add_to(routes)
    House(studio, model).add_to(routes)
    schema = functools.cache(lambda: get_openapi(title="Studio 128", version=version(), routes=routes.routes))
    routes.add_api_route("/openapi.json", lambda: schema(), methods=["GET"], include_in_schema=False)
    papers = functools.cache(lambda: page(schema()))
    routes.add_api_route(
        "/docs", lambda: papers(), methods=["GET"], response_class=HTMLResponse, include_in_schema=False
    )
    return close(routes, f"; see {PREFIX}/docs")


class Line:
    """Jobs: asked for, watched, stopped, moved."""

    def __init__(self, studio: Studio, model: str) -> None:
        self._studio, self._queue, self._model = studio, studio.queue, model

    def add_to(self, routes: APIRouter) -> None:
        """All routes of jobs."""
        tag: dict[str, Any] = {"tags": ["jobs"]}
        routes.add_api_route("/jobs", self.ask, methods=["POST"], status_code=202, **tag)
        routes.add_api_route("/jobs", self.jobs, methods=["GET"], **tag)
        routes.add_api_route("/jobs/{job}", self.job, methods=["GET"], **tag)
        routes.add_api_route("/jobs/{job}", self.cancel, methods=["DELETE"], **tag)
        routes.add_api_route("/jobs/{job}/retry", self.retry, methods=["POST"], **tag)
        routes.add_api_route("/jobs/{job}/finish", self.finish, methods=["POST"], **tag)
        routes.add_api_route("/jobs/{job}/move", self.move, methods=["POST"], **tag)
        events: dict[int | str, dict[str, Any]] = {
            200: {"content": {"text/event-stream": {}}, "description": "Server-sent events."}
        }
        routes.add_api_route(
            "/jobs/{job}/events",
            self.events,
            methods=["GET"],
            response_class=Response,
            responses={**events, 204: {"description": "Nothing follows: the end was heard before."}},
            **tag,
        )
        routes.add_api_route("/queue/pause", self.pause, methods=["POST"], **tag)
        routes.add_api_route("/queue/resume", self.resume, methods=["POST"], **tag)

    def ask(self, body: ImageJob) -> JobOut:  # type: ignore[valid-type]
        """Put a job in line. The same work is the same job: what was made before is there at once."""
        with uploads(self._studio.home) as files:
            fields = {"model": self._model, **self._fields("", body, files)}
            offered(fields["model"], self._model)
            return self.job(self._studio.submit(only(self._studio.prepare(**fields))))

    def _fields(self, name: str, body: Any, files: Uploads) -> dict[str, Any]:
        """What is said in a body, or in the part of it that is called `name`, with pictures as files."""
        return {key: self._field(f"{name}{key}", getattr(body, key), files) for key in body.model_fields_set}

    def _field(self, name: str, value: Any, files: Uploads) -> Any:
        if isinstance(value, tuple):
            return tuple(self._fields(f"{name}[{n}].", part, files) for n, part in enumerate(value))
        return files.taken(value, name, self._studio.gallery) if isinstance(value, Given) else value

    def jobs(
        self,
        state: Annotated[list[State] | None, Query(description="Those in these states; else the open ones.")] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Jobs:
        """Running ones first, then in line, then those that ended, latest first."""
        listed = [job_out(self._studio, job) for job in self._queue.jobs(state or OPEN, limit)]
        counts, notice = self._queue.counts(), self._queue.notice()
        return Jobs(jobs=listed, counts=counts, paused=self._queue.is_paused(), notice=notice)

    def job(self, job: Id) -> JobOut:
        """One job with its pictures."""
        try:
            return job_out(self._studio, self._queue.job(job))
        except KeyError as error:
            raise HTTPException(404, f"there is no job {job}.") from error

    def cancel(self, job: Id) -> JobOut:
        """Stop a job at its next step, or take it out of line. What is made stays; so does a job that has ended."""
        self.job(job)
        self._queue.cancel([job])
        return self.job(job)

    def retry(self, job: Id) -> JobOut:
        """Put a job that failed, was cancelled or set aside in line again."""
        if self.job(job).state == "done":
            raise Refused("the job is done; ask for it again to have missing pictures made anew.")
        self._queue.retry([job])
        self._studio.open()
        return self.job(job)

    def finish(self, job: Id) -> JobOut:
        """Stop a running job once the pictures being drawn are saved; one in line is taken out."""
        self.job(job)
        self._queue.finish_picture(job)
        return self.job(job)

    def move(self, job: Id, body: Move) -> JobOut:
        """Change the place of a waiting job in line."""
        self.job(job)
        if body.before:
            self.job(body.before)
        if body.priority is not None:
            self._queue.prioritise(job, body.priority)
        self._queue.move(job, body.before)
        return self.job(job)

    async def events(self, job: Id, request: Request) -> Response:
        """News of a job as server-sent events, until it ends. `state` (the job) is first, then come `progress`, with
        previews as data URLs, `picture` for each one that is saved, and `end`. Who comes late gets the state so far.
        """
        first = await to_thread.run_sync(self.job, job)
        return stream(self._studio, first, request.headers.get("last-event-id", ""))

    def pause(self) -> None:
        """Begin no more jobs; the running one goes on."""
        self._queue.pause()

    def resume(self) -> None:
        """Go on."""
        self._queue.pause(False)


class House:
    """What there is."""

    def __init__(self, studio: Studio, model: str) -> None:
        self._studio, self._model = studio, model

    def add_to(self, routes: APIRouter) -> None:
        """All routes of what there is."""
        for name, get in {"health": self.health, "models": self.models, "styles": self.styles}.items():
            routes.add_api_route(f"/{name}", get, methods=["GET"], tags=["studio"])

    def health(self) -> Health:
        """Whether pictures can be made."""
        problem, queue = _state(self._model).problem, self._studio.queue
        return Health(
            status="not ready" if problem else "ok",
            version=version(),
            model=self._model,
            problem=problem,
            paused=queue.is_paused(),
            jobs=queue.counts(),
        )

    def models(self) -> list[ModelOut]:
        """The models, the usual one first, and what is missing where one is not ready."""
        others = [name for name in KINDS if name != self._model.partition(":")[0]]
        return [_state(name) for name in (self._model, *others)]

    def styles(
        self, model: Annotated[str, Query(max_length=200, description="Else the usual one.")] = ""
    ) -> list[StyleOut]:
        """The styles that a model knows."""
        known = open_backend(offered(model or self._model, self._model)).capabilities().styles
        return [StyleOut(name=style.name, zh=style.zh, words=style.words) for style in known]


def _state(model: str) -> ModelOut:
    can, digest, problem = None, "", ""
    try:
        backend = open_backend(model)
        can = backend.capabilities().model_dump(mode="json")
        digest = backend.digest()
    except Refused as refusal:
        problem = str(refusal)
    about = KINDS[model.partition(":")[0]].about
    return ModelOut(name=model, about=about, ready=not problem, problem=problem, digest=digest, capabilities=can)
