"""Training the upscaler: from a drawing at 128 px, rendered or decoded, to the same drawing at 512 px.

It enlarges what the autoencoder decodes, which is softer than a rendering, so half of the pairs are decoded pictures.
The loss is the autoencoder's: L1, squared error and the gradients' L1 of the composite over a random colour and of
alpha. Crops that hold an edge, turned, mirrored and with their colour channels exchanged: what an edge looks like does
not depend on any of that.
"""

import functools
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from models.autoencoder import Autoencoder
from models.data.large import COUNTS, Read, choose, large
from models.data.pixels import composite, to_tensor, to_uint8
from models.data.world import Picture, World
from models.hardware import native_dtype
from models.presets import preset
from models.train.autoencoder import LATENT_NOISE, reconstruction_loss
from models.train.loop import Task, TaskOptions, grid
from models.upscaler import PART, SCALE, Upscaler, lanczos
from models.weights import load_part, part_digests, save_part, weights_digest

CHUNK = 16  # pictures a pass of the autoencoder


@dataclass(frozen=True)
class Pairs:
    """N pictures: as rendered (`sharp`) and as decoded (`soft`, None where that is not wanted), (N, 128, 128, 4)
    premultiplied uint8, and what reads them at 512 px.
    """

    pictures: list[Picture]
    sharp: np.ndarray
    soft: np.ndarray | None
    read: Read

    def __len__(self) -> int:
        return len(self.pictures)

    def small(self, row: int, soft: bool) -> np.ndarray:
        """Picture `row` at 128 px."""
        return self.soft[row] if soft and self.soft is not None else self.sharp[row]

    def large(self, row: int) -> np.ndarray:
        """Picture `row` at 512 px."""
        return self.read(self.pictures[row])


def pairs(
    world: World, split: str, count: int, soft: bool, parts: Path | None = None, cache: Path | None = None
) -> Pairs:
    """At most `count` pairs of a split.

    Args:
        soft: whether with decoded pictures too.
        parts: folder that holds the autoencoder, None for the shipped one.
        cache: folder where decoded pictures are kept.
    """
    pictures = choose(world, split, count)
    sharp = np.ascontiguousarray(world.pixels[[picture.index for picture in pictures]])
    return Pairs(pictures, sharp, softened(sharp, parts, cache) if soft else None, large(world, pictures))


def softened(sharp: np.ndarray, parts: Path | None = None, cache: Path | None = None) -> np.ndarray:
    """Pictures (N, 128, 128, 4) through the autoencoder, its latent disturbed as a generator's small errors would."""
    content = hashlib.sha256(sharp.data).hexdigest() + weights_digest(("autoencoder",), parts)
    key = hashlib.sha256(f"{content} {LATENT_NOISE}".encode()).hexdigest()
    file = None if cache is None else cache / f"soft-{key[:24]}.npy"
    if file is not None and file.exists():
        return np.load(file, mmap_mode="r")
    decoded = _decoded(sharp, load_part(Autoencoder, "autoencoder", parts, native_dtype()))
    if file is not None:
        save_array(file, decoded)
    return decoded


@torch.no_grad()
def _decoded(sharp: np.ndarray, autoencoder: Any) -> np.ndarray:
    autoencoder.to(memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(0)
    made = []
    bar = Console(stderr=True, quiet=len(sharp) < 1000)
    for start in track(range(0, len(sharp), CHUNK), f"decoding {len(sharp):,} pictures", console=bar):
        latents = autoencoder.encode(to_tensor(sharp[start : start + CHUNK]).to(autoencoder.dtype))
        disturbed = latents + LATENT_NOISE * torch.randn(latents.shape, generator=generator)
        made.append(to_uint8(autoencoder.decode(disturbed)))
    return np.concatenate(made)


def save_array(file: Path, array: np.ndarray) -> None:
    """A .npy file, whole or not at all: a kill leaves no half file under the name that is looked for."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(f".{os.getpid()}.part")
    with part.open("wb") as handle:
        np.save(handle, array)
    part.replace(file)


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


class UpscalerTask(Task):
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
