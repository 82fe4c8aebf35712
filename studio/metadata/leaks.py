"""Where files say something that no reader of metadata looks at: in colour profiles, and behind the pixels of a PNG."""

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator

from models.messages import Message

TEXTS = (b"desc", b"mluc", b"text", b"dict", b"ZXML")  # types of a profile's tags that hold words
# Of a profile's header: when it was made; for which device; by whom, and the checksum.
ABOUT = ((24, 36), (48, 56), (80, 100))
LIMIT = 4 * 2**20  # bytes of one text, unpacked. More is not read at all: half a setting is a wrong setting
PIECE = 2**20
MOST = 2**31  # bytes of pixels


class Broken(ValueError):
    """A file that does not keep to its format. `code` is the message's, which has one value, `file`."""

    def __init__(self, code: str = "metadata.damaged") -> None:
        super().__init__(code)
        self.code = code

    def message(self, file: object) -> Message:
        """What is wrong with a file of that name."""
        return Message(self.code, {"file": str(file), "most": LIMIT >> 20})


def plain_profile(profile: bytes) -> bytes:
    """An ICC profile of the same length and the same colours, without its words (ICC.1:2022, 7.2 and 7.3)."""
    plain, count = bytearray(profile), int.from_bytes(profile[128:132])
    for begin, end in ABOUT:
        plain[begin:end] = bytes(len(plain[begin:end]))
    for at in range(132, min(132 + 12 * count, len(profile) - 11), 12):
        begin, size = struct.unpack_from(">II", profile, at + 4)
        if profile[begin : begin + 4] in TEXTS and begin >= 128:
            kept = plain[begin + 8 : begin + size]
            plain[begin + 8 : begin + size] = bytes(len(kept))
    return bytes(plain)


def plain_chunk(body: bytes) -> bytes:
    """The body of a PNG's iCCP with a plain profile, called nothing; as it is where it can't be unpacked."""
    unpacker = zlib.decompressobj()
    try:
        profile = unpacker.decompress(body.partition(b"\0")[2][1:], 2 * PIECE)
    except zlib.error:
        return body
    return b"ICC\0\0" + zlib.compress(plain_profile(profile)) if unpacker.eof else body


def in_pieces(pieces: list[bytes], change: Callable[[bytes], bytes]) -> list[bytes]:
    """`change` of them all together, which keeps their length, in pieces as before."""
    whole, at, changed = change(b"".join(pieces)), 0, []
    for piece in pieces:
        changed.append(whole[at : at + len(piece)])
        at += len(piece)
    return changed


def to_the_end(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces of a deflated stream up to its end, without what lies behind it; as they are where they can't be
    unpacked. Broken where they unpack to more than any picture. Nothing of it is kept.
    """
    unpacker, pixels, broken = zlib.decompressobj(), 0, False
    for piece in pieces:
        if unpacker.eof:
            yield b""
            continue
        left = b"" if broken else piece
        while left and not broken:
            try:
                pixels += len(unpacker.decompress(left, PIECE))
            except zlib.error:
                broken = True
            left = unpacker.unconsumed_tail
            if pixels > MOST:
                raise Broken
        yield piece[: len(piece) - len(unpacker.unused_data)] if unpacker.eof else piece
