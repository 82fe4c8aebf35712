"""Training the upscaler: from a drawing at 128 px, rendered or decoded, to the same drawing at 512 px.

The loss is the autoencoder's: L1, squared error and the gradients' L1 of the composite over a random colour and of
alpha. Crops that hold an edge, turned, mirrored and with their colour channels exchanged: what an edge looks like does
not depend on any of that.
"""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from models.data.large import COUNTS
from models.data.pixels import composite, to_tensor
from models.presets import preset
from models.train.autoencoder import reconstruction_loss
from models.train.loop import TaskOptions
from models.train.pairs import Pairs, pairs
from models.train.sheet import grid
from models.upscaler import PART, SCALE, Upscaler, lanczos
from models.weights import part_digests, save_part

CROP = 48  # pixels a side, of the small picture
TWINS = 2  # crops of one picture in a step: reading it costs as much as a tenth of a crop
TRIES = 8  # places looked at for one where something changes
EXACT_FROM = 0.75  # share of the training
VALIDATION = 48  # pictures of each kind that an evaluation looks at
EDGE = 0.1  # change of a colour, on white, that makes an edge
REACH = 2  # pixels within which it has to change
WHITE = (1.0, 1.0, 1.0)


def psnr(output: Tensor, truth: Tensor) -> tuple[float, float]:
    """PSNR in dB of two pictures (1, 4, H, W) on white: of all pixels, and of those at edges of `truth`."""
    wanted = composite(truth, WHITE)
    errors = (composite(output, WHITE) - wanted).square().mean(1)
    window: Any = (2 * REACH + 1, 1, REACH)
    spread = F.max_pool2d(wanted, *window) + F.max_pool2d(-wanted, *window)
    means = torch.stack([errors.mean(), errors[spread.amax(1) > EDGE].mean()])
    white, edges = (-10 * means.clamp(min=1e-10).log10()).tolist()
    return white, edges


def compare(model: Upscaler, data: Pairs, rows: range, soft: bool) -> dict[str, float]:
    """Mean PSNR in dB over rows of the pairs, on white and at edges, of the network and of Lanczos."""
    found: dict[str, list[float]] = {}
    for row in rows:
        small, truth = data.small(row, soft), to_tensor(data.large(row))
        for name, enlarged in (("", model.enlarge(small)), ("_lanczos", lanczos(small))):
            white, edges = psnr(to_tensor(enlarged), truth)
            found.setdefault(f"white{name}", []).append(white)
            found.setdefault(f"edges{name}", []).append(edges)
    return {name: float(np.nanmean(values)) for name, values in found.items()}


class UpscalerTask:
    """Recipe "upscaler". `soft` is the share of crops from decoded pictures; 0 needs no autoencoder."""

    def __init__(self, options: TaskOptions, soft: float = 0.5) -> None:
        self.options, self.soft = options, soft
        self.model = Upscaler(**preset(PART, options.preset))
        with_soft, known = soft > 0, (options.parts, options.cache)
        self.train = pairs(options.world, "train", COUNTS["train"], with_soft, *known)
        self.val = pairs(options.world, "val", COUNTS["val"], with_soft, *known)
        self._large = functools.lru_cache(8)(self.train.large)

    def batch(self, step: int, rank: int, ranks: int, progress: float) -> dict[str, Any]:
        """Crops and what they are to become. Everything random depends on the step and the crop's place alone."""
        size = self.options.batch_size(progress)
        background = np.random.default_rng((self.options.seed, step)).random((size, 3), np.float32)
        mine = list(range(rank, size, ranks))
        small, large = zip(*(self._crop(step, row) for row in mine), strict=True)
        return {
            "small": to_tensor(np.stack(small)).contiguous(memory_format=torch.channels_last),
            "large": to_tensor(np.stack(large)),
            "background": torch.from_numpy(background[mine]),
        }

    def _crop(self, step: int, row: int) -> tuple[np.ndarray, np.ndarray]:
        """One crop at both sizes, premultiplied uint8 (48, 48, 4) and (192, 192, 4)."""
        number = int(np.random.default_rng((self.options.seed, step, row // TWINS, 0)).integers(len(self.train)))
        rng = np.random.default_rng((self.options.seed, step, row, 1))
        small, large = self.train.small(number, rng.random() < self.soft), self._large(number)
        top, left = _busy(rng, small)
        order, turns, flip = [*rng.permutation(3), 3], int(rng.integers(4)), rng.random() < 0.5
        crops = []
        for picture, scale in ((small, 1), (large, SCALE)):
            crop = picture[scale * top : scale * (top + CROP), scale * left : scale * (left + CROP)]
            crop = np.rot90(crop, turns)[..., order]
            crops.append(crop[:, ::-1] if flip else crop)
        return crops[0], crops[1]

    def loss(self, model: nn.Module, batch: dict[str, Any], progress: float) -> dict[str, Tensor]:
        """The autoencoder's reconstruction loss."""
        output = model(batch["small"], bounded=False)
        return {"loss": reconstruction_loss(batch["large"], output, batch["background"], progress >= EXACT_FROM)}

    def after_step(self, model: nn.Module) -> None:
        """Nothing."""

    def _kinds(self) -> list[tuple[str, bool]]:
        return [("sharp", False), ("soft", True)][: 2 if self.soft else 1]

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """What `compare` says of validation pictures, rendered (sharp) and decoded (soft)."""
        network: Any = model
        rows = range(0, len(self.val), max(1, len(self.val) // VALIDATION))[:VALIDATION]
        return {
            f"{kind}_{name}": value
            for kind, soft in self._kinds()
            for name, value in compare(network, self.val, rows, soft).items()
        }

    def sheet(self, model: nn.Module) -> Image.Image:
        """A row a picture, on white: as it was, by Lanczos, by the network, and the truth."""
        network: Any = model
        rows = range(0, len(self.val), max(1, len(self.val) // 4))[:4]
        shown: list[np.ndarray] = []
        for row in rows:
            for _, soft in self._kinds():
                small = self.val.small(row, soft)
                coarse = small.repeat(SCALE, 0).repeat(SCALE, 1)
                shown += [coarse, lanczos(small), network.enlarge(small), self.val.large(row)]
        return grid(to_tensor(np.stack(shown)), columns=4)

    def export(self, model: nn.Module, folder: Path) -> None:
        """The part."""
        beside = part_digests(("autoencoder",), self.options.parts) if self.soft else None
        save_part(model, PART, folder, beside)


def _busy(rng: np.random.Generator, picture: np.ndarray) -> tuple[int, int]:
    """Top left corner of a crop in which something changes, as far as a few tries find one."""
    top = left = 0
    for _ in range(TRIES):
        top, left = (int(corner) for corner in rng.integers(0, len(picture) - CROP + 1, 2))
        crop = picture[top : top + CROP, left : left + CROP]
        if (crop != crop[0, 0]).any():
            break
    return top, left
