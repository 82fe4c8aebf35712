"""What is encoded once: whole in its folder or not at all."""

import errno
import os
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from fixture_world import fixture_world
from tiny_parts import save_tiny_parts

from models.autoencoder import Autoencoder
from models.space import Embedder
from models.train.encoded import CHUNK, Encoded, Encoder, Item, encode_all
from models.weights import load_part


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    parts = save_tiny_parts(tmp_path_factory.mktemp("parts"))
    return Encoder(load_part(Autoencoder, "autoencoder", parts), Embedder.load(parts), torch.device("cpu"))


def item(row: int) -> Item:
    return Item(fixture_world().pixels[row], [f"picture {row}"])


def test_kept_equals_in_memory(reader: Encoder, tmp_path: Path) -> None:
    kept, held = encode_all(3, item, reader, tmp_path / "rows"), encode_all(3, item, reader)
    assert all(np.array_equal(kept.__dict__[name], held.__dict__[name]) for name in vars(held))


def test_a_disk_without_room_is_said_before_the_rows_are_read(
    reader: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        encode_all(3, item, reader, tmp_path / "rows")
    assert not list(tmp_path.iterdir())


class Plain:
    """Reads an item as its number."""

    def read(self, items: list[Item]) -> tuple[np.ndarray, ...]:
        numbers = np.array([int(item.pixels) for item in items], np.float16)
        return tuple(numbers.reshape(-1, *[1] * k) for k in range(len(fields(Encoded))))


def share(rank: int, ranks: int, folder: Path) -> None:
    """A process of several that encode together: less than there is for each, and more."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=ranks)
    for count in (CHUNK // 2, 3 * CHUNK + 5):
        encoded = encode_all(count, lambda row: Item(np.array(row), []), Plain(), folder / f"some-{count}")
        assert encoded.text_vectors.flatten().tolist() == list(range(count))
    dist.destroy_process_group()


def test_two_processes_share_the_encoding(tmp_path: Path) -> None:
    torch.multiprocessing.start_processes(share, (2, tmp_path), nprocs=2, start_method="fork")
    assert len([path for path in tmp_path.iterdir() if path.name != "meet"]) == 2
