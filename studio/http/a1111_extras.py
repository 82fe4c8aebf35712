"""A1111's tools for files: what a file says, larger pictures, and captions."""

import base64
import re
from typing import Any

import numpy as np
from fastapi import APIRouter, HTTPException
from PIL import Image, ImageOps

from models.data.pixels import MAX_PIXELS
from studio.capabilities import Refused
from studio.http.a1111_models import Dropped, ManyEnlarged, ManyImages, OneEnlarged, OneImage, Told, Upscaling
from studio.http.pictures import decoded, looked_through
from studio.metadata import encoded, parse_parameters, texts

UPSCALERS = {"None": Image.Resampling.LANCZOS, "Lanczos": Image.Resampling.LANCZOS, "Nearest": Image.Resampling.NEAREST}
# A1111's names for what its text says, by ours.
NAMES = {"prompt": "Prompt", "negative": "Negative prompt", "steps": "Steps", "guidance": "CFG scale", "seed": "Seed"}
NAMES |= {"scheduler": "Sampler", "model": "Model", "style": "Style"}


class Extras:
    """Routes that need no model."""

    def add_to(self, routes: APIRouter) -> None:
        """All routes of this file."""
        routes.add_api_route("/png-info", self.told, methods=["POST"])
        routes.add_api_route("/extra-single-image", self.one, methods=["POST"])
        routes.add_api_route("/extra-batch-images", self.many, methods=["POST"])
        routes.add_api_route("/interrogate", self.caption, methods=["POST"])

    def told(self, body: Dropped) -> Told:
        """What a picture file says of itself."""
        found = texts(decoded(body.image.strip(), "image"), "image").texts
        text = found.get("parameters", "")
        items = {keyword: value for keyword, value in found.items() if value}
        return Told(info=text, items=items, parameters=_parameters(text))

    def one(self, body: OneImage) -> OneEnlarged:
        """A larger picture."""
        return OneEnlarged(image=_enlarged(body.image, "image", body))

    def many(self, body: ManyImages) -> ManyEnlarged:
        """Larger pictures."""
        numbered = enumerate(body.imageList)
        return ManyEnlarged(images=[_enlarged(one.data, f"imageList[{n}]", body) for n, one in numbered])

    def caption(self, body: Dropped) -> None:
        """Nobody here can tell yet what is in a picture."""
        looked_through(decoded(body.image, "image"), "image")
        raise HTTPException(501, "the studio has no model yet that tells what is in a picture.")


def _parameters(text: str) -> dict[str, Any]:
    """The settings in A1111's text, as text, by its names; {} where it holds none."""
    said = parse_parameters(text)
    known = {theirs: str(said[ours]) for ours, theirs in NAMES.items() if ours in said}
    size = re.fullmatch(r"(\d{1,6})x(\d{1,6})", said.get("size", ""))
    sides = {"Size-1": size[1], "Size-2": size[2]} if size else {}
    return {**known, **sides, **said.get("other", {})}


def _enlarged(text: str, name: str, how: Upscaling) -> str:
    """The file, in base64, of a larger picture. Colours of what is transparent do not bleed into edges."""
    if how.upscaler_1 not in UPSCALERS:
        raise HTTPException(404, f"Upscaler not found: {how.upscaler_1[:100]!r}; /sdapi/v1/upscalers lists them.")
    picture = looked_through(decoded(text, name), name).convert("RGBA")
    width, height = _size(picture.size, how)
    if width * height > MAX_PIXELS:
        raise Refused(f"{width} x {height} pixels are too many (at most {MAX_PIXELS}); ask for less.")
    method, whole = UPSCALERS[how.upscaler_1], picture.convert("RGBa")
    if how.resize_mode == 1 and how.upscaling_crop:
        whole = ImageOps.fit(whole, (width, height), method)
    larger = _clamped(whole.resize((width, height), method)).convert("RGBA")
    return base64.b64encode(encoded([larger], None, "png")).decode()


def _size(size: tuple[int, int], how: Upscaling) -> tuple[int, int]:
    if how.resize_mode == 0:
        width, height = (max(1, round(side * how.upscaling_resize)) for side in size)
        return width, height
    if how.upscaling_crop:
        return how.upscaling_resize_w, how.upscaling_resize_h
    share = min(how.upscaling_resize_w / size[0], how.upscaling_resize_h / size[1])
    width, height = (max(1, round(side * share)) for side in size)
    return width, height


def _clamped(premultiplied: Image.Image) -> Image.Image:
    """Lanczos rings past alpha."""
    pixels = np.asarray(premultiplied).copy()
    pixels[..., :3] = np.minimum(pixels[..., :3], pixels[..., 3:])
    return Image.fromarray(pixels, "RGBa")
