"""What a frozen autoencoder and a frozen space say of many pictures, computed once and kept in a folder."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from models.autoencoder import Autoencoder
from models.data.pixels import to_tensor
from models.space import Embedder

CHUNK = 32  # pictures a pass


@dataclass(frozen=True)
class Encoded:
    """Latents (N, C, S, S), semantic vectors (N, 128) and the encoder's tokens (N, K, D), in half precision."""

    latents: np.ndarray
    vectors: np.ndarray
    tokens: np.ndarray

    def __len__(self) -> int:
        return len(self.latents)

    def take(self, rows: list[int]) -> tuple[Tensor, Tensor]:
        """Latents and vectors of some rows, float32."""
        return _float(self.latents[rows]), _float(self.vectors[rows])

    def seen(self, rows: list[int]) -> Tensor:
        """The encoder's tokens of some rows, float32."""
        return _float(self.tokens[rows])


def encode_all(
    count: int,
    picture: Callable[[int], np.ndarray],
    autoencoder: Autoencoder,
    embedder: Embedder,
    file: Path | None = None,
) -> Encoded:
    """Encode `picture(0)` to `picture(count - 1)`, premultiplied uint8 (128, 128, 4).

    `file` without suffix is where the result is kept and found again, so its name must say what it is made of; None
    keeps it in memory only.
    """
    names = [] if file is None else [file.with_suffix(f".{field.name}.npy") for field in fields(Encoded)]
    if not names or not all(name.exists() for name in names):
        chunks = list(_chunks(count, picture, autoencoder, embedder))
        arrays = [np.concatenate(parts) for parts in zip(*chunks, strict=True)]
        if not names:
            return Encoded(*arrays)
        for name, array in zip(names, arrays, strict=True):
            save_array(name, array)
    return Encoded(*(np.load(name, mmap_mode="r") for name in names))


def _chunks(
    count: int, picture: Callable[[int], np.ndarray], autoencoder: Autoencoder, embedder: Embedder
) -> Iterator[tuple[np.ndarray, ...]]:
    starts = range(0, count, CHUNK)
    bar = Console(stderr=True, quiet=count < 1000)
    for start in track(starts, f"encoding {count:,} pictures", console=bar):
        pixels = np.stack([picture(i) for i in range(start, min(start + CHUNK, count))])
        batch = to_tensor(pixels).contiguous(memory_format=torch.channels_last)
        native = autoencoder.dtype == torch.bfloat16
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=native):
            latents = autoencoder.encode(batch.to(autoencoder.dtype))
            tokens = embedder.vision.forward(batch)  # a quarter of fp32's time
            vectors = embedder.space.image(tokens)
        yield tuple(x.float().numpy().astype(np.float16) for x in (latents, vectors, tokens))


def _float(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(array, np.float32))


def save_array(file: Path, array: np.ndarray) -> None:
    """A .npy file, whole or not at all: a kill leaves no half file under the name that is looked for."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    with part.open("wb") as handle:
        np.save(handle, array)
    part.replace(file)
