"""Pairs of one drawing at 128 and at 512 px, and what the autoencoder makes of the small one.

The upscaler's work is what the autoencoder decodes, which is softer than a rendering: so it also learns from decoded
pictures what the sharp one was.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from models.autoencoder import Autoencoder
from models.data.large import Read, choose, large
from models.data.pixels import to_tensor, to_uint8
from models.data.world import Picture, World
from models.hardware import native_dtype
from models.train.autoencoder import LATENT_NOISE
from models.weights import load_part, weights_digest

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
