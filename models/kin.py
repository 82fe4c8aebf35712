"""What a thing would look like in a style that nobody has drawn it in: much like its next of kin there.

A set draws what is of a kind from one pattern: its monkey that hears no evil is the one that sees none with other
hands, its fourth keycap the first with another digit. So where a style lacks a thing, its drawing of that thing's kin
says what no other hand can: how large, in which colours, with which face. Who is kin the other hands tell, who drew
both: their drawings lie on each other, and their pictures and the names near each other in the shared space.

Shapes: C things, K of them drawn in a style, V = 128.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from models.data.compose import resized
from models.data.world import Picture, World
from models.hands import drawn_by
from models.space import Embedder

COARSE = 32  # pixels a side are enough to compare
MEANT = 0.5  # what a cosine in the space counts, of pictures and of names, beside a difference in pixels
# Of one hand's word the mean with what two things have in common by chance, so that one who happens to draw them alike
# does not outweigh eight who nearly do.
DOUBT, CHANCE = 1.0, -0.2
NEAR = 0.3  # likeness from which a drawing is kin: two in three of what is held out have one so near (LOG.md)
CHUNK = 64

Cell = tuple[str, str]  # concept and style


@dataclass(frozen=True)
class _Told:
    """What one style's drawings say of `rows` (K,), numbers of things: how alike each two are, (K, K)."""

    rows: np.ndarray
    alike: np.ndarray


def kin(world: World, things: Mapping[str, Sequence[Picture]], embedder: Embedder) -> dict[Cell, Picture]:
    """Of every cell the drawing of the same style that its thing would be most like, where one is near enough.

    A cell's own drawing has no say, nor has its art family: so of what is drawn it is what it would be if it were not.

    Args:
        things: training pictures by concept.
        embedder: into the space in which pictures and names are compared.
    """
    drawn = _by_style(things)
    told = {style: _told(world, own, embedder) for style, own in drawn.items()}
    names = [own[0].names.get("en", concept) for concept, own in things.items()]
    meant = MEANT * _cosines(torch.cat([embedder.text(list(some)) for some in _chunks(names)]))
    concepts, found = list(things), dict[Cell, Picture]()
    for style, own in drawn.items():
        family = next(iter(own.values())).family
        others = [told[s] for s, pictures in drawn.items() if next(iter(pictures.values())).family != family]
        likeness = _mean(others, len(concepts)) + meant
        np.fill_diagonal(likeness, -np.inf)
        rows = np.array(list(own))
        best = rows[likeness[:, rows].argmax(1)]
        for number in np.flatnonzero(likeness[np.arange(len(concepts)), best] >= NEAR):
            found[concepts[number], style] = own[int(best[number])]
    return found


def _by_style(things: Mapping[str, Sequence[Picture]]) -> dict[str, dict[int, Picture]]:
    """Of each style by number of its thing its drawing of it."""
    found: dict[str, dict[int, Picture]] = {}
    for number, pictures in enumerate(things.values()):
        for style, picture in drawn_by(pictures, "style").items():
            found.setdefault(style, {})[number] = picture
    return dict(sorted(found.items()))


def _told(world: World, drawn: Mapping[int, Picture], embedder: Embedder) -> _Told:
    pixels = [world.pixels[picture.index] for picture in drawn.values()]
    vectors = torch.cat([embedder.image(np.stack(some)) for some in _chunks(pixels)])
    return _Told(np.array(list(drawn)), MEANT * _cosines(vectors) - _apart(pixels))


def _apart(pixels: Sequence[np.ndarray]) -> np.ndarray:
    """Of each two drawings |a - b|^2 / (|a|^2 + |b|^2), premultiplied: 0 is the same, 1 what shares no pixel."""
    flat = np.stack([resized(one, COARSE, COARSE) for one in pixels]).reshape(len(pixels), -1).astype(np.float32) / 255
    size = np.square(flat).sum(1)
    total = np.maximum(size[:, None] + size, 1e-6)
    return 1 - 2 * (flat @ flat.T) / total


def _cosines(vectors: torch.Tensor) -> np.ndarray:
    """Of each two of unit vectors (N, V)."""
    return (vectors @ vectors.T).numpy()


def _mean(others: Sequence[_Told], count: int) -> np.ndarray:
    """(C, C): how alike two things are by those who drew both; nobody's word is CHANCE."""
    total = np.full((count, count), DOUBT * CHANCE, np.float32)
    said = np.full((count, count), DOUBT, np.float32)
    for one in others:
        total[np.ix_(one.rows, one.rows)] += one.alike
        said[np.ix_(one.rows, one.rows)] += 1
    return total / said


def _chunks(items: Sequence) -> Iterator[Sequence]:
    return (items[start : start + CHUNK] for start in range(0, len(items), CHUNK))
