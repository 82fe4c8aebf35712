"""PNG and APNG, chunk by chunk. Nothing is decoded but the texts that are asked for."""

import struct
import zlib
from collections.abc import Iterator

from studio.metadata import exif
from studio.metadata.raw import BROKEN, LIMIT, TOO_MUCH, Broken, Raw, decoded

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# What the pixels need, and what says how they are meant to be shown.
KEPT = frozenset(
    b"IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB iCCP sBIT bKGD pHYs hIST sPLT cICP mDCV cLLI acTL fcTL fdAT".split()
)
TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"comf")  # ComfyUI's animations have a chunk of their own, built like tEXt


def is_png(data: bytes) -> bool:
    """Whether it begins like one."""
    return data.startswith(SIGNATURE)


def look(data: bytes, wanted: frozenset[str]) -> Raw:
    """The texts whose keyword is wanted, the first of each, and EXIF."""
    raw, seen = Raw(), set()
    try:
        for kind, start, end in _chunks(data):
            body = data[start + 8 : end - 4]
            if kind == b"eXIf":
                raw.exif = body
            keyword = body.partition(b"\0")[0].decode("latin-1") if kind in TEXTS else ""
            if keyword in wanted and keyword not in seen:
                seen.add(keyword)  # also where it can't be unpacked: a thousand bombs cost no more than one
                _add(raw, keyword, kind, body)
    except Broken as broken:
        raw.problem = str(broken)
    return raw


def strip(data: bytes) -> bytes:
    """Without all chunks that the pixels and their colours do not need; what follows the end goes too."""
    kept, turned = [SIGNATURE], 1
    for kind, start, end in _chunks(data):
        if kind == b"eXIf":
            turned = exif.orientation(data[start + 8 : end - 4])
        if kind == b"IDAT" and turned != 1:
            kept.append(_chunk(b"eXIf", exif.only_orientation(turned)))
            turned = 1
        if kind in KEPT:
            kept.append(data[start:end])
    return b"".join(kept)


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of each chunk, length and checksum included, up to the last."""
    at = len(SIGNATURE)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data) or (at == len(SIGNATURE)) != (kind == b"IHDR"):
            break
        yield kind, at, end
        if kind == b"IEND":
            return
        at = end
    raise Broken(BROKEN)


def _add(raw: Raw, keyword: str, kind: bytes, body: bytes) -> None:
    """A text that can't be read is a problem of its own; the next may be whole."""
    try:
        raw.texts[keyword] = _text(kind, body)
    except Broken as broken:
        raw.problem = str(broken)


def _text(kind: bytes, body: bytes) -> str:
    _, _, rest = body.partition(b"\0")
    packed = kind == b"zTXt"
    if kind == b"iTXt":
        packed, rest = rest[:1] == b"\1", rest[2:].split(b"\0", 2)[-1]  # method, language and translated keyword
    elif packed:
        rest = rest[1:]  # method
    return decoded(_unpacked(rest) if packed else _limited(rest))


def _unpacked(text: bytes) -> bytes:
    try:
        return _limited(zlib.decompressobj().decompress(text, LIMIT + 1))
    except zlib.error as error:
        raise Broken(BROKEN) from error


def _limited(text: bytes) -> bytes:
    if len(text) > LIMIT:
        raise Broken(TOO_MUCH)
    return text


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
