"""The reference store of the training pictures, and the references that training itself draws from.

A set draws similar things from one pattern: its fourth keycap is the first with another digit. So where a style lacks a
thing, its drawing of the most similar thing, the nearest neighbour, tells size, colours and face in that style. The
likeness of two things is measured in the other styles that drew both: on pixels, and on pictures and names in the
shared space. In training a picture is drawn from some drawings of other art families, morphed as references are.

Shapes: C things, K of them drawn in a style.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
import torch

from models.autoencoder import Autoencoder
from models.data.colours import hue_shift
from models.data.grammar import stream
from models.data.pixels import resized, to_tensor
from models.data.variety import can_be_mirrored
from models.data.world import Picture, World, evenly, pictures_by_concept
from models.prompts.parsed import GENDERS
from models.references.drawing import COARSE, disagreement, enlarged, morphed, typical
from models.references.store import SIDE, ReferenceStore, packed, unpacked
from models.sampling.guidance import LatentMirror
from models.space import Embedder

TYPICAL = 4  # typical drawings of a thing, at most: as many as the page makes at once
ALL_SHARE = 0.5  # of training pictures that are drawn from TYPICAL other families; the rest are drawn from fewer
LOOK_SHARE = 0.25  # of them keep the look of one drawing, as references in a style do
PACKING = 8  # speed of AVIF encoding in training: a sixteenth of the time, and nearly the same picture
FITTED = 1000  # training pictures that the mirror is fitted on
CHUNK = 50  # of them are encoded at once
OUTLINES = ("outline", "black glyph")  # styles that no thing is drawn from where others are filled
# Styles in the order in which their drawings are preferred, coloured ones first.
PREFERRED = (
    *("noto", "twemoji", "fluent", "emojione", "fxemoji", "outline"),
    *("blob", "fluent 3d", "fluent flat", "black glyph"),
)

COSINE_WEIGHT = 0.5  # weight of a cosine in the space, of pictures and of names, beside the difference in pixels
# Likenesses are averaged over styles with a prior, that of two things by chance, so that one style that happens to draw
# them alike does not outweigh eight that nearly do.
PRIOR_WEIGHT, PRIOR = 1.0, -0.2
NEAR = 0.3  # likeness from which a drawing is a neighbour: two in three held-out cells have one so near (LOG.md)
EMBEDDED = 64  # pictures, or names, that are embedded at once

Cell = tuple[str, str]  # concept and style


def build_references(
    world: World, autoencoder: Autoencoder | None = None, embedder: Embedder | None = None
) -> ReferenceStore:
    """The store of the training pictures. Symmetry needs the generator's `autoencoder`, neighbours an `embedder`."""
    named = pictures_by_concept(world)
    gendered = _gendered(named)
    shown = [*named.values(), *gendered.values()]
    drawn = {
        (figure, style): picture
        for figure, pictures in enumerate(shown)
        for style, picture in sorted(representatives(pictures, "style").items())
    }
    indices = list(dict.fromkeys(picture.index for picture in drawn.values()))
    places = {index: row for row, index in enumerate(indices)}
    figures = {cell: len(named) + place for place, cell in enumerate(gendered)}
    related = _related(nearest_neighbours(world, named, embedder) if embedder else {}, list(named), figures)
    return ReferenceStore(
        np.stack([_small(world.pixels[index]) for index in indices]),
        [[places[one.index] for one in _typical_drawings(world, pictures)] for pictures in shown],
        {cell: places[picture.index] for cell, picture in drawn.items()},
        {cell: places[picture.index] for cell, picture in related.items() if cell not in drawn},
        [figure for figure, pictures in enumerate(shown) if all(map(can_be_mirrored, pictures))],
        figures,
        _mirror(world, autoencoder) if autoencoder else None,
    )


@torch.no_grad()
def _mirror(world: World, autoencoder: Autoencoder) -> LatentMirror:
    pixels = to_tensor(_pixels(world, evenly(world.split("train"), FITTED)))
    sides = [torch.cat([autoencoder.encode(x) for x in own.split(CHUNK)]) for own in (pixels, pixels.flip(3))]
    return LatentMirror.fit(*sides)


def _gendered(named: Mapping[str, Sequence[Picture]]) -> dict[tuple[int, str], list[Picture]]:
    """By number and gender the pictures that show a woman, or a man, of things that other pictures show without."""
    return {
        (number, gender): [picture for picture in pictures if picture.gender == gender]
        for number, pictures in enumerate(named.values())
        for gender in GENDERS
        if {gender} < {picture.gender for picture in pictures}
    }


def _related(
    neighbours: Mapping[tuple[str, str], Picture], concepts: Sequence[str], figures: Mapping[tuple[int, str], int]
) -> dict[tuple[int, str], Picture]:
    """The nearest neighbours of things, and of their women and men, by figure and style."""
    numbers = {concept: number for number, concept in enumerate(concepts)}
    same: dict[int, list[int]] = {}  # the figures of a thing
    for (thing, _), figure in figures.items():
        same.setdefault(thing, []).append(figure)
    return {
        (figure, style): picture
        for (concept, style), picture in neighbours.items()
        for figure in (numbers[concept], *same.get(numbers[concept], ()))
    }


def _typical_drawings(world: World, pictures: Sequence[Picture]) -> list[Picture]:
    """The most typical one of the families' drawings that are more than lines, where there are any, and those that
    agree with it; at most TYPICAL."""
    drawings = list(representatives(pictures, "family").values())
    filled = [one for one in drawings if one.style not in OUTLINES] or drawings
    return [filled[number] for number in typical(_pixels(world, filled))[:TYPICAL]]


class TrainingReferences:
    """What pictures are drawn from in training: the drawings of other art families than the picture's own."""

    def __init__(self, world: World) -> None:
        self.world, self._cache = world, dict[int, np.ndarray]()
        self.drawings = {
            concept: representatives(pictures, "family") for concept, pictures in pictures_by_concept(world).items()
        }

    def reference(self, picture: Picture, seed: int, colour: str = "") -> np.ndarray | None:
        """Premultiplied uint8 (128, 128, 4), of drawings compressed as in the atlas; None where no other art family
        drew the thing. One to TYPICAL families' drawings are morphed, with random shares."""
        others = [p for family, p in self.drawings.get(picture.concept, {}).items() if family != picture.family]
        if not others:
            return None
        rng = stream(picture.id, "hands", seed)
        most = min(TYPICAL, len(others))
        some = rng.sample(others, most if rng.random() < ALL_SHARE else rng.randint(1, most))
        shares, keeps_look = [rng.expovariate(1) for _ in some], rng.random() < LOOK_SHARE
        whole, _ = morphed(np.stack([enlarged(self._stored(one)) for one in some]), shares, keeps_look)
        return hue_shift(whole, colour) if colour else whole

    def _stored(self, picture: Picture) -> np.ndarray:
        if picture.index not in self._cache:
            self._cache[picture.index] = unpacked(packed(_small(self.world.pixels[picture.index]), PACKING))
        return self._cache[picture.index]


def _pixels(world: World, drawings: Sequence[Picture]) -> np.ndarray:
    return world.pixels[[picture.index for picture in drawings]]


def _small(picture: np.ndarray) -> np.ndarray:
    return resized(picture, SIDE, SIDE)


def representatives(pictures: Sequence[Picture], by: Literal["family", "style"]) -> dict[str, Picture]:
    """One of a thing's `pictures` for each art family, or style: one without skin tone and gender if there is one."""
    by_key: dict[str, Picture] = {}
    places = {style: place for place, style in enumerate(PREFERRED)}  # one that is new is taken last
    for picture in sorted(pictures, key=lambda p: (bool(p.skin) + bool(p.gender), places.get(p.style, len(places)))):
        by_key.setdefault(getattr(picture, by), picture)
    return by_key


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
        for style, picture in representatives(pictures, "style").items():
            drawn.setdefault(style, {})[number] = picture
    likenesses = {style: _likeness(world, in_style, embedder) for style, in_style in drawn.items()}
    names = [pictures[0].names.get("en", concept) for concept, pictures in things.items()]
    by_name = COSINE_WEIGHT * _cosines(embedder.text, names)
    concepts, neighbours = list(things), dict[Cell, Picture]()
    for style, in_style in sorted(drawn.items()):
        family = next(iter(in_style.values())).family
        others = [s for s, pictures in sorted(drawn.items()) if next(iter(pictures.values())).family != family]
        likeness = _mean([(np.array(list(drawn[s])), likenesses[s]) for s in others], len(concepts)) + by_name
        np.fill_diagonal(likeness, -np.inf)
        rows = np.array(list(in_style))
        best = rows[likeness[:, rows].argmax(1)]
        for number in np.flatnonzero(likeness[np.arange(len(concepts)), best] >= NEAR).tolist():
            neighbours[concepts[number], style] = in_style[int(best[number])]
    return neighbours


def _likeness(world: World, drawn: Mapping[int, Picture], embedder: Embedder) -> np.ndarray:
    """How alike each two of the drawings of a style are, (K, K)."""
    pixels = [world.pixels[picture.index] for picture in drawn.values()]
    coarse = np.stack([resized(one, COARSE, COARSE) for one in pixels])
    cosines = _cosines(lambda some: embedder.image(np.stack(some)), pixels)
    return COSINE_WEIGHT * cosines - disagreement(coarse, coarse)


def _cosines(embed: Callable[[list], torch.Tensor], items: Sequence) -> np.ndarray:
    """Of each two of the items' unit vectors."""
    vectors = torch.cat([embed(list(items[start : start + EMBEDDED])) for start in range(0, len(items), EMBEDDED)])
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
