"""A1111's API, /sdapi/v1, over the studio's own requests and queue: plug-ins and client libraries work unchanged.

Facts from AUTOMATIC1111/stable-diffusion-webui, modules/api. What differs: pictures have the model's own size, whatever
was asked for; a client that leaves loses nothing, for the job goes on and its pictures are in the gallery; fields that
A1111 takes addresses in take base64 only.
"""

import io
import re
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, HTTPException
from PIL import Image, ImageOps

from models.messages import Refused
from studio.api import a1111_answers as answers
from studio.api.a1111_calls import Asked, Call, Calls
from studio.api.a1111_extras import CLOSING, Extras, ended
from studio.api.a1111_facts import Facts
from studio.api.a1111_models import ImageToImage, Made, Making, TextToImage
from studio.api.a1111_names import sampler, schedule
from studio.api.pictures import Uploads, decoded, looked_through, uploads
from studio.api.routes import SdRoute, close
from studio.capabilities import Capabilities
from studio.events import Failed
from studio.fields import Picture
from studio.studio import Studio

PREFIX = "/sdapi/v1"

THEIRS = {"guidance": "cfg_scale", "strength": "denoising_strength", "count": "batch_size x n_iter"}


def router(studio: Studio, model: str) -> APIRouter:
    """The routes of /sdapi/v1. `model` is what pictures are made with until a client chooses another."""
    calls, facts = Calls(studio), Facts(model)
    maker = Maker(studio, calls, facts)
    routes = APIRouter(prefix=PREFIX, route_class=SdRoute, tags=["A1111"])
    routes.add_api_route("/txt2img", maker.from_text, methods=["POST"])
    routes.add_api_route("/img2img", maker.from_image, methods=["POST"])
    routes.add_api_route("/progress", calls.progress, methods=["GET"])
    routes.add_api_route("/interrupt", _doing(calls.interrupt), methods=["POST"])
    routes.add_api_route("/skip", _doing(calls.skip), methods=["POST"])
    Extras(studio, facts).add_to(routes)
    facts.add_to(routes)
    whole = APIRouter(route_class=SdRoute)
    whole.include_router(close(routes))
    whole.add_api_route("/internal/ping", _doing(lambda: None), methods=["GET"])  # how some look whether it is there
    return whole


def _doing(what: Any) -> Any:
    def do() -> dict[str, str]:
        what()
        return {}

    return do


class Maker:
    """Makes pictures for clients that wait for them."""

    def __init__(self, studio: Studio, calls: Calls, facts: Facts) -> None:
        self._studio, self._calls, self._facts = studio, calls, facts

    async def from_text(self, body: TextToImage) -> Made:
        """Pictures from words; the answer comes when they are made."""
        return await self._make(body)

    async def from_image(self, body: ImageToImage) -> Made:
        """Pictures from a picture, all of it or what is white in a mask; the answer comes when they are made."""
        if not body.init_images:
            raise HTTPException(404, "Init image not found; give it in init_images, in base64.")
        if len(body.init_images) > 1:
            raise Refused("one picture at a time is started from here; give one in init_images.")
        return await self._make(body)

    async def _make(self, body: Making) -> Made:
        call = await to_thread.run_sync(self._begin, body)
        with self._calls.waiting(call):
            ends = [await ended(self._studio, asked.job) for asked in call.asked]
        made = await to_thread.run_sync(answers.pictures, self._studio, call)
        failed = [end.sentence for end in ends if isinstance(end, Failed)]
        if failed:
            raise HTTPException(500, failed[0])
        if None in ends:
            raise HTTPException(503, CLOSING)
        return await to_thread.run_sync(answers.made, body, call, made, self._facts)

    def _begin(self, body: Making) -> Call:
        """Everything that can be wrong with it, then into the line."""
        model = self._facts.chosen(body.override_settings or {})
        can, notes = self._facts.capabilities(model), list[str]()
        _without_scripts(body)
        fields = {"model": model, **_fields(body, can, notes)}
        if fields["count"] > can.count.most:
            raise Refused(f"batch_size x n_iter must be {can.count.most:g} at most, not {fields['count']}.")
        try:
            with uploads(self._studio.home) as files:
                if isinstance(body, ImageToImage):
                    fields |= _pictures(body, files)
                requests = self._studio.prepare(**fields)
                return Call([Asked(self._studio.submit(one), one) for one in requests], notes)
        except Refused as refusal:
            raise Refused(_in_their_words(str(refusal))) from refusal


def _fields(body: Making, can: Capabilities, notes: list[str]) -> dict[str, Any]:
    """The request's fields that are not pictures; `notes` takes what is done otherwise."""
    wanted = {"enable_hr": body.enable_hr, "restore_faces": body.restore_faces, "tiling": body.tiling}
    wanted["subseed_strength"] = bool(body.subseed_strength)
    notes += [f"there is no {name} here; it was left out." for name, value in wanted.items() if value]
    return {
        "size": _size(body, can, notes),
        "prompt": body.prompt or "",
        "style": _style(body.styles or []),
        "count": (body.batch_size or 1) * (body.n_iter or 1),
        "seed": None if body.seed == -1 else body.seed,
        **_sampled(body, can, notes),
    }


def _sampled(body: Making, can: Capabilities, notes: list[str]) -> dict[str, Any]:
    """How it is drawn. Clients send steps with every sampler: one that has its own takes none."""
    scheduler = _scheduler(body, can, notes)
    said = {"steps": body.steps, "guidance": body.cfg_scale, "negative": body.negative_prompt or ""}
    if scheduler not in can.fixed:
        return {"scheduler": scheduler, **said}
    own = {**dict(can.fixed[scheduler]), "negative": ""}
    names = {"steps": "steps", "guidance": "cfg_scale", "negative": "negative_prompt"}
    left = [names[name] for name, value in said.items() if value is not None and value != own[name]]
    notes += [f"{scheduler} draws in one way only; {', '.join(left)} was left out."] if left else []
    return {"scheduler": scheduler}


def _size(body: Making, can: Capabilities, notes: list[str]) -> int:
    """The largest size that does not go beyond what is asked for. Clients ask for 512 where nobody said anything."""
    width, height = body.width or can.size, body.height or can.size
    size = max((size for size in can.sizes if size <= max(width, height)), default=can.size)
    if (width, height) != (size, size):
        notes.append(f"pictures are {size} x {size} here, not {width} x {height}.")
    return size


def _style(names: list[str]) -> str:
    named = [name for name in names if name and name != "None"]
    if len(named) > 1:
        raise Refused("there is one style a picture here; give one, /sdapi/v1/prompt-styles lists them.")
    return named[0] if named else ""


def _scheduler(body: Making, can: Capabilities, notes: list[str]) -> str:
    """Ours for the sampler that is named; HTTP 404 where nobody knows it, as at A1111."""
    name = body.sampler_name or body.sampler_index or ""
    found = sampler(name, can.schedulers) if name else ("", "")
    if found is None:
        raise HTTPException(404, f"Sampler not found: {name[:100]!r}; {PREFIX}/samplers lists them.")
    plan = schedule(body.scheduler) if body.scheduler else ""
    if plan is None:
        raise HTTPException(404, f"Scheduler not found: {str(body.scheduler)[:100]!r}; {PREFIX}/schedulers lists them.")
    notes += [note for note in (found[1], plan) if note]
    return found[0]


def _without_scripts(body: Making) -> None:
    """HTTP 422 where a script is asked for that would change the picture: there are none."""
    if body.script_name and body.script_name != "None":
        raise HTTPException(422, f"Script {body.script_name[:100]!r} not found; there are none here.")
    for name, said in (body.alwayson_scripts or {}).items():
        if not isinstance(said, dict) or said.get("args"):
            raise HTTPException(422, f"always on script {name[:100]!r} not found; there are none here.")


def _pictures(body: ImageToImage, files: Uploads) -> dict[str, Any]:
    image = files.given((body.init_images or [""])[0], "init_images")
    mask = _mask(body.mask, bool(body.inpainting_mask_invert), files, files.sizes[image.path]) if body.mask else None
    return {"image": image, "mask": mask, "strength": body.denoising_strength}


def _mask(text: str, invert: bool, files: Uploads, size: tuple[int, int]) -> Picture:
    """A mask as ours are, of the picture's size: grey, white is drawn anew."""
    grey = _grey(looked_through(decoded(text, "mask"), "mask"))
    grey = ImageOps.invert(grey) if invert else grey
    grey = grey if grey.size == size else grey.resize(size, Image.Resampling.BOX)
    file = io.BytesIO()
    grey.save(file, "PNG", compress_level=1)
    return files.keep(file.getvalue(), "mask")


def _grey(picture: Image.Image) -> Image.Image:
    """Levels of a mask. As at A1111, one that is transparent anywhere is what is opaque in it, whatever its colours."""
    if "A" in picture.getbands() or "transparency" in picture.info:
        alpha = picture.convert("RGBA").getchannel("A")
        if alpha.getextrema() != (255, 255):
            return alpha.point([255 if level > 128 else 0 for level in range(256)])
    return picture.convert("L")


def _in_their_words(sentence: str) -> str:
    name = re.match(r"\w+", sentence)
    return THEIRS[name[0]] + sentence[name.end() :] if name and name[0] in THEIRS else sentence
