"""Latents and embeddings of many pictures and their captions by the frozen parts, computed once and kept in a file.

A training step then reads rows alone: encoding captions again took a quarter of its time.
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
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from models.autoencoder import Autoencoder
from models.data.pixels import to_tensor
from models.data.stored import progress
from models.data.variety import NO_WARP
from models.space import Embedder
from models.tokenizer import encode_texts

CHUNK = 32  # pictures a pass
LARGE = 1000  # pictures from which on helpers are worth it
Chunk = tuple[np.ndarray, ...]  # the fields of `Encoded` for some rows


class Item(NamedTuple):
    """Premultiplied uint8 (128, 128, 4), its K captions, how it is warped (`models.data.variety`), and what it is drawn
    from, if from anything (`models.references.store`)."""

    pixels: np.ndarray
    captions: Sequence[str]
    warp: np.ndarray = NO_WARP
    draft: np.ndarray | None = None


@dataclass(frozen=True)
class Encoded:
    """N pictures with K captions of L tokens each; numbers in half precision."""

    latents: Tensor  # (N, C, S, S) of the autoencoder
    image_vectors: Tensor  # (N, 128), the pictures' semantic vectors
    states: Tensor  # (N, K, L, D), the captions' token states
    mask: Tensor  # (N, K, L), true at real tokens
    text_vectors: Tensor  # (N, K, 128), the captions' semantic vectors
    warp: Tensor  # (N, WARP), zeros where a picture is not warped
    drafts: Tensor  # (N, C, S, S) latents of what a picture is drawn from, zeros where that is nothing

    def __len__(self) -> int:
        return len(self.latents)

    def to(self, device: torch.device) -> "Encoded":
        """All of it in the memory of `device`; on a CPU it stays in its file."""
        return Encoded(*(tensor.to(device) for tensor in vars(self).values()))


FIELDS = tuple(field.name for field in fields(Encoded))


@dataclass(frozen=True)
class Encoder:
    """The frozen parts that encode, all on one device."""

    autoencoder: Autoencoder
    embedder: Embedder
    device: torch.device

    @torch.no_grad()
    def read(self, items: Sequence[Item]) -> Chunk:
        e, pixels = self.embedder, self._pixels([item.pixels for item in items])
        captions = [text for item in items for text in item.captions]
        ids, mask = (x.to(self.device) for x in encode_texts(e.tokenizer, captions))
        drafted = [row for row, item in enumerate(items) if item.draft is not None]
        # Half precision takes a quarter of fp32's time, where the processor has it.
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autoencoder.dtype == torch.bfloat16):
            latents = self.autoencoder.encode(pixels.to(self.autoencoder.dtype))
            drafts = torch.zeros_like(latents)
            if drafted:
                pictures = self._pixels([item.draft for item in items if item.draft is not None])
                drafts[drafted] = self.autoencoder.encode(pictures.to(self.autoencoder.dtype)).to(drafts.dtype)
            image_vectors = e.space.image(e.vision.forward(pixels))
            states = e.language.encode(ids, mask)
            text_vectors = e.space.text(states, mask)
        states, mask, text_vectors = (x.unflatten(0, (len(items), -1)) for x in (states.half(), mask, text_vectors))
        warp = torch.from_numpy(np.stack([item.warp for item in items]))
        found = latents.half(), image_vectors.half(), states, mask, text_vectors.half(), warp.half(), drafts.half()
        return tuple(x.cpu().numpy() for x in found)

    def _pixels(self, pictures: Sequence[np.ndarray]) -> Tensor:
        return to_tensor(np.stack(pictures)).to(self.device).contiguous(memory_format=torch.channels_last)


def encode_all(count: int, item: Callable[[int], Item], reader: Encoder, file: Path | None = None) -> Encoded:
    """Encode `item(0)` to `item(count - 1)`, each with equally many captions.

    `file` without suffix is where the result is kept and found again, so its name must say what it is made of; None
    keeps it in memory only. With a file, the ranks of a distributed run share the work: all of them must call.
    """
    if file is None:
        chunks = [chunk for _, chunk in _chunks(count, item, reader, 0, 1)]
        return Encoded(*(torch.from_numpy(np.concatenate(part)) for part in zip(*chunks, strict=True)))
    file = file.with_suffix(".npy")
    if not file.exists():
        _write(file, count, item, reader)
    # "c": what is mapped may not be written to in the file, and torch does not warn of memory that it cannot write to.
    rows = np.load(file, mmap_mode="c")
    return Encoded(*(torch.from_numpy(rows[name]) for name in FIELDS))


def _chunks(
    count: int, item: Callable[[int], Item], reader: Encoder, rank: int, ranks: int
) -> Iterator[tuple[slice, Chunk]]:
    """Every `ranks`-th chunk of rows, read. Items are composed by other processes where there are many and the system
    can fork."""
    rows = [slice(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)][rank::ranks]
    apart = count >= LARGE and "fork" in multiprocessing.get_all_start_methods()
    loader = DataLoader(
        _Items(count, item),
        batch_sampler=[list(range(count)[own]) for own in rows],
        num_workers=max(1, (os.cpu_count() or 1) - 1) if apart else 0,
        collate_fn=list,
        multiprocessing_context="fork" if apart else None,
    )
    for own, items in zip(rows, progress(loader, f"encoding {count:,} pictures", quiet=rank > 0), strict=True):
        yield own, reader.read(items)


@dataclass(frozen=True)
class _Items(Dataset):
    count: int
    item: Callable[[int], Item]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, row: int) -> Item:
        return self.item(row)


def _write(file: Path, count: int, item: Callable[[int], Item], reader: Encoder) -> None:
    """The file, whole or not at all: a kill leaves no half file under a name that is looked for."""
    rank, ranks = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    part, whole = file.with_suffix(".part"), None
    for rows, chunk in _chunks(count, item, reader, rank, ranks):
        whole = _open(part, count, chunk, rank) if whole is None else whole
        for name, values in zip(FIELDS, chunk, strict=True):
            whole[name][rows] = values
    whole = _open(part, count, (), rank) if whole is None else whole
    whole.flush()
    _together()
    if rank == 0:
        part.replace(file)
    _together()


def _open(part: Path, count: int, chunk: Chunk, rank: int) -> np.memmap:
    """The file for rows like those of `chunk`: made by the first rank, opened by all."""
    if rank == 0:
        part.parent.mkdir(parents=True, exist_ok=True)
        columns = [(name, values.dtype, values.shape[1:]) for name, values in zip(FIELDS, chunk, strict=True)]
        try:
            np.lib.format.open_memmap(part, "w+", np.dtype(columns, align=True), (count,))
            # The disk's room for all of it, where the system can take it: else a disk that fills up kills whoever
            # writes through the map, without a word.
            if hasattr(os, "posix_fallocate"):
                with part.open("r+b") as opened:
                    os.posix_fallocate(opened.fileno(), 0, part.stat().st_size)
        except OSError:
            part.unlink(missing_ok=True)
            raise
    _together()
    return np.lib.format.open_memmap(part, "r+")


def _together() -> None:
    if dist.is_initialized():
        dist.barrier()
