"""What a frozen autoencoder and a frozen space say of many pictures, computed once and kept in a folder."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
    """Latents (N, C, S, S) and semantic vectors (N, 128) of N pictures, in half precision."""

    latents: np.ndarray
    vectors: np.ndarray

    def __len__(self) -> int:
        return len(self.latents)

    def take(self, rows: list[int]) -> tuple[Tensor, Tensor]:
        """Latents and vectors of some rows, float32."""
        return tuple(torch.from_numpy(np.asarray(a[rows], np.float32)) for a in (self.latents, self.vectors))  # type: ignore[return-value]


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
    names = [] if file is None else [file.with_suffix(f".{name}.npy") for name in ("latents", "vectors")]
    if not names or not all(name.exists() for name in names):
        chunks = list(_chunks(count, picture, autoencoder, embedder))
        arrays = [np.concatenate([chunk[k] for chunk in chunks]) for k in range(2)]
        if not names:
            return Encoded(*arrays)
        for name, array in zip(names, arrays, strict=True):
            save_array(name, array)
    return Encoded(*(np.load(name, mmap_mode="r") for name in names))


def _chunks(
    count: int, picture: Callable[[int], np.ndarray], autoencoder: Autoencoder, embedder: Embedder
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    starts = range(0, count, CHUNK)
    bar = Console(stderr=True, quiet=count < 1000)
    for start in track(starts, f"encoding {count:,} pictures", console=bar):
        pixels = np.stack([picture(i) for i in range(start, min(start + CHUNK, count))])
        with torch.no_grad():
            batch = to_tensor(pixels).to(autoencoder.dtype).contiguous(memory_format=torch.channels_last)
            latents = autoencoder.encode(batch)
        yield latents.float().numpy().astype(np.float16), embedder.image(pixels).numpy().astype(np.float16)


def save_array(file: Path, array: np.ndarray) -> None:
    """A .npy file, whole or not at all: a kill leaves no half file under the name that is looked for."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    with part.open("wb") as handle:
        np.save(handle, array)
    part.replace(file)
