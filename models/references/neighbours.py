"""The typical drawings of a thing, and the nearest neighbours of the things that a style lacks.

**Typical drawings.** Artists agree on what a pencil looks like and not on where it points: the plain mean of their
drawings is a cross. So each drawing is brought to one box, mirrored where it agrees with the others only so, and left
out where it does not agree at all. The mean drawing is that of the rest, and the most typical one agrees most with all
others.

**Nearest neighbours.** A set draws similar things from one pattern: its fourth keycap is the first with another digit.
So where a style lacks a thing, its drawing of the most similar thing tells size, colours and face in that style. Which
things are similar is measured by the other styles that drew both: on pixels, and on pictures and names in the shared
space.

Pictures are premultiplied uint8 (S, S, 4). Shapes: C things, K of them drawn in a style, V = 128.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image

from models.data.compose import put, resized
from models.data.world import Picture, World
from models.space import Embedder

# Styles in the order in which their drawings are preferred, coloured ones first.
PREFERRED = (
    "noto",
    "twemoji",
    "fluent",
    "emojione",
    "fxemoji",
    "outline",
    "blob",
    "fluent 3d",
    "fluent flat",
    "black glyph",
)

SEEN = 16  # alpha of 255 from which a pixel is part of a drawing
COARSE = 32  # pixels a side are enough to compare
FLIPPED = 0.8  # a mirror image disagrees less than this share of what the drawing itself does, or it is no better
OTHER = 0.3  # disagreement from which a drawing shows something else, or another side of it
ODD = 1.35  # times the median disagreement: with more a drawing is an outlier
STRETCH = 1.25  # a drawing is stretched to the common box up to this change of its proportions
COSINE_WEIGHT = 0.5  # weight of a cosine in the space, of pictures and of names, beside the difference in pixels
# Likenesses are averaged over styles with a prior, that of two things by chance, so that one style that happens to draw
# them alike does not outweigh eight that nearly do.
PRIOR_WEIGHT, PRIOR = 1.0, -0.2
NEAR = 0.3  # likeness from which a drawing is a neighbour: two in three held-out cells have one so near (LOG.md)
CHUNK = 64

Cell = tuple[str, str]  # concept and style


def one_per(pictures: Sequence[Picture], by: Literal["family", "style"]) -> dict[str, Picture]:
    """One of a thing's `pictures` for each art family, or style: one without skin tone and gender if there is one."""
    found: dict[str, Picture] = {}
    places = {style: place for place, style in enumerate(PREFERRED)}  # one that is new is taken last
    for picture in sorted(pictures, key=lambda p: (bool(p.skin) + bool(p.gender), places.get(p.style, len(places)))):
        found.setdefault(getattr(picture, by), picture)
    return found


def mean_drawing(drawings: np.ndarray) -> np.ndarray:
    """The mean of those of `drawings` (N, S, S, 4) that agree, aligned."""
    laid = _aligned(drawings)
    mean: np.ndarray = np.mean(laid, 0)
    return mean.round().astype(np.uint8)


def typical(drawings: np.ndarray) -> list[int]:
    """Numbers of those of `drawings` (N, S, S, 4), N > 0, that agree: the most typical one first (of equals the first),
    then the others in order."""
    return _compared(drawings).kept


@dataclass(frozen=True)
class _Compared:
    """Numbers of the drawings that agree (`kept`), the most typical one first. Of all: their boxes, and whether it is
    their mirror images that agree."""

    kept: list[int]
    boxes: list[tuple[int, int, int, int]]
    flipped: np.ndarray


def _compared(drawings: np.ndarray) -> _Compared:
    boxes, flipped = [_box(drawing) for drawing in drawings], np.zeros(len(drawings), bool)
    there = [number for number, (left, top, right, bottom) in enumerate(boxes) if right > left and bottom > top]
    if len(there) < 2:
        return _Compared([there[0] if there else 0], boxes, flipped)
    cut = [_cut(drawings[number], boxes[number]) for number in there]
    apart, mirrored = _disagreements(np.stack([resized(one, COARSE, COARSE) for one in cut]))
    main = int(apart.sum(1).argmin())
    flipped[there] = mirrored[main]
    kept = sorted(_agreeing_with(apart[main]), key=lambda number: number != main)
    return _Compared([there[number] for number in kept], boxes, flipped)


def _aligned(drawings: np.ndarray) -> list[np.ndarray]:
    """Those that agree, mirrored as the most typical one is, each in the box that is the mean of theirs."""
    found = _compared(drawings)
    if len(found.kept) < 2:
        return [drawings[found.kept[0]]]
    box = np.round(np.mean([found.boxes[number] for number in found.kept], 0)).astype(int)
    cut = {number: _cut(drawings[number], found.boxes[number]) for number in found.kept}
    return [
        _placed(one[:, :: -1 if found.flipped[number] else 1], box, len(drawings[0])) for number, one in cut.items()
    ]


def _box(drawing: np.ndarray) -> tuple[int, int, int, int]:
    return Image.fromarray(drawing[..., 3] >= SEEN).getbbox() or (0, 0, 0, 0)


def _cut(drawing: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    left, top, right, bottom = box
    return np.ascontiguousarray(drawing[top:bottom, left:right])


def _disagreements(coarse: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each two (N, N): |a - b|^2 / (|a|^2 + |b|^2), `b` mirrored where that is less, and whether it is mirrored.

    0 is equal, 1 is no pixel in common.
    """
    pictures = coarse.astype(np.float32) / 255
    size = np.square(pictures).sum((1, 2, 3))
    plain, mirrored = (
        np.square(pictures[:, None] - others[None]).sum((2, 3, 4)) / (size[:, None] + size[None])
        for others in (pictures, pictures[:, :, ::-1])
    )
    flipped = mirrored < FLIPPED * plain
    return np.where(flipped, mirrored, plain), flipped


def _agreeing_with(apart: np.ndarray) -> list[int]:
    """Numbers of those that agree with a drawing; `apart` (N,) are the disagreements with it."""
    others = apart[apart > 0]
    most = min(OTHER, ODD * float(np.median(others))) if len(others) > 1 else OTHER
    return [number for number, one in enumerate(apart) if one <= most]


def _placed(cut: np.ndarray, box: np.ndarray, side: int) -> np.ndarray:
    """The drawing in the box: stretched to it, or fitted into it where that would change its proportions too much."""
    left, top, right, bottom = (int(edge) for edge in box)
    room, own = np.array([right - left, bottom - top]), np.array(cut.shape[1::-1])
    ratio = (room[0] / room[1]) / (own[0] / own[1])
    if max(ratio, 1 / ratio) > STRETCH:
        room = np.maximum(np.round(own * (room / own).min()), 1).astype(int)
    width, height = (int(length) for length in room)
    canvas = np.zeros((side, side, 4), np.uint8)
    put(canvas, resized(np.ascontiguousarray(cut), width, height), left + (right - left - width) // 2, bottom - height)
    return canvas


@dataclass(frozen=True)
class _Likeness:
    """How alike each two of the things `rows` (K,) are in one style, (K, K)."""

    rows: np.ndarray
    alike: np.ndarray


def nearest_neighbours(
    world: World, things: Mapping[str, Sequence[Picture]], embedder: Embedder
) -> dict[Cell, Picture]:
    """For every cell the drawing of the same style whose thing is most similar, where one is similar enough.

    The cell's own art family is left out of the comparison, so that cells are treated as if nobody had drawn them.

    Args:
        things: training pictures by concept.
        embedder: into the space in which pictures and names are compared.
    """
    drawn = _by_style(things)
    likenesses = {style: _likeness(world, own, embedder) for style, own in drawn.items()}
    names = [own[0].names.get("en", concept) for concept, own in things.items()]
    by_name = COSINE_WEIGHT * _cosines(torch.cat([embedder.text(list(some)) for some in _chunks(names)]))
    concepts, found = list(things), dict[Cell, Picture]()
    for style, own in drawn.items():
        family = next(iter(own.values())).family
        others = [likenesses[s] for s, pictures in drawn.items() if next(iter(pictures.values())).family != family]
        likeness = _mean(others, len(concepts)) + by_name
        np.fill_diagonal(likeness, -np.inf)
        rows = np.array(list(own))
        best = rows[likeness[:, rows].argmax(1)]
        for number in np.flatnonzero(likeness[np.arange(len(concepts)), best] >= NEAR):
            found[concepts[number], style] = own[int(best[number])]
    return found


def _by_style(things: Mapping[str, Sequence[Picture]]) -> dict[str, dict[int, Picture]]:
    """By style, the drawings by number of their thing."""
    found: dict[str, dict[int, Picture]] = {}
    for number, pictures in enumerate(things.values()):
        for style, picture in one_per(pictures, "style").items():
            found.setdefault(style, {})[number] = picture
    return dict(sorted(found.items()))


def _likeness(world: World, drawn: Mapping[int, Picture], embedder: Embedder) -> _Likeness:
    pixels = [world.pixels[picture.index] for picture in drawn.values()]
    vectors = torch.cat([embedder.image(np.stack(some)) for some in _chunks(pixels)])
    return _Likeness(np.array(list(drawn)), COSINE_WEIGHT * _cosines(vectors) - _apart(pixels))


def _apart(pixels: Sequence[np.ndarray]) -> np.ndarray:
    """Of each two drawings |a - b|^2 / (|a|^2 + |b|^2), premultiplied: 0 is equal, 1 is no pixel in common."""
    flat = np.stack([resized(one, COARSE, COARSE) for one in pixels]).reshape(len(pixels), -1).astype(np.float32) / 255
    size = np.square(flat).sum(1)
    total = np.maximum(size[:, None] + size, 1e-6)
    return 1 - 2 * (flat @ flat.T) / total


def _cosines(vectors: torch.Tensor) -> np.ndarray:
    """Of each two of unit vectors (N, V)."""
    return (vectors @ vectors.T).numpy()


def _mean(others: Sequence[_Likeness], count: int) -> np.ndarray:
    """(C, C): the mean likeness of two things over the styles that drew both, PRIOR where none did."""
    total = np.full((count, count), PRIOR_WEIGHT * PRIOR, np.float32)
    votes = np.full((count, count), PRIOR_WEIGHT, np.float32)
    for one in others:
        total[np.ix_(one.rows, one.rows)] += one.alike
        votes[np.ix_(one.rows, one.rows)] += 1
    return total / votes


def _chunks(items: Sequence) -> Iterator[Sequence]:
    return (items[start : start + CHUNK] for start in range(0, len(items), CHUNK))
