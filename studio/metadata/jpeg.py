"""JPEG, segment by segment."""

import re
import struct
from collections.abc import Iterator

from studio.metadata import exif
from studio.metadata.raw import BROKEN, Broken, Raw

START = b"\xff\xd8"
XMP = b"http://ns.adobe.com/xap/1.0/\0"
JFIF, APP1, COLOUR, ADOBE, COM, SOS, EOI = 0xE0, 0xE1, 0xE2, 0xEE, 0xFE, 0xDA, 0xD9
# Application segments that say how the pixels are meant; all others are about something else.
KEPT = {JFIF: b"JFIF\0", COLOUR: b"ICC_PROFILE\0", ADOBE: b"Adobe"}
BARE = frozenset((0x01, *range(0xD0, 0xD8)))  # markers without a length
AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def is_jpeg(data: bytes) -> bool:
    """Whether it begins like one."""
    return data.startswith(START + b"\xff")


def look(data: bytes, wanted: frozenset[str]) -> Raw:
    """EXIF and XMP, the first of each."""
    raw = Raw()
    try:
        for marker, start, end in _segments(data):
            body = data[start + 4 : end]
            if marker == APP1 and body.startswith(exif.HEADER):
                raw.exif = raw.exif or body
            elif marker == APP1 and body.startswith(XMP):
                raw.xmp = raw.xmp or body.removeprefix(XMP)
    except Broken as broken:
        raw.problem = str(broken)
    return raw


def strip(data: bytes) -> bytes:
    """Without comments and without application segments that say nothing of pixels; a turned picture stays turned."""
    parts = [START]
    for marker, start, end in _segments(data):
        if marker == COM or (APP1 - 1 <= marker <= APP1 + 14 and not _is_kept(marker, data[start + 4 : end])):
            continue
        parts.append(data[start:end])
    turned = exif.orientation(look(data, frozenset()).exif)
    if turned != 1:
        body = exif.HEADER + exif.only_orientation(turned)
        after = 2 if parts[1][1] == JFIF else 1  # JFIF wants to be the first
        parts.insert(after, struct.pack(">BBH", 0xFF, APP1, len(body) + 2) + body)
    return b"".join(parts)


def _is_kept(marker: int, body: bytes) -> bool:
    return marker in KEPT and body.startswith(KEPT[marker])


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment, marker and length included; a scan's data belongs to its header."""
    at = len(START)
    while at + 2 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # padding
            at += 1
            continue
        end = at + 2
        if marker != EOI and marker not in BARE:
            end = _end(data, at, marker)
        yield marker, at, end
        if marker == EOI:
            return
        at = end
    raise Broken(BROKEN)


def _end(data: bytes, at: int, marker: int) -> int:
    length = int.from_bytes(data[at + 2 : at + 4])
    end = at + 2 + length
    if marker == SOS:
        after = AFTER_SCAN.search(data, end)
        end = after.start() if after else len(data) + 1
    if length < 2 or end > len(data):
        raise Broken(BROKEN)
    return end
