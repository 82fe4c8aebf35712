"""Training the upscaler: from a drawing at 128 px, rendered or decoded, to the same drawing at 512 px.

The pipeline enlarges decoded pictures, which are softer than renderings, so half of the crops are decoded; figures use
renderings. The loss is the autoencoder's: L1, squared error and the gradients' L1 of the composite over a random colour
and of alpha. Crops hold an edge; they are turned, mirrored and have permuted colour channels: edges look the same.
"""

import functools
import hashlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from models.assets import preset
from models.autoencoder import Autoencoder
from models.data.extra_sets import COUNTS, choose, large
from models.data.pixels import composite, to_tensor, to_uint8
from models.data.stored import progress, stored
from models.runtime import native_dtype
from models.train.autoencoder import EXACT_FROM, LATENT_NOISE, reconstruction_loss
from models.train.loop import Task, TaskOptions, grid
from models.upscaler import PART, SCALE, Upscaler, lanczos
from models.weights import load_part, part_digests, save_part, weights_digest

CHUNK = 16  # pictures a pass of the autoencoder
SOFT = 0.5  # share of crops from decoded pictures
CROP = 48  # pixels a side, of the small picture
TWINS = 2  # crops of a picture in a step: reading it costs a tenth of a crop
TRIES = 8  # crops tried until one is not uniform
VALIDATION = 48  # pictures of each kind in the validation
EDGE = 0.1  # change of a colour, on white, that makes an edge
REACH = 2  # pixels within which it changes
WHITE = (1.0, 1.0, 1.0)

Kind = Literal["sharp", "soft"]
KINDS: tuple[Kind, ...] = ("sharp", "soft")


class Pairs:
    """At most `count` pictures of a split: at 128 px as rendered ("sharp") and as decoded ("soft"), (N, 128, 128, 4)
    premultiplied uint8, and at 512 px."""

    def __init__(self, options: TaskOptions, split: Literal["train", "val"]) -> None:
        self.pictures = choose(options.world, split, COUNTS[split])
        sharp = np.ascontiguousarray(options.world.pixels[[picture.index for picture in self.pictures]])
        self.small = {"sharp": sharp, "soft": softened(sharp, options.parts, options.cache)}
        self._read = large(options.world, self.pictures)

    def __len__(self) -> int:
        return len(self.pictures)

    def large(self, row: int) -> np.ndarray:
        return self._read(self.pictures[row])


def softened(sharp: np.ndarray, parts: Path | None = None, cache: Path | None = None) -> np.ndarray:
    """Pictures (N, 128, 128, 4) through the autoencoder with noise on the latent, as from a generator; stored in
    `cache`."""
    content = hashlib.sha256(sharp.data).hexdigest() + weights_digest(("autoencoder",), parts)
    key = hashlib.sha256(f"{content} {LATENT_NOISE}".encode()).hexdigest()
    return stored(cache and cache / f"soft-{key[:24]}.npy", lambda: _decoded(sharp, parts))


@torch.no_grad()
def _decoded(sharp: np.ndarray, parts: Path | None) -> np.ndarray:
    autoencoder: Any = load_part(Autoencoder, "autoencoder", parts, native_dtype())
    autoencoder.to(memory_format=torch.channels_last)
    generator, decoded = torch.Generator().manual_seed(0), []
    for start in progress(range(0, len(sharp), CHUNK), f"decoding {len(sharp):,} pictures"):
        latents = autoencoder.encode(to_tensor(sharp[start : start + CHUNK]).to(autoencoder.dtype))
        disturbed = latents + LATENT_NOISE * torch.randn(latents.shape, generator=generator)
        decoded.append(to_uint8(autoencoder.decode(disturbed)))
    return np.concatenate(decoded)


def psnr(output: Tensor, truth: Tensor) -> tuple[float, float]:
    """PSNR in dB of two pictures (1, 4, H, W) on white: of all pixels, and of those at edges of `truth`."""
    wanted = composite(truth, WHITE)
    errors = (composite(output, WHITE) - wanted).square().mean(1)
    window: Any = (2 * REACH + 1, 1, REACH)
    spread = F.max_pool2d(wanted, *window) + F.max_pool2d(-wanted, *window)
    means = torch.stack([errors.mean(), errors[spread.amax(1) > EDGE].mean()])
    white, edges = (-10 * means.clamp(min=1e-10).log10()).tolist()
    return white, edges


def compare(model: Upscaler, data: Pairs, rows: range, kind: Kind) -> dict[str, float]:
    """Mean PSNR in dB over rows of the pairs, on white and at edges, by the network and by Lanczos."""
    figures: dict[str, list[float]] = {}
    for row in rows:
        small, truth = data.small[kind][row], to_tensor(data.large(row))
        for name, enlarged in (("", model.enlarge(small)), ("_lanczos", lanczos(small))):
            for what, value in zip(("white", "edges"), psnr(to_tensor(enlarged), truth), strict=True):
                figures.setdefault(f"{kind}_{what}{name}", []).append(value)
    return {name: float(np.nanmean(values)) for name, values in figures.items()}


class UpscalerTask(Task):
    """Recipe "upscaler"."""

    def __init__(self, options: TaskOptions) -> None:
        self.options = options
        self.model = Upscaler(**preset(PART, options.preset))
        self.train, self.val = Pairs(options, "train"), Pairs(options, "val")
        self._large = functools.lru_cache(8)(self.train.large)

    def batch(self, step: int, rank: int, ranks: int, progress: float) -> dict[str, Any]:
        """Crops at both sizes. All randomness depends on the step and the crop's number alone."""
        size = self.options.batch_size(progress)
        background = np.random.default_rng((self.options.seed, step)).random((size, 3), np.float32)
        small, large = zip(*(self._crop(step, row) for row in range(rank, size, ranks)), strict=True)
        return {
            "small": to_tensor(np.stack(small)).contiguous(memory_format=torch.channels_last),
            "large": to_tensor(np.stack(large)),
            "background": torch.from_numpy(background[rank::ranks]),
        }

    def _crop(self, step: int, row: int) -> tuple[np.ndarray, np.ndarray]:
        """One crop at both sizes, premultiplied uint8 (48, 48, 4) and (192, 192, 4)."""
        number = int(np.random.default_rng((self.options.seed, step, row // TWINS, 0)).integers(len(self.train)))
        rng = np.random.default_rng((self.options.seed, step, row, 1))
        small, large = self.train.small["soft" if rng.random() < SOFT else "sharp"][number], self._large(number)
        top, left = _busy(rng, small)
        order, turns, flip = [*rng.permutation(3), 3], int(rng.integers(4)), rng.random() < 0.5
        crops = []
        for picture, scale in ((small, 1), (large, SCALE)):
            crop = picture[scale * top : scale * (top + CROP), scale * left : scale * (left + CROP)]
            crop = np.rot90(crop, turns)[..., order]
            crops.append(crop[:, ::-1] if flip else crop)
        return crops[0], crops[1]

    def loss(self, model: nn.Module, batch: dict[str, Any], progress: float) -> dict[str, Tensor]:
        output = model(batch["small"], bounded=False)
        return {"loss": reconstruction_loss(batch["large"], output, batch["background"], progress >= EXACT_FROM)}

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        network: Any = model
        rows = range(0, len(self.val), max(1, len(self.val) // VALIDATION))[:VALIDATION]
        return {name: value for kind in KINDS for name, value in compare(network, self.val, rows, kind).items()}

    def sheet(self, model: nn.Module) -> Image.Image:
        """A row a picture, on white: small, by Lanczos, by the network, and the truth."""
        network: Any = model
        shown: list[np.ndarray] = []
        for row in range(0, len(self.val), max(1, len(self.val) // 4))[:4]:
            for small in (self.val.small[kind][row] for kind in KINDS):
                coarse = small.repeat(SCALE, 0).repeat(SCALE, 1)
                shown += [coarse, lanczos(small), network.enlarge(small), self.val.large(row)]
        return grid(to_tensor(np.stack(shown)), columns=4)

    def export(self, model: nn.Module, folder: Path) -> None:
        save_part(model, PART, folder, part_digests(("autoencoder",), self.options.parts))


def _busy(rng: np.random.Generator, picture: np.ndarray) -> tuple[int, int]:
    """Top left corner of a crop in which something changes, as far as a few tries find one."""
    top = left = 0
    for _ in range(TRIES):
        top, left = (int(corner) for corner in rng.integers(0, len(picture) - CROP + 1, 2))
        crop = picture[top : top + CROP, left : left + CROP]
        if (crop != crop[0, 0]).any():
            break
    return top, left
