"""How a thing is mostly drawn, for the generator to draw it from.

Of the art families' drawings that is the most typical one (`models.hands`) that is filled. It says where the thing's
parts are and which colours they have, so it needs no more than SIDE pixels. The generator learns from what all hands
but the one that it is to draw in have in common, their mean (retrieval-augmented diffusion, arXiv 2204.11824), or some
of them; to draw from, one is as good where a style is named and better where none is, for means are blurred where hands
disagree. Where a style lacks a thing, its drawing of the next of kin (`models.kin`) is laid over that. What all are
worth: `LOG.md`.
"""

import io
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from models.autoencoder import Autoencoder
from models.data.colours import colour_shares, hue_shift
from models.data.compose import resized
from models.data.grammar import stream
from models.data.pixels import SIZE, premultiply, unpremultiply
from models.data.world import Picture, World
from models.hands import in_common, typical
from models.kin import kin
from models.mirror import Mirror
from models.reading.wording import PART as WORDING
from models.reading.wording import things
from models.space import Embedder
from models.weights import check_company, part_digests, part_folder, record_made_with, record_part

PART = "prototypes"
FILE = "prototypes.safetensors"
SIDE = 64
COLUMNS = 64  # of the atlas: WebP holds 16,383 pixels a side
QUALITY = 50  # of its WebP
MOSTLY = 0.6  # of what is asked for in a colour: with less of it neutral parts are painted too
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
LINES = ("outline", "black glyph")  # not drawn from where others drew the thing: who names no style wants no lines


@dataclass(frozen=True)
class Kindred:
    """Drawings of next of kin, premultiplied uint8 (K, SIDE, SIDE, 4) or the WebP that holds them; `rows` says which of
    them belongs to a thing, by its number, in a style."""

    drawings: np.ndarray | torch.Tensor
    rows: Mapping[tuple[int, str], int]

    @cached_property
    def pictures(self) -> np.ndarray:
        """The drawings; unpacked when first asked for, which takes half a second that no start has to wait for."""
        return _pictures(self.drawings) if isinstance(self.drawings, torch.Tensor) else self.drawings

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


NOTHING = Kindred(np.zeros((0, SIDE, SIDE, 4), np.uint8), {})


class Prototypes:
    """Premultiplied uint8 `pictures` (N, SIDE, SIDE, 4), in the order of `models.reading.wording.things`.

    `mirror` tells which of them are symmetric; without one, none is taken to be. `kindred` are what styles drew of what
    is like the things that they lack.
    """

    def __init__(self, pictures: np.ndarray, mirror: Mirror | None = None, kindred: Kindred = NOTHING) -> None:
        self.pictures, self.mirror, self.kindred = pictures, mirror, kindred

    def picture(self, number: int, colour: str = "", style: str = "") -> np.ndarray:
        """Premultiplied uint8 (128, 128, 4): the thing as a style would have it, painted where a colour is named.

        A rocket with orange fins is an orange rocket to training's captions, and to nobody who asks for one.
        """
        painted = _painted(self._own(number, style), colour)
        if not colour or colour_shares(painted).get(colour, 0) >= MOSTLY:
            return painted
        return hue_shift(painted, colour, whole=True)

    def _own(self, number: int, style: str) -> np.ndarray:
        own, row = self.pictures[number], self.kindred.rows.get((number, style))
        return own if row is None else _laid_over(own, self.kindred.pictures[row])

    @classmethod
    def build(
        cls, world: World, autoencoder: Autoencoder | None = None, embedder: Embedder | None = None
    ) -> "Prototypes":
        """From the training pictures; `autoencoder` is that whose latents are drawn, by `embedder` kin are found."""
        drawings = [_small(typical(_pixels(world, _filled(one_of_each(own))))) for own in things(world).values()]
        mirror = Mirror.build(world, autoencoder) if autoencoder else None
        return cls(np.stack(drawings), mirror, Kindred.build(world, embedder) if embedder else NOTHING)

    def save(self, root: Path) -> Path:
        """Write `root/prototypes`, to be read beside the `wording` that lies there, and enter it in the manifest."""
        folder = root / PART
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {"webp": _tensor(self.pictures), "count": torch.tensor(len(self.pictures))}
        if self.mirror:
            tensors["mirror"] = self.mirror.weights.contiguous()
        rows = self.kindred.rows
        styles = sorted({style for _, style in rows})
        if rows:
            cells = [[number, styles.index(style), row] for (number, style), row in sorted(rows.items())]
            tensors |= {"kin.webp": _tensor(self.kindred.pictures), "kin.cells": torch.tensor(cells, dtype=torch.int16)}
        save_file(tensors, folder / FILE, {"styles": json.dumps(styles)})
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
        pictures = _pictures(tensors["webp"])[: int(tensors["count"])]
        if "kin.cells" not in tensors:
            return cls(pictures, mirror)
        rows = {(number, styles[style]): row for number, style, row in tensors["kin.cells"].tolist()}
        return cls(pictures, mirror, Kindred(tensors["kin.webp"], rows))


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
        return _painted(_unpacked(_packed(_small(mean))), colour)


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
    """Premultiplied uint8 (SIDE, SIDE, 4): as much of the typical drawing as of the kin's."""
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


def _packed(pixels: np.ndarray) -> bytes:
    """Premultiplied pixels as WebP."""
    file = io.BytesIO()
    image = Image.fromarray(unpremultiply(pixels), "RGBA")
    image.save(file, "WEBP", quality=QUALITY, alpha_quality=QUALITY, method=6)
    return file.getvalue()


def _unpacked(packed: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(packed), formats=("WEBP",)) as picture:
        return premultiply(np.asarray(picture.convert("RGBA")))


def _tensor(pictures: np.ndarray) -> torch.Tensor:
    """Pictures (N, SIDE, SIDE, 4) as the bytes of one WebP."""
    return torch.frombuffer(bytearray(_packed(_atlas(pictures))), dtype=torch.uint8)


def _pictures(webp: torch.Tensor) -> np.ndarray:
    """The same back, and what the last row is filled up with."""
    atlas = _unpacked(webp.numpy().tobytes())
    rows = atlas.reshape(len(atlas) // SIDE, SIDE, COLUMNS, SIDE, 4).swapaxes(1, 2)
    return rows.reshape(-1, SIDE, SIDE, 4)


def _atlas(pictures: np.ndarray) -> np.ndarray:
    """(N, SIDE, SIDE, 4) -> one picture, COLUMNS a row, the last row filled up with nothing."""
    rows = max(1, -(-len(pictures) // COLUMNS))
    whole = np.zeros((rows * COLUMNS, SIDE, SIDE, 4), np.uint8)
    whole[: len(pictures)] = pictures
    return whole.reshape(rows, COLUMNS, SIDE, SIDE, 4).swapaxes(1, 2).reshape(rows * SIDE, COLUMNS * SIDE, 4)
