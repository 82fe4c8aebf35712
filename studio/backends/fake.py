"""A backend without a model: a round face whose colours and mood come from prompt and seed. For tests and page work."""

import colorsys
import functools
import hashlib
import io
import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from models.compose.masks import blend
from models.data.pixels import fit, png
from models.messages import Refused
from models.sampling.schedulers import GUIDANCE
from models.weighting import plain, segments
from studio.backends.given import as_given, start
from studio.backends.together import Together
from studio.capabilities import FAST, Capabilities, Fixed, Range, Style
from studio.events import Progress, Result, Unknown, Vector
from studio.requests import EmbedRequest, ImageRequest, Request

SIZE, LARGE = 128, 512
LONGEST = 60  # seconds a step
FINE = 4  # drawn this much larger, then made smaller: smooth edges
SPACE = 128
STYLES = {"noto": "安卓", "black glyph": "黑色图标", "outline": "线条"}
UNKNOWN = {"axolotl": ("lizard", "fish"), "美西螈": ("蜥蜴", "鱼")}


class Fake:
    """Draws the same picture for the same prompt and seed. `seconds` is how long a step takes."""

    def __init__(self, seconds: str = "0") -> None:
        self.seconds = _seconds(seconds)

    def capabilities(self) -> Capabilities:
        """A few styles and the usual ranges."""
        return Capabilities(
            title="Fake",
            styles=(
                Style(name="noto", zh="安卓"),
                Style(name="black glyph", zh="黑色图标"),
                Style(name="outline", zh="线条"),
            ),
            schedulers=("euler", "heun", FAST),
            fixed={FAST: Fixed(steps=4, guidance=1, variant="fake")},
            steps=Range(least=1, most=100, usual=16),
            guidance=Range(least=1, most=20, usual=GUIDANCE),
            count=Range(least=1, most=64, usual=1),
            shapes=(1, 8),
            size=SIZE,
            sizes=(SIZE, LARGE),
            edits=True,
        )

    def digest(self) -> str:
        """Of the drawing code: change it where the pictures change."""
        return hashlib.sha256(b"fake 2").hexdigest()

    def space(self) -> str:
        """One of its own: equal words lie at one place, and others anywhere."""
        return "fake"

    def load(self) -> None:
        """Nothing to load."""

    def run(self, request: Request) -> Iterator[Progress | Result | Vector]:
        """The pictures, step by step, or the vectors."""
        if isinstance(request, EmbedRequest):
            yield from _vectors(request)
        else:
            yield from (event for _, event in self.run_together([request]))

    def run_together(
        self, requests: Sequence[ImageRequest], previews: bool = True
    ) -> Iterator[tuple[int, Progress | Result]]:
        """A batch after the other, each step by step."""
        together = Together(requests)
        for k, batch in enumerate(together.batches):
            pictures = [_made(requests[slot.number], slot.seed) for slot in batch]
            steps = requests[0].steps or 1
            for number, event in together.progress(k, 0, steps):
                yield number, replace(event, unknown=_unknown(plain(requests[number].prompt)))
            for step in range(1, steps + 1):
                time.sleep(self.seconds)
                shown = [_preview(one, step / steps) for one in pictures] if previews else []
                yield from together.progress(k, step, steps, shown)
            for slot, picture in zip(batch, pictures, strict=True):
                place = _unit(plain(requests[slot.number].prompt))
                made = Result(slot.index, slot.seed, picture, 0.5, vector=place, space=self.space())
                if (best := together.chosen(slot, 0.5, made)) is not None:
                    yield slot.number, best


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= LONGEST:
        raise Refused(
            f"the model 'fake' takes seconds a step, from 0 to {LONGEST}, not {text[:80]!r};"
            " write fake:0.5, for example."
        )
    return seconds


def _unknown(prompt: str) -> tuple[Unknown, ...]:
    return tuple(Unknown(word, nearest) for word, nearest in UNKNOWN.items() if word in prompt.casefold())


def _told(prompt: str) -> str:
    """The words, and their weights where they have any."""
    return plain(prompt) if all(run.weight == 1 for run in segments(prompt)) else str(segments(prompt))


def _random(*parts: object) -> random.Random:
    return random.Random(hashlib.sha256("\0".join(map(str, parts)).encode()).digest())


def _made(request: ImageRequest, seed: int) -> Image.Image:
    """The picture in the size asked for."""
    picture = _edited(request, _draw(request, seed)) if request.drawn else png(as_given(request))
    size = request.size or SIZE
    return picture if picture.width == size else picture.resize((size, size), Image.Resampling.LANCZOS)


def _edited(request: ImageRequest, face: Image.Image) -> Image.Image:
    """The face laid over the picture that is given, as strongly as asked for and where its mask is white."""
    given, mask = start(request)
    if given is None:
        return face
    share = request.strength or 0.0
    drawn = np.rint(share * fit(face) + (1 - share) * given).astype(np.uint8)
    return png(drawn if mask is None else blend(drawn, given, mask))


def _draw(request: ImageRequest, seed: int) -> Image.Image:
    chance = _random(_told(request.prompt), _told(request.negative), request.style, *_pictures(request), seed)
    hue, size = chance.random(), request.size or SIZE
    side, pen = size * FINE, size * FINE // SIZE
    box = functools.partial(_box, side)
    skin, dark = _colour(hue, 0.55, 1.0), _colour(hue, 0.85, 0.35)
    picture = Image.new("RGBA", (side, side))
    draw = ImageDraw.Draw(picture)
    if request.style == "black glyph":
        skin, dark = (0, 0, 0, 255), (255, 255, 255, 255)
    outline: dict[str, Any] = {"fill": None if request.style == "outline" else skin, "outline": dark, "width": 4 * pen}
    for x in (0.22, 0.78) if chance.random() < 0.6 else ():  # ears
        draw.ellipse(box(x, 0.24, chance.uniform(0.09, 0.15), 0.15), **outline)
    draw.ellipse(box(0.5, 0.54, 0.38, 0.36), **outline)
    for x in (0.36, 0.64):
        draw.ellipse(box(x, 0.48, 0.045, chance.uniform(0.04, 0.08)), fill=dark)
    bend, wide = chance.choice((1, 1, -1)), chance.uniform(0.1, 0.18)
    start, stop = (20, 160) if bend > 0 else (200, 340)
    draw.arc(box(0.5, 0.62 if bend > 0 else 0.74, wide, 0.1), start, stop, fill=dark, width=5 * pen)
    return picture.resize((size, size), Image.Resampling.LANCZOS)


def _pictures(request: ImageRequest) -> tuple[object, ...]:
    """What the pictures of its sense hold; where they lie does not count."""
    mix = [(part.weight, part.text, part.picture and part.picture.sha256) for part in request.mix]
    return request.like and request.like.sha256, mix


def _colour(hue: float, saturation: float, value: float) -> tuple[int, int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return (round(255 * red), round(255 * green), round(255 * blue), 255)


def _box(side: int, x: float, y: float, width: float, height: float) -> tuple[float, float, float, float]:
    return ((x - width) * side, (y - height) * side, (x + width) * side, (y + height) * side)


def _preview(picture: Image.Image, done: float) -> bytes:
    """The picture out of focus, sharper as `done` goes to 1."""
    file = io.BytesIO()
    picture.filter(ImageFilter.GaussianBlur(12 * (1 - done))).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _vectors(request: EmbedRequest) -> Iterator[Vector]:
    for text in request.texts:
        yield Vector("text", text, _unit(text))
    for picture in request.pictures:
        yield Vector("image", picture.path, _unit(picture.sha256))


def _unit(key: str) -> tuple[float, ...]:
    chance = _random(key)
    values = [chance.gauss(0, 1) for _ in range(SPACE)]
    norm = math.hypot(*values)
    return tuple(value / norm for value in values)
