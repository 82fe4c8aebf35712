"""The studio's own API, /api/v1: jobs and their events, and what there is; the gallery is in `studio.api.gallery`."""

import functools
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from pathlib import Path
from shutil import disk_usage
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi import Path as PathParameter
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader
from sse_starlette import EventSourceResponse, ServerSentEvent

from models.messages import Refused
from studio import inputs
from studio.api import gallery
from studio.api.gallery import PREFIX, describe_jobs, describe_queued, describe_saved
from studio.api.routing import Rejected, Route, Served, ServedStudio, answered, close, serve
from studio.api.schemas import (
    SHA256,
    CaptionIn,
    CaptionOut,
    Health,
    JobOut,
    Jobs,
    Move,
    PictureIn,
    Problem,
    Readings,
    job_body,
)
from studio.api.uploads import Uploads, in_turn, uploads
from studio.backends.base import ModelState, model_problem, model_states, offered, open_backend
from studio.capabilities import Style
from studio.events import Cancelled, Done, Event, Failed, Progress, Saved
from studio.media import data_url
from studio.metadata.origin import version
from studio.planner import Job
from studio.queue import OPEN, State
from studio.requests import MediaRequest, media_tasks, only
from studio.studio import Studio
from studio.worker import silence

END = "end"  # id of the last event: a client that has it needs nothing more
STREAMS = 32  # of events at a time: each looks into the database 20 times a second
HEARTBEAT = 10  # seconds after which a comment is sent, so that a client that has left is noticed
ERRORS: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "There is none."},
    422: {"model": Problem, "description": "The request can't be done."},
}
EVENTS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {}}, "description": "Server-sent events."},
    204: {"description": "Nothing follows: the end was sent before."},
}
Id = Annotated[str, PathParameter(pattern=SHA256, description="The job's id, 64 hexadecimal digits.")]

routes = APIRouter(prefix=PREFIX, route_class=Route, responses=ERRORS)
jobs = APIRouter(route_class=Route, tags=["jobs"])
about = APIRouter(route_class=Route, tags=["studio"])


def router(studio: Studio, model: str) -> APIRouter:
    """The routes of /api/v1. `model` does the jobs that name none."""
    both = APIRouter()
    both.include_router(job_router(tuple(media_tasks().values())))
    both.include_router(routes)
    return serve(both, Served(studio, model))


@functools.lru_cache
def job_router(kinds: tuple[type[MediaRequest], ...]) -> APIRouter:
    """The route that takes jobs, with a body for each of the requests, and the schema of all routes."""
    router_of_jobs = APIRouter(prefix=PREFIX, route_class=Route, responses=ERRORS)
    body = job_body(kinds)

    @router_of_jobs.post("/jobs", status_code=202, response_model=JobOut, tags=["jobs"])
    async def submit(served: ServedStudio, body: body) -> Any:  # type: ignore[valid-type]
        """Put a job in the queue. The same work is the same job: its pictures are there at once."""
        return await in_turn(_prepared, served, body, lambda job: describe_job(served, served.studio.submit(job)))

    @functools.cache
    def schema() -> Any:
        return get_openapi(title="Studio 128", version=version(), routes=[*router_of_jobs.routes, *routes.routes])

    @router_of_jobs.get("/openapi.json", include_in_schema=False)
    def openapi() -> Any:
        """The schema for machines."""
        return schema()

    @router_of_jobs.get("/docs", response_class=HTMLResponse, include_in_schema=False)
    @functools.cache
    def docs() -> str:
        """The schema for people, as one page without a script: nothing is loaded."""
        loader = FileSystemLoader(Path(__file__).parent)
        environment = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
        return environment.get_template("docs.html").render(schema=schema())

    return router_of_jobs


# --- Jobs -------------------------------------------------------------------------------------------------------------


def _prepared(served: Served, body: Any, use: Callable[[Job], Any]) -> Any:
    """The result of `use` on the job of a body, while the files that came with it exist."""
    studio = served.studio
    with uploads(studio.home, studio.gallery) as files:
        fields = {"model": served.model, "task": body.task, **_request_fields("", body, files)}
        offered(fields["model"], served.model)
        return use(only(studio.prepare(**fields)))


@jobs.post("/caption", response_model=CaptionOut)
async def caption(served: ServedStudio, body: CaptionIn) -> Any:
    """Describe a picture at once, before all jobs, and store nothing. A job of the task `caption` stores the words."""
    request = await in_turn(_prepared, served, body, lambda job: inputs.keep(job.request, served.studio.home))
    answer = await answered(served.studio, request)
    return {"caption": answer.data.decode(), "score": answer.score, "known": answer.known}


@jobs.get("/jobs", response_model=Jobs)
def list_jobs(
    served: ServedStudio,
    state: Annotated[list[State] | None, Query(description="Those in these states; else the open ones.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Any:
    """Running ones first, then waiting ones, then those that ended, latest first."""
    return describe_jobs(served.studio, served.studio.queue.jobs(state or OPEN, limit))


@jobs.get("/jobs/{job}", response_model=JobOut)
def describe_job(served: ServedStudio, job: Id) -> Any:
    """One job with its pictures."""
    try:
        return describe_queued(served.studio, served.studio.queue.job(job), served.studio.queue.ahead(job))
    except KeyError as error:
        raise Rejected(404, "api.no_job", job=job) from error


@jobs.delete("/jobs/{job}", response_model=JobOut)
def cancel(served: ServedStudio, job: Id) -> Any:
    """Stop a job at its next step, or take it out of the queue. Its pictures stay; so does a job that has ended."""
    describe_job(served, job)
    served.studio.queue.cancel([job])
    return describe_job(served, job)


@jobs.post("/jobs/{job}/retry", response_model=JobOut)
def retry(served: ServedStudio, job: Id) -> Any:
    """Put a job that failed, was cancelled or quarantined in the queue again."""
    if describe_job(served, job)["state"] == "done":
        raise Refused("api.job_is_done")
    served.studio.queue.retry([job])
    served.studio.open()
    return describe_job(served, job)


@jobs.post("/jobs/{job}/move", response_model=JobOut)
def move(served: ServedStudio, job: Id, body: Move) -> Any:
    """Change the place of a waiting job in the queue."""
    for identity in filter(None, (job, body.before)):
        describe_job(served, identity)
    served.studio.queue.move(job, body.before)
    return describe_job(served, job)


@jobs.get("/jobs/{job}/events", response_class=Response, responses=EVENTS)
async def events(served: ServedStudio, job: Id, request: Request) -> Response:
    """Events of a job as server-sent events, until it ends. `state` (the job) is first, then come `progress`, with
    previews as data URLs, `picture` for each one that is saved, and `end`. A late client gets the state so far.
    """
    first = await to_thread.run_sync(describe_job, served, job)
    if request.headers.get("last-event-id") == END and first["state"] not in OPEN:
        return Response(status_code=204)
    if len(served.streams) >= STREAMS:
        raise Rejected(503, "api.too_many_streams", most=STREAMS)
    return EventSourceResponse(_event_stream(served, first), ping=HEARTBEAT, sep="\n")


@jobs.post("/queue/pause")
def pause(served: ServedStudio) -> None:
    """Begin no more jobs; the running one goes on."""
    served.studio.queue.pause()


@jobs.post("/queue/resume")
def resume(served: ServedStudio) -> None:
    """Go on."""
    served.studio.queue.pause(False)


def _request_fields(prefix: str, body: Any, files: Uploads) -> dict[str, Any]:
    """The fields that are set in a body, or in its part `prefix`, with pictures as files."""

    def read(name: str, value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(_request_fields(f"{name}[{n}].", part, files) for n, part in enumerate(value))
        if isinstance(value, PictureIn):
            return files.add_base64(value.data, name) if value.data else files.add_stored(value.sha256, name)
        return value

    return {key: read(f"{prefix}{key}", getattr(body, key)) for key in body.model_fields_set}


async def _event_stream(served: Served, job: dict[str, Any]) -> AsyncIterator[ServerSentEvent]:
    me = object()
    served.streams.add(me)
    try:
        yield _server_sent("state", job)
        async for event in served.studio.aevents(job["id"]):
            yield _event_json(event)
    finally:
        served.streams.discard(me)


def _event_json(event: Event) -> ServerSentEvent:
    if isinstance(event, Progress):
        shown = {n: data_url(picture) for n, picture in event.previews.items()}
        unknown = [asdict(word) for word in event.unknown]
        facts = {"step": event.step, "total": event.total, "unknown": unknown, "read_as": event.read_as}
        return _server_sent("progress", {**facts, "previews": shown})
    if isinstance(event, Saved):
        return _server_sent("picture", describe_saved(event))
    states = {Done: "done", Failed: "failed", Cancelled: "cancelled"}
    sentence = event.sentence if isinstance(event, Failed) else ""
    return _server_sent("end", {"state": states[type(event)], "sentence": sentence}, END)


def _server_sent(name: str, data: dict[str, Any], number: str | None = None) -> ServerSentEvent:
    return ServerSentEvent(json.dumps(data), event=name, id=number, sep="\n")


# --- The studio -------------------------------------------------------------------------------------------------------


def _named(
    served: ServedStudio, model: Annotated[str, Query(max_length=200, description="Else the usual one.")] = ""
) -> str:
    return offered(model or served.model, served.model)


Model = Annotated[str, Depends(_named)]


@about.get("/health", response_model=Health)
def health(served: ServedStudio) -> Any:
    """Whether pictures can be made. It answers at once: it loads nothing and reads no weights."""
    studio, missing = served.studio, model_problem(served.model)
    queue, trouble = studio.queue, studio.trouble()
    facts = {"version": version(), "model": served.model, "paused": queue.is_paused(), "jobs": queue.counts()}
    facts |= {"worker_seen": silence(studio.home), "disk_free": disk_usage(studio.home).free}
    status = "not ready" if missing else "stalled" if trouble else "ok"
    return {"status": status, "problem": missing or str(trouble or ""), **facts}


@about.get("/models")
def models(served: ServedStudio) -> list[ModelState]:
    """The models, the usual one first, and what is missing where one is not ready."""
    return model_states(served.model)


@about.get("/styles")
def styles(model: Model) -> list[Style]:
    """The styles that a model knows."""
    return list(open_backend(model).capabilities().styles)


@about.get("/read", response_model=Readings)
def read(
    served: ServedStudio,
    model: Model,
    text: Annotated[list[str], Query(description="A prompt. Repeat it for more.")],
    negative: Annotated[str, Query(description="The negative prompt.")] = "",
) -> Any:
    """How each word of prompts is drawn, or that it is left out or not known."""
    return {"readings": served.studio.read(*text, negative=negative, model=model)}


for part in (jobs, gallery.routes, about):
    routes.include_router(part)


close(routes, f"; see {PREFIX}/docs")
