"""GIF, block by block. A1111 keeps its text in the comment."""

from collections.abc import Iterator
from itertools import islice

from studio.metadata.raw import BROKEN, LIMIT, Broken, Raw, decoded

IMAGE, EXTENSION, END = 0x2C, 0x21, 0x3B
COMMENT, APPLICATION = 0xFE, 0xFF
KEPT = (b"NETSCAPE2.0", b"ANIMEXTS1.0", b"ICCRGBG1012")  # how often it plays, and its colours


def is_gif(data: bytes) -> bool:
    """Whether it begins like one."""
    return data[:6] in (b"GIF87a", b"GIF89a")


def look(data: bytes, wanted: frozenset[str]) -> Raw:
    """The first comment, as `parameters`."""
    raw = Raw()
    try:
        for start, _ in _blocks(data):
            if data[start : start + 2] == bytes((EXTENSION, COMMENT)) and "parameters" not in raw.texts:
                raw.texts["parameters"] = decoded(_joined(data, start + 2)[:LIMIT])
    except Broken as broken:
        raw.problem = str(broken)
    return raw


def strip(data: bytes) -> bytes:
    """Without comments and without what applications add that does not show."""
    blocks = list(_blocks(data))
    first = blocks[0][0] if blocks else len(data)
    return data[:first] + b"".join(data[start:end] for start, end in blocks if _is_kept(data, start))


def frames(data: bytes, most: int) -> int:
    """How many pictures it holds; it stops counting at one more than `most`. Broken where it is damaged before that."""
    return sum(1 for _ in islice((start for start, _ in _blocks(data) if data[start] == IMAGE), most + 1))


def _is_kept(data: bytes, start: int) -> bool:
    if data[start] != EXTENSION or data[start + 1] not in (COMMENT, APPLICATION):
        return True
    return data[start + 1] == APPLICATION and data[start + 3 : start + 14] in KEPT


def _blocks(data: bytes) -> Iterator[tuple[int, int]]:
    """Start and end of each block behind the header, up to the last."""
    try:
        at = 13 + _palette(data[10])
        while data[at] != END:
            start = at
            if data[at] == IMAGE:
                at += 11 + _palette(data[at + 9])
            elif data[at] == EXTENSION:
                at += 2
            else:
                raise Broken(BROKEN)
            while data[at]:
                at += 1 + data[at]
            at += 1
            yield start, at
        yield at, at + 1
    except IndexError as error:
        raise Broken(BROKEN) from error


def _palette(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _joined(data: bytes, at: int) -> bytes:
    parts = []
    while data[at]:
        parts.append(data[at + 1 : at + 1 + data[at]])
        at += 1 + data[at]
    return b"".join(parts)
