"""A1111's tools for files: what a file says, larger pictures, and captions."""

import base64
import io
import re
from pathlib import Path
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, HTTPException
from PIL import Image

from models.data.pixels import MAX_PIXELS, place
from models.messages import Refused
from studio.api.a1111_facts import Facts
from studio.api.a1111_models import Dropped, ManyEnlarged, ManyImages, OneEnlarged, OneImage, Told, Upscaling
from studio.api.a1111_upscale import OURS, UPSCALERS, resized, target
from studio.api.pictures import decoded, looked_through, uploads
from studio.events import Cancelled, Done, End, Failed
from studio.metadata import encoded, parse_parameters, texts
from studio.requests import enlarge, resolve
from studio.studio import Studio

# A1111's names for what its text says, by ours.
NAMES = {"prompt": "Prompt", "negative": "Negative prompt", "steps": "Steps", "guidance": "CFG scale", "seed": "Seed"}
NAMES |= {"scheduler": "Sampler", "model": "Model", "style": "Style"}
MOST = 4 * MAX_PIXELS  # of all pictures of one answer together
CLOSING = "the studio is closing; the job goes on when it is open again."


class Extras:
    """What is done with files that clients send."""

    def __init__(self, studio: Studio, facts: Facts) -> None:
        self._studio, self._facts = studio, facts

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

    async def one(self, body: OneImage) -> OneEnlarged:
        """A larger picture."""
        return OneEnlarged(image=await self._enlarged(body.image, "image", body))

    async def many(self, body: ManyImages) -> ManyEnlarged:
        """Larger pictures."""
        named = [(one.data, f"imageList[{n}]") for n, one in enumerate(body.imageList)]
        together = sum([await to_thread.run_sync(_pixels, text, name, body) for text, name in named])
        if together > MOST:
            raise Refused(
                f"that makes {together} pixels together (at most {MOST}); ask for less, or for fewer at once."
            )
        return ManyEnlarged(images=[await self._enlarged(text, name, body) for text, name in named])

    def caption(self, body: Dropped) -> None:
        """Nobody here can tell yet what is in a picture."""
        looked_through(decoded(body.image, "image"), "image")
        raise HTTPException(501, "the studio has no model yet that tells what is in a picture.")

    async def _enlarged(self, text: str, name: str, how: Upscaling) -> str:
        """The file, in base64, of a larger picture."""
        data = await to_thread.run_sync(decoded, text, name)
        picture = await to_thread.run_sync(looked_through, data, name)
        size, made = target(picture.size, how), b""
        if how.upscaler_1 == OURS and self._gains(picture.size):
            made, picture = await self._by_network(data, name, picture.size)
        elif how.upscaler_1 not in (OURS, *UPSCALERS):
            raise HTTPException(404, f"Upscaler not found: {how.upscaler_1[:100]!r}; /sdapi/v1/upscalers lists them.")
        return await to_thread.run_sync(_file, made, picture, size, how)

    def _gains(self, size: tuple[int, int]) -> bool:
        """Whether the studio's network has anything to add to a picture of `size`: what is larger than half of the
        largest that it makes would only be made smaller for it. HTTP 501 where there is no network.
        """
        can = self._facts.capabilities(self._facts.model)
        if len(can.sizes) == 1:
            raise HTTPException(501, f"{can.beyond or 'this model has no upscaler'}; choose another upscaler.")
        return 2 * max(size) <= max(can.sizes)

    async def _by_network(self, data: bytes, name: str, size: tuple[int, int]) -> tuple[bytes, Image.Image]:
        """(file, picture) that the studio's network makes of a picture file of `size`, in the largest size that there
        is: a job like any other.
        """
        can = self._facts.capabilities(self._facts.model)
        job = await to_thread.run_sync(self._put_in_line, data, name, max(can.sizes))
        end = await ended(self._studio, job)
        if not isinstance(end, Done):
            status, sentence = (500, end.sentence) if isinstance(end, Failed) else (503, CLOSING)
            raise HTTPException(status, "the job was cancelled." if isinstance(end, Cancelled) else sentence)
        made = Path(self._studio.gallery.found(job)[0].path).read_bytes()
        (width, height), left, top = place(size, max(can.sizes))
        square = looked_through(made, name)
        return made, square.crop((left, top, left + width, top + height))

    def _put_in_line(self, data: bytes, name: str, size: int) -> str:
        model = self._facts.model
        with uploads(self._studio.home) as files:
            request = enlarge(files.keep(data, name).path, size, model)
            return self._studio.submit(resolve(request, self._facts.capabilities(model)))


async def ended(studio: Studio, job: str) -> End | None:
    """How a job ends, once it has; None where the studio is closed before."""
    last = None
    async for event in studio.aevents(job):
        last = event
    return last if isinstance(last, Done | Cancelled | Failed) else None


def _pixels(text: str, name: str, how: Upscaling) -> int:
    """How many pixels a file in base64 is to become."""
    width, height = target(looked_through(decoded(text, name), name).size, how)
    return width * height


def _file(made: bytes, picture: Image.Image, size: tuple[int, int], how: Upscaling) -> str:
    """The picture in `size` as base64 of a file: of `made`, as it is, where that holds it already."""
    if made:
        with Image.open(io.BytesIO(made)) as file:
            made = made if file.size == picture.size == size else b""
    return base64.b64encode(made or encoded([resized(picture, size, how)], None, "png")).decode()


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _parameters(text: str) -> dict[str, Any]:
    """The settings in A1111's text, as text, by its names; {} where it holds none."""
    said = parse_parameters(text)
    known = {theirs: _plain(said[ours]) for ours, theirs in NAMES.items() if ours in said}
    size = re.fullmatch(r"(\d{1,6})x(\d{1,6})", said.get("size", ""))
    sides = {"Size-1": size[1], "Size-2": size[2]} if size else {}
    return {**known, **sides, **said.get("other", {})}
