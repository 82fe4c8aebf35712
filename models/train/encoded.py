"""Latents and embeddings of many pictures and their captions by the frozen parts, computed once and kept in a folder.

A training step then reads rows of arrays alone: encoding captions again took a quarter of its time.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from models.autoencoder import Autoencoder
from models.data.pixels import to_tensor
from models.data.variety import NO_WARP
from models.space import Embedder
from models.tokenizer import encode_texts

CHUNK = 32  # pictures a pass
LARGE = 1000  # pictures from which on a progress bar and helpers are worth it


class Item(NamedTuple):
    """Premultiplied uint8 (128, 128, 4), its K captions, how it is warped (`models.data.variety`), and what it is drawn
    from, if from anything (`models.references.store`)."""

    pixels: np.ndarray
    captions: Sequence[str]
    warp: np.ndarray = NO_WARP
    draft: np.ndarray | None = None


@dataclass(frozen=True)
class Encoded:
    """N pictures with K captions of L tokens each; numbers in half precision.

    Attributes:
        latents: (N, C, S, S) of the autoencoder.
        image_vectors: (N, 128), the pictures' semantic vectors.
        states: (N, K, L, D), the captions' token states.
        mask: (N, K, L), true at real tokens.
        text_vectors: (N, K, 128), the captions' semantic vectors.
        warp: (N, WARP), zeros where a picture is not warped.
        drafts: (N, C, S, S) latents of what a picture is drawn from, zeros where that is nothing.
    """

    latents: Tensor
    image_vectors: Tensor
    states: Tensor
    mask: Tensor
    text_vectors: Tensor
    warp: Tensor
    drafts: Tensor

    def __len__(self) -> int:
        return len(self.latents)

    def to(self, device: torch.device) -> "Encoded":
        """All of it in the memory of `device`; on a CPU it stays in its files."""
        return Encoded(*(getattr(self, field.name).to(device) for field in fields(Encoded)))


@dataclass(frozen=True)
class Encoder:
    """The frozen parts that encode, all on one device."""

    autoencoder: Autoencoder
    embedder: Embedder
    device: torch.device

    @torch.no_grad()
    def read(self, items: Sequence[Item]) -> tuple[np.ndarray, ...]:
        """The fields of `Encoded` for some pictures."""
        e, count = self.embedder, len(items)
        pixels = self._pixels([item.pixels for item in items])
        captions = [text for item in items for text in item.captions]
        ids, mask = (x.to(self.device) for x in encode_texts(e.tokenizer, captions))
        # Half precision takes a quarter of fp32's time, where the processor has it.
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autoencoder.dtype == torch.bfloat16):
            latents = self.autoencoder.encode(pixels.to(self.autoencoder.dtype))
            drafts = self._drafts(items, torch.zeros_like(latents))
            image_vectors = e.space.image(e.vision.forward(pixels))
            states = e.language.encode(ids, mask)
            text_vectors = e.space.text(states, mask)
        texts = (x.unflatten(0, (count, -1)) for x in (states.half(), mask, text_vectors.half()))
        warp = np.stack([item.warp for item in items]).astype(np.float16)
        return (
            *(x.cpu().numpy() for x in (latents.half(), image_vectors.half(), *texts)),
            warp,
            drafts.half().cpu().numpy(),
        )

    def _pixels(self, pictures: Sequence[np.ndarray]) -> Tensor:
        return to_tensor(np.stack(pictures)).to(self.device).contiguous(memory_format=torch.channels_last)

    def _drafts(self, items: Sequence[Item], drafts: Tensor) -> Tensor:
        """`drafts`, (N, C, S, S), with those of the items that have one."""
        rows = [row for row, item in enumerate(items) if item.draft is not None]
        if rows:
            pixels = self._pixels([item.draft for item in items if item.draft is not None])
            drafts[rows] = self.autoencoder.encode(pixels.to(self.autoencoder.dtype)).to(drafts.dtype)
        return drafts


def encode_all(count: int, item: Callable[[int], Item], reader: Encoder, file: Path | None = None) -> Encoded:
    """Encode `item(0)` to `item(count - 1)`, each with equally many captions.

    `file` without suffix is where the result is kept and found again, so its name must say what it is made of; None
    keeps it in memory only. With a file, the ranks of a distributed run share the work: all of them must call.
    """
    if file is None:
        chunks = (chunk for _, chunk in _chunks(count, item, reader, 0, 1))
        return Encoded(*(torch.from_numpy(np.concatenate(part)) for part in zip(*chunks, strict=True)))
    names = [file.with_suffix(f".{field.name}.npy") for field in fields(Encoded)]
    if not all(name.exists() for name in names):
        rank, ranks = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        _write(names, count, _chunks(count, item, reader, rank, ranks), rank)
    # "c": what is mapped may not be written to in the file, and torch does not warn of memory that it cannot write to.
    return Encoded(*(torch.from_numpy(np.load(name, mmap_mode="c")) for name in names))


def _chunks(
    count: int, item: Callable[[int], Item], reader: Encoder, rank: int, ranks: int
) -> Iterator[tuple[slice, tuple[np.ndarray, ...]]]:
    """Every `ranks`-th chunk of rows, read."""
    rows = [slice(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)][rank::ranks]
    bar, loader = Console(stderr=True, quiet=count < LARGE or rank > 0), _loader(count, item, rows)
    for own, items in zip(rows, track(loader, f"encoding {count:,} pictures", len(rows), console=bar), strict=True):
        yield own, reader.read(items)


def _loader(count: int, item: Callable[[int], Item], rows: list[slice]) -> DataLoader:
    """Lists of items in order; composed by other processes where there are many and the system can fork."""
    apart = count >= LARGE and "fork" in multiprocessing.get_all_start_methods()
    workers = max(1, (os.cpu_count() or 1) - 1) if apart else 0
    return DataLoader(
        _Items(count, item),
        batch_sampler=[list(range(count)[own]) for own in rows],
        num_workers=workers,
        collate_fn=list,
        multiprocessing_context="fork" if apart else None,
    )


@dataclass(frozen=True)
class _Items(Dataset):
    count: int
    item: Callable[[int], Item]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, row: int) -> Item:
        return self.item(row)


def _write(names: list[Path], count: int, chunks: Iterator[tuple[slice, tuple[np.ndarray, ...]]], rank: int) -> None:
    """Files of .npy, whole or not at all: a kill leaves no half file under a name that is looked for."""
    parts = [name.with_suffix(".part") for name in names]
    files: list[np.memmap] = []
    for rows, chunk in chunks:
        files = files or _open(parts, count, chunk, rank)
        for whole, array in zip(files, chunk, strict=True):
            whole[rows] = array
    for whole in files or _open(parts, count, (), rank):
        whole.flush()
    _together()
    if rank == 0:
        for part, name in zip(parts, names, strict=True):
            part.replace(name)
    _together()


def _open(parts: list[Path], count: int, chunk: Sequence[np.ndarray], rank: int) -> list[np.memmap]:
    """The files for rows like those of `chunk`: made by the first rank, opened by all."""
    if rank == 0:
        parts[0].parent.mkdir(parents=True, exist_ok=True)
        try:
            for part, array in zip(parts, chunk, strict=True):
                np.lib.format.open_memmap(part, "w+", array.dtype, (count, *array.shape[1:]))
                _reserve(part)
        except OSError:
            for part in parts:
                part.unlink(missing_ok=True)
            raise
    _together()
    return [np.lib.format.open_memmap(part, "r+") for part in parts]


def _reserve(file: Path) -> None:
    """Take the disk's room for the whole file, where the system can: else a disk that fills up kills whoever writes
    through the map, without a word."""
    if hasattr(os, "posix_fallocate"):
        with file.open("r+b") as opened:
            os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)


def _together() -> None:
    if dist.is_initialized():
        dist.barrier()
