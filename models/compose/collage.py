"""Collages: drawings of single things, placed in one picture as a layout says (`models.prompts.layout`).

N pictures are made of M drawings; a picture without a layout is its only drawing.

What is worn goes to an anchor of the thing below it. The head is the highest part, without tails and antlers; two ears
that stand close or in a shallow dip belong to one head. The neck is where the body below the head is narrowest.

"A smiling avocado" takes eyes and mouth of a smiling face. Faces of the sets are discs of one skin colour; what differs
from the skin is a feature. Features are cut out as in blue-screen matting: each pixel shows some share of the known
skin. Pictures are premultiplied uint8 (S, S, 4).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from PIL import Image, ImageFilter

from models.compose.lettering import DARK, write
from models.compose.masks import SEEN, middle
from models.data.colours import ground
from models.data.pixels import SIZE, put, resized
from models.prompts.parsed import Box, Layout, ParsedPrompt
from models.sampling.loop import MAX_SEED

T = TypeVar("T")

VISIBLE = 16  # alpha of 255 from which a pixel counts as part of a thing
LEAST = 8  # pixels: a thing whose longer side is shorter was not drawn
_SEED_STEP = 0x5851F42D4C957F2D  # odd, 63 bits: gives each thing of a picture a seed of its own

# Features of faces
RIM = 0.92  # of the face's half axes: beyond it are its outline and its shading
SAME, OTHER = 30.0, 80.0  # levels of 255 from the skin: up to the first a pixel is skin, from the second a feature
ROOM = 1.5  # the features' longer side, in radii of the disc that they are put in
LIGHT = 235.0
INK = 90.0  # mean level: features below it turn light on a dark ground

# Heads and necks, in sides of the picture where no unit is named
THIN = 0.08  # what is thinner is no head
HIGH = 0.1  # below the top: how much of a round head's top is still its top
DIP, GAP = 0.2, 0.3  # between ears: no deeper, or no wider
WIDTHS = (0.28, 0.47)  # of what is worn
SUNK = 0.06  # how far it is pulled down
HEADS = 0.45  # of a body's height, its head's at least: a snowman's is no hat
NECK = (0.5, 1.4)  # below the head's top, in heads: from where to where a neck may be
CHIN = 0.95  # where it is of who has none, a penguin
ROUND, LOOSE = (0.2, 0.5), 1.2  # how wide what is worn round it is, and how much wider than the neck
KNOT = 0.35  # of its own height: what lies above the neck's middle


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
    for text, place in sorted(layout.drawings, key=lambda pair: pair[1].z):
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
    left, top, right, bottom = Image.fromarray(picture[..., 3] >= VISIBLE).getbbox() or (0, 0, 0, 0)
    return picture[top:bottom, left:right]


def features(face: np.ndarray) -> np.ndarray:
    """Eyes and mouth of a face, cut out; (0, 0, 4) where there are none."""
    inside = _disc(face[..., 3] >= SEEN)
    if not inside.any():
        return face[:0, :0]
    colours = face[..., :3].astype(float)
    skin = np.median(colours[inside], 0)  # features are less than half of a face
    share = np.clip((np.linalg.norm(colours - skin, axis=-1) - SAME) / (OTHER - SAME), 0, 1) * inside
    feature = np.clip(colours - (1 - share[..., None]) * skin, 0, 255 * share[..., None])
    cut = np.dstack([feature, 255 * share]).round().astype(np.uint8)
    left, top, right, bottom = Image.fromarray(cut[..., 3] >= SEEN).getbbox() or (0, 0, 0, 0)
    return cut[top:bottom, left:right]


def on_dark(cut: np.ndarray) -> np.ndarray:
    """The features with their dark parts made light."""
    alpha = cut[..., 3:].astype(float) / 255
    dark = (cut[..., :3].mean(-1, keepdims=True) < INK * alpha) & (alpha > 0)
    colours = np.where(dark, LIGHT * alpha, cut[..., :3])
    return np.dstack([colours, cut[..., 3:]]).round().astype(np.uint8)


def is_dark(picture: np.ndarray, x: float, y: float, radius: float) -> bool:
    """Whether the picture is dark within a disc."""
    rows, columns = np.ogrid[: picture.shape[0], : picture.shape[1]]
    disc = ((columns - x) ** 2 + (rows - y) ** 2 <= radius**2) & (picture[..., 3] >= SEEN)
    return bool(disc.any()) and float(picture[disc][:, :3].mean()) < DARK


def _disc(seen: np.ndarray) -> np.ndarray:
    """The ellipse in the box of a mask, without its rim."""
    left, top, right, bottom = Image.fromarray(seen).getbbox() or (0, 0, 0, 0)
    rows, columns = np.ogrid[: len(seen), : len(seen)]
    across = (columns + 0.5 - (left + right) / 2) / max(RIM * (right - left) / 2, 1)
    down = (rows + 0.5 - (top + bottom) / 2) / max(RIM * (bottom - top) / 2, 1)
    return (across**2 + down**2 <= 1) & seen


def worn(box: Box, alpha: np.ndarray) -> Box:
    """The box, moved to its anchor, the head or the neck of what is seen in `alpha` (S, S), and as wide as that; as it
    is over nothing."""
    anchor = head(alpha) if box.anchor == "head" else neck(alpha)
    if anchor is None:
        return box
    middle, row, width = anchor
    if box.anchor == "head":
        wide, bottom = round(SIZE * float(np.clip(width, *WIDTHS))), max(round(SIZE * (row + SUNK)), 1)
        height = min(box.height, bottom)
        top = bottom - height
    else:
        wide = round(SIZE * float(np.clip(LOOSE * width, *ROUND)))
        height = min(box.height * wide // box.width, SIZE)
        top = max(round(SIZE * row - KNOT * height), 0)
    left = min(max(round(SIZE * middle - wide / 2), 0), SIZE - wide)
    return replace(box, left=left, top=top, width=wide, height=height)


def neck(alpha: np.ndarray) -> tuple[float, float, float] | None:
    """Middle, height and width of the neck of what is seen in `alpha` (S, S); None of nothing."""
    head_box, side = head(alpha), len(alpha)
    if head_box is None:
        return None
    middle, top, width = head_box
    body, column = _without_thin(alpha >= SEEN), min(round(middle * side), side - 1)
    size = max(width, HEADS * float(body.any(1).sum()) / side)
    chin = (top + CHIN * size) * side
    first, last = (min(round((top + share * size) * side), side) for share in NECK)
    runs = {row: _run(body[row], column) for row in range(first, last) if body[row, column]}
    if not runs:
        return middle, chin / side, width
    row = min(runs, key=lambda row: runs[row][1] - runs[row][0])
    if row == min(runs):  # it only gets wider
        row = min(runs, key=lambda row: abs(row - chin))
    left, right = runs[row]
    return (left + right) / 2 / side, row / side, (right - left) / side


def _run(seen: np.ndarray, column: int) -> tuple[int, int]:
    """From where to where a row is seen without a gap around that column, the end not included."""
    gaps = np.flatnonzero(~seen)
    before, after = gaps[gaps < column], gaps[gaps > column]
    return int(before[-1]) + 1 if len(before) else 0, int(after[0]) if len(after) else len(seen)


def head(alpha: np.ndarray) -> tuple[float, float, float] | None:
    """Middle, top and width of the head of what is seen in `alpha` (S, S); None of nothing."""
    side = len(alpha)
    body = _without_thin(alpha >= SEEN)
    if not body.any():
        return None
    tops = np.where(body.any(0), body.argmax(0), side)
    first, last = _highest(tops, side)
    middle, width = (first + last + 1) / 2, last + 1 - first
    crown = tops[max(0, round(middle - width / 4)) : round(middle + width / 4) + 1]
    return middle / side, float(np.median(crown[crown < side])) / side, width / side


def _without_thin(seen: np.ndarray) -> np.ndarray:
    """A morphological opening; where nothing is thicker, all of it."""
    size = 2 * round(THIN * len(seen) / 2) + 1
    picture = Image.fromarray(seen.astype(np.uint8))
    opened = np.asarray(picture.filter(ImageFilter.MinFilter(size)).filter(ImageFilter.MaxFilter(size))) > 0
    return opened if opened.any() else seen


def _highest(tops: np.ndarray, side: int) -> tuple[int, int]:
    """First and last column of the head, of the height (in rows from above) at which each column begins."""
    high = np.flatnonzero(tops <= tops.min() + HIGH * side)
    runs = np.split(high, np.flatnonzero(np.diff(high) > 1) + 1)
    joined = [(int(runs[0][0]), int(runs[0][-1]))]
    for run in runs[1:]:
        between = tops[joined[-1][1] + 1 : run[0]]
        if len(between) <= GAP * side or between.max() - tops.min() <= DIP * side:
            joined[-1] = joined[-1][0], int(run[-1])
        else:
            joined.append((int(run[0]), int(run[-1])))
    return max(joined, key=lambda run: run[1] - run[0])
