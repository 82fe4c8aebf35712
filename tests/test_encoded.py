"""What is encoded once: whole in its folder or not at all."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from tiny_parts import save_tiny_parts

from models.autoencoder import Autoencoder
from models.data.fixture import fixture_world
from models.space import Embedder
from models.train.encoded import Encoder, Item, encode_all
from models.weights import load_part


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    import torch

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
