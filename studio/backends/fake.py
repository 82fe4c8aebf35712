"""A backend without a model, for tests and for work on the page. It draws round faces whose colours and mood come from
prompt and seed, lets them bounce in clips, and captions pictures by their main colour.
"""

import colorsys
import functools
import hashlib
import io
import math
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from models.compose.masks import blend
from models.data.pixels import fit, png
from models.messages import Refused
from models.prompts.weighting import plain, segments
from models.sampling.schedulers import GUIDANCE
from studio import media
from studio.backends.base import Handler
from studio.backends.given import given_pixels, start, to_enlarge
from studio.backends.together import Batches
from studio.capabilities import FAST, Capabilities, Fixed, Range, Style
from studio.events import Progress, Unknown, Vector
from studio.media import Artifact
from studio.requests import CaptionRequest, ClipRequest, EmbedRequest, EnlargeRequest, ImageRequest

SIZE, LARGE = 128, 512
LONGEST = 60  # seconds a step
FINE = 4  # drawn this much larger, then made smaller: smooth edges
SPACE = 128
STYLES = {"noto": "安卓", "black glyph": "黑色图标", "outline": "线条"}
MOODS = {"en": ("happy", "sleepy", "proud"), "zh": ("开心", "困倦", "骄傲")}
HUES = {"en": ("red", "yellow", "green", "blue", "pink"), "zh": ("红色", "黄色", "绿色", "蓝色", "粉色")}
UNKNOWN = {"axolotl": ("lizard", "fish"), "美西螈": ("蜥蜴", "鱼")}


class Fake:
    """Draws the same picture for the same prompt and seed. `seconds` is how long a step takes."""

    def __init__(self, seconds: str = "0") -> None:
        self.seconds = _seconds(seconds)

    def capabilities(self) -> Capabilities:
        """A few styles and the usual ranges."""
        return Capabilities(
            title="Fake",
            tasks=tuple(self.tasks),
            frames=Range(least=2, most=64, usual=8),
            languages=("en", "zh"),
            candidates=Range(least=1, most=len(MOODS["en"]), usual=3),
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

    @property
    def tasks(self) -> Mapping[str, Handler]:
        """All but search, which is the studio's own."""
        return {
            "image": self._images,
            "clip": self._clips,
            "caption": self._captions,
            "enlarge": self._enlarged,
            "embed": self._vectors,
        }

    def _images(
        self, requests: Sequence[ImageRequest], previews: bool
    ) -> Iterator[tuple[int, Progress | Artifact | Vector]]:
        """A batch after the other, each step by step."""
        together = Batches(requests)
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
                made = replace(media.image(picture), index=slot.index, seed=slot.seed)
                if (best := together.chosen(slot, 0.5, self._placed(made, requests[slot.number].prompt))) is not None:
                    yield slot.number, best

    def _clips(
        self, requests: Sequence[ClipRequest], previews: bool
    ) -> Iterator[tuple[int, Progress | Artifact | Vector]]:
        """A face that bounces, one step a frame; the preview is the clip so far."""
        for number, request in enumerate(requests):
            frames, fps = request.frames or 2, request.fps or 1
            for index, seed in enumerate(request.seeds()):
                made: list[Image.Image] = []
                face = _first_frame(request, seed)
                for step in range(frames):
                    yield number, Progress(index * frames + step, request.count * frames, _last_preview(made, index))
                    time.sleep(self.seconds)
                    made.append(_bounced(face, step / frames))
                artifact = replace(media.clip(made, fps, request.loop), index=index, seed=seed)
                yield number, self._placed(artifact, request.prompt)

    def _captions(
        self, requests: Sequence[CaptionRequest], previews: bool
    ) -> Iterator[tuple[int, Progress | Artifact | Vector]]:
        """The main colour of the picture, and a mood for each candidate."""
        for number, request in enumerate(requests):
            yield number, Progress(0, 1)
            time.sleep(self.seconds)
            texts = _named(given_pixels(request.image), request)
            scored = [(text, round(0.9 - 0.1 * place, 1)) for place, text in enumerate(texts)]
            best, score = scored[0]
            artifact = replace(media.caption(best, scored[1:]), seed=request.seed or 0, score=score)
            yield number, replace(artifact, vector=_unit(best), space=self.space())

    def _enlarged(
        self, requests: Sequence[EnlargeRequest], previews: bool
    ) -> Iterator[tuple[int, Progress | Artifact | Vector]]:
        for number, request in enumerate(requests):
            yield number, Progress(0, 1)
            picture = _in_size(png(to_enlarge(request)), request.size)
            yield number, replace(media.image(picture), vector=_unit(request.image.sha256), space=self.space())

    def _vectors(
        self, requests: Sequence[EmbedRequest], previews: bool
    ) -> Iterator[tuple[int, Progress | Artifact | Vector]]:
        for number, request in enumerate(requests):
            yield from ((number, Vector("text", text, _unit(text))) for text in request.texts)
            yield from ((number, Vector("image", one.path, _unit(one.sha256))) for one in request.images)

    def _placed(self, artifact: Artifact, prompt: str) -> Artifact:
        return replace(artifact, score=0.5, vector=_unit(plain(prompt)), space=self.space())


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= LONGEST:
        raise Refused("model.fake_seconds", most=LONGEST, seconds=text[:80])
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
    return _in_size(_edited(request, _draw(request, seed)), request.size or SIZE)


def _in_size(picture: Image.Image, size: int) -> Image.Image:
    return picture if picture.width == size else picture.resize((size, size), Image.Resampling.LANCZOS)


def _first_frame(request: ClipRequest, seed: int) -> Image.Image:
    if request.image:
        return png(given_pixels(request.image))
    return _draw(ImageRequest(prompt=request.prompt, negative=request.negative, style=request.style), seed)


def _bounced(face: Image.Image, phase: float) -> Image.Image:
    """The face smaller and lower or higher, back where it began at phase 1."""
    side = round(SIZE * 0.7)
    frame = Image.new("RGBA", (SIZE, SIZE))
    top = round((SIZE - side) * (0.5 + 0.5 * math.sin(2 * math.pi * phase)))
    frame.paste(face.resize((side, side), Image.Resampling.LANCZOS), ((SIZE - side) // 2, top))
    return frame


def _last_preview(frames: list[Image.Image], index: int) -> dict[int, bytes]:
    return {index: _preview(frames[-1], 1.0)} if frames else {}


def _named(pixels: np.ndarray, request: CaptionRequest) -> list[str]:
    """Captions of a picture (128, 128, 4), as many as are asked for."""
    colour = pixels[pixels[..., 3] > 0][:, :3].mean(0) / 255 if pixels[..., 3].any() else (1, 1, 1)
    hues, moods = HUES[request.language], MOODS[request.language]
    hue = hues[round(colorsys.rgb_to_hsv(*map(float, colour))[0] * len(hues)) % len(hues)]
    form = {"en": "a {} face, {}", "zh": "一张{}的脸，{}"}[request.language]
    first = int(request.seed or 0)
    return [form.format(hue, moods[(first + n) % len(moods)]) for n in range(request.candidates or 1)]


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
    """The contents of the pictures that its semantic vector comes from."""
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


def _unit(key: str) -> tuple[float, ...]:
    chance = _random(key)
    values = [chance.gauss(0, 1) for _ in range(SPACE)]
    norm = math.hypot(*values)
    return tuple(value / norm for value in values)
