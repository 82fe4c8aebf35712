"""A1111's API, /sdapi/v1, over the studio's own requests and queue: plug-ins and client libraries work unchanged.

Source of its fields: AUTOMATIC1111/stable-diffusion-webui, modules/api. Pictures have the model's own size, whatever
the client names. A job goes on when its client leaves, and its pictures are in the gallery. Fields that take addresses
at A1111 take base64 only. `progress` and `interrupt` are about the requests of this API, not about other jobs.

`a1111.json` maps A1111's sampler names to our schedulers and holds the answers that never change. A sampler that is not
here is replaced by the nearest one, and the answer says so; an unknown name is 404.
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

from anyio import to_thread
from fastapi import APIRouter, Depends
from PIL import Image, ImageOps
from pydantic import BaseModel, ConfigDict, Field

from models.messages import Message, Refused
from studio import inputs
from studio.api.routing import Rejected, Route, answered, close, serve, served
from studio.api.uploads import Uploads, checked, decoded, in_turn, uploads
from studio.backends.base import MODELS, model_state, open_backend
from studio.capabilities import Capabilities
from studio.events import Cancelled, Done, Failed, Progress, Saved
from studio.media import quick_png
from studio.metadata.files import texts
from studio.metadata.origin import version
from studio.queue import QueuedJob
from studio.requests import ImageRequest, MediaRequest, Picture, sides
from studio.studio import Studio

# A1111's names of our fields: the first word of an error, and of settings that are left out.
FIELD_NAMES = {"guidance": "cfg_scale", "strength": "denoising_strength", "count": "batch_size x n_iter"}
SAMPLING = {"steps": "steps", "guidance": "cfg_scale", "negative": "negative_prompt"}
IGNORED = ("enable_hr", "restore_faces", "tiling", "subseed_strength")
TAGGER = "deepdanbooru"  # A1111's name for a tagger
PREFIX = "/sdapi/v1"

Row = dict[str, Any]


class SdRoute(Route):
    """Answers errors as A1111's clients look for them."""

    keys = ("error", "detail", "errors")


routes = APIRouter(prefix=PREFIX, route_class=SdRoute, tags=["A1111"])


class Body(BaseModel):
    """A client's body: the fields that have a meaning here. Others are ignored."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())


@dataclass(eq=False)
class Call:
    """A call that makes pictures: resolved requests by job, and notes on what differs from the call."""

    jobs: dict[str, ImageRequest]
    notes: list[Message] = field(default_factory=list)
    interrupted: bool = False


class State:
    """The served studio, the model chosen for all clients, and the open calls, oldest first. For any thread."""

    def __init__(self, studio: Studio, model: str) -> None:
        self.studio, self._served, self.model = studio, model, model
        self.open, self._lock = list[Call](), threading.Lock()

    def capabilities(self, model: str = "") -> Capabilities:
        """The capabilities of a model; "" is the chosen one."""
        return open_backend(model or self.model).capabilities()

    def title(self, model: str) -> tuple[str, str]:
        """Title and digest of a model. A title is, as at A1111, the name and the beginning of the digest."""
        digest = model_state(model).digest
        return (f"{model} [{digest[:10]}]" if digest else model), digest

    def models(self) -> dict[str, tuple[str, str]]:
        """Title and digest of the models that can be chosen: the served one, and others whose weights are here."""
        others = [name for name in MODELS if name not in ("fake", self._served.partition(":")[0])]
        titles = {name: self.title(name) for name in (self._served, *others)}
        return {name: titles[name] for name in titles if titles[name][1] or name == self._served}

    def chosen(self, settings: Row) -> str:
        """The model that a request is for: its own choice, else the one chosen for all; 404 where it is unknown."""
        wanted = settings.get("sd_model_checkpoint") or settings.get("sd_checkpoint")
        if not wanted:
            return self.model
        for name, (title, digest) in self.models().items():
            if str(wanted).casefold() in (name.casefold(), title.casefold(), digest[:10]):
                return name
        raise Rejected(404, "api.no_model", name=str(wanted)[:100], list=f"{PREFIX}/sd-models")

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
        with_jobs = [(call, [self.studio.queue.job(job) for job in call.jobs]) for call in calls]
        undone = [(call, jobs) for call, jobs in with_jobs if not all(job.end for job in jobs)]
        running = (pair for pair in undone if any(job.state == "running" for job in pair[1]))
        return next(running, undone[0] if undone else (None, []))


Served = Annotated[State, Depends(served)]


def timestamp(seconds: float | None = None) -> str:
    """A time, None for now, as A1111 writes it."""
    return time.strftime("%Y%m%d%H%M%S", time.localtime(seconds))


# --- Samplers ---------------------------------------------------------------------------------------------------------


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
_SCHEDULE = re.compile(r"(.*?)(?: (karras|exponential|polyexponential))?", re.IGNORECASE | re.DOTALL)


def scheduler_of(name: str, schedule: str, schedulers: Sequence[str], notes: list[Message]) -> str:
    """Our scheduler, among `schedulers`, for A1111's names of a sampler and a schedule; "" for none, 404 for others.

    `notes` takes what is done otherwise: the nearest sampler, and every schedule but the automatic one.
    """
    bare, suffix = _SCHEDULE.fullmatch(name.strip()).groups()  # type: ignore[union-attr]
    if (schedule := suffix or schedule).casefold() not in ("", "automatic"):
        notes.append(Message("api.note_schedule", {"name": schedule[:60]}))
    if not bare:
        return ""
    for row in SAMPLERS:
        if row.ours not in schedulers:
            continue
        if bare.casefold() in map(str.casefold, (row.name, row.ours, *row.same)):
            return row.ours
        if bare.casefold() in map(str.casefold, row.stands_for):
            notes.append(Message("api.note_sampler", {"name": bare, "taken": row.name}))
            return row.ours
    raise Rejected(404, "api.no_sampler", name=name[:100], list=f"{PREFIX}/samplers")


# --- The current call -------------------------------------------------------------------------------------------------


@routes.post("/interrupt")
def interrupt(state: Served) -> Row:
    """Stop the current call: what is whole by then is its answer."""
    call, _ = state.current()
    if call:
        call.interrupted = True
        state.studio.queue.cancel(list(call.jobs))
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
            "skipped": False,
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


# --- Lists and options ------------------------------------------------------------------------------------------------


@routes.get("/samplers")
def samplers(state: Served) -> list[Row]:
    """Those that are the very method; among their aliases the names that they stand in for."""
    can = state.capabilities().schedulers
    rows = sorted((row for row in SAMPLERS if row.ours in can), key=lambda row: row.ours != can[0])
    return [{"name": row.name, "aliases": [row.ours, *row.same, *row.stands_for], "options": {}} for row in rows]


@routes.get("/sd-models")
def models(state: Served) -> list[Row]:
    """The models that can be chosen, the served one first. A file name is a path at A1111; here it is the name."""
    return [
        {"title": title, "model_name": name, "filename": name, "config": None}
        | {"hash": digest[:10] or None, "sha256": digest or None}
        for name, (title, digest) in state.models().items()
    ]


@routes.get("/prompt-styles")
def styles(state: Served) -> list[Row]:
    """The model's styles. Their text is as in captions, for clients that put it into the prompt themselves."""
    named = [style.name for style in state.capabilities().styles]
    return [{"name": name, "prompt": f"{{prompt}}, {name} style", "negative_prompt": ""} for name in named]


@routes.get("/options")
def options(state: Served) -> Row:
    """The options: the model, and constants that clients look for."""
    title, digest = state.title(state.model)
    return {"sd_model_checkpoint": title, "sd_checkpoint_hash": digest, **DATA["options"]}


@routes.post("/options")
def choose(state: Served, changes: Row) -> None:
    """Set the model. Clients send all options back; the others have no meaning here and stay as they are."""
    state.model = state.chosen({"sd_model_checkpoint": changes.get("sd_model_checkpoint")})


def answering(value: Any) -> Callable[[], Any]:
    return lambda: value


for _name, _value in DATA["constant"].items():
    routes.add_api_route(f"/{_name}", answering(_value), methods=["GET"], name=_name)
for _name in DATA["nothing"]:  # to refresh, to load or to unload: the worker does that
    routes.add_api_route(f"/{_name}", answering({}), methods=["POST"], name=_name)


# --- Generation -------------------------------------------------------------------------------------------------------


class Generation(Body):
    """Pictures to make. None, which many clients send, is the same as leaving it out."""

    prompt: str | None = None
    negative_prompt: str | None = None
    styles: list[str] | None = None
    seed: int | None = -1
    subseed_strength: float | None = None
    sampler_name: str | None = None
    sampler_index: str | None = None  # the sampler's name, from older clients
    scheduler: str | None = None
    batch_size: int | None = Field(1, ge=1)
    n_iter: int | None = Field(1, ge=1)
    steps: int | None = None
    cfg_scale: float | None = None
    width: int | None = Field(None, ge=1)
    height: int | None = Field(None, ge=1)
    denoising_strength: float | None = None
    reference_strength: float | None = None  # ours
    enable_hr: bool | None = False
    restore_faces: bool | None = False
    tiling: bool | None = False
    override_settings: dict[str, Any] | None = None
    script_name: str | None = None
    alwayson_scripts: dict[str, Any] | None = None
    send_images: bool | None = True


class ImageToImage(Generation):
    """Pictures from a picture, all of it or what is white in a mask; both in base64."""

    init_images: list[str] | None = None
    mask: str | None = None
    inpainting_mask_invert: bool | None = False
    denoising_strength: float | None = 0.75
    include_init_images: bool | None = False


@routes.post("/txt2img")
async def text_to_image(state: Served, body: Generation) -> Row:
    """Pictures from words; the answer comes when they are done."""
    return await _make(state, body)


@routes.post("/img2img")
async def image_to_image(state: Served, body: ImageToImage) -> Row:
    """Pictures from a picture; the answer comes when they are done."""
    if not body.init_images:
        raise Rejected(404, "api.no_init_image")
    if len(body.init_images) > 1:
        raise Refused("api.one_init_image")
    return await _make(state, body)


async def _make(state: State, body: Generation) -> Row:
    call = await in_turn(_begin, state, body)
    ends: list[Done | Cancelled | Failed] = []
    with state.waiting(call):
        for job in call.jobs:
            async for event in state.studio.aevents(job):
                ends += [event] if isinstance(event, Done | Cancelled | Failed) else []
    if failed := [end.sentence for end in ends if isinstance(end, Failed)]:
        raise Rejected(500, failed[0])
    if len(ends) < len(call.jobs):
        raise Rejected(503, "api.closing")
    return await to_thread.run_sync(_answer, state, body, call)


def _begin(state: State, body: Generation) -> Call:
    """The request as jobs in the queue; Refused where anything is wrong with it."""
    model = state.chosen(body.override_settings or {})
    can, notes, studio = state.capabilities(model), list[Message](), state.studio
    if body.script_name and body.script_name != "None":  # there are no scripts, which would change the picture
        raise Refused("api.no_script", name=body.script_name[:100])
    for name, script in (body.alwayson_scripts or {}).items():
        if not isinstance(script, dict) or script.get("args"):
            raise Refused("api.no_always_on_script", name=name[:100])
    fields = {"model": model, **_fields(body, can, notes)}
    if fields["count"] > can.count.most:
        raise Refused("api.too_many_pictures", most=f"{can.count.most:g}", count=fields["count"])
    try:
        with uploads(studio.home, studio.gallery) as files:
            if isinstance(body, ImageToImage):
                image = files.add_base64((body.init_images or [""])[0], "init_images")
                mask = _mask(body, files, files.sizes[image.path])
                fields |= {"image": image, "mask": mask, "strength": body.denoising_strength}
            return Call({studio.submit(job): job.request for job in studio.prepare("image", **fields)}, notes)
    except Refused as refusal:
        name, rest = re.match(r"(\w*)(.*)", str(refusal), re.DOTALL).groups()  # type: ignore[union-attr]
        refusal.message = Message(FIELD_NAMES.get(name, name) + rest)
        raise


def _fields(body: Generation, can: Capabilities, notes: list[Message]) -> Row:
    """Its fields that are no pictures; `notes` takes what is done otherwise. A sampler with fixed steps takes none."""
    notes += [Message("api.note_unknown", {"name": name}) for name in IGNORED if getattr(body, name)]
    styles = [name for name in body.styles or [] if name and name != "None"]
    if len(styles) > 1:
        raise Refused("api.one_style", list=f"{PREFIX}/prompt-styles")
    usual = sides(can.size)  # clients ask for 512 where nobody chose a size
    width, height = body.width or usual[0], body.height or usual[1]
    size = can.nearest(width, height)
    if (width, height) != sides(size):
        here = " x ".join(map(str, sides(size)))
        notes.append(Message("api.note_size", {"size": here, "width": width, "height": height}))
    name = body.sampler_name or body.sampler_index or ""
    scheduler = scheduler_of(name, body.scheduler or "", can.schedulers, notes)
    count, seed = (body.batch_size or 1) * (body.n_iter or 1), None if body.seed == -1 else body.seed
    fields: dict[str, Any] = {"prompt": body.prompt or "", "style": "".join(styles), "size": size}
    fields |= {"count": count, "seed": seed, "scheduler": scheduler, "reference_strength": body.reference_strength}
    sampling = {"steps": body.steps, "guidance": body.cfg_scale, "negative": body.negative_prompt or ""}
    if scheduler in can.fixed:
        fixed = {**dict(can.fixed[scheduler]), "negative": ""}
        left = [SAMPLING[name] for name, value in sampling.items() if value is not None and value != fixed[name]]
        notes += [Message("api.note_fixed", {"sampler": scheduler, "left": left})] if left else []
        return fields
    return {**fields, **{name: value for name, value in sampling.items() if name not in can.lacks}}


def _mask(body: ImageToImage, files: Uploads, size: tuple[int, int]) -> Picture | None:
    """A mask as ours are: grey, white is drawn anew. Of a transparent one, as at A1111, only the opaque part counts."""
    if not body.mask:
        return None
    mask = checked(decoded(body.mask, "mask"), "mask")
    alpha = mask.convert("RGBA").getchannel("A")
    grey = mask.convert("L")
    if alpha.getextrema() != (255, 255):
        grey = alpha.point([255 if level > 128 else 0 for level in range(256)])
    grey = ImageOps.invert(grey) if body.inpainting_mask_invert else grey
    grey = grey if grey.size == size else grey.resize(size, Image.Resampling.BOX)
    return files.add(quick_png(grey), "mask")


def _answer(state: State, body: Generation, call: Call) -> Row:
    """The files in base64, the request, and a JSON document of how they were made.

    That is A1111's `Processed.js`, which clients read seeds and texts from; what is ours is under `studio`.
    """
    requests, saved = list[ImageRequest](), list[Saved]()
    for job, request in call.jobs.items():
        results = state.studio.gallery.results(job)
        requests += [request] * len(results)
        saved += [results[index] for index in sorted(results)]
    files, seeds = [Path(picture.path).read_bytes() for picture in saved], [picture.seed for picture in saved]
    first = next(iter(call.jobs.values()))
    size = sides(first.size or state.capabilities(first.model).size)
    info = DATA["info"] | {
        "prompt": first.prompt,
        "all_prompts": [request.prompt for request in requests],
        "negative_prompt": first.negative,
        "all_negative_prompts": [request.negative for request in requests],
        "seed": first.seed,
        "all_seeds": seeds,
        "subseed": first.seed,
        "all_subseeds": seeds,
        "width": size[0],
        "height": size[1],
        "sampler_name": next((row.name for row in SAMPLERS if row.ours == first.scheduler), first.scheduler),
        "cfg_scale": first.guidance,
        "steps": first.steps,
        "batch_size": body.batch_size or 1,
        "sd_model_name": first.model,
        "sd_model_hash": model_state(first.model).digest[:10],
        "denoising_strength": first.strength,
        "infotexts": [texts(data, "the picture").texts.get("parameters", "") for data in files],
        "styles": [first.style] if first.style else [],
        "job_timestamp": timestamp(),
        "is_using_inpainting_conditioning": first.mask is not None,
        "version": f"Studio 128 {version()}",
        "studio": {"jobs": list(call.jobs), "notes": [str(note) for note in call.notes]},
    }
    whole = isinstance(body, ImageToImage) and body.include_init_images
    return {
        "images": [base64.b64encode(data).decode() for data in files] if body.send_images is not False else [],
        "parameters": body.model_dump(exclude=set() if whole else {"init_images", "mask"}),
        "info": json.dumps(info, ensure_ascii=False),
    }


# --- Captions ---------------------------------------------------------------------------------------------------------


class Interrogation(Body):
    """A picture in base64 to describe, and by what."""

    image: str = ""
    model: str = "clip"


@routes.post("/interrogate")
async def caption(state: Served, body: Interrogation) -> Row:
    """A caption in English; tags from `deepdanbooru`. 501 where the model has no captioner."""
    if "caption" not in state.capabilities().tasks:
        raise Rejected(501, "api.no_captions")

    def planned() -> MediaRequest:
        with uploads(state.studio.home, state.studio.gallery) as files:
            fields = {"image": files.add_base64(body.image, "image"), "tags": body.model == TAGGER}
            (job,) = state.studio.prepare("caption", model=state.model, **fields)
            return inputs.keep(job.request, state.studio.home)

    return {"caption": (await answered(state.studio, await in_turn(planned))).data.decode()}


def router(studio: Studio, model: str) -> APIRouter:
    """The routes of /sdapi/v1. `model` makes the pictures until a client chooses another."""
    bound = serve(routes, State(studio, model))
    bound.add_api_route("/internal/ping", answering({}), methods=["GET"])  # some clients look here first
    return bound


close(routes)
