"""Collages: drawings of single things, placed in one picture as a layout says (`models.prompts.layout`).

N pictures are made of M drawings; a picture without a layout is its only drawing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from PIL import Image

from models.compose.anchors import ROOM, features, is_dark, middle, on_dark, worn
from models.compose.lettering import write
from models.data.colours import ground
from models.data.pixels import SIZE, put, resized
from models.prompts.parsed import Box, Layout, ParsedPrompt
from models.sampling.loop import MAX_SEED

T = TypeVar("T")

SEEN = 16  # alpha of 255 from which a pixel counts as part of a thing
LEAST = 8  # pixels: a thing whose longer side is shorter was not drawn
_SEED_STEP = 0x5851F42D4C957F2D  # odd, 63 bits: gives each thing of a picture a seed of its own


@dataclass(frozen=True)
class Drawings:
    """What is drawn for N pictures: M drawings."""

    prompts: tuple[ParsedPrompt, ...]  # of each drawing
    seeds: tuple[int, ...]  # likewise
    pictures: tuple[int, ...]  # the number of the picture that each is for, ascending
    layouts: tuple[Layout | None, ...]  # of each picture, None where it is not laid out

    @staticmethod
    def of(prompts: Sequence[ParsedPrompt], seeds: Sequence[int], layouts: Sequence[Layout | None]) -> "Drawings":
        """One drawing for each prompt, or for each different prompt of its layout."""
        rows = [
            (text, seed ^ (thing * _SEED_STEP & MAX_SEED), number)
            for number, (prompt, seed, laid) in enumerate(zip(prompts, seeds, layouts, strict=True))
            for thing, text in enumerate(_different(laid) if laid else [prompt])
        ]
        drawn, drawing_seeds, pictures = zip(*rows, strict=True)
        return Drawings(drawn, drawing_seeds, pictures, tuple(layouts))

    def rows(self, pictures: Sequence[int]) -> list[int]:
        """The drawings of some pictures."""
        return [row for row, number in enumerate(self.pictures) if number in pictures]

    def spread(self, of_pictures: Sequence[T]) -> list[T]:
        """A list with one item a picture, as a list with one item a drawing."""
        return [of_pictures[number] for number in self.pictures]

    def collages(self, pictures: Sequence[int], drawn: np.ndarray) -> np.ndarray:
        """The pictures (n, S, S, 4) made of their drawings (m, S, S, 4), premultiplied uint8."""
        rest, layouts = iter(drawn), (self.layouts[number] for number in pictures)
        return np.stack([collage(layout, rest) if layout else next(rest) for layout in layouts])


def _different(layout: Layout) -> list[ParsedPrompt]:
    return list(dict.fromkeys(layout.prompts))


def collage(layout: Layout, drawn: Iterator[np.ndarray]) -> np.ndarray:
    """One picture of its things, taken from `drawn` in the order of their prompts; nearer things cover others."""
    drawings = {text: next(drawn) for text in _different(layout)}
    side = len(next(iter(drawings.values())))
    canvas, things = resized(ground(layout.background), side, side).copy(), np.zeros((side, side, 4), np.uint8)
    for text, place in sorted(zip(layout.prompts, layout.boxes, strict=True), key=lambda pair: pair[1].z):
        if place.anchor in ("middle", "face"):
            _put_in_middle(things, drawings[text], place)
            continue
        thing = np.zeros_like(things)
        fit_in(thing, drawings[text], worn(place, things[..., 3]) if place.anchor else place, side)
        put(things, thing, 0, 0)
        if place.lettering:
            write(things, place.lettering, thing[..., 3])
    put(canvas, things, 0, 0)
    return canvas


def fit_in(canvas: np.ndarray, picture: np.ndarray, place: Box, side: int) -> None:
    """Put the visible part of the picture on the canvas, as large as its place allows."""
    left, top, width, height = _box(place, side)
    seen = _seen(picture)
    scale = min(width / max(1, seen.shape[1]), height / max(1, seen.shape[0]))
    inner = round(scale * seen.shape[1]), round(scale * seen.shape[0])
    if max(seen.shape[:2]) < LEAST or not all(inner):
        return
    put(canvas, resized(seen, *inner), left + (width - inner[0]) // 2, top + round(place.align * (height - inner[1])))


def _put_in_middle(canvas: np.ndarray, picture: np.ndarray, place: Box) -> None:
    """Put the visible part of the picture, or only the eyes and mouth of a face, where the canvas has most room in that
    place."""
    left, top, width, height = _box(place, len(canvas))
    below = canvas[max(top, 0) : top + height, max(left, 0) : left + width]
    cut = features(picture) if place.anchor == "face" else _seen(picture)
    room = middle(below[..., 3])
    if max(cut.shape[:2]) < LEAST or room is None:
        return
    x, y, radius = room
    scale = ROOM * radius / max(cut.shape[:2])
    tall, wide = (max(1, round(scale * length)) for length in cut.shape[:2])
    cut = on_dark(cut) if place.anchor == "face" and is_dark(below, x, y, radius) else cut
    put(below, resized(cut, wide, tall), max(0, round(x - wide / 2)), max(0, round(y - tall / 2)))


def _box(place: Box, side: int) -> tuple[int, ...]:
    return tuple(round(value * side / SIZE) for value in (place.left, place.top, place.width, place.height))


def _seen(picture: np.ndarray) -> np.ndarray:
    """The picture cropped to what is visible; (0, 0, 4) of an empty one."""
    left, top, right, bottom = Image.fromarray(picture[..., 3] >= SEEN).getbbox() or (0, 0, 0, 0)
    return picture[top:bottom, left:right]
