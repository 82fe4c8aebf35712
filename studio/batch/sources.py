"""The files that a batch reads: names, patterns and standard input, as lines of any length and any bytes."""

import contextlib
import glob
import hashlib
import os
import select
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

from models.messages import Message, Refused

PIECE = 2**20
STREAM_BYTES = 2**30  # of standard input or a pipe; files are read where they lie, however large
PIPE_SECONDS = 60.0  # until the first byte comes
FILES = 10_000
LINE_BYTES = 64 * 1024
UTF16 = (b"\xff\xfe", b"\xfe\xff")
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Source:
    """A prompt file: how it is called to people, where it can be read, and where paths in it begin."""

    name: str
    path: Path
    folder: Path


@dataclass(frozen=True)
class Problem:
    """Why a line of `file`, or the job `id` that it asked for, can't be done. Lines and columns count from 1."""

    file: str
    line: int
    reason: Message
    column: int | None = None
    id: str | None = None

    @property
    def placed(self) -> Message:
        """The reason with its place in front."""
        code, column = ("batch.at_column", {"column": self.column}) if self.column else ("batch.at_line", {})
        return Message(code, {"file": self.file, "line": self.line, "problem": self.reason, **column})

    def as_dict(self) -> dict[str, Any]:
        """Plain values, the reason in English under `message`."""
        place = {"file": self.file, "line": self.line, "message": self.reason.text()}
        return {**place, "column": self.column, "id": self.id}

    @staticmethod
    def of(row: dict[str, Any]) -> "Problem":
        """From `as_dict`; KeyError or ValueError where it is none."""
        return Problem(row["file"], int(row["line"]), Message(str(row["message"])), row["column"], row["id"])


class BadRow(Refused):
    """What is wrong with a row, before its line is known."""

    def __init__(self, code: str | Message, column: int | None = None, **values: Any) -> None:
        super().__init__(code, **values)
        self.column = column

    def at(self, source: Source, line: int) -> Problem:
        """It, on a line of a file."""
        return Problem(source.name, line, self.message, self.column)


@contextlib.contextmanager
def opened(names: Sequence[str]) -> Iterator[list[Source]]:
    """The sources that `names` mean, patterns sorted, pipes kept on disk meanwhile; Refused where there is none."""
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
        raise Refused("batch.unreadable", file=source.name, why=error.strerror or str(error)) from error


def lines(source: Source) -> Iterator[tuple[int, str] | Problem]:
    """Each line with its number, from 1, without its end; a Problem for one that is no text or too long."""
    with reading(source) as file:
        number = 0
        while data := file.readline(LINE_BYTES + 1):
            number += 1
            try:
                if len(data) > LINE_BYTES and not data.endswith(b"\n"):
                    while (rest := file.readline(LINE_BYTES)) and not rest.endswith(b"\n"):
                        pass
                    raise BadRow("batch.line_too_long", most=LINE_BYTES >> 10)
                yield number, _decoded(data, first=number == 1).rstrip("\r\n")
            except BadRow as error:
                yield error.at(source, number)
                if number == 1 and data.startswith(UTF16):
                    return


def whole(source: Source, limit: int) -> str:
    """All of a file of at most `limit` bytes; BadRow where it is larger or no text."""
    with reading(source) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise BadRow("batch.file_too_large", most=limit >> 20)
    return _decoded(data, first=True)


def _decoded(data: bytes, first: bool) -> str:
    """UTF-8 without NUL, or BadRow; at the first bytes of a file its encoding may be said."""
    if first and data.startswith(UTF16):
        raise BadRow("batch.utf16")
    data = data.removeprefix(BOM) if first else data
    if (zero := data.find(b"\0")) >= 0:
        raise BadRow("batch.zero_byte", zero + 1, byte=zero + 1)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadRow("batch.not_utf8", error.start + 1, byte=error.start + 1) from error


def _sources(name: str, stack: contextlib.ExitStack) -> list[Source]:
    if name == "-":
        return [_kept("standard input", sys.stdin.buffer, stack)]
    try:
        mode = Path(name).stat().st_mode
    except (OSError, ValueError):
        found = sorted(path for path in glob.glob(name, recursive=True) if Path(path).is_file())  # noqa: PTH207 - absolute too
        if not found:
            raise Refused("batch.missing", file=name) from None
        if len(found) > FILES:
            raise Refused("batch.too_many_files", pattern=name, count=len(found), most=FILES) from None
        return [Source(path, Path(path), Path(path).parent) for path in found]
    if stat.S_ISFIFO(mode):
        with os.fdopen(os.open(name, os.O_RDONLY | os.O_NONBLOCK), "rb") as pipe:  # else it would wait for a writer
            if not select.select([pipe], [], [], PIPE_SECONDS)[0]:
                raise Refused("batch.silent_pipe", file=name)
            os.set_blocking(pipe.fileno(), True)
            return [_kept(name, pipe, stack)]
    if not stat.S_ISREG(mode):
        raise Refused("batch.is_a_folder" if stat.S_ISDIR(mode) else "batch.is_no_file", file=name)
    return [Source(name, Path(name), Path(name).parent)]


def _kept(name: str, stream: BinaryIO, stack: contextlib.ExitStack) -> Source:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="studio-")))
    path, size = folder / "stream", 0
    with path.open("wb") as file:
        while piece := stream.read(PIECE):
            size += len(piece)
            if size > STREAM_BYTES:
                raise Refused("batch.endless", file=name, most=STREAM_BYTES >> 30)
            file.write(piece)
    return Source(name, path, Path())
