"""ISO's media files, AVIF and MP4: boxes within boxes, and items that say where in the file they lie.

All places are counted from the file's beginning, so nothing can be cut out or put in: what is taken off is overwritten
with zeros and its length is set to zero. XMP is added behind the end, in the box that ISO's media files have for it
(XMP specification, part 3, 1.1.6), and so is an MP4's EXIF (ExifTool's UUID-EXIF). The content keeps its bytes.
"""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from studio.metadata.containers import EXIF, EXIF_HEADER, LIMIT, XMP, Broken, Container, Extra, Metadata
from studio.metadata.leaks import plain_profile

AVIF_BRANDS, MP4_BRANDS = (b"avif", b"avis"), (b"isom", b"iso2", b"mp41", b"mp42", b"avc1", b"M4V ", b"qt  ")
# Boxes whose body is boxes, with the bytes that stand before them.
FOLDERS = {b"meta": 4, b"moov": 0, b"trak": 0, b"mdia": 0, b"edts": 0, b"iprp": 0, b"ipco": 0}
FOLDERS |= {b"minf": 0, b"stbl": 0, b"stsd": 8, b"av01": 78}
CLOCKS = (b"mvhd", b"tkhd", b"mdhd")  # they say when the file was made
LASTS = {b"mvhd": 24, b"tkhd": 28}  # where they say how long all plays take
EXTRAS = (b"uuid", b"udta", b"free", b"skip")  # may hold anything, and no picture
META = (b"Exif", b"mime", b"uri ")  # kinds of items that are no picture
XMP_TYPE = b"application/rdf+xml"
# Identifiers of `uuid` boxes.
UUIDS = {bytes.fromhex("be7acfcb97a942e89c71999491e3afac"): XMP, b"JpgTiffExif->JP2": EXIF}
MOST = 4096  # boxes and pieces of items that are looked at: a tiny file can name billions of pieces without bytes


@dataclass(frozen=True)
class _Box:
    kind: bytes
    start: int
    body: int
    end: int


@dataclass(frozen=True)
class _Piece:
    """Part of an item: where the field is that holds its length, and where it lies in the file."""

    field: int
    width: int
    start: int
    end: int


def _is_of(brands: tuple[bytes, ...], data: bytes) -> bool:
    size = int.from_bytes(data[:4])
    return data[4:8] == b"ftyp" and any(data[at : at + 4] in brands for at in range(8, min(size, 256), 4))


def _extras(data: bytes) -> Iterator[Extra]:
    boxes = _walk(data)
    for kind, pieces in _items(data, boxes):
        if sum(piece.end - piece.start for piece in pieces) > LIMIT:
            raise Broken("metadata.too_much")
        body = b"".join(data[piece.start : piece.end] for piece in pieces)
        if kind == b"Exif":  # it begins with the place of its TIFF block, counted from behind these four bytes
            yield EXIF, body[4 + int.from_bytes(body[:4]) :].removeprefix(EXIF_HEADER), False
        elif kind == XMP_TYPE:
            yield XMP, body, False
    for box in boxes:
        if box.kind == b"uuid" and (name := UUIDS.get(data[box.body : box.body + 16])):
            yield name, data[box.body + 16 : box.end], False


def _with_metadata(data: bytes, metadata: Metadata) -> bytes:
    """With zeros in place of EXIF, XMP, boxes that show nothing, and the time when it was made."""
    last, extras = list(_boxes(data, 0, len(data))), _extra_kinds(data)
    while last and last[-1].kind in extras:
        data = data[: last.pop().start]
    plain, boxes = bytearray(data), _walk(data)
    for _, pieces in _items(data, boxes):
        for piece in pieces:
            plain[piece.start : piece.end] = bytes(piece.end - piece.start)
            plain[piece.field : piece.field + piece.width] = bytes(piece.width)
    for box in boxes:
        if box.kind in extras:
            plain[box.start + 4 : box.start + 8] = b"free"
            plain[box.body : box.end] = bytes(box.end - box.body)
        elif box.kind == b"colr" and data[box.body : box.body + 4] in (b"prof", b"rICC"):
            plain[box.body + 4 : box.end] = plain_profile(data[box.body + 4 : box.end])
        elif box.kind in CLOCKS:
            if box.end - box.body < 20:
                raise Broken
            times = (box.body + 4, box.body + (20 if data[box.body] else 12))
            plain[slice(*times)] = bytes(times[1] - times[0])
        if data[box.start : box.start + 4] == bytes(4):  # "up to the file's end", which is about to move
            plain[box.start : box.start + 4] = (box.end - box.start).to_bytes(4)
    said = {EXIF: metadata.exif, XMP: metadata.xmp}
    for identifier, name in UUIDS.items():
        if body := said[name]:
            plain += struct.pack(">I4s", 24 + len(body), b"uuid") + identifier + body
    return bytes(plain)


def with_plays(data: bytes, plays: int) -> bytes:
    """A moving AVIF of Pillow's that plays so often, 0 for ever, and does not say when it was made. Edit lists say
    whether a track repeats, for as long as it lasts (ISO 14496-12, 8.6.6).
    """
    made, boxes = bytearray(data), _walk(data)
    once = next(data[box.body + 24 : box.body + 32] for box in boxes if box.kind == b"mdhd")  # all are of version 1
    whole = (plays * int.from_bytes(once)).to_bytes(8)
    for box in boxes:
        if box.kind in CLOCKS:
            made[box.body + 4 : box.body + 20] = bytes(16)
        if box.kind == b"elst" and plays:
            made[box.body + 3] = plays != 1
        elif plays and (at := LASTS.get(box.kind)):
            made[box.body + at : box.body + at + 8] = whole
    return bytes(made)


def _extra_kinds(data: bytes) -> tuple[bytes, ...]:
    """The boxes that show nothing. A film's `meta` is one of them; a picture's says where its pixels are."""
    return EXTRAS if _is_of(AVIF_BRANDS, data) else (*EXTRAS, b"meta")


def _walk(data: bytes) -> list[_Box]:
    """All boxes, those in FOLDERS followed by what is in them."""
    found, todo, extras = [], [(0, len(data))], _extra_kinds(data)
    while todo:
        at, end = todo.pop()
        for box in _boxes(data, at, end):
            found.append(box)
            if box.kind in FOLDERS and box.kind not in extras:
                todo.append((box.body + FOLDERS[box.kind], box.end))
            if len(found) > MOST:
                raise Broken
    return found


def _boxes(data: bytes, at: int, end: int) -> Iterator[_Box]:
    while at + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, at)
        body = at + 8
        if size == 1 and at + 16 <= end:
            size, body = struct.unpack_from(">Q", data, at + 8)[0], at + 16
        stop = at + size if size else end
        if not body <= stop <= end:
            raise Broken
        yield _Box(kind, at, body, stop)
        at = stop


def _items(data: bytes, boxes: list[_Box]) -> Iterator[tuple[bytes, list[_Piece]]]:
    """Kind and pieces of the items that are no pictures, of every `meta` box."""
    for meta in (box for box in boxes if box.kind == b"meta"):
        inside = {box.kind: box for box in boxes if meta.body < box.start < meta.end}
        if b"iinf" in inside and b"iloc" in inside:
            kinds = _kinds(data, inside[b"iinf"])
            for item, pieces in _places(data, inside[b"iloc"], inside.get(b"idat")):
                if item in kinds:
                    yield kinds[item], pieces


def _kinds(data: bytes, iinf: _Box) -> dict[int, bytes]:
    """The items that are no pictures by number: Exif, or the media type of what they hold."""
    kinds, file = {}, io.BytesIO(data)
    first = iinf.body + (8 if _number(file, 1, iinf.body) else 6)  # behind version, flags and count
    for box in _boxes(data, first, iinf.end):
        wide = _number(file, 4, box.body) >> 24 >= 3
        item, _, kind = _number(file, 4 if wide else 2), _number(file, 2), _number(file, 4).to_bytes(4)
        if kind in META:
            _, _, rest = data[file.tell() : box.end].partition(b"\0")  # behind the item's name
            kinds[item] = rest.partition(b"\0")[0] if kind == b"mime" else kind
    return kinds


def _places(data: bytes, iloc: _Box, idat: _Box | None) -> Iterator[tuple[int, list[_Piece]]]:
    """The number of each item with its pieces."""
    file, left = io.BytesIO(data), MOST
    version, sizes = _number(file, 4, iloc.body) >> 24, _number(file, 2)
    offset_size, length_size, base_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_size, wide = sizes & 15 if version else 0, 2 if version < 2 else 4
    for _ in range(_number(file, wide)):
        item, method = _number(file, wide), _number(file, 2) & 15 if version else 0
        _number(file, 2)  # of the file that holds it: this one
        base, pieces = _number(file, base_size), []
        for _ in range(_number(file, 2)):
            left -= 1
            if left < 0 or file.tell() > iloc.end:
                raise Broken
            _number(file, index_size)
            start = base + _number(file, offset_size) + (idat.body if idat and method == 1 else 0)
            field, length = file.tell(), _number(file, length_size)
            if start + length > len(data):
                raise Broken
            pieces.append(_Piece(field, length_size, start, start + length))
        yield item, pieces


def _number(file: io.BytesIO, width: int, at: int | None = None) -> int:
    """The next `width` bytes, or those `at` a place, as a number; Broken where there are not so many."""
    file.seek(file.tell() if at is None else at)
    data = file.read(width)
    if len(data) < width:
        raise Broken
    return int.from_bytes(data)


# Colours at full size: flat art with thin lines shows it at once when they are not.
AVIF_SAVED = {"quality": 90, "subsampling": "4:4:4"}
AVIF_ROW = Container(
    "AVIF", "image/avif", ".avif", partial(_is_of, AVIF_BRANDS), _extras, _with_metadata, still=AVIF_SAVED
)
MP4_ROW = Container("MP4", "video/mp4", ".mp4", partial(_is_of, MP4_BRANDS), _extras, _with_metadata)
