"""The files that a batch reads: names, patterns and standard input, each as a file that can be read again."""

import contextlib
import glob
import hashlib
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from models.messages import Refused
from studio.batch.rows import Source

PIECE = 2**20
STREAM_BYTES = 2**30  # of standard input or a pipe; files are read where they lie, however large
FILES = 10_000


@contextlib.contextmanager
def opened(names: Sequence[str]) -> Iterator[list[Source]]:
    """The sources that `names` mean, patterns sorted; what comes through a pipe is kept on disk meanwhile.

    Refused where there is nothing to read.
    """
    with contextlib.ExitStack() as stack:
        yield [source for name in names for source in _sources(name, stack)]


def digest(sources: Sequence[Source]) -> str:
    """sha256 of what they hold, in order."""
    total = hashlib.sha256()
    for source in sources:
        with reading(source) as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


@contextlib.contextmanager
def reading(source: Source) -> Iterator[BufferedReader]:
    """The file; Refused with a sentence where it can't be read."""
    try:
        with source.path.open("rb") as file:
            yield file
    except OSError as error:
        raise Refused(f"{source.name} can't be read ({error.strerror or error}).") from error


def _sources(name: str, stack: contextlib.ExitStack) -> list[Source]:
    if name == "-":
        return [_kept("standard input", sys.stdin.buffer, stack)]
    try:
        mode = Path(name).stat().st_mode
    except (OSError, ValueError):
        return _matching(name)
    if stat.S_ISFIFO(mode):
        with Path(name).open("rb") as pipe:
            return [_kept(name, pipe, stack)]
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "no file"
        raise Refused(f"{name} is {kind}; give a prompt file, or a pattern such as '{name}/*.txt'.")
    return [Source(name, Path(name), Path(name).parent)]


def _matching(name: str) -> list[Source]:
    found = sorted(path for path in glob.glob(name, recursive=True) if Path(path).is_file())  # noqa: PTH207 - absolute too
    if not found:
        raise Refused(f"{name} does not exist; give a prompt file, a pattern, or - for standard input.")
    if len(found) > FILES:
        raise Refused(f"{name} matches {len(found):,} files; {FILES:,} are the most.")
    return [Source(path, Path(path), Path(path).parent) for path in found]


def _kept(name: str, stream: BinaryIO, stack: contextlib.ExitStack) -> Source:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="studio-")))
    path, size = folder / "stream", 0
    with path.open("wb") as file:
        while piece := stream.read(PIECE):
            size += len(piece)
            if size > STREAM_BYTES:
                raise Refused(f"{name} goes on for more than {STREAM_BYTES >> 30} GB; write it to a file.")
            file.write(piece)
    return Source(name, path, Path())
