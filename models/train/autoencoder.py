"""Training the autoencoder and the upscaler, which have one loss: L1, squared error and the gradients' L1 at three
scales, on four channels (the composite over a random colour, and alpha). No perceptual and no adversarial loss.

The autoencoder reconstructs a picture after noise on the latent. Crops come first, whole pictures later: a crop of 64
px costs a quarter and teaches the same edges.

The upscaler makes 512 px of a drawing at 128 px. The pipeline enlarges decoded pictures, which are softer than
renderings, so half of the crops are decoded. Crops hold an edge; they are turned, mirrored and have permuted colour
channels: edges look the same.
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
from models.autoencoder import Autoencoder, fit_preview
from models.data.extra_sets import COUNTS, choose, large
from models.data.pixels import to_tensor, to_uint8
from models.data.scenes import make_scene
from models.data.stored import progress, stored
from models.data.world import Sampler, evenly
from models.runtime import native_dtype
from models.train.loop import Task, TaskOptions, grid, psnr
from models.upscaler import PART as UPSCALER
from models.upscaler import SCALE, Upscaler
from models.weights import load_part, part_digests, save_part, weights_digest

CROP = 64
CROPS_UNTIL = 0.6  # share of the training
EXACT_FROM = 0.75  # share of the training
SCENES = 0.2
LATENT_NOISE = 0.05  # of a latent channel's standard deviation: what a generator's small errors look like
EQUIVARIANCE = 0.2  # share of steps that decode a shrunken or turned latent (EQ-VAE, arXiv 2502.09509)
STD_MOMENTUM = 0.01


class Reconstruction(nn.Module):
    """The autoencoder as it is trained: encode, disturb, decode. Keeps a running deviation of the raw latent."""

    latent_std: Tensor

    def __init__(self, autoencoder: Autoencoder) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.channels = autoencoder.config["latent_channels"]
        self.register_buffer("latent_std", torch.ones(self.channels, 1, 1))

    def forward(self, pictures: Tensor, noise: Tensor, turns: int, shrink: bool) -> tuple[Tensor, Tensor]:
        """-> (target, reconstruction), both (B, 4, H, W): the picture, turned and shrunken as its latent was."""
        raw = self.autoencoder.raw_latent(pictures)
        noisy = raw + LATENT_NOISE * self.latent_std * noise
        if self.training:
            deviation = raw.detach().float().std((0, 2, 3)).view_as(self.latent_std)
            self.latent_std = self.latent_std.lerp(deviation, STD_MOMENTUM)
        if shrink:
            noisy, pictures = F.avg_pool2d(noisy, 2), F.avg_pool2d(pictures, 2)
        if turns:
            noisy, pictures = torch.rot90(noisy, turns, (2, 3)), torch.rot90(pictures, turns, (2, 3))
        return pictures, self.autoencoder.from_raw(noisy)


def gradient_loss(difference: Tensor, scales: int = 3) -> Tensor:
    """Mean absolute spatial gradient of a difference image (B, C, H, W), summed over `scales` halvings."""
    total = difference.new_zeros(())
    for _ in range(scales):
        total = total + difference.diff(dim=2).abs().mean() + difference.diff(dim=3).abs().mean()
        difference = F.avg_pool2d(difference, 2)
    return total


def reconstruction_loss(target: Tensor, output: Tensor, background: Tensor, late: bool = False) -> Tensor:
    """L1 + 2 MSE + gradients of (composite over `background` (B, 3), alpha); late, also each picture's 2 RMSE.

    The gradients teach edges, and PSNR is a picture's log RMSE: it is what the last hour is spent on.

    The difference of two composites needs no compositing: it is d_rgb - d_alpha * background for premultiplied colour.
    """
    difference = output.float() - target.float()
    rgb = difference[:, :3] - difference[:, 3:] * background[:, :, None, None]
    difference = torch.cat([rgb, difference[:, 3:]], 1)
    squares = difference.square().mean((1, 2, 3))
    exact = 2 * (squares + 1e-6).sqrt().mean() if late else squares.new_zeros(())
    return difference.abs().mean() + 2 * squares.mean() + gradient_loss(difference) + exact


class AutoencoderTask(Task):
    """Recipe "autoencoder"."""

    def __init__(self, options: TaskOptions) -> None:
        self.options, self.world = options, options.world
        self.model = Reconstruction(Autoencoder(**preset("autoencoder", options.preset)))
        self.sampler = Sampler(self.world.split("train"))

    def batch(self, step: int, rank: int, ranks: int, progress: float) -> dict[str, Any]:
        """Pictures and a few scenes; crops early. Everything random of the step is drawn here."""
        rng = np.random.default_rng((self.options.seed, step))
        size = self.options.batch_size(progress)
        pictures = self.sampler.draw(rng, size)
        scenes = rng.random(size) < SCENES
        seeds = rng.integers(2**31, size=size)
        side = CROP if progress < CROPS_UNTIL else self.world.pixels.shape[1]
        corners = rng.integers(0, (self.world.pixels.shape[1] - side) // 8 + 1, (size, 2)) * 8
        flips, draws = rng.random(size) < 0.5, rng.random(3)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        noise = torch.randn(size, self.model.channels, side // 8, side // 8, generator=generator)
        background = torch.rand(size, 3, generator=generator)
        mine = range(rank, size, ranks)
        pixels = []
        for i in mine:
            scene = make_scene(self.world, int(seeds[i])) if scenes[i] else None
            whole = scene.render(self.world) if scene else self.world.pixels[pictures[i].index]
            top, left = corners[i]
            crop = whole[top : top + side, left : left + side]
            pixels.append(crop[:, ::-1] if flips[i] else crop)
        return {
            "pictures": to_tensor(np.stack(pixels)).contiguous(memory_format=torch.channels_last),
            "noise": noise[list(mine)],
            "background": background[list(mine)],
            "turns": int(draws[1] * 4) if draws[0] < EQUIVARIANCE else 0,
            "shrink": bool(draws[0] < EQUIVARIANCE and draws[2] < 0.5),
        }

    def loss(self, model: nn.Module, batch: dict[str, Any], progress: float) -> dict[str, Tensor]:
        target, output = model(batch["pictures"], batch["noise"], batch["turns"], batch["shrink"])
        return {"loss": reconstruction_loss(target, output, batch["background"], progress >= EXACT_FROM)}

    def _validation(self) -> Tensor:
        pictures = evenly(self.world.split("val"), 128)
        return to_tensor(self.world.pixels[[picture.index for picture in pictures]])

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """PSNR on white and alpha IoU of 128 validation pictures, straight through without latent noise."""
        pictures = self._validation()
        output = self._through(model, pictures)
        solid, drawn = pictures[:, 3] > 0.5, output[:, 3] > 0.5
        overlap = (solid & drawn).sum((1, 2)) / (solid | drawn).sum((1, 2)).clamp(min=1)
        return {"psnr_white": float(psnr(output, pictures).mean()), "alpha_iou": float(overlap.mean())}

    @staticmethod
    def _through(model: nn.Module, pictures: Tensor) -> Tensor:
        network: Any = model.autoencoder
        pictures = pictures.contiguous(memory_format=torch.channels_last)
        outputs = [network.from_raw(network.raw_latent(part)).float().clamp(0, 1) for part in pictures.split(16)]
        return torch.cat(outputs)

    def sheet(self, model: nn.Module) -> Image.Image:
        pictures = self._validation()[:32]
        pairs = torch.stack([pictures, self._through(model, pictures)], 1).flatten(0, 1)
        return grid(pairs, columns=16)

    def export(self, model: nn.Module, folder: Path) -> None:
        """The autoencoder with its latent's mean and deviation measured over training pictures."""
        network: Any = model.autoencoder
        pictures = self.sampler.draw(np.random.default_rng(0), min(2048, 8 * len(self.world.split("train"))))
        batches = to_tensor(self.world.pixels[[p.index for p in pictures]]).split(32)
        raw = [network.raw_latent(b.contiguous(memory_format=torch.channels_last)).float() for b in batches]
        colours = [F.avg_pool2d(batch, 8) for batch in batches]
        latents = torch.cat(raw)
        mean, std = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
        normal = (latents - mean.view(1, -1, 1, 1)) / std.view(1, -1, 1, 1)
        network.register_to_config(preview=fit_preview(normal, torch.cat(colours)))
        network.set_latent_statistics(mean, std)
        save_part(network, "autoencoder", folder)


# --- The upscaler -----------------------------------------------------------------------------------------------------


CHUNK = 16  # pictures a pass of the autoencoder
SOFT = 0.5  # share of crops from decoded pictures
SMALL_CROP = 48  # pixels a side, of the small picture
TWINS = 2  # crops of a picture in a step: reading it costs a tenth of a crop
TRIES = 8  # crops tried until one is not uniform
VALIDATION = 48  # pictures of each kind in the validation

Kind = Literal["sharp", "soft"]
KINDS: tuple[Kind, ...] = ("sharp", "soft")


class Pairs:
    """Pictures of a split: at 128 px as rendered ("sharp") and as decoded ("soft"), (N, 128, 128, 4) premultiplied
    uint8, and at 512 px."""

    def __init__(self, options: TaskOptions, split: Literal["train", "val"]) -> None:
        self.pictures = choose(options.world, split, COUNTS[split])
        sharp = np.ascontiguousarray(options.world.pixels[[picture.index for picture in self.pictures]])
        self.small = {"sharp": sharp, "soft": softened(sharp, options.parts, options.cache)}
        self._read = large(options.world, self.pictures)

    def large(self, row: int) -> np.ndarray:
        return self._read(self.pictures[row])

    def evenly(self, count: int) -> range:
        """At most `count` rows, spread over all."""
        return range(0, len(self.pictures), max(1, len(self.pictures) // count))[:count]


def softened(sharp: np.ndarray, parts: Path | None = None, cache: Path | None = None) -> np.ndarray:
    """Pictures (N, 128, 128, 4) through the autoencoder with noise on the latent, as from a generator; stored in
    `cache`."""
    content = hashlib.sha256(sharp.data).hexdigest() + weights_digest(("autoencoder",), parts)
    key = hashlib.sha256(f"{content} {LATENT_NOISE}".encode()).hexdigest()

    @torch.no_grad()
    def decoded() -> np.ndarray:
        autoencoder: Any = load_part(Autoencoder, "autoencoder", parts, native_dtype())
        autoencoder.to(memory_format=torch.channels_last)
        generator, pictures = torch.Generator().manual_seed(0), []
        for start in progress(range(0, len(sharp), CHUNK), f"decoding {len(sharp):,} pictures"):
            latents = autoencoder.encode(to_tensor(sharp[start : start + CHUNK]).to(autoencoder.dtype))
            noise = torch.randn(latents.shape, generator=generator)
            pictures.append(to_uint8(autoencoder.decode(latents + LATENT_NOISE * noise)))
        return np.concatenate(pictures)

    return stored(cache and cache / f"soft-{key[:24]}.npy", decoded)


class UpscalerTask(Task):
    """Recipe "upscaler"."""

    def __init__(self, options: TaskOptions) -> None:
        self.options = options
        self.model = Upscaler(**preset(UPSCALER, options.preset))
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
        pictures = len(self.train.pictures)
        number = int(np.random.default_rng((self.options.seed, step, row // TWINS, 0)).integers(pictures))
        rng = np.random.default_rng((self.options.seed, step, row, 1))
        small, large = self.train.small["soft" if rng.random() < SOFT else "sharp"][number], self._large(number)
        top = left = 0
        for _ in range(TRIES):  # until something changes in the crop
            top, left = (int(corner) for corner in rng.integers(0, len(small) - SMALL_CROP + 1, 2))
            if np.ptp(small[top : top + SMALL_CROP, left : left + SMALL_CROP], (0, 1)).any():
                break
        order, turns, flip = [*rng.permutation(3), 3], int(rng.integers(4)), rng.random() < 0.5
        crops = []
        for picture, scale in ((small, 1), (large, SCALE)):
            crop = picture[scale * top : scale * (top + SMALL_CROP), scale * left : scale * (left + SMALL_CROP)]
            crop = np.rot90(crop, turns)[..., order]
            crops.append(crop[:, ::-1] if flip else crop)
        return crops[0], crops[1]

    def loss(self, model: nn.Module, batch: dict[str, Any], progress: float) -> dict[str, Tensor]:
        output = model(batch["small"], bounded=False)
        return {"loss": reconstruction_loss(batch["large"], output, batch["background"], progress >= EXACT_FROM)}

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Mean PSNR in dB on white."""
        network: Any = model
        return {
            f"{kind}_white": float(
                np.mean([
                    float(psnr(to_tensor(network.enlarge(self.val.small[kind][row])), to_tensor(self.val.large(row))))
                    for row in self.val.evenly(VALIDATION)
                ])
            )
            for kind in KINDS
        }  # fmt: skip

    def sheet(self, model: nn.Module) -> Image.Image:
        """A row a picture, on white: small, enlarged by the network, and the truth."""
        network: Any = model
        shown: list[np.ndarray] = []
        for row in self.val.evenly(4):
            for small in (self.val.small[kind][row] for kind in KINDS):
                shown += [small.repeat(SCALE, 0).repeat(SCALE, 1), network.enlarge(small), self.val.large(row)]
        return grid(to_tensor(np.stack(shown)), columns=3)

    def export(self, model: nn.Module, folder: Path) -> None:
        save_part(model, UPSCALER, folder, part_digests(("autoencoder",), self.options.parts))
