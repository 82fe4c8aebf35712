"""A1111's tools for files: what a file says, larger pictures, and captions."""

import base64
import io
import re
from pathlib import Path
from typing import Any

from anyio import to_thread
from PIL import Image, ImageOps

from models.data.pixels import MAX_PIXELS, place
from models.messages import Refused
from studio.api.a1111_lists import OURS, UPSCALERS
from studio.api.a1111_schemas import ManyImages, OneImage, PictureFile, Upscaling
from studio.api.a1111_state import PREFIX, Served, State, ended, routes
from studio.api.routing import Rejected
from studio.api.uploads import checked, decoded, uploads
from studio.events import Cancelled, Done, Failed
from studio.metadata import encoded, parse_parameters, texts
from studio.requests import make_request

# A1111's names for what its text says, by ours.
NAMES = {"prompt": "Prompt", "negative": "Negative prompt", "steps": "Steps", "guidance": "CFG scale", "seed": "Seed"}
NAMES |= {"scheduler": "Sampler", "model": "Model", "style": "Style"}
MOST = 4 * MAX_PIXELS  # of all pictures of one answer together


@routes.post("/png-info")
def png_info(body: PictureFile) -> dict[str, Any]:
    """What a file says of itself: A1111's text, all its texts by keyword, and the text's settings by A1111's names."""
    found = texts(decoded(body.image.strip(), "image"), "image").texts
    text = found.get("parameters", "")
    items = {keyword: value for keyword, value in found.items() if value}
    return {"info": text, "items": items, "parameters": _parameters(text)}


@routes.post("/extra-single-image")
async def enlarge_one(state: Served, body: OneImage) -> dict[str, Any]:
    """A larger picture."""
    return {"image": await _enlarged(state, body.image, "image", body), "html_info": ""}


@routes.post("/extra-batch-images")
async def enlarge_many(state: Served, body: ManyImages) -> dict[str, Any]:
    """Larger pictures."""
    named = [(one.data, f"imageList[{n}]") for n, one in enumerate(body.imageList)]
    together = sum([await to_thread.run_sync(_pixels, text, name, body) for text, name in named])
    if together > MOST:
        raise Refused("api.too_many_pixels_together", pixels=together, most=MOST)
    return {"images": [await _enlarged(state, text, name, body) for text, name in named], "html_info": ""}


@routes.post("/interrogate")
def caption(body: PictureFile) -> None:
    """501: there is no model yet that tells what is in a picture."""
    checked(decoded(body.image, "image"), "image")
    raise Rejected(501, "api.no_captions")


def _parameters(text: str) -> dict[str, Any]:
    """The settings in A1111's text, as text, by its names; {} where it holds none."""
    said = parse_parameters(text)
    known = {theirs: _plain(said[ours]) for ours, theirs in NAMES.items() if ours in said}
    size = re.fullmatch(r"(\d{1,6})x(\d{1,6})", said.get("size", ""))
    sides = {"Size-1": size[1], "Size-2": size[2]} if size else {}
    return {**known, **sides, **said.get("other", {})}


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


# --- Larger pictures --------------------------------------------------------------------------------------------------


async def _enlarged(state: State, text: str, name: str, how: Upscaling) -> str:
    """The file, in base64, of a larger picture."""
    data = await to_thread.run_sync(decoded, text, name)
    picture = await to_thread.run_sync(checked, data, name)
    size, made = _target(picture.size, how), b""
    if how.upscaler_1 == OURS and _gains(state, picture.size):
        made, picture = await _by_network(state, data, name, picture.size)
    elif how.upscaler_1 not in (OURS, *UPSCALERS):
        raise Rejected(404, "api.no_upscaler", name=how.upscaler_1[:100], list=f"{PREFIX}/upscalers")
    return await to_thread.run_sync(_file, made, picture, size, how)


def _gains(state: State, size: tuple[int, int]) -> bool:
    """Whether the studio's network adds anything to a picture of `size`: what is larger than half of the largest that
    it makes would only be made smaller for it. 501 where there is no network.
    """
    can = state.capabilities()
    if len(can.sizes) == 1:
        raise Rejected(501, "api.no_upscaler_part", reason=can.beyond or "this model has no upscaler")
    return 2 * max(size) <= max(can.sizes)


async def _by_network(state: State, data: bytes, name: str, size: tuple[int, int]) -> tuple[bytes, Image.Image]:
    """(file, picture) that the studio's network makes of a picture file of `size`, in the largest size that there is: a
    job like any other.
    """
    largest = max(state.capabilities().sizes)
    job = await to_thread.run_sync(_submit, state, data, name, largest)
    end = await ended(state.studio, job)
    if isinstance(end, Failed):
        raise Rejected(500, end.sentence)
    if not isinstance(end, Done):
        raise Rejected(503, "api.job_cancelled" if isinstance(end, Cancelled) else "api.closing")
    made = Path(state.studio.gallery.found(job)[0].path).read_bytes()
    (width, height), left, top = place(size, largest)
    return made, checked(made, name).crop((left, top, left + width, top + height))


def _submit(state: State, data: bytes, name: str, size: int) -> str:
    studio = state.studio
    with uploads(studio.home, studio.gallery) as files:
        picture = {"path": files.add(data, name).path}
        (job,) = studio.plan(make_request("enlarge", image=picture, size=size, model=state.model))
        return studio.submit(job)


def _pixels(text: str, name: str, how: Upscaling) -> int:
    """How many pixels a file in base64 is to become."""
    width, height = _target(checked(decoded(text, name), name).size, how)
    return width * height


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


def _file(made: bytes, picture: Image.Image, size: tuple[int, int], how: Upscaling) -> str:
    """The picture in `size` as base64 of a file: of `made`, as it is, where that holds it already."""
    if made:
        with Image.open(io.BytesIO(made)) as file:
            made = made if file.size == picture.size == size else b""
    return base64.b64encode(made or encoded([_resized(picture, size, how)], None, "png")).decode()


def _resized(picture: Image.Image, size: tuple[int, int], how: Upscaling) -> Image.Image:
    """The picture in `size`, cropped where asked for; colours of transparent pixels do not bleed into edges."""
    method = UPSCALERS.get(how.upscaler_1, Image.Resampling.LANCZOS)
    premultiplied = picture.convert("RGBA").convert("RGBa")
    if how.resize_mode == 1 and how.upscaling_crop:
        return ImageOps.fit(premultiplied, size, method).convert("RGBA")
    return premultiplied.resize(size, method).convert("RGBA")
