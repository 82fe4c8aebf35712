"""Files that are written whole or not at all: a kill leaves no half file under a name that is looked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from operator import length_hint
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from rich.console import Console
from rich.progress import track

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")
MANY = 10  # items from which on there is a progress bar


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to, which takes its place at the end; several processes may do so at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def stored(path: Path | None, make: Callable[[], np.ndarray]) -> np.ndarray:
    """The array in the .npy file `path`, made and saved where it is not there; None saves nothing. Writes to it change
    no file."""
    if path is None:
        return make()
    if not path.exists():
        with whole(path) as part:
            np.save(part, make())
    return np.load(path, mmap_mode="c")


def stored_tensors(path: Path | None, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """As `stored`, tensors by name in a .safetensors file."""
    from safetensors.torch import load_file, save_file  # and torch, which reading arrays does without

    if path is None:
        return make()
    if not path.exists():
        with whole(path) as part:
            save_file({name: tensor.contiguous() for name, tensor in make().items()}, part)
    return load_file(path)


def progress(items: Iterable[T], what: str, total: int = 0, quiet: bool = False) -> Iterable[T]:
    """The items, with a progress bar on standard error from MANY on; `total` is for iterables without a length."""
    total = total or length_hint(items)
    return track(items, what, total, console=Console(stderr=True, quiet=quiet or total < MANY))
