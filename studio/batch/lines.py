"""Lines of a file of any size and any bytes, in little memory."""

from collections.abc import Iterator
from typing import BinaryIO

from studio.batch.rows import Fault, Source, Wrong
from studio.batch.sources import reading

LINE_BYTES = 64 * 1024
UTF16 = (b"\xff\xfe", b"\xfe\xff")


def lines(source: Source) -> Iterator[tuple[int, str] | Fault]:
    """Each line with its number, from 1, without its end; a Fault for one that is no text or too long."""
    with reading(source) as file:
        number = 0
        while data := file.readline(LINE_BYTES + 1):
            number += 1
            if number == 1 and data.startswith(UTF16):
                yield Fault(1, "the file is UTF-16; save it as UTF-8.")
                return
            try:
                _whole(data, file)
                yield number, decoded(data.removeprefix(b"\xef\xbb\xbf") if number == 1 else data).rstrip("\r\n")
            except Wrong as wrong:
                yield wrong.at(number)


def whole(source: Source, limit: int) -> str:
    """All of a file of at most `limit` bytes; Wrong where it is larger or no text."""
    with reading(source) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise Wrong(f"the file is larger than {limit >> 20} MB; write it as .jsonl, which is read line by line.")
    if data.startswith(UTF16):
        raise Wrong("the file is UTF-16; save it as UTF-8.")
    return decoded(data.removeprefix(b"\xef\xbb\xbf"))


def decoded(data: bytes) -> str:
    """UTF-8 without NUL, or Wrong."""
    if (zero := data.find(b"\0")) >= 0:
        raise Wrong(f"byte {zero + 1} is zero; this is no text.", zero + 1)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Wrong(f"byte {error.start + 1} is not UTF-8; save the file as UTF-8.", error.start + 1) from error


def _whole(data: bytes, file: BinaryIO) -> None:
    """Wrong where the line does not end within the limit, once the rest of it is read over."""
    if len(data) <= LINE_BYTES or data.endswith(b"\n"):
        return
    while data and not data.endswith(b"\n"):
        data = file.readline(LINE_BYTES)
    raise Wrong(f"the line is longer than {LINE_BYTES >> 10} KB; split it.")
