"""A1111's API, /sdapi/v1, over the studio's own requests and queue: plug-ins and client libraries work unchanged.

Facts from AUTOMATIC1111/stable-diffusion-webui, modules/api. What differs: pictures have the model's own size, whatever
was asked for; a client that leaves loses nothing, for the job goes on and its pictures are in the gallery; fields that
A1111 takes addresses in take base64 only.
"""

import base64
import json
import re
from pathlib import Path
from typing import Any

from anyio import to_thread
from fastapi import APIRouter
from PIL import Image, ImageOps
from pydantic import Field

from models.messages import Message, Refused
from studio.api import a1111_files  # noqa: F401  adds its routes
from studio.api.a1111_state import (
    DATA,
    PREFIX,
    Call,
    Sent,
    Served,
    State,
    answering,
    ended,
    routes,
    sampler,
    sampler_name,
    schedule,
    timestamp,
)
from studio.api.routing import Rejected, close, serve
from studio.api.uploads import Uploads, checked, decoded, in_turn, uploads
from studio.capabilities import Capabilities
from studio.events import Failed
from studio.fields import Picture, sides
from studio.media import quick_png
from studio.metadata.files import texts
from studio.metadata.origin import version
from studio.requests import ImageRequest
from studio.studio import Studio

# A1111's names of ours: as an error's first word, and for a setting that is left out.
THEIRS = {"guidance": "cfg_scale", "strength": "denoising_strength", "count": "batch_size x n_iter"}
SAMPLING = {"steps": "steps", "guidance": "cfg_scale", "negative": "negative_prompt"}
UNKNOWN = ("enable_hr", "restore_faces", "tiling", "subseed_strength")


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


def router(studio: Studio, model: str) -> APIRouter:
    """The routes of /sdapi/v1. `model` makes the pictures until a client chooses another."""
    bound = serve(routes, State(studio, model))
    bound.add_api_route("/internal/ping", answering({}), methods=["GET"])  # some clients look here first
    return bound


@routes.post("/txt2img")
async def text_to_image(state: Served, body: Generation) -> dict[str, Any]:
    """Pictures from words; the answer comes when they are made."""
    return await _make(state, body)


@routes.post("/img2img")
async def image_to_image(state: Served, body: ImageToImage) -> dict[str, Any]:
    """Pictures from a picture; the answer comes when they are made."""
    if not body.init_images:
        raise Rejected(404, "api.no_init_image")
    if len(body.init_images) > 1:
        raise Refused("api.one_init_image")
    return await _make(state, body)


async def _make(state: State, body: Generation) -> dict[str, Any]:
    call = await in_turn(_begin, state, body)
    with state.waiting(call):
        ends = [await ended(state.studio, job) for job in call.jobs]
    made = await to_thread.run_sync(_files, state.studio, call)
    failed = [end.sentence for end in ends if isinstance(end, Failed)]
    if failed:
        raise Rejected(500, failed[0])
    if None in ends:
        raise Rejected(503, "api.closing")
    return await to_thread.run_sync(_answer, state, body, call, made)


# --- What is asked for ------------------------------------------------------------------------------------------------


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
    said = {"steps": body.steps, "guidance": body.cfg_scale, "negative": body.negative_prompt or ""}
    if scheduler in can.fixed:
        own = {**dict(can.fixed[scheduler]), "negative": ""}
        left = [SAMPLING[name] for name, value in said.items() if value is not None and value != own[name]]
        notes += [Message("api.note_fixed", {"sampler": scheduler, "left": left})] if left else []
        said = {}
    return {**fields, **{name: said[name] for name in said if name not in can.lacks}}


def _scheduler(body: Generation, can: Capabilities, notes: list[Message]) -> str:
    """Ours for the sampler that is named; 404 where it is unknown, as at A1111."""
    name, plan = body.sampler_name or body.sampler_index or "", body.scheduler or "Automatic"
    found, on_schedule = sampler(name, can.schedulers) if name else ("", ()), schedule(plan)
    if found is None:
        raise Rejected(404, "api.no_sampler", name=name[:100], list=f"{PREFIX}/samplers")
    if on_schedule is None:
        raise Rejected(404, "api.no_schedule", name=plan[:100], list=f"{PREFIX}/schedulers")
    notes += [*found[1], *on_schedule]
    return found[0]


def _size(body: Generation, can: Capabilities, notes: list[Message]) -> int | str:
    """The nearest size that the model makes. Clients ask for 512 where nobody chose a size."""
    own = sides(can.size)
    width, height = body.width or own[0], body.height or own[1]
    size = can.nearest(width, height)
    if (width, height) != sides(size):
        here = " x ".join(map(str, sides(size)))
        notes.append(Message("api.note_size", {"size": here, "width": width, "height": height}))
    return size


def _check_scripts(body: Generation) -> None:
    """Refused where a script is asked for that would change the picture: there are none."""
    if body.script_name and body.script_name != "None":
        raise Refused("api.no_script", name=body.script_name[:100])
    for name, said in (body.alwayson_scripts or {}).items():
        if not isinstance(said, dict) or said.get("args"):
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


# --- What is answered -------------------------------------------------------------------------------------------------


Made = tuple[bytes, int, ImageRequest]  # a picture's file, its seed, and the request that it is of


def _files(studio: Studio, call: Call) -> list[Made]:
    """What the call has made so far, in the order asked for."""
    found = ((request, studio.gallery.found(job)) for job, request in call.jobs.items())
    saved = ((request, found[index]) for request, found in found for index in sorted(found))
    return [(Path(one.path).read_bytes(), one.seed, request) for request, one in saved]


def _answer(state: State, body: Generation, call: Call, made: list[Made]) -> dict[str, Any]:
    """The files in base64, what was asked for, and a JSON document that says how they were made."""
    whole = isinstance(body, ImageToImage) and body.include_init_images
    parameters = body.model_dump(exclude=set() if whole else {"init_images", "mask"})
    images = [base64.b64encode(data).decode() for data, _, _ in made] if body.send_images is not False else []
    info = json.dumps(_info(state, body, call, made), ensure_ascii=False)
    return {"images": images, "parameters": parameters, "info": info}


def _info(state: State, body: Generation, call: Call, made: list[Made]) -> dict[str, Any]:
    """As A1111's `Processed.js`, which clients read seeds and texts from; what is ours is under `studio`."""
    first = next(iter(call.jobs.values()))
    size, seeds = sides(first.size or state.capabilities(first.model).size), [seed for _, seed, _ in made]
    return DATA["info"] | {
        "prompt": first.prompt,
        "all_prompts": [request.prompt for _, _, request in made],
        "negative_prompt": first.negative,
        "all_negative_prompts": [request.negative for _, _, request in made],
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
        "infotexts": [texts(data, "the picture").texts.get("parameters", "") for data, _, _ in made],
        "styles": [first.style] if first.style else [],
        "job_timestamp": timestamp(),
        "is_using_inpainting_conditioning": first.mask is not None,
        "version": f"Studio 128 {version()}",
        "studio": {"jobs": list(call.jobs), "notes": [str(note) for note in call.notes]},
    }


close(routes)
