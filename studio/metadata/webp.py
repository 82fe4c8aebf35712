"""WebP, still and moving, chunk by chunk."""

import struct
from collections.abc import Iterator

from studio.metadata import exif
from studio.metadata.raw import BROKEN, Broken, Raw

KEPT = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP")
FRAME_HEADER = 16  # bytes of an ANMF before its own chunks
HAS_EXIF, HAS_XMP = 0x08, 0x04


def is_webp(data: bytes) -> bool:
    """Whether it begins like one."""
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def look(data: bytes, wanted: frozenset[str]) -> Raw:
    """EXIF and XMP, the first of each."""
    raw = Raw()
    try:
        for kind, body in _chunks(_inside(data)):
            if kind == b"EXIF":
                raw.exif = raw.exif or body
            elif kind == b"XMP ":
                raw.xmp = raw.xmp or body
    except Broken as broken:
        raw.problem = str(broken)
    return raw


def strip(data: bytes) -> bytes:
    """Only the chunks that make the picture; a turned picture stays turned."""
    turned = exif.orientation(look(data, frozenset()).exif)
    flags = HAS_EXIF if turned != 1 else 0
    chunks = b"".join(_chunk(kind, _plain(kind, body, flags)) for kind, body in _chunks(_inside(data)) if kind in KEPT)
    if flags:
        chunks += _chunk(b"EXIF", exif.only_orientation(turned))
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


def _plain(kind: bytes, body: bytes, flags: int) -> bytes:
    if kind == b"VP8X":
        return bytes([body[0] & ~(HAS_EXIF | HAS_XMP) | flags]) + body[1:]
    if kind == b"ANMF":
        inside = (_chunk(kind, part) for kind, part in _chunks(body[FRAME_HEADER:]) if kind in KEPT)
        return body[:FRAME_HEADER] + b"".join(inside)
    return body


def _inside(data: bytes) -> bytes:
    size = int.from_bytes(data[4:8], "little")
    if size < 4 or 8 + size > len(data):
        raise Broken(BROKEN)
    return data[12 : 8 + size]


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + 8 <= len(data):
        kind, size = struct.unpack_from("<4sI", data, at)
        body = data[at + 8 : at + 8 + size]
        if len(body) < size or (kind == b"VP8X" and not size):
            raise Broken(BROKEN)
        yield kind, body
        at += 8 + size + size % 2


def _chunk(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
