"""What A1111's API holds between requests, and what its clients ask before they begin.

It holds the model that clients chose, and the requests that they wait for: A1111 does one thing at a time and its API
speaks of that one. Here one queue serves every door, so `progress`, `interrupt` and `skip` are about what came in
through this API only.

A client chooses by A1111's names and often can't be told others. A name of the very method is taken as such; one of a
method that is not here is taken for the nearest that is, and the answer says so; any other is not found. `a1111.json`
has the names, and the answers that never change.
"""

import base64
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import psutil
from fastapi import APIRouter, Depends
from PIL import Image
from pydantic import BaseModel, ConfigDict

from models.messages import Message, Refused
from studio.api.routing import Rejected, Route, served
from studio.backends.base import MODELS, open_backend
from studio.capabilities import Capabilities
from studio.events import Cancelled, Done, End, Failed, Progress
from studio.queue import QueuedJob
from studio.requests import ImageRequest
from studio.studio import Studio

PREFIX = "/sdapi/v1"
TRIAL = "fake"  # draws faces: listed only where the studio was started with it


class SdRoute(Route):
    """Answers errors as A1111's clients look for them."""

    keys = ("error", "detail", "errors")


routes = APIRouter(prefix=PREFIX, route_class=SdRoute, tags=["A1111"])


class Sent(BaseModel):
    """What a client sends: the fields that have a meaning here. Others are ignored."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())


@dataclass(eq=False)
class Call:
    """A request to make pictures: resolved requests by job, and notes on what was done otherwise than asked."""

    jobs: dict[str, ImageRequest]
    notes: list[Message] = field(default_factory=list)
    interrupted: bool = False
    skipped: bool = False


class State:
    """The served studio, the model chosen for all clients, and the open calls, oldest first. For any thread."""

    def __init__(self, studio: Studio, model: str) -> None:
        self.studio, self._served, self.model = studio, model, model
        self.open, self._lock = list[Call](), threading.Lock()

    # --- The model ----------------------------------------------------------------------------------------------------

    def capabilities(self, model: str = "") -> Capabilities:
        """What a model can do; "" is the chosen one."""
        return open_backend(model or self.model).capabilities()

    def digest(self, model: str) -> str:
        """Of a model's weights, "" where they are missing."""
        try:
            return open_backend(model).digest()
        except Refused:
            return ""

    def title(self, model: str) -> str:
        """As A1111 writes it: the name and the beginning of the digest."""
        digest = self.digest(model)
        return f"{model} [{digest[:10]}]" if digest else model

    def names(self) -> list[str]:
        """The models that can be chosen: the one that is served, and others whose weights are here."""
        others = [name for name in MODELS if name not in (TRIAL, self._served.partition(":")[0])]
        return [self._served, *(name for name in others if self.digest(name))]

    def chosen(self, settings: dict[str, Any]) -> str:
        """The model that a request is for: its own choice, else the one chosen for all; 404 where it is unknown."""
        wanted = settings.get("sd_model_checkpoint") or settings.get("sd_checkpoint")
        if not wanted:
            return self.model
        for name in self.names():
            if str(wanted).casefold() in (name.casefold(), self.title(name).casefold(), self.digest(name)[:10]):
                return name
        raise Rejected(404, "api.no_model", name=str(wanted)[:100], list=f"{PREFIX}/sd-models")

    # --- Calls --------------------------------------------------------------------------------------------------------

    @contextmanager
    def waiting(self, call: Call) -> Iterator[None]:
        """While a client waits for a call."""
        with self._lock:
            self.open.append(call)
        try:
            yield
        finally:
            with self._lock:
                self.open.remove(call)

    def current(self) -> tuple[Call | None, list[QueuedJob]]:
        """The call that is being worked on, else the first that waits, with its jobs."""
        with self._lock:
            calls = list(self.open)
        looked = [(call, [self.studio.queue.job(job) for job in call.jobs]) for call in calls]
        undone = [(call, jobs) for call, jobs in looked if not all(job.end for job in jobs)]
        running = (one for one in undone if any(job.state == "running" for job in one[1]))
        return next(running, undone[0] if undone else (None, []))


Served = Annotated[State, Depends(served)]


async def ended(studio: Studio, job: str) -> End | None:
    """How a job ends, once it has; None where the studio is closed before."""
    last = None
    async for event in studio.aevents(job):
        last = event
    return last if isinstance(last, Done | Cancelled | Failed) else None


def timestamp(seconds: float | None = None) -> str:
    """A time, None for now, as A1111 writes it."""
    return time.strftime("%Y%m%d%H%M%S", time.localtime(seconds))


# --- Names ------------------------------------------------------------------------------------------------------------

Row = dict[str, Any]
Notes = tuple[Message, ...]


@dataclass(frozen=True)
class Sampler:
    """A scheduler of ours: its name at A1111, other names of the same method, and methods that it stands in for."""

    name: str
    ours: str
    same: list[str]
    stands_for: list[str]


DATA: Row = json.loads(Path(__file__).with_name("a1111.json").read_text(encoding="utf-8"))
SAMPLERS = [Sampler(**row) for row in DATA["samplers"]]
# Before 1.9 the schedule was a part of the sampler's name: "DPM++ 2M Karras".
_SCHEDULE = re.compile(r" (karras|exponential|polyexponential)$", re.IGNORECASE)
OURS = "Studio 128"
UPSCALERS = {"None": Image.Resampling.LANCZOS, "Lanczos": Image.Resampling.LANCZOS, "Nearest": Image.Resampling.NEAREST}


def sampler(name: str, schedulers: Sequence[str]) -> tuple[str, Notes] | None:
    """(scheduler, notes on it) for a name of A1111's or ours, among `schedulers`; None: not found."""
    bare = _SCHEDULE.sub("", name.strip())
    for row in SAMPLERS:
        if row.ours not in schedulers:
            continue
        if bare.casefold() in map(str.casefold, (row.name, row.ours, *row.same)):
            return row.ours, (_other_schedule(name),) if bare != name.strip() else ()
        if bare.casefold() in map(str.casefold, row.stands_for):
            return row.ours, (Message("api.note_sampler", {"name": bare, "taken": row.name}),)
    return None


def schedule(name: str) -> Notes | None:
    """Notes on a noise schedule, by label or name: none on the automatic one, the only one here. None: not found."""
    for label in DATA["schedules"]:
        if name.casefold().replace("_", " ") == label.casefold():
            return (_other_schedule(label),) if label != "Automatic" else ()
    return None


def sampler_name(scheduler: str) -> str:
    """A1111's name for one of our schedulers."""
    return next((row.name for row in SAMPLERS if row.ours == scheduler), scheduler)


def _other_schedule(name: str) -> Message:
    return Message("api.note_schedule", {"name": name[:60]})


# --- The current call -------------------------------------------------------------------------------------------------


@routes.post("/interrupt")
def interrupt(state: Served) -> Row:
    """Stop the current call: what is whole by then is its answer."""
    call, _ = state.current()
    if call:
        call.interrupted = True
        state.studio.queue.cancel(list(call.jobs))
    return {}


@routes.post("/skip")
def skip(state: Served) -> Row:
    """Stop what the current call is drawing now, and go on with the rest of it."""
    call, jobs = state.current()
    running = next((job for job in jobs if not job.end), None)
    if call and running:
        call.skipped = True
        state.studio.queue.cancel([running.id])
    return {}


@routes.get("/progress")
def progress(state: Served, skip_current_image: bool = False) -> Row:
    """How far the current call is, as A1111 counts it; 0 of no jobs where there is none."""
    call, jobs = state.current()
    running = next((job for job in jobs if job.state == "running"), None)
    step = (running and state.studio.store.progress.read(running.id)[1]) or Progress(0, 0)
    done = sum(job.end is not None for job in jobs) + (step.step / step.total if step.total else 0)
    share = max(0.01 if running else 0.0, done / len(jobs) if jobs else 0.0)  # clients take 0 for idle
    began = min((job.started for job in jobs if job.started), default=time.time())
    passed = max(0.0, time.time() - began)
    shown = step.previews[min(step.previews)] if step.previews and not skip_current_image else b""
    return {
        "progress": round(share, 4),
        "eta_relative": round(passed / share - passed, 2) if share else 0,
        "current_image": base64.b64encode(shown).decode() if shown else None,
        "textinfo": None,
        "state": {
            "skipped": bool(call and call.skipped),
            "interrupted": bool(call and call.interrupted),
            "stopping_generation": False,
            "job": jobs[0].id if jobs else "",
            "job_count": len(state.open) if jobs else 0,
            "job_timestamp": timestamp(jobs[0].started or jobs[0].submitted) if jobs else "0",
            "job_no": 0,
            "sampling_step": step.step,
            "sampling_steps": step.total,
        },
    }


# --- What there is ----------------------------------------------------------------------------------------------------


@routes.get("/samplers")
def samplers(state: Served) -> list[Row]:
    """Those that are the very method; among their aliases the names that they stand in for."""
    can = state.capabilities().schedulers
    rows = sorted((row for row in SAMPLERS if row.ours in can), key=lambda row: row.ours != can[0])
    return [{"name": row.name, "aliases": [row.ours, *row.same, *row.stands_for], "options": {}} for row in rows]


@routes.get("/sd-models")
def models(state: Served) -> list[Row]:
    """What can be chosen, the served one first. A file name is a path at A1111; here it is the name again."""
    rows = []
    for name in state.names():
        digest, same = state.digest(name), {"model_name": name, "filename": name, "config": None}
        rows.append({"title": state.title(name), **same, "hash": digest[:10] or None, "sha256": digest or None})
    return rows


@routes.get("/prompt-styles")
def styles(state: Served) -> list[Row]:
    """The model's styles. Their text is as in captions, for clients that put it into the prompt themselves."""
    named = [style.name for style in state.capabilities().styles]
    return [{"name": name, "prompt": f"{{prompt}}, {name} style", "negative_prompt": ""} for name in named]


@routes.get("/upscalers")
def upscalers(state: Served) -> list[Row]:
    """What `extra-single-image` takes."""
    blank = {"model_name": None, "model_path": None, "model_url": None}
    ours = [OURS] if state.capabilities().enlarges else []
    return [{"name": name, **blank, "scale": 4} for name in (*UPSCALERS, *ours)]


@routes.get("/options")
def options(state: Served) -> Row:
    """What is set: the model, and what clients look for that can't be set here."""
    model = {"sd_model_checkpoint": state.title(state.model), "sd_checkpoint_hash": state.digest(state.model)}
    return {**model, **DATA["options"]}


@routes.post("/options")
def choose(state: Served, said: Row) -> None:
    """Set the model. Clients send all options back; the others have no meaning here and stay as they are."""
    state.model = state.chosen({"sd_model_checkpoint": said.get("sd_model_checkpoint")})


@routes.get("/memory")
def memory() -> Row:
    """Of the computer, in bytes."""
    ram = psutil.virtual_memory()
    free = {"free": ram.available, "used": ram.total - ram.available, "total": ram.total}
    return {"ram": free, "cuda": {"error": "unavailable"}}


def answering(value: Any) -> Callable[[], Any]:
    return lambda: value


for _name, _value in DATA["constant"].items():
    routes.add_api_route(f"/{_name}", answering(_value), methods=["GET"], name=_name)
for _name in DATA["nothing"]:  # to refresh, to load or to unload: the worker does that
    routes.add_api_route(f"/{_name}", answering({}), methods=["POST"], name=_name)
