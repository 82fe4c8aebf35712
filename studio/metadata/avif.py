"""AVIF, still and moving: boxes within boxes, and items that say where in the file they lie.

All places are counted from the file's beginning, so nothing can be cut out or put in: what is taken off is overwritten
with zeros and its length is set to zero, and XMP is added behind the end, in the box that ISO's media files have for it
(XMP specification, part 3, 1.1.6). The picture keeps its bytes.
"""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from studio.metadata.containers import EXIF, EXIF_HEADER, LIMIT, XMP, Broken, Container, Extra, Metadata

BRANDS = (b"avif", b"avis")
# Boxes whose body is boxes, with the bytes that stand before them.
FOLDERS = {b"meta": 4, b"moov": 0, b"trak": 0, b"mdia": 0}
CLOCKS = (b"mvhd", b"tkhd", b"mdhd")  # they say when the file was made
EXTRAS = (b"uuid", b"udta", b"free", b"skip")  # may hold anything, and no picture
META = (b"Exif", b"mime", b"uri ")  # kinds of items that are no picture
XMP_TYPE = b"application/rdf+xml"
XMP_BOX = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")  # the identifier of a `uuid` box that holds XMP
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


def _begins(data: bytes) -> bool:
    size = int.from_bytes(data[:4])
    return data[4:8] == b"ftyp" and any(data[at : at + 4] in BRANDS for at in range(8, min(size, 256), 4))


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
        if box.kind == b"uuid" and data[box.body : box.body + len(XMP_BOX)] == XMP_BOX:
            yield XMP, data[box.body + len(XMP_BOX) : box.end], False


def _with_metadata(data: bytes, metadata: Metadata) -> bytes:
    """With zeros in place of EXIF, XMP, boxes that show nothing, and the time when it was made; only XMP is added."""
    plain, boxes = bytearray(data), _walk(data)
    for _, pieces in _items(data, boxes):
        for piece in pieces:
            plain[piece.start : piece.end] = bytes(piece.end - piece.start)
            plain[piece.field : piece.field + piece.width] = bytes(piece.width)
    for box in boxes:
        if box.kind in EXTRAS:
            plain[box.start + 4 : box.start + 8] = b"free"
            plain[box.body : box.end] = bytes(box.end - box.body)
        elif box.kind in CLOCKS:
            if box.end - box.body < 20:
                raise Broken
            times = (box.body + 4, box.body + (20 if data[box.body] else 12))
            plain[slice(*times)] = bytes(times[1] - times[0])
    if metadata.xmp:
        for box in boxes:
            if data[box.start : box.start + 4] == bytes(4):  # "up to the file's end", which is about to move
                plain[box.start : box.start + 4] = (box.end - box.start).to_bytes(4)
        plain += struct.pack(">I4s", 24 + len(metadata.xmp), b"uuid") + XMP_BOX + metadata.xmp
    return bytes(plain)


def _walk(data: bytes) -> list[_Box]:
    """All boxes, those in FOLDERS followed by what is in them."""
    found, todo = [], [(0, len(data))]
    while todo:
        at, end = todo.pop()
        for box in _boxes(data, at, end):
            found.append(box)
            if box.kind in FOLDERS:
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
    "AVIF", "image/avif", ".avif", _begins, _extras, _with_metadata, still=AVIF_SAVED, moving=AVIF_SAVED
)
