"""A1111's API, /sdapi/v1, over the studio's own requests and queue: plug-ins and client libraries work unchanged.

Facts from AUTOMATIC1111/stable-diffusion-webui, modules/api. What differs: pictures have the model's own size, whatever
the client names; a client that leaves loses nothing, for the job goes on and its pictures are in the gallery; fields
that take addresses at A1111 take base64 only.

A1111 does one thing at a time and its API speaks of that. Here one queue serves every door, so `progress`, `interrupt`
and `skip` are about what came in through this API only.

A client chooses by A1111's names and often has no others. The name of a method of ours selects it; a method that is
not here selects the nearest that is, and the answer says so; any other name is not found. `a1111.json` has the
names, and the answers that never change.
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
from anyio import to_thread
from fastapi import APIRouter, Depends
from PIL import Image, ImageOps
from pydantic import BaseModel, ConfigDict, Field

from models.data.pixels import MAX_PIXELS, place
from models.messages import Message, Refused
from studio.api.routing import Rejected, Route, close, serve, served
from studio.api.uploads import Uploads, checked, decoded, in_turn, uploads
from studio.backends.base import MODELS, open_backend
from studio.capabilities import Capabilities
from studio.events import Cancelled, Done, End, Failed, Progress, Saved
from studio.media import quick_png
from studio.metadata.files import encoded, texts
from studio.metadata.origin import version
from studio.metadata.readers import PROGRAMS, parse_parameters
from studio.queue import QueuedJob
from studio.requests import ImageRequest, Picture, make_request, sides
from studio.studio import Studio

# A1111's names of ours: as an error's first word, and for a setting that is left out.
THEIRS = {"guidance": "cfg_scale", "strength": "denoising_strength", "count": "batch_size x n_iter"}
SAMPLING = {"steps": "steps", "guidance": "cfg_scale", "negative": "negative_prompt"}
UNKNOWN = ("enable_hr", "restore_faces", "tiling", "subseed_strength")
# A1111's names for what its text says, by ours.
NAMES = {"prompt": "Prompt", "negative": "Negative prompt", **PROGRAMS["a1111"]}
TAGGER = "deepdanbooru"  # A1111's name for a tagger
Box = tuple[int, int, int, int]  # left, top, right, bottom
MOST = 4 * MAX_PIXELS  # of all pictures of one answer together
PREFIX = "/sdapi/v1"
TRIAL = "fake"  # draws faces: listed only where the studio was started with it


class SdRoute(Route):
    """Answers errors as A1111's clients look for them."""

    keys = ("error", "detail", "errors")


routes = APIRouter(prefix=PREFIX, route_class=SdRoute, tags=["A1111"])


class Sent(BaseModel):
    """A client's body: the fields that have a meaning here. Others are ignored."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())


@dataclass(eq=False)
class Call:
    """A call that makes pictures: resolved requests by job, and notes on what differs from the call."""

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
        """The capabilities of a model; "" is the chosen one."""
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
    """The names of upscalers that `extra-single-image` takes."""
    blank = {"model_name": None, "model_path": None, "model_url": None}
    ours = [OURS] if state.capabilities().enlarges else []
    return [{"name": name, **blank, "scale": 4} for name in (*UPSCALERS, *ours)]


@routes.get("/options")
def options(state: Served) -> Row:
    """The options: the model, and constants that clients look for."""
    model = {"sd_model_checkpoint": state.title(state.model), "sd_checkpoint_hash": state.digest(state.model)}
    return {**model, **DATA["options"]}


@routes.post("/options")
def choose(state: Served, changes: Row) -> None:
    """Set the model. Clients send all options back; the others have no meaning here and stay as they are."""
    state.model = state.chosen({"sd_model_checkpoint": changes.get("sd_model_checkpoint")})


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


# --- Generation -------------------------------------------------------------------------------------------------------


class Generation(Sent):
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
async def text_to_image(state: Served, body: Generation) -> dict[str, Any]:
    """Pictures from words; the answer comes when they are done."""
    return await _make(state, body)


@routes.post("/img2img")
async def image_to_image(state: Served, body: ImageToImage) -> dict[str, Any]:
    """Pictures from a picture; the answer comes when they are done."""
    if not body.init_images:
        raise Rejected(404, "api.no_init_image")
    if len(body.init_images) > 1:
        raise Refused("api.one_init_image")
    return await _make(state, body)


async def _make(state: State, body: Generation) -> dict[str, Any]:
    call = await in_turn(_begin, state, body)
    with state.waiting(call):
        ends = [await ended(state.studio, job) for job in call.jobs]
    pictures = await to_thread.run_sync(_pictures, state.studio, call)
    failed = [end.sentence for end in ends if isinstance(end, Failed)]
    if failed:
        raise Rejected(500, failed[0])
    if None in ends:
        raise Rejected(503, "api.closing")
    return await to_thread.run_sync(_answer, state, body, call, pictures)


def _begin(state: State, body: Generation) -> Call:
    """The request as jobs in the queue; Refused where anything is wrong with it."""
    model = state.chosen(body.override_settings or {})
    can, notes, studio = state.capabilities(model), list[Message](), state.studio
    _check_scripts(body)
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
        refusal.message = Message(THEIRS.get(name, name) + rest)
        raise


def _fields(body: Generation, can: Capabilities, notes: list[Message]) -> dict[str, Any]:
    """Its fields that are no pictures; `notes` takes what is done otherwise. A sampler with fixed steps takes none."""
    notes += [Message("api.note_unknown", {"name": name}) for name in UNKNOWN if getattr(body, name)]
    styles = [name for name in body.styles or [] if name and name != "None"]
    if len(styles) > 1:
        raise Refused("api.one_style", list=f"{PREFIX}/prompt-styles")
    size, scheduler = _size(body, can, notes), _scheduler(body, can, notes)
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


def _scheduler(body: Generation, can: Capabilities, notes: list[Message]) -> str:
    """Ours for the sampler that is named; 404 where it is unknown, as at A1111."""
    name, plan = body.sampler_name or body.sampler_index or "", body.scheduler or "Automatic"
    match, on_schedule = sampler(name, can.schedulers) if name else ("", ()), schedule(plan)
    if match is None:
        raise Rejected(404, "api.no_sampler", name=name[:100], list=f"{PREFIX}/samplers")
    if on_schedule is None:
        raise Rejected(404, "api.no_schedule", name=plan[:100], list=f"{PREFIX}/schedulers")
    notes += [*match[1], *on_schedule]
    return match[0]


def _size(body: Generation, can: Capabilities, notes: list[Message]) -> int | str:
    """The nearest size that the model makes. Clients ask for 512 where nobody chose a size."""
    usual = sides(can.size)
    width, height = body.width or usual[0], body.height or usual[1]
    size = can.nearest(width, height)
    if (width, height) != sides(size):
        here = " x ".join(map(str, sides(size)))
        notes.append(Message("api.note_size", {"size": here, "width": width, "height": height}))
    return size


def _check_scripts(body: Generation) -> None:
    """Refused where a script would change the picture: there are no scripts."""
    if body.script_name and body.script_name != "None":
        raise Refused("api.no_script", name=body.script_name[:100])
    for name, script in (body.alwayson_scripts or {}).items():
        if not isinstance(script, dict) or script.get("args"):
            raise Refused("api.no_always_on_script", name=name[:100])


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


DrawnPicture = tuple[bytes, int, ImageRequest]  # a picture's file, its seed, and its request


def _pictures(studio: Studio, call: Call) -> list[DrawnPicture]:
    """The call's pictures so far, in the order of its jobs."""
    saved = ((request, studio.gallery.results(job)) for job, request in call.jobs.items())
    files = ((request, results[index]) for request, results in saved for index in sorted(results))
    return [(Path(file.path).read_bytes(), file.seed, request) for request, file in files]


def _answer(state: State, body: Generation, call: Call, pictures: list[DrawnPicture]) -> dict[str, Any]:
    """The files in base64, the request, and a JSON document of how they were made."""
    whole = isinstance(body, ImageToImage) and body.include_init_images
    parameters = body.model_dump(exclude=set() if whole else {"init_images", "mask"})
    images = [base64.b64encode(data).decode() for data, _, _ in pictures] if body.send_images is not False else []
    info = json.dumps(_info(state, body, call, pictures), ensure_ascii=False)
    return {"images": images, "parameters": parameters, "info": info}


def _info(state: State, body: Generation, call: Call, pictures: list[DrawnPicture]) -> dict[str, Any]:
    """As A1111's `Processed.js`, which clients read seeds and texts from; what is ours is under `studio`."""
    first = next(iter(call.jobs.values()))
    size, seeds = sides(first.size or state.capabilities(first.model).size), [seed for _, seed, _ in pictures]
    return DATA["info"] | {
        "prompt": first.prompt,
        "all_prompts": [request.prompt for _, _, request in pictures],
        "negative_prompt": first.negative,
        "all_negative_prompts": [request.negative for _, _, request in pictures],
        "seed": first.seed,
        "all_seeds": seeds,
        "subseed": first.seed,
        "all_subseeds": seeds,
        "width": size[0],
        "height": size[1],
        "sampler_name": sampler_name(first.scheduler),
        "cfg_scale": first.guidance,
        "steps": first.steps,
        "batch_size": body.batch_size or 1,
        "sd_model_name": first.model,
        "sd_model_hash": state.digest(first.model)[:10],
        "denoising_strength": first.strength,
        "infotexts": [texts(data, "the picture").texts.get("parameters", "") for data, _, _ in pictures],
        "styles": [first.style] if first.style else [],
        "job_timestamp": timestamp(),
        "is_using_inpainting_conditioning": first.mask is not None,
        "version": f"Studio 128 {version()}",
        "studio": {"jobs": list(call.jobs), "notes": [str(note) for note in call.notes]},
    }


# --- Files ------------------------------------------------------------------------------------------------------------


class PictureFile(Sent):
    """A picture in base64."""

    image: str = ""


class Interrogation(PictureFile):
    """A picture to describe, and by what."""

    model: str = "clip"


class Upscaling(Sent):
    """How to enlarge: by a factor (`resize_mode` 0), or to a size (1), cut to fit or not."""

    resize_mode: int = Field(0, ge=0, le=1)
    upscaling_resize: float = Field(2, gt=0, le=32, allow_inf_nan=False)
    upscaling_resize_w: int = Field(512, ge=1, le=4096)
    upscaling_resize_h: int = Field(512, ge=1, le=4096)
    upscaling_crop: bool = True
    upscaler_1: str = "None"


class OneImage(Upscaling, PictureFile):
    """A picture to enlarge."""


class NamedImage(Sent):
    """One of several pictures, in base64."""

    data: str


class ManyImages(Upscaling):
    """Pictures to enlarge."""

    imageList: list[NamedImage] = Field(max_length=64)


@routes.post("/png-info")
def png_info(body: PictureFile) -> dict[str, Any]:
    """The settings in a file: A1111's text, all its texts by keyword, and the text's settings by A1111's names."""
    by_keyword = texts(decoded(body.image.strip(), "image"), "image").texts
    text = by_keyword.get("parameters", "")
    settings = parse_parameters(text)
    known = {theirs: settings[ours] for ours, theirs in NAMES.items() if ours in settings and ours != "size"}
    known = {name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in known.items()}
    size = re.fullmatch(r"(\d{1,6})x(\d{1,6})", settings.get("size", ""))
    pixels = {"Size-1": size[1], "Size-2": size[2]} if size else {}
    items = {keyword: value for keyword, value in by_keyword.items() if value}
    return {"info": text, "items": items, "parameters": {**known, **pixels, **settings.get("other", {})}}


@routes.post("/interrogate")
async def caption(state: Served, body: Interrogation) -> dict[str, Any]:
    """A caption in English; tags from `deepdanbooru`. 501 where the model has no captioner."""
    if "caption" not in state.capabilities().tasks:
        raise Rejected(501, "api.no_captions")
    data = await to_thread.run_sync(decoded, body.image, "image")
    return {"caption": (await _artifact(state, "caption", data, "image", tags=body.model == TAGGER)).text}


# --- Larger pictures --------------------------------------------------------------------------------------------------


@routes.post("/extra-single-image")
async def enlarge_one(state: Served, body: OneImage) -> dict[str, Any]:
    """A larger picture."""
    return {"image": await _enlarged(state, body.image, "image", body), "html_info": ""}


@routes.post("/extra-batch-images")
async def enlarge_many(state: Served, body: ManyImages) -> dict[str, Any]:
    """Larger pictures."""
    named = [(image.data, f"imageList[{n}]") for n, image in enumerate(body.imageList)]

    def pixels(text: str, name: str) -> int:
        width, height = _target(checked(decoded(text, name), name).size, body)
        return width * height

    together = sum([await in_turn(pixels, text, name) for text, name in named])
    if together > MOST:
        raise Refused("api.too_many_pixels_together", pixels=together, most=MOST)
    return {"images": [await _enlarged(state, text, name, body) for text, name in named], "html_info": ""}


async def _enlarged(state: State, text: str, name: str, how: Upscaling) -> str:
    """The file, in base64, of a larger picture."""
    data = await to_thread.run_sync(decoded, text, name)
    size = (await in_turn(checked, data, name)).size  # the picture is not kept: many requests wait here
    target, box = _target(size, how), None
    if how.upscaler_1 == OURS:
        can = state.capabilities()
        if not can.enlarges:
            raise Rejected(501, "api.no_upscaler_part", reason=can.beyond or "this model has no upscaler")
        if 2 * max(size) <= can.enlarges:  # the network adds nothing to what is larger than half of its largest
            data = Path((await _artifact(state, "enlarge", data, name, size=can.enlarges)).path).read_bytes()
            (width, height), left, top = place(size, can.enlarges)
            box = (left, top, left + width, top + height)
    elif how.upscaler_1 not in UPSCALERS:
        raise Rejected(404, "api.no_upscaler", name=how.upscaler_1[:100], list=f"{PREFIX}/upscalers")
    return await in_turn(_file, data, name, box, target, how)


async def _artifact(state: State, task: str, data: bytes, name: str, **fields: Any) -> Saved:
    """The result of a job on a picture's file."""
    studio = state.studio

    def submit() -> str:
        with uploads(studio.home, studio.gallery) as files:
            picture = {"path": files.add(data, name).path}
            (job,) = studio.plan(make_request(task, image=picture, model=state.model, **fields))
            return studio.submit(job)

    job = await in_turn(submit)
    end = await ended(studio, job)
    if isinstance(end, Failed):
        raise Rejected(500, end.sentence)
    if not isinstance(end, Done):
        raise Rejected(503, "api.job_cancelled" if isinstance(end, Cancelled) else "api.closing")
    return studio.gallery.results(job)[0]


def _target(size: tuple[int, int], how: Upscaling) -> tuple[int, int]:
    """(width, height) that a picture of `size` becomes; Refused where that is too much."""
    width, height = how.upscaling_resize_w, how.upscaling_resize_h
    if how.resize_mode == 0 or not how.upscaling_crop:
        fills = max(width / size[0], height / size[1])  # as A1111: nothing is left free
        share = how.upscaling_resize if how.resize_mode == 0 else fills
        width, height = (max(1, round(side * share)) for side in size)
    if width * height > MAX_PIXELS:
        raise Refused("api.too_many_pixels", width=width, height=height, most=MAX_PIXELS)
    return width, height


def _file(data: bytes, name: str, box: Box | None, size: tuple[int, int], how: Upscaling) -> str:
    """A picture, or its part in `box`, in `size`, as a file in base64; `data` itself where the box is all of it."""
    picture = checked(data, name)
    if box == (0, 0, *size) and picture.size == size:
        return base64.b64encode(data).decode()
    method = UPSCALERS.get(how.upscaler_1, Image.Resampling.LANCZOS)
    premultiplied = picture.crop(box).convert("RGBA").convert("RGBa")
    cut = how.resize_mode == 1 and how.upscaling_crop
    larger = ImageOps.fit(premultiplied, size, method) if cut else premultiplied.resize(size, method)
    return base64.b64encode(encoded(larger.convert("RGBA"), None, "png")).decode()


def router(studio: Studio, model: str) -> APIRouter:
    """The routes of /sdapi/v1. `model` makes the pictures until a client chooses another."""
    bound = serve(routes, State(studio, model))
    bound.add_api_route("/internal/ping", answering({}), methods=["GET"])  # some clients look here first
    return bound


close(routes)
