"""How a thing is mostly drawn, for the generator to draw it from.

Of the art families' filled drawings that is the most typical one (`models.hands`) or, where no style is named, another
one that agrees with it: the seed decides, so that pictures of other seeds are other pictures. It says where the thing's
parts are and which colours they have, so it needs no more than SIDE pixels. The generator learns from what all hands
but the one that it is to draw in have in common, their mean (retrieval-augmented diffusion, arXiv 2204.11824), or some
of them; to draw from, one is as good where a style is named and better where none is, for means are blurred where hands
disagree. Where a style lacks a thing, its drawing of the next of kin (`models.kin`) is laid over that. What all are
worth: `LOG.md`.
"""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from models.atlas import SIDE, Atlas, packed, unpacked
from models.autoencoder import Autoencoder
from models.data.colours import colour_shares, hue_shift
from models.data.compose import resized
from models.data.grammar import stream
from models.data.pixels import SIZE
from models.data.world import Picture, World
from models.hands import agreeing, in_common
from models.kin import kin
from models.mirror import Mirror
from models.reading.wording import PART as WORDING
from models.reading.wording import things
from models.space import Embedder
from models.weights import check_company, part_digests, part_folder, record_made_with, record_part

PART = "prototypes"
FILE = "prototypes.safetensors"
MOSTLY = 0.6  # of what is asked for in a colour: with less of it neutral parts are painted too
HANDS = 3  # drawings of a thing that are kept, at most
KIN = 0.5  # share of a kin's drawing: with more of it the thing is lost, with less the style (LOG.md)
ALL_SHARE = 0.5  # of training pictures that are told what all other hands have in common; the rest, what some have
# Whose drawings are taken, coloured ones first; one of each family.
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
_KIN = "kin."  # before the names of their tensors
LINES = ("outline", "black glyph")  # not drawn from where others drew the thing: who names no style wants no lines


@dataclass(frozen=True)
class Kindred:
    """Drawings of next of kin, premultiplied uint8 (K, SIDE, SIDE, 4); `rows` says which of them belongs to a thing, by
    its number, in a style."""

    pictures: np.ndarray | Atlas
    rows: Mapping[tuple[int, str], int]

    @classmethod
    def build(cls, world: World, embedder: Embedder) -> "Kindred":
        """Of every thing in every style that has no training picture of it."""
        named = things(world)
        drawn = {(concept, picture.style) for concept, own in named.items() for picture in own}
        found = {cell: one for cell, one in kin(world, named, embedder).items() if cell not in drawn}
        places = {one.index: place for place, one in enumerate({one.index: one for one in found.values()}.values())}
        numbers = {concept: number for number, concept in enumerate(named)}
        pictures = [resized(world.pixels[index], SIDE, SIDE) for index in places]
        rows = {(numbers[concept], style): places[one.index] for (concept, style), one in found.items()}
        return cls(np.stack(pictures) if pictures else NOTHING.pictures, rows)

    def tensors(self) -> dict[str, torch.Tensor]:
        """As safetensors hold them; the styles are named by their place in `styles`."""
        places = {style: place for place, style in enumerate(self.styles)}
        cells = [[number, places[style], row] for (number, style), row in sorted(self.rows.items())]
        return {**_atlas(self.pictures).tensors(), "cells": torch.tensor(cells, dtype=torch.int16)}

    @classmethod
    def from_tensors(cls, tensors: dict[str, torch.Tensor], styles: Sequence[str]) -> "Kindred":
        """What `tensors` gave."""
        rows = {(number, styles[style]): row for number, style, row in tensors["cells"].tolist()}
        return cls(Atlas.from_tensors(tensors), rows)

    @property
    def styles(self) -> list[str]:
        """Of its rows."""
        return sorted({style for _, style in self.rows})


NOTHING = Kindred(np.zeros((0, SIDE, SIDE, 4), np.uint8), {})


class Prototypes:
    """Premultiplied uint8 `pictures` (M, SIDE, SIDE, 4), of each thing as many as `counts` (N,) says, the most typical
    one first; None is one of each. Things are in the order of `models.reading.wording.things`.

    `mirror` tells which of them are symmetric; without one, none is taken to be. `kindred` are what styles drew of what
    is like the things that they lack.
    """

    def __init__(
        self,
        pictures: np.ndarray | Atlas,
        mirror: Mirror | None = None,
        kindred: Kindred = NOTHING,
        counts: Sequence[int] | None = None,
    ) -> None:
        self.pictures, self.mirror, self.kindred = pictures, mirror, kindred
        self.counts = np.asarray([1] * len(pictures) if counts is None else counts, np.int64)
        self._first = self.counts.cumsum() - self.counts

    def hand(self, number: int, seed: int, style: str = "") -> int:
        """Which of a thing's drawings a picture is drawn from: by seeds in a row one after another; where a style is
        named the most typical one, for there another makes little difference, and a little for the worse."""
        return 0 if style else seed % int(self.counts[number])

    def picture(self, number: int, colour: str = "", style: str = "", hand: int = 0) -> np.ndarray:
        """Premultiplied uint8 (128, 128, 4): the thing as a style would have it, painted where a colour is named.

        `hand` says which of its drawings. A rocket with orange fins is an orange rocket to training's captions, and to
        nobody who asks for one.
        """
        painted = _painted(self._own(number, style, hand), colour)
        if not colour or colour_shares(painted).get(colour, 0) >= MOSTLY:
            return painted
        return hue_shift(painted, colour, whole=True)

    def _own(self, number: int, style: str, hand: int) -> np.ndarray:
        own = self.pictures[self._first[number] + hand]
        row = self.kindred.rows.get((number, style))
        return own if row is None else _laid_over(own, self.kindred.pictures[row])

    @classmethod
    def build(
        cls, world: World, autoencoder: Autoencoder | None = None, embedder: Embedder | None = None
    ) -> "Prototypes":
        """From the training pictures; `autoencoder` is that whose latents are drawn, by `embedder` kin are found."""
        drawings = [agreeing(_pixels(world, _filled(one_of_each(own))))[:HANDS] for own in things(world).values()]
        mirror = Mirror.build(world, autoencoder) if autoencoder else None
        kindred = Kindred.build(world, embedder) if embedder else NOTHING
        pictures = np.stack([_small(drawing) for of_thing in drawings for drawing in of_thing])
        return cls(pictures, mirror, kindred, list(map(len, drawings)))

    def save(self, root: Path) -> Path:
        """Write `root/prototypes`, to be read beside the `wording` that lies there, and enter it in the manifest."""
        folder = root / PART
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {**_atlas(self.pictures).tensors(), "counts": torch.from_numpy(self.counts.astype(np.uint8))}
        if self.mirror:
            tensors["mirror"] = self.mirror.weights.contiguous()
        if self.kindred.rows:
            tensors |= {f"{_KIN}{name}": tensor for name, tensor in self.kindred.tensors().items()}
        save_file(tensors, folder / FILE, {"styles": json.dumps(self.kindred.styles)})
        record_made_with(folder, part_digests((WORDING, "autoencoder") if self.mirror else (WORDING,), root))
        record_part(PART, root)
        return folder

    @classmethod
    def load(cls, root: Path | None = None) -> "Prototypes":
        """What ships, or lies under `root`; WeightsError where it is missing, altered or of another wording."""
        folder = part_folder(PART, root)
        check_company(folder, root)
        with safe_open(folder / FILE, framework="pt") as file:
            styles = json.loads((file.metadata() or {}).get("styles", "[]"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        mirror = Mirror(tensors["mirror"]) if "mirror" in tensors else None
        of_kin = {name.removeprefix(_KIN): tensor for name, tensor in tensors.items() if name.startswith(_KIN)}
        kindred = Kindred.from_tensors(of_kin, styles) if of_kin else NOTHING
        return cls(Atlas.from_tensors(tensors), mirror, kindred, tensors["counts"].tolist())


def _atlas(pictures: np.ndarray | Atlas) -> Atlas:
    return pictures if isinstance(pictures, Atlas) else Atlas.of(pictures)


class OtherHands:
    """What pictures are drawn from in training: prototypes without the art family of the picture itself."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.drawings = {concept: one_of_each(pictures) for concept, pictures in things(world).items()}

    def prototype(self, picture: Picture, seed: int, colour: str = "") -> np.ndarray | None:
        """Premultiplied uint8 (128, 128, 4), with what the atlas loses; None where no other hand drew the thing.

        Of all other hands, or of some: another seed, others. What a thing has few drawings of looks like that too.
        """
        others = [p for family, p in self.drawings.get(picture.concept, {}).items() if family != picture.family]
        if not others:
            return None
        some = _some(others, stream(picture.id, "hands", seed))
        mean = in_common(_pixels(self.world, {one.family: one for one in some}))
        return _painted(unpacked(packed(_small(mean))), colour)


def one_of_each(pictures: Sequence[Picture]) -> dict[str, Picture]:
    """By family, one drawing without skin tone and gender where there is one without."""
    families: dict[str, Picture] = {}
    places = {style: place for place, style in enumerate(STYLES)}  # one that is new is taken last
    for picture in sorted(pictures, key=lambda p: (bool(p.skin) + bool(p.gender), places.get(p.style, len(places)))):
        families.setdefault(picture.family, picture)
    return families


def _filled(drawings: dict[str, Picture]) -> dict[str, Picture]:
    """Those of them that are more than lines, where there are any."""
    return {family: one for family, one in drawings.items() if one.style not in LINES} or drawings


def _some(pictures: Sequence[Picture], rng: random.Random) -> Sequence[Picture]:
    return pictures if rng.random() < ALL_SHARE else rng.sample(pictures, rng.randint(1, len(pictures)))


def _laid_over(drawing: np.ndarray, kindred: np.ndarray) -> np.ndarray:
    """Premultiplied uint8 (SIDE, SIDE, 4): as much of the other hand's drawing as of the kin's."""
    mean = (1 - KIN) * drawing + KIN * kindred.astype(np.float32)
    return mean.round().astype(np.uint8)


def _pixels(world: World, drawings: Mapping[str, Picture]) -> np.ndarray:
    return world.pixels[[picture.index for picture in drawings.values()]]


def _small(picture: np.ndarray) -> np.ndarray:
    return resized(picture, SIDE, SIDE)


def _painted(small: np.ndarray, colour: str) -> np.ndarray:
    """As large as a picture, in a colour where one is named."""
    whole = resized(small, SIZE, SIZE).copy()  # Pillow's memory may not be written to
    return hue_shift(whole, colour) if colour else whole
