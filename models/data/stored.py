"""Files that are written whole or not at all: a kill leaves no half file under a name that is looked for."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np


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
    """The array in the .npy file `path`, made and saved where it is not there; None saves nothing."""
    if path is None:
        return make()
    if not path.exists():
        with whole(path) as part:
            np.save(part, make())
    return np.load(path, mmap_mode="r")
