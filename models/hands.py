"""What several drawings of a thing have in common, once they are laid over each other as well as they go.

Hands agree on what a pencil looks like and not on where it points: the plain mean of theirs is a cross. So each drawing
is brought to one box, turned to its mirror image where it agrees with the others only so, and left out where it does
not agree at all; what is in common is the mean of the rest, and most typical the one that agrees most with all others.
Pictures are premultiplied uint8 (S, S, 4).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from models.data.compose import put, resized
from models.data.world import Picture

# Whose drawings are taken, coloured ones first.
STYLES = (
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
TURNED = 0.8  # a mirror image disagrees less than this share of what the drawing itself does, or it is no better
OTHER = 0.3  # disagreement from which a drawing shows something else, or another side of it
ODD = 1.35  # times the middle one of the disagreements: with more a drawing is the odd one out
STRETCH = 1.25  # a drawing is stretched to the common box up to this change of its proportions


def drawn_by(pictures: Sequence[Picture], by: Literal["family", "style"]) -> dict[str, Picture]:
    """Of each art family, or style, one of the thing's `pictures`: without skin tone and gender where there is one."""
    found: dict[str, Picture] = {}
    places = {style: place for place, style in enumerate(STYLES)}  # one that is new is taken last
    for picture in sorted(pictures, key=lambda p: (bool(p.skin) + bool(p.gender), places.get(p.style, len(places)))):
        found.setdefault(getattr(picture, by), picture)
    return found


def in_common(drawings: np.ndarray) -> np.ndarray:
    """The mean of `drawings` (N, S, S, 4), the ones that weigh most first, as far as they agree."""
    laid = _laid_over_each_other(drawings)
    mean: np.ndarray = np.mean(laid, 0)
    return mean.round().astype(np.uint8)


def agreeing(drawings: np.ndarray) -> list[int]:
    """Which of `drawings` (N, S, S, 4), N > 0, agree: the most typical one first, of equals the one that comes first,
    and the others in their order."""
    return _compared(drawings).kept


@dataclass(frozen=True)
class _Compared:
    """Numbers of the drawings that are `kept`, the most typical one first; of all, their boxes and whether they agree
    with that one as mirror images."""

    kept: list[int]
    boxes: list[tuple[int, int, int, int]]
    turned: np.ndarray


def _compared(drawings: np.ndarray) -> _Compared:
    boxes, turned = [_box(drawing) for drawing in drawings], np.zeros(len(drawings), bool)
    there = [number for number, (left, top, right, bottom) in enumerate(boxes) if right > left and bottom > top]
    if len(there) < 2:
        return _Compared([there[0] if there else 0], boxes, turned)
    cut = [_cut(drawings[number], boxes[number]) for number in there]
    apart, mirrored = _disagreements(np.stack([resized(one, COARSE, COARSE) for one in cut]))
    main = int(apart.sum(1).argmin())
    turned[there] = mirrored[main]
    kept = sorted(_like(apart[main]), key=lambda number: number != main)
    return _Compared([there[number] for number in kept], boxes, turned)


def _laid_over_each_other(drawings: np.ndarray) -> list[np.ndarray]:
    """Those that agree, turned as the most typical one is, each in the box that is the mean of theirs."""
    found = _compared(drawings)
    if len(found.kept) < 2:
        return [drawings[found.kept[0]]]
    box = np.round(np.mean([found.boxes[number] for number in found.kept], 0)).astype(int)
    cut = {number: _cut(drawings[number], found.boxes[number]) for number in found.kept}
    return [_laid(one[:, :: -1 if found.turned[number] else 1], box, len(drawings[0])) for number, one in cut.items()]


def _box(drawing: np.ndarray) -> tuple[int, int, int, int]:
    return Image.fromarray(drawing[..., 3] >= SEEN).getbbox() or (0, 0, 0, 0)


def _cut(drawing: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    left, top, right, bottom = box
    return np.ascontiguousarray(drawing[top:bottom, left:right])


def _disagreements(coarse: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each two (N, N): |a - b|^2 / (|a|^2 + |b|^2) of the better of `b` and its mirror image, and whether that is
    the mirror image. 0 is the same, 1 what has no pixel in common."""
    pictures = coarse.astype(np.float32) / 255
    size = np.square(pictures).sum((1, 2, 3))
    plain, mirrored = (
        np.square(pictures[:, None] - others[None]).sum((2, 3, 4)) / (size[:, None] + size[None])
        for others in (pictures, pictures[:, :, ::-1])
    )
    turned = mirrored < TURNED * plain
    return np.where(turned, mirrored, plain), turned


def _like(apart: np.ndarray) -> list[int]:
    """Those that agree with the one that `apart` (N,) is the disagreement from."""
    others = apart[apart > 0]
    most = min(OTHER, ODD * float(np.median(others))) if len(others) > 1 else OTHER
    return [number for number, one in enumerate(apart) if one <= most]


def _laid(cut: np.ndarray, box: np.ndarray, side: int) -> np.ndarray:
    """The drawing in the box, stretched to it or, where that would change it too much, as large as it goes in."""
    left, top, right, bottom = (int(edge) for edge in box)
    room, own = np.array([right - left, bottom - top]), np.array(cut.shape[1::-1])
    ratio = (room[0] / room[1]) / (own[0] / own[1])
    if max(ratio, 1 / ratio) > STRETCH:
        room = np.maximum(np.round(own * (room / own).min()), 1).astype(int)
    width, height = (int(length) for length in room)
    canvas = np.zeros((side, side, 4), np.uint8)
    put(canvas, resized(np.ascontiguousarray(cut), width, height), left + (right - left - width) // 2, bottom - height)
    return canvas
