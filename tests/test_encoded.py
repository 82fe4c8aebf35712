"""Laws of encoding: several processes share the rows, and each row lies in its place."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist

from models.train.encoded import CHUNK, Encoded, Item, encode_all


class Plain:
    """Reads an item as its number."""

    def read(self, items: list[Item]) -> tuple[np.ndarray, ...]:
        numbers = np.array([int(item.pixels) for item in items], np.float16)
        return tuple(numbers.reshape(-1, *[1] * k) for k in range(len(fields(Encoded))))


def share(rank: int, ranks: int, folder: Path, count: int) -> None:
    """A process of several that encode together."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=ranks)
    encoded = encode_all(count, lambda row: Item(np.array(row), []), Plain(), folder / "some")
    assert encoded.told.flatten().tolist() == list(range(count))
    dist.destroy_process_group()


@pytest.mark.parametrize("count", [CHUNK // 2, 3 * CHUNK + 5])
def test_two_processes_share_the_encoding(tmp_path: Path, count: int) -> None:
    torch.multiprocessing.spawn(share, (2, tmp_path, count), nprocs=2)
    files = sorted(path.name for path in tmp_path.iterdir() if path.name != "meet")
    assert files == sorted(f"some.{field.name}.npy" for field in fields(Encoded))
