"""A1111's tools for files: what a file says, larger pictures, and captions."""

import base64
import re
from pathlib import Path
from typing import Any

from anyio import to_thread
from PIL import Image, ImageOps
from pydantic import Field

from models.data.pixels import MAX_PIXELS, place
from models.messages import Refused
from studio.api.a1111_state import OURS, PREFIX, UPSCALERS, Sent, Served, State, ended, routes
from studio.api.routing import Rejected
from studio.api.uploads import checked, decoded, in_turn, uploads
from studio.events import Cancelled, Done, Failed, Saved
from studio.metadata.files import encoded, texts
from studio.metadata.readers import PROGRAMS, parse_parameters
from studio.requests import make_request

# A1111's names for what its text says, by ours.
NAMES = {"prompt": "Prompt", "negative": "Negative prompt", **PROGRAMS["a1111"]}
TAGGER = "deepdanbooru"  # A1111's name for what tells tags
Box = tuple[int, int, int, int]  # left, top, right, bottom
MOST = 4 * MAX_PIXELS  # of all pictures of one answer together


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
    """What a file says of itself: A1111's text, all its texts by keyword, and the text's settings by A1111's names."""
    found = texts(decoded(body.image.strip(), "image"), "image").texts
    text = found.get("parameters", "")
    said = parse_parameters(text)
    known = {theirs: _plain(said[ours]) for ours, theirs in NAMES.items() if ours in said and ours != "size"}
    size = re.fullmatch(r"(\d{1,6})x(\d{1,6})", said.get("size", ""))
    sides = {"Size-1": size[1], "Size-2": size[2]} if size else {}
    items = {keyword: value for keyword, value in found.items() if value}
    return {"info": text, "items": items, "parameters": {**known, **sides, **said.get("other", {})}}


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


@routes.post("/interrogate")
async def caption(state: Served, body: Interrogation) -> dict[str, Any]:
    """What a picture shows, in English; tags from `deepdanbooru`. 501 where the model can't tell."""
    if "caption" not in state.capabilities().tasks:
        raise Rejected(501, "api.no_captions")
    data = await to_thread.run_sync(decoded, body.image, "image")
    return {"caption": (await _made(state, "caption", data, "image", tags=body.model == TAGGER)).text}


# --- Larger pictures --------------------------------------------------------------------------------------------------


@routes.post("/extra-single-image")
async def enlarge_one(state: Served, body: OneImage) -> dict[str, Any]:
    """A larger picture."""
    return {"image": await _enlarged(state, body.image, "image", body), "html_info": ""}


@routes.post("/extra-batch-images")
async def enlarge_many(state: Served, body: ManyImages) -> dict[str, Any]:
    """Larger pictures."""
    named = [(one.data, f"imageList[{n}]") for n, one in enumerate(body.imageList)]

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
    size = (await in_turn(checked, data, name)).size  # the picture is let go: here many requests wait
    target, box = _target(size, how), None
    if how.upscaler_1 == OURS and _gains(state, size):
        data, box = await _by_network(state, data, name, size)
    elif how.upscaler_1 not in (OURS, *UPSCALERS):
        raise Rejected(404, "api.no_upscaler", name=how.upscaler_1[:100], list=f"{PREFIX}/upscalers")
    return await in_turn(_file, data, name, box, target, how)


def _gains(state: State, size: tuple[int, int]) -> bool:
    """Whether the network adds anything: not to what is larger than half of its largest. 501 where there is none."""
    can = state.capabilities()
    if not can.enlarges:
        raise Rejected(501, "api.no_upscaler_part", reason=can.beyond or "this model has no upscaler")
    return 2 * max(size) <= can.enlarges


async def _by_network(state: State, data: bytes, name: str, size: tuple[int, int]) -> tuple[bytes, Box]:
    """The file that the studio's network makes of a picture of `size`, as large as it can, and where it lies there."""
    largest = state.capabilities().enlarges
    made = Path((await _made(state, "enlarge", data, name, size=largest)).path).read_bytes()
    (width, height), left, top = place(size, largest)
    return made, (left, top, left + width, top + height)


async def _made(state: State, task: str, data: bytes, name: str, **fields: Any) -> Saved:
    """What is made of a picture's file, by a job like any other."""
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
    return studio.gallery.found(job)[0]


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
