"""The reference store made from the training pictures, and the references that training itself draws from.

In training a picture is drawn from what other art families drew: some of their drawings, morphed as references are.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from models.autoencoder import Autoencoder
from models.data.colours import hue_shift
from models.data.grammar import stream
from models.data.pixels import resized, to_tensor
from models.data.variety import can_be_mirrored
from models.data.world import Picture, World, evenly, pictures_by_concept
from models.prompts.attributes import GENDERS
from models.references.morph import morphed
from models.references.neighbours import nearest_neighbours, one_per, typical
from models.references.paint import enlarged
from models.references.store import SIDE, ReferenceStore, packed, unpacked
from models.references.symmetry import LatentMirror
from models.space import Embedder

TYPICAL = 4  # typical drawings of a thing, at most: as many as the page makes at once
ALL_SHARE = 0.5  # of training pictures that are drawn from TYPICAL other families; the rest are drawn from fewer
LOOK_SHARE = 0.25  # of them keep the look of one drawing, as references in a style do
PACKING = 8  # speed of AVIF encoding in training: a sixteenth of the time, and nearly the same picture
FITTED = 1000  # training pictures that the mirror is fitted on
CHUNK = 50  # of them are encoded at once
OUTLINES = ("outline", "black glyph")  # styles that no thing is drawn from where others are filled


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
        for style, picture in sorted(one_per(pictures, "style").items())
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
    found = {
        (number, gender): [picture for picture in pictures if picture.gender == gender]
        for number, pictures in enumerate(named.values())
        for gender in GENDERS
        if any(picture.gender != gender for picture in pictures)
    }
    return {cell: pictures for cell, pictures in found.items() if pictures}


def _related(
    found: Mapping[tuple[str, str], Picture], concepts: Sequence[str], figures: Mapping[tuple[int, str], int]
) -> dict[tuple[int, str], Picture]:
    """The nearest neighbours of things, and of their women and men, by figure and style."""
    numbers = {concept: number for number, concept in enumerate(concepts)}
    own = {(numbers[concept], style): picture for (concept, style), picture in found.items()}
    theirs = {
        (figure, style): picture
        for (thing, _), figure in figures.items()
        for (number, style), picture in own.items()
        if number == thing
    }
    return own | theirs


def _typical_drawings(world: World, pictures: Sequence[Picture]) -> list[Picture]:
    """The most typical one of the families' drawings that are more than lines, where there are any, and those that
    agree with it; at most TYPICAL."""
    drawings = list(one_per(pictures, "family").values())
    filled = [one for one in drawings if one.style not in OUTLINES] or drawings
    return [filled[number] for number in typical(_pixels(world, filled))[:TYPICAL]]


class TrainingReferences:
    """What pictures are drawn from in training: the drawings of other art families than the picture's own."""

    def __init__(self, world: World) -> None:
        self.world, self._kept = world, dict[int, np.ndarray]()
        self.drawings = {
            concept: one_per(pictures, "family") for concept, pictures in pictures_by_concept(world).items()
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
        if picture.index not in self._kept:
            self._kept[picture.index] = unpacked(packed(_small(self.world.pixels[picture.index]), PACKING))
        return self._kept[picture.index]


def _pixels(world: World, drawings: Sequence[Picture]) -> np.ndarray:
    return world.pixels[[picture.index for picture in drawings]]


def _small(picture: np.ndarray) -> np.ndarray:
    return resized(picture, SIDE, SIDE)
