"""A backend without a model, for tests and for work on the page. It draws round faces whose colours and mood come from
prompt and seed, lets them bounce in clips, and captions pictures by their main colour.
"""

import colorsys
import hashlib
import math
import random
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from models.compose.masks import blend
from models.data.pixels import fit, png
from models.messages import Refused
from models.prompts.parsed import Part
from models.prompts.weighting import plain, segments
from models.references.credits import Credit, credit
from models.sampling.schedulers import GUIDANCE
from studio import media
from studio.backends.base import Backend, Event, Handler, per_request
from studio.backends.inputs import Batches, ClipEnds, given_frames, start, to_describe, to_enlarge
from studio.capabilities import FAST, Capabilities, Fixed, Range, Style
from studio.events import Progress, Reading, Unknown, Vector
from studio.requests import (
    CaptionRequest,
    ClipRequest,
    EmbedRequest,
    EnlargeRequest,
    ImageRequest,
    ReadRequest,
    sides,
)

SIZE, LARGE = 128, 512
LONGEST = 60  # seconds a step
FINE = 4  # drawn this much larger, then scaled down: smooth edges
SPACE = 128
STYLES = {"noto": "安卓", "black glyph": "黑色图标", "outline": "线条"}
MOODS = {"en": ("happy", "sleepy", "proud"), "zh": ("开心", "困倦", "骄傲")}
HUES = {"en": ("red", "yellow", "green", "blue", "pink"), "zh": ("红色", "黄色", "绿色", "蓝色", "粉色")}
CAPTIONS = {"en": "a {} face, {}", "zh": "一张{}的脸，{}"}
NOTHING, INSTEAD = "xyzzy", ("a cat", "a rocket", "a pizza")  # a prompt that is refused, and what is offered
UNKNOWN = {"axolotl": ("lizard", "fish"), "美西螈": ("蜥蜴", "鱼")}
MISTYPED = {"kiten": "kitten"}


class Fake(Backend):
    """Draws the same picture for the same prompt and seed. `seconds` is how long a step takes."""

    def __init__(self, seconds: str = "0") -> None:
        try:
            self.seconds = float(seconds)
        except ValueError:
            self.seconds = math.nan
        if not 0 <= self.seconds <= LONGEST:
            raise Refused("model.fake_seconds", most=LONGEST, seconds=seconds[:80])

    def capabilities(self) -> Capabilities:
        return Capabilities(
            title="Fake",
            tasks=tuple(self.tasks),
            frames=Range(least=1, most=64, usual=8),
            languages=tuple(MOODS),
            candidates=Range(least=1, most=len(MOODS["en"]), usual=3),
            styles=tuple(Style(name=name, zh=zh) for name, zh in STYLES.items()),
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
        return hashlib.sha256(b"fake 3").hexdigest()  # another number where the pictures change

    def space(self) -> str:
        return "fake"  # equal words lie at one place, and others anywhere

    def load(self) -> None:
        pass

    @property
    def tasks(self) -> Mapping[str, Handler]:
        single: dict[str, Any] = {"clip": self._clips, "caption": self._caption, "enlarge": self._enlarged}
        single |= {"embed": self._vectors, "read": self._read}
        return {"image": self._images, **{task: per_request(make) for task, make in single.items()}}

    def _images(self, requests: Sequence[ImageRequest], previews: bool) -> Iterator[tuple[int, Event]]:
        for request in requests:
            if plain(request.prompt).casefold() == NOTHING:
                raise Refused("reading.nothing", text=request.prompt, instead=list(INSTEAD))
        batches = Batches(requests)
        for k, batch in enumerate(batches.batches):
            steps = requests[0].steps or 1
            pictures = [_picture(requests[slot.number], slot.seed) for slot in batch]
            for number, event in batches.progress(k, 0, steps):
                words = plain(requests[number].prompt).casefold()
                yield number, replace(event, unknown=tuple(Unknown(*one) for one in UNKNOWN.items() if one[0] in words))
            for step in range(1, steps + 1):
                time.sleep(self.seconds)
                blur = ImageFilter.GaussianBlur(12 * (1 - step / steps))
                shown = [media.quick_png(picture.filter(blur)) for picture in pictures] if previews else []
                yield from batches.progress(k, step, steps, shown)
            for slot, picture in zip(batch, pictures, strict=True):
                request = requests[slot.number]
                about = {**self._about(request.prompt), "credits": _credits(request)}
                artifact = media.image(picture, index=slot.index, seed=slot.seed, **about)
                if (best := batches.chosen(slot, 0.5, artifact)) is not None:
                    yield slot.number, best

    def _clips(self, request: ClipRequest) -> Iterator[Event]:
        """A face that bounces, one step a frame; the preview is the clip so far."""
        frames, ends = request.frames or 1, ClipEnds.of(request)
        for index, seed in enumerate(request.seeds()):
            face = _draw(request, seed) if ends.first is None else png(ends.first)
            drawn: list[Image.Image] = []
            for step in range(frames):
                shown = {index: media.clip(drawn, request.fps or 1).data} if drawn else {}
                yield Progress(index * frames + step, request.count * frames, shown)
                time.sleep(self.seconds)
                drawn.append(_bounced(face, step / frames, request.motion_strength or 1))
            about = {**self._about(request.prompt), "credits": () if request.image else _credits(request)}
            whole = [png(frame) for frame in ends.joined(np.stack([fit(frame) for frame in drawn]))]
            yield media.clip(whole, request.fps or 1, request.loop, index=index, seed=seed, **about)

    def _caption(self, request: CaptionRequest) -> Iterator[Event]:
        """The main colour of the picture, and a mood for each candidate; what has no colour is unknown."""
        yield Progress(0, 1)
        time.sleep(self.seconds)
        pixels, seed = to_describe(request), request.seed or 0
        colour = pixels[pixels[..., 3] > 0][:, :3].mean(0) / 255
        hues, moods = HUES[request.language], MOODS[request.language]
        place, saturation, _ = colorsys.rgb_to_hsv(*map(float, colour))
        hue, known = hues[round(place * len(hues)) % len(hues)], saturation > 0
        texts = [CAPTIONS[request.language].format(hue, moods[(seed + n) % 3]) for n in range(request.candidates or 1)]
        scored = [(text, round(0.9 - 0.1 * place, 1)) for place, text in enumerate(texts)]
        about = {**self._about(texts[0]), "score": scored[0][1] if known else 0.1}
        yield media.caption(texts[0], scored[1:], known, request.language, seed=seed, **about)

    def _enlarged(self, request: EnlargeRequest) -> Iterator[Event]:
        yield Progress(0, 1)
        picture = _in_size(png(to_enlarge(request)), request.size)
        yield media.image(picture, vector=_unit(request.image.sha256), space=self.space())

    def _vectors(self, request: EmbedRequest) -> Iterator[Event]:
        yield from (Vector("text", text, _unit(text)) for text in request.texts)
        for picture in request.images:
            yield Vector("image" if len(given_frames(picture)) == 1 else "clip", picture.path, _unit(picture.sha256))

    def _read(self, request: ReadRequest) -> Iterator[Event]:
        """Each word is drawn as itself but UNKNOWN ones and those of the negative prompt; NOTHING names nothing."""
        for text in request.texts:
            nothing, gone = plain(text).casefold() == NOTHING, plain(request.negative).split()
            parts = (_part(word, nothing) for word in re.finditer(r"\w+", text))
            parts = (replace(one, state="left_out") if one.text in gone else one for one in parts)
            yield Reading(text, tuple(parts), INSTEAD * nothing)

    def _about(self, prompt: str) -> dict[str, Any]:
        return {"score": 0.5, "vector": _unit(plain(prompt)), "space": self.space()}


def _credits(request: ImageRequest | ClipRequest) -> tuple[Credit, ...]:
    """As if the prompt's last word were drawn from the style's drawing, else from twemoji's; nothing from a picture."""
    words = plain(request.prompt).split()
    return (credit(request.style or "twemoji", words[-1]),) if words and request.image is None else ()


def _part(word: re.Match[str], nothing: bool) -> Part:
    if nothing or word[0].casefold() in UNKNOWN:
        return Part(word[0], word.start(), "unknown", "", UNKNOWN.get(word[0].casefold(), ()))
    read_as = MISTYPED.get(word[0].casefold(), "")
    return Part(word[0], word.start(), "drawn", read_as or word[0], ("cat", "dog"), read_as)


def _picture(request: ImageRequest, seed: int) -> Image.Image:
    """A face in the requested size, blended over the given picture by its strength, where the mask is white."""
    face, (given, mask) = _draw(request, seed), start(request)
    if given is not None:
        share = request.strength or 0.0
        drawn = np.rint(share * fit(face) + (1 - share) * given).astype(np.uint8)
        face = png(drawn if mask is None else blend(drawn, given, mask))
    return _in_size(face, sides(request.size or SIZE)[0])


def _in_size(picture: Image.Image, size: int) -> Image.Image:
    return picture if picture.width == size else picture.resize((size, size), Image.Resampling.LANCZOS)


def _draw(request: ImageRequest | ClipRequest, seed: int) -> Image.Image:
    """Words with their weights, style, the contents of the pictures that are mixed, and the seed decide."""
    if isinstance(request, ClipRequest):
        request = ImageRequest(prompt=request.prompt, negative=request.negative, style=request.style)
    like, (size, _) = request.like and request.like.sha256, sides(request.size or SIZE)
    mix = [(part.weight, part.text, part.picture and part.picture.sha256) for part in request.mix]
    chance = _random(_weighted_words(request.prompt), _weighted_words(request.negative), request.style, like, mix, seed)
    side, pen, hue = size * FINE, size * FINE // SIZE, chance.random()
    skin, dark = _colour(hue, 0.55, 1.0), _colour(hue, 0.85, 0.35)
    if request.style == "black glyph":
        skin, dark = (0, 0, 0), (255, 255, 255)
    picture = Image.new("RGBA", (side, side))
    draw = ImageDraw.Draw(picture)
    outline: dict[str, Any] = {"fill": None if request.style == "outline" else skin, "outline": dark, "width": 4 * pen}
    for x in (0.22, 0.78) if chance.random() < 0.6 else ():
        draw.ellipse(_box(side, x, 0.24, chance.uniform(0.09, 0.15), 0.15), **outline)  # ears
    draw.ellipse(_box(side, 0.5, 0.54, 0.38, 0.36), **outline)
    for x in (0.36, 0.64):
        draw.ellipse(_box(side, x, 0.48, 0.045, chance.uniform(0.04, 0.08)), fill=dark)
    height, first, last = chance.choice([(0.62, 20, 160), (0.62, 20, 160), (0.74, 200, 340)])
    draw.arc(_box(side, 0.5, height, chance.uniform(0.1, 0.18), 0.1), first, last, fill=dark, width=5 * pen)
    return _in_size(picture, size)


def _weighted_words(prompt: str) -> str:
    """The words, and their weights where they have any."""
    return plain(prompt) if all(run.weight == 1 for run in segments(prompt)) else str(segments(prompt))


def _bounced(face: Image.Image, phase: float, strength: float) -> Image.Image:
    """The face made smaller and moved up or down by half the room times `strength`; phase 1 is phase 0 again."""
    side = round(SIZE * 0.7)
    frame = Image.new("RGBA", (SIZE, SIZE))
    top = round((SIZE - side) * (0.5 + 0.25 * strength * math.sin(2 * math.pi * phase)))
    frame.paste(_in_size(face, side), ((SIZE - side) // 2, top))
    return frame


def _random(*parts: object) -> random.Random:
    return random.Random(hashlib.sha256("\0".join(map(str, parts)).encode()).digest())


def _colour(hue: float, saturation: float, value: float) -> tuple[int, ...]:
    return tuple(round(255 * part) for part in colorsys.hsv_to_rgb(hue, saturation, value))


def _box(side: int, x: float, y: float, width: float, height: float) -> tuple[float, ...]:
    return tuple(side * place for place in (x - width, y - height, x + width, y + height))


def _unit(key: str) -> tuple[float, ...]:
    chance = _random(key)
    values = [chance.gauss(0, 1) for _ in range(SPACE)]
    norm = math.hypot(*values)
    return tuple(value / norm for value in values)
