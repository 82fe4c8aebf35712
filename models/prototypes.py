"""What several hands' drawings of a thing have in common, for the generator to draw from.

The mean of the art families' drawings (`models.hands`) is too soft to be a picture, and says where its parts are and
which colours they have, so it needs no more than SIDE pixels. The generator learns from the mean of all hands but the
one that it is to draw in (retrieval-augmented diffusion, arXiv 2204.11824), which is what a held-out drawing has. What
that is worth: `models/train/LOG.md`.
"""

import io
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from models.autoencoder import Autoencoder
from models.data.colours import colour_shares, hue_shift
from models.data.compose import resized
from models.data.grammar import stream
from models.data.pixels import SIZE, premultiply, unpremultiply
from models.data.world import Picture, World
from models.hands import in_common
from models.mirror import Mirror
from models.reading.wording import PART as WORDING
from models.reading.wording import things
from models.weights import check_company, part_digests, part_folder, record_made_with, record_part

PART = "prototypes"
SIDE = 64
COLUMNS = 64  # of the atlas: WebP holds 16,383 pixels a side
QUALITY = 50  # of its WebP
MOSTLY = 0.6  # of what is asked for in a colour: with less of it neutral parts are painted too
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


class Prototypes:
    """Premultiplied uint8 `pictures` (N, SIDE, SIDE, 4), in the order of `models.reading.wording.things`.

    `mirror` tells which of them are symmetric; without one, none is taken to be.
    """

    def __init__(self, pictures: np.ndarray, mirror: Mirror | None = None) -> None:
        self.pictures, self.mirror = pictures, mirror

    def picture(self, number: int, colour: str = "") -> np.ndarray:
        """Premultiplied uint8 (128, 128, 4): the thing, painted where a colour is named.

        A rocket with orange fins is an orange rocket to training's captions, and to nobody who asks for one.
        """
        painted = _painted(self.pictures[number], colour)
        if not colour or colour_shares(painted).get(colour, 0) >= MOSTLY:
            return painted
        return hue_shift(painted, colour, whole=True)

    @classmethod
    def build(cls, world: World, autoencoder: Autoencoder | None = None) -> "Prototypes":
        """From the training pictures; `autoencoder` is that whose latents are drawn."""
        means = [_common(world, one_of_each(pictures)) for pictures in things(world).values()]
        return cls(np.stack(means), Mirror.build(world, autoencoder) if autoencoder else None)

    def save(self, root: Path) -> Path:
        """Write `root/prototypes`, to be read beside the `wording` that lies there, and enter it in the manifest."""
        folder = root / PART
        folder.mkdir(parents=True, exist_ok=True)
        packed = _packed(_atlas(self.pictures))
        tensors = {"webp": torch.frombuffer(bytearray(packed), dtype=torch.uint8)}
        tensors["count"] = torch.tensor(len(self.pictures))
        if self.mirror:
            tensors["mirror"] = self.mirror.weights.contiguous()
        save_file(tensors, folder / "prototypes.safetensors")
        record_made_with(folder, part_digests((WORDING, "autoencoder") if self.mirror else (WORDING,), root))
        record_part(PART, root)
        return folder

    @classmethod
    def load(cls, root: Path | None = None) -> "Prototypes":
        """What ships, or lies under `root`; WeightsError where it is missing, altered or of another wording."""
        folder = part_folder(PART, root)
        check_company(folder, root)
        tensors = load_file(folder / "prototypes.safetensors")
        atlas = _unpacked(tensors["webp"].numpy().tobytes())
        rows = atlas.reshape(len(atlas) // SIDE, SIDE, COLUMNS, SIDE, 4).swapaxes(1, 2)
        mirror = Mirror(tensors["mirror"]) if "mirror" in tensors else None
        return cls(rows.reshape(-1, SIDE, SIDE, 4)[: int(tensors["count"])], mirror)


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
        mean = _common(self.world, {one.family: one for one in some})
        return _painted(_unpacked(_packed(mean)), colour)


def one_of_each(pictures: Sequence[Picture]) -> dict[str, Picture]:
    """By family, one drawing without skin tone and gender where there is one without."""
    families: dict[str, Picture] = {}
    places = {style: place for place, style in enumerate(STYLES)}  # one that is new is taken last
    for picture in sorted(pictures, key=lambda p: (bool(p.skin) + bool(p.gender), places.get(p.style, len(places)))):
        families.setdefault(picture.family, picture)
    return families


def _some(pictures: Sequence[Picture], rng: random.Random) -> Sequence[Picture]:
    return pictures if rng.random() < ALL_SHARE else rng.sample(pictures, rng.randint(1, len(pictures)))


def _common(world: World, drawings: Mapping[str, Picture]) -> np.ndarray:
    return resized(in_common(world.pixels[[picture.index for picture in drawings.values()]]), SIDE, SIDE)


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


def _atlas(pictures: np.ndarray) -> np.ndarray:
    """(N, SIDE, SIDE, 4) -> one picture, COLUMNS a row, the last row filled up with nothing."""
    rows = max(1, -(-len(pictures) // COLUMNS))
    whole = np.zeros((rows * COLUMNS, SIDE, SIDE, 4), np.uint8)
    whole[: len(pictures)] = pictures
    return whole.reshape(rows, COLUMNS, SIDE, SIDE, 4).swapaxes(1, 2).reshape(rows * SIDE, COLUMNS * SIDE, 4)
