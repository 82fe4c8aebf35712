"""What several hands' drawings of a thing have in common, for a drawing to begin from.

The mean of the art families' drawings is too soft to be a picture, and says where its parts are and which colours they
have. A drawing that is put on top of it at much noise (SDEdit, arXiv 2108.01073) keeps what is large in it and nothing
else, so it needs no more than SIDE pixels. What that is worth: `models/train/LOG.md`.
"""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from models.data.colours import hue_shift
from models.data.compose import resized
from models.data.pixels import SIZE, premultiply, unpremultiply
from models.data.world import Picture, World
from models.weights import check_company, part_digests, part_folder, record_made_with, record_part
from models.wording import PART as WORDING
from models.wording import things

PART = "prototypes"
SIDE = 64
COLUMNS = 64  # of the atlas: WebP holds 16,383 pixels a side
QUALITY = 50  # of its WebP: under the noise of the second level nothing finer is seen
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
    """Premultiplied uint8 `pictures` (N, SIDE, SIDE, 4), in the order of `models.wording.things`."""

    def __init__(self, pictures: np.ndarray) -> None:
        self.pictures = pictures

    def picture(self, number: int, colour: str = "") -> np.ndarray:
        """Premultiplied uint8 (128, 128, 4): the thing, painted where a colour is named."""
        whole = resized(self.pictures[number], SIZE, SIZE)
        return hue_shift(whole, colour) if colour else whole.copy()  # Pillow's memory may not be written to

    @classmethod
    def build(cls, world: World) -> "Prototypes":
        """From the training pictures."""
        return cls(np.stack([_mean(world, pictures) for pictures in things(world).values()]))

    def save(self, root: Path) -> Path:
        """Write `root/prototypes`, to be read beside the `wording` that lies there, and enter it in the manifest."""
        folder = root / PART
        folder.mkdir(parents=True, exist_ok=True)
        file = io.BytesIO()
        Image.fromarray(unpremultiply(_atlas(self.pictures)), "RGBA").save(
            file, "WEBP", quality=QUALITY, alpha_quality=QUALITY, method=6
        )
        tensors = {"webp": torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8)}
        save_file({**tensors, "count": torch.tensor(len(self.pictures))}, folder / "prototypes.safetensors")
        record_made_with(folder, part_digests((WORDING,), root))
        record_part(PART, root)
        return folder

    @classmethod
    def load(cls, root: Path | None = None) -> "Prototypes":
        """What ships, or lies under `root`; WeightsError where it is missing, altered or of another wording."""
        folder = part_folder(PART, root)
        check_company(folder, root)
        tensors = load_file(folder / "prototypes.safetensors")
        with Image.open(io.BytesIO(tensors["webp"].numpy().tobytes()), formats=("WEBP",)) as picture:
            atlas = premultiply(np.asarray(picture.convert("RGBA")))
        rows = atlas.reshape(len(atlas) // SIDE, SIDE, COLUMNS, SIDE, 4).swapaxes(1, 2)
        return cls(rows.reshape(-1, SIDE, SIDE, 4)[: int(tensors["count"])])


def _mean(world: World, pictures: Sequence[Picture]) -> np.ndarray:
    """Of one drawing of each family, without skin tones and genders where there is one without."""
    plain = sorted(pictures, key=lambda p: (bool(p.skin) + bool(p.gender), STYLES.index(p.style)))
    families: dict[str, Picture] = {}
    for picture in plain:
        families.setdefault(picture.family, picture)
    mean = np.stack([world.pixels[picture.index] for picture in families.values()]).astype(np.float32).mean(0)
    return resized(np.round(mean).astype(np.uint8), SIDE, SIDE)


def _atlas(pictures: np.ndarray) -> np.ndarray:
    """(N, SIDE, SIDE, 4) -> one picture, COLUMNS a row, the last row filled up with nothing."""
    rows = max(1, -(-len(pictures) // COLUMNS))
    whole = np.zeros((rows * COLUMNS, SIDE, SIDE, 4), np.uint8)
    whole[: len(pictures)] = pictures
    return whole.reshape(rows, COLUMNS, SIDE, SIDE, 4).swapaxes(1, 2).reshape(rows * SIDE, COLUMNS * SIDE, 4)
