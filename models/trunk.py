"""Our 128-d heads over another model: the semantic space of whoever has a larger trunk.

The trunk gives one vector a text or a picture, and the heads are `SemanticSpace`'s own, reading it as a sequence of one
token. The part holds the heads and the trunk's name, not the trunk.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.open_clip import OpenClip
from models.space import SemanticSpace
from models.weights import WeightsError, load_part, read_json, record_part, save_part

PART = "trunk_space"
TRUNK = "trunk.json"  # in the part's folder: the trunk's name, and where it puts PROBE
PROBE, NUMBERS, NEAR = "a cat", 8, 1e-2  # bf16 on another machine differs by less


class TrunkEmbedder:
    """Texts and pictures in, (N, 128) unit vectors out, as `models.space.Embedder`."""

    def __init__(self, trunk: OpenClip, space: SemanticSpace) -> None:
        self.trunk, self.space = trunk, space.eval()

    @classmethod
    def load(cls, folder: Path) -> "TrunkEmbedder":
        """The part in `folder` over the trunk that it names; WeightsError also where that is another by now."""
        space, said = load_part(SemanticSpace, PART, folder.parent), read_json(folder / TRUNK)
        trunk = OpenClip.load(said["name"])
        found = probe(trunk)
        if len(found) != len(said["probe"]) or not np.allclose(found, said["probe"], atol=NEAR):
            raise WeightsError("open_clip.other_trunk", folder=str(folder), name=said["name"])
        return cls(trunk, space)

    def text(self, texts: Sequence[str]) -> Tensor:
        """N texts -> (N, 128) float32 unit vectors."""
        return heads(self.space, texts=self.trunk.text(texts))

    def image(self, pictures: np.ndarray) -> Tensor:
        """Premultiplied uint8 (N, H, W, 4) -> (N, 128) float32 unit vectors."""
        return heads(self.space, pictures=self.trunk.image(pictures))


def heads(space: SemanticSpace, texts: Tensor | None = None, pictures: Tensor | None = None) -> Tensor:
    """A trunk's vectors (N, D) of texts or of pictures -> (N, 128) unit vectors."""
    if texts is None:
        assert pictures is not None
        return space.image(pictures[:, None])
    return space.text(texts[:, None], torch.ones(len(texts), 1, dtype=torch.bool))


def probe(trunk: OpenClip) -> list[float]:
    """The first numbers of where a trunk puts PROBE: with other weights, others."""
    return [round(float(number), 4) for number in trunk.text([PROBE])[0, :NUMBERS]]


def save_heads(space: Any, trunk: OpenClip, name: str, root: Path) -> None:
    """The part, in `root`."""
    folder = save_part(space, PART, root)
    (folder / TRUNK).write_text(json.dumps({"name": name, "probe": probe(trunk)}) + "\n", encoding="utf-8")
    record_part(PART, root)


def any_embedder(name: str) -> "OpenClip | TrunkEmbedder":
    """A model by its name (`models.open_clip.source`), or a folder with heads over one."""
    return TrunkEmbedder.load(Path(name)) if (Path(name) / TRUNK).is_file() else OpenClip.load(name)
