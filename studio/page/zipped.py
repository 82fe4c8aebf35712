"""Many files as one ZIP that is sent while it is being made: no copy of it lies on disk or in memory."""

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile


class _Pipe(io.RawIOBase):
    """What was written and not sent yet."""

    def __init__(self) -> None:
        self._held = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._held += data
        return len(data)

    def take(self) -> bytes:
        """It, once."""
        data = bytes(self._held)
        self._held.clear()
        return data


def zipped(files: Iterable[tuple[str, Path]]) -> Iterator[bytes]:
    """The pieces of a ZIP with each file under its name; one that is gone by then is left out. Pictures are packed
    already: they are stored as they are.
    """
    pipe = _Pipe()
    with ZipFile(pipe, "w", ZIP_STORED) as archive:
        for name, path in files:
            try:
                data = path.read_bytes()
            except OSError:
                continue
            archive.writestr(name, data)
            yield pipe.take()
    yield pipe.take()
