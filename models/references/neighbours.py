"""The typical drawings of a thing, and the nearest neighbours of the things that a style lacks.

**Typical drawings.** Artists agree on what a pencil looks like and not on where it points: the plain mean of their
drawings is a cross. So each drawing is brought to one box, mirrored where it agrees with the others only so, and left
out where it does not agree at all. The most typical one agrees most with all others.

**Nearest neighbours.** A set draws similar things from one pattern: its fourth keycap is the first with another digit.
So where a style lacks a thing, its drawing of the most similar thing tells size, colours and face in that style. Which
things are similar is measured by the other styles that drew both: on pixels, and on pictures and names in the shared
space.

Pictures are premultiplied uint8 (S, S, 4). Shapes: C things, K of them drawn in a style, V = 128.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image

from models.data.pixels import put, resized
from models.data.world import Picture, World
from models.space import Embedder

# Styles in the order in which their drawings are preferred, coloured ones first.
PREFERRED = (
    *("noto", "twemoji", "fluent", "emojione", "fxemoji", "outline"),
    *("blob", "fluent 3d", "fluent flat", "black glyph"),
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


def typical(drawings: np.ndarray) -> list[int]:
    """Numbers of those of `drawings` (N, S, S, 4), N > 0, that agree: the most typical one first (of equals the first),
    then the others in order."""
    return _compared(drawings).kept


def aligned(drawings: np.ndarray, shares: Sequence[float] | None = None) -> tuple[list[int], np.ndarray]:
    """Which of `drawings` (N, S, S, 4) agree, and those (K, S, S, 4): mirrored as the most typical one is, each in the
    box that is the mean of theirs, weighted by the `shares` (N,)."""
    found = _compared(drawings)
    if len(found.kept) < 2:
        return found.kept, drawings[found.kept]
    weights = None if shares is None else np.array(shares)[found.kept]
    box = np.round(np.average([found.boxes[number] for number in found.kept], 0, weights)).astype(int)
    cuts = ((_cut(drawings[number], found.boxes[number]), found.flipped[number]) for number in found.kept)
    return found.kept, np.stack([_placed(cut[:, :: -1 if turn else 1], box, len(drawings[0])) for cut, turn in cuts])


@dataclass(frozen=True)
class _Compared:
    """Numbers of the drawings that agree (`kept`), the most typical one first. Of all: their boxes, and whether it is
    their mirror images that agree."""

    kept: list[int]
    boxes: list[tuple[int, int, int, int]]
    flipped: np.ndarray


def _compared(drawings: np.ndarray) -> _Compared:
    boxes = [Image.fromarray(drawing[..., 3] >= SEEN).getbbox() or (0, 0, 0, 0) for drawing in drawings]
    flipped, there = np.zeros(len(drawings), bool), [number for number, box in enumerate(boxes) if any(box)]
    if len(there) < 2:
        return _Compared([there[0] if there else 0], boxes, flipped)
    coarse = np.stack([resized(_cut(drawings[number], boxes[number]), COARSE, COARSE) for number in there])
    plain, mirrored = disagreement(coarse, coarse), disagreement(coarse, coarse[:, :, ::-1])
    turned = mirrored < FLIPPED * plain
    apart = np.where(turned, mirrored, plain)
    main = int(np.argmin(apart.sum(1)))
    flipped[there] = turned[main]
    others = apart[main][apart[main] > 0]
    most = min(OTHER, ODD * float(np.median(others))) if len(others) > 1 else OTHER
    kept = sorted(np.flatnonzero(apart[main] <= most).tolist(), key=lambda number: number != main)
    return _Compared([there[number] for number in kept], boxes, flipped)


def disagreement(pictures: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Of each picture to each other one |a - b|^2 / (|a|^2 + |b|^2): 0 is equal, 1 is no pixel in common."""
    a, b = (some.reshape(len(some), -1).astype(np.float32) / 255 for some in (pictures, others))
    total = np.square(a).sum(1)[:, None] + np.square(b).sum(1)
    return np.round(1 - 2 * (a @ b.T) / np.maximum(total, 1e-6), 5)  # of equals the first is taken, not the rounded


def _cut(drawing: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    left, top, right, bottom = box
    return np.ascontiguousarray(drawing[top:bottom, left:right])


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


def nearest_neighbours(
    world: World, things: Mapping[str, Sequence[Picture]], embedder: Embedder
) -> dict[Cell, Picture]:
    """For every cell the drawing of the same style whose thing is most similar, where one is similar enough.

    The cell's own art family is left out of the comparison, so that cells are treated as if nobody had drawn them.

    Args:
        things: training pictures by concept.
        embedder: into the space in which pictures and names are compared.
    """
    drawn: dict[str, dict[int, Picture]] = {}  # by style and number of the thing
    for number, pictures in enumerate(things.values()):
        for style, picture in one_per(pictures, "style").items():
            drawn.setdefault(style, {})[number] = picture
    likenesses = {style: _likeness(world, own, embedder) for style, own in drawn.items()}
    names = [own[0].names.get("en", concept) for concept, own in things.items()]
    by_name = COSINE_WEIGHT * _cosines(embedder.text, names)
    concepts, found = list(things), dict[Cell, Picture]()
    for style, own in sorted(drawn.items()):
        family = next(iter(own.values())).family
        others = [s for s, pictures in sorted(drawn.items()) if next(iter(pictures.values())).family != family]
        likeness = _mean([(np.array(list(drawn[s])), likenesses[s]) for s in others], len(concepts)) + by_name
        np.fill_diagonal(likeness, -np.inf)
        rows = np.array(list(own))
        best = rows[likeness[:, rows].argmax(1)]
        for number in np.flatnonzero(likeness[np.arange(len(concepts)), best] >= NEAR).tolist():
            found[concepts[number], style] = own[int(best[number])]
    return found


def _likeness(world: World, drawn: Mapping[int, Picture], embedder: Embedder) -> np.ndarray:
    """How alike each two of the drawings of a style are, (K, K)."""
    pixels = [world.pixels[picture.index] for picture in drawn.values()]
    coarse = np.stack([resized(one, COARSE, COARSE) for one in pixels])
    cosines = _cosines(lambda some: embedder.image(np.stack(some)), pixels)
    return COSINE_WEIGHT * cosines - disagreement(coarse, coarse)


def _cosines(embed: Callable[[list], torch.Tensor], items: Sequence) -> np.ndarray:
    """Of each two of the items' unit vectors."""
    vectors = torch.cat([embed(list(items[start : start + CHUNK])) for start in range(0, len(items), CHUNK)])
    return (vectors @ vectors.T).numpy()


def _mean(others: Sequence[tuple[np.ndarray, np.ndarray]], count: int) -> np.ndarray:
    """(C, C): the mean likeness of two things over the styles that drew both (their numbers, and how alike they are),
    PRIOR where none did."""
    total = np.full((count, count), PRIOR_WEIGHT * PRIOR, np.float32)
    votes = np.full((count, count), PRIOR_WEIGHT, np.float32)
    for rows, alike in others:
        total[np.ix_(rows, rows)] += alike
        votes[np.ix_(rows, rows)] += 1
    return total / votes
