"""File containers: the metadata in a file, and the same file with other metadata. One row of CONTAINERS each.

Nothing is decoded: pixels, frames, durations, loop count, colour profile and resolution stay as they are.

Pillow is not used to read metadata. When it opens a JPEG or an AVIF it reads EXIF directories without a bound (a
thousand tags that point at the same megabyte take a gigabyte), it takes UTF-8 in a PNG's tEXt for Latin-1, and one
text that is too long makes it give up the whole file.
"""

import io
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

from models.messages import Message, Refused
from studio.media import riff_chunk

EXIF, XMP = "exif", "xmp"  # names of extras beside the keywords of texts
EXIF_HEADER = b"Exif\0\0"
LIMIT = 4 * 2**20  # bytes of one text, unpacked. More is not read at all: half a setting is a wrong setting

Extra = tuple[str, bytes, bool]  # EXIF, XMP or a text's keyword; its bytes; whether they are deflated


class Broken(ValueError):
    """A file that does not keep to its format. `code` is the message's, which has one value, `file`."""

    def __init__(self, code: str = "metadata.damaged") -> None:
        super().__init__(code)
        self.code = code

    def message(self, file: object) -> Message:
        """What is wrong with a file of that name."""
        return Message(self.code, {"file": str(file), "most": LIMIT >> 20})


@dataclass(frozen=True)
class Metadata:
    """What to put into a file, as far as it has room: EXIF (a TIFF block), XMP (a packet), texts by keyword."""

    exif: bytes = b""
    xmp: bytes = b""
    texts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Container:
    """A file format. `extras` yields the metadata of a file, `with_metadata` replaces all of it; both raise Broken.
    `keywords`: whether it holds texts by keyword, and needs no EXIF. `name` is Pillow's; `still` are Pillow's options
    for one picture, None where the studio writes none.
    """

    name: str
    media_type: str
    suffix: str
    begins: Callable[[bytes], bool]
    extras: Callable[[bytes], Iterator[Extra]]
    with_metadata: Callable[[bytes, Metadata], bytes]
    keywords: bool = False
    still: dict[str, Any] | None = None


def decoded(text: bytes) -> str:
    """UTF-8, else Latin-1: by its own rules a PNG's tEXt is Latin-1, but many programs write UTF-8 into it."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")


def unpacked(body: bytes, deflated: bool) -> bytes:
    """The bytes of an extra; Broken where they are more than LIMIT."""
    try:
        body = zlib.decompressobj().decompress(body, LIMIT + 1) if deflated else body
    except zlib.error as error:
        raise Broken from error
    if len(body) > LIMIT:
        raise Broken("metadata.too_much")
    return body


# --- PNG and APNG: chunks (https://www.w3.org/TR/png-3/) --------------------------------------------------------------

PNG = b"\x89PNG\r\n\x1a\n"
# What the pixels need, and what says how they are to be shown.
PNG_CONTENT = frozenset(
    b"IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB iCCP sBIT bKGD pHYs hIST cICP mDCV cLLI acTL fcTL fdAT".split()
)
PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"comf")  # ComfyUI's animations have a chunk of their own, built like tEXt
PNG_XMP = "XML:com.adobe.xmp"


def _png_extras(data: bytes) -> Iterator[Extra]:
    for kind, whole in png_chunks(data):
        body = whole[8:-4]
        if kind == b"eXIf":
            yield EXIF, body, False
        elif kind in PNG_TEXTS:
            keyword, _, text = body.partition(b"\0")
            deflated = kind == b"zTXt" or (kind == b"iTXt" and text[:1] == b"\1")
            if kind == b"iTXt":
                text = text[2:].split(b"\0", 2)[-1]  # behind method, language and translated keyword
            elif deflated:
                text = text[1:]  # behind the method
            yield keyword.decode("latin-1"), text, deflated


def _png_with(data: bytes, metadata: Metadata) -> bytes:
    head, *rest = [chunk for kind, chunk in png_chunks(data) if kind in PNG_CONTENT]
    texts = metadata.texts | ({PNG_XMP: metadata.xmp.decode()} if metadata.xmp else {})
    added = [png_chunk(b"iTXt", key.encode() + bytes(5) + text.encode()) for key, text in texts.items()]
    added += [png_chunk(b"eXIf", metadata.exif)] if metadata.exif else []
    return b"".join([PNG, head, *added, *rest])


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and bytes of each chunk, length and checksum included, up to the last; the first is the header."""
    at = len(PNG)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data) or (at == len(PNG)) != (kind == b"IHDR"):
            break
        yield kind, data[at:end]
        if kind == b"IEND":
            return
        at = end
    raise Broken


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


# --- WebP, still and moving: RIFF chunks (https://developers.google.com/speed/webp/docs/riff_container) ---------------

WEBP_CONTENT = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP")
WEBP_EXTRAS = {b"EXIF": EXIF, b"XMP ": XMP}
FRAME_HEADER = 16  # bytes of an ANMF before its own chunks
HAS_EXIF, HAS_XMP, HAS_ALPHA = 0x08, 0x04, 0x10  # bits of VP8X


def _webp_extras(data: bytes) -> Iterator[Extra]:
    for kind, body in _riff_chunks(_riff_content(data)):
        if kind in WEBP_EXTRAS:
            yield WEBP_EXTRAS[kind], body, False


def _webp_with(data: bytes, metadata: Metadata) -> bytes:
    chunks = [(kind, body) for kind, body in _riff_chunks(_riff_content(data)) if kind in WEBP_CONTENT]
    flags = (HAS_EXIF if metadata.exif else 0) | (HAS_XMP if metadata.xmp else 0)
    if flags and all(kind != b"VP8X" for kind, _ in chunks):
        chunks.insert(0, (b"VP8X", _webp_header(*(chunks or [(b"", b"")])[0])))
    chunks = [(kind, _webp_chunk_body(kind, body, flags)) for kind, body in chunks]
    chunks += [(kind, body) for kind, body in ((b"EXIF", metadata.exif), (b"XMP ", metadata.xmp)) if body]
    return riff_chunk(b"RIFF", b"WEBP" + b"".join(riff_chunk(*chunk) for chunk in chunks))


def _webp_header(kind: bytes, body: bytes) -> bytes:
    """The body of VP8X, which only files with metadata or several frames need, from the picture's own header."""
    if len(body) < 10 or kind not in (b"VP8 ", b"VP8L"):
        raise Broken
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")  # behind the signature: 14 bits width - 1, 14 height - 1, 1 alpha
        width, height, alpha = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bits >> 28 & 1
    else:
        width, height, alpha = *(side & 0x3FFF for side in struct.unpack_from("<HH", body, 6)), 0
    sides = b"".join((max(side, 1) - 1).to_bytes(3, "little") for side in (width, height))
    return bytes([HAS_ALPHA if alpha else 0, 0, 0, 0]) + sides


def _webp_chunk_body(kind: bytes, body: bytes, flags: int) -> bytes:
    if kind == b"VP8X":
        return bytes([body[0] & ~(HAS_EXIF | HAS_XMP) | flags]) + body[1:]
    if kind == b"ANMF":
        inside = (riff_chunk(kind, part) for kind, part in _riff_chunks(body[FRAME_HEADER:]) if kind in WEBP_CONTENT)
        return body[:FRAME_HEADER] + b"".join(inside)
    return body


def _riff_content(data: bytes) -> bytes:
    size = int.from_bytes(data[4:8], "little")
    if size < 4 or 8 + size > len(data):
        raise Broken
    return data[12 : 8 + size]


def _riff_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + 8 <= len(data):
        kind, size = struct.unpack_from("<4sI", data, at)
        body = data[at + 8 : at + 8 + size]
        if len(body) < size or (kind == b"VP8X" and not size):
            raise Broken
        yield kind, body
        at += 8 + size + size % 2


# --- JPEG: segments (ITU T.81, annex B) -------------------------------------------------------------------------------

JPEG = b"\xff\xd8"
JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"
JFIF, APP1, COLOUR, ADOBE, APP15, COM, SOS, EOI = 0xE0, 0xE1, 0xE2, 0xEE, 0xEF, 0xFE, 0xDA, 0xD9
# Application segments that say how the pixels are meant; all others are about something else.
JPEG_CONTENT = {JFIF: b"JFIF\0", COLOUR: b"ICC_PROFILE\0", ADOBE: b"Adobe"}
BARE = frozenset((0x01, *range(0xD0, 0xD8)))  # markers without a length
AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
SEGMENT = 0xFFFF  # bytes of a segment at most


def _jpeg_extras(data: bytes) -> Iterator[Extra]:
    for marker, whole in _jpeg_segments(data):
        for name, head in ((EXIF, EXIF_HEADER), (XMP, JPEG_XMP)):
            if marker == APP1 and whole.startswith(head, 4):
                yield name, whole[4 + len(head) :], False


def _jpeg_with(data: bytes, metadata: Metadata) -> bytes:
    segments = [(marker, whole) for marker, whole in _jpeg_segments(data) if _is_jpeg_content(marker, whole[4:])]
    bodies = [head + body for head, body in ((EXIF_HEADER, metadata.exif), (JPEG_XMP, metadata.xmp)) if body]
    if any(len(body) + 2 > SEGMENT for body in bodies):
        raise Refused("metadata.too_long", kind="jpeg")
    added = [struct.pack(">BBH", 0xFF, APP1, len(body) + 2) + body for body in bodies]
    after = 1 if segments and segments[0][0] == JFIF else 0  # JFIF has to be the first
    content = [whole for _, whole in segments]
    return b"".join([JPEG, *content[:after], *added, *content[after:]])


def _is_jpeg_content(marker: int, body: bytes) -> bool:
    if marker in JPEG_CONTENT:
        return body.startswith(JPEG_CONTENT[marker])
    return marker != COM and not JFIF <= marker <= APP15


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and bytes of each segment, marker and length included; a scan's data belongs to its header."""
    at = len(JPEG)
    while at + 2 <= len(data) and data[at] == 0xFF:
        marker, end = data[at + 1], at + 2
        if marker == 0xFF:  # padding
            at += 1
            continue
        if marker != EOI and marker not in BARE:
            length = int.from_bytes(data[end : end + 2])
            end += length
            if marker == SOS:
                after = AFTER_SCAN.search(data, end)
                end = after.start() if after else len(data) + 1
            if length < 2 or end > len(data):
                raise Broken
        yield marker, data[at:end]
        if marker == EOI:
            return
        at = end
    raise Broken


# --- GIF: blocks (https://www.w3.org/Graphics/GIF/spec-gif89a.txt) ----------------------------------------------------

GIFS = (b"GIF87a", b"GIF89a")
IMAGE, EXTENSION, END, COMMENT, APPLICATION = 0x2C, 0x21, 0x3B, 0xFE, 0xFF
GIF_CONTENT = (b"NETSCAPE2.0", b"ANIMEXTS1.0", b"ICCRGBG1012")  # how often it plays, and its colours
# XMP lies in its application extension as it is. Whatever byte of it a reader of blocks takes for a length, it lands in
# these 258 bytes, which count down to the block's end (XMP specification, part 3, 1.1.2).
GIF_XMP, XMP_END = b"XMP DataXMP", bytes([1, *range(255, -1, -1), 0])


def _gif_extras(data: bytes) -> Iterator[Extra]:
    for block in islice(gif_blocks(data), 1, None):
        if block[:2] == bytes((EXTENSION, COMMENT)):  # A1111 keeps its text there
            text, at = b"", 2
            while block[at]:
                text, at = text + block[at + 1 : at + 1 + block[at]], at + 1 + block[at]
            yield "parameters", text, False
        elif block[3:14] == GIF_XMP and len(block) > 14 + len(XMP_END):
            yield XMP, block[14 : -len(XMP_END)], False


def _gif_with(data: bytes, metadata: Metadata) -> bytes:
    head, *blocks = gif_blocks(data)
    added = b""
    if text := metadata.texts.get("parameters", "").encode():
        pieces = (text[at : at + 255] for at in range(0, len(text), 255))
        added += bytes((EXTENSION, COMMENT)) + b"".join(bytes([len(one)]) + one for one in pieces) + b"\0"
    if metadata.xmp:
        added += bytes((EXTENSION, APPLICATION, len(GIF_XMP))) + GIF_XMP + metadata.xmp + XMP_END
    head = GIFS[1] + head[6:] if added else head
    return head + added + b"".join(block for block in blocks if _is_gif_content(block))


def gif_frames(data: bytes, most: int) -> int:
    """How many frames a GIF holds, counted to one more than `most`; Pillow would decode it. Broken if damaged."""
    blocks = islice(gif_blocks(data), 1, None)
    return sum(1 for _ in islice((block for block in blocks if block[0] == IMAGE), most + 1))


def _is_gif_content(block: bytes) -> bool:
    if block[0] != EXTENSION or block[1] not in (COMMENT, APPLICATION):
        return True
    return block[1] == APPLICATION and block[3:14] in GIF_CONTENT


def gif_blocks(data: bytes) -> Iterator[bytes]:
    """The header, then each block up to the last."""
    try:
        at = 13 + _gif_palette(data[10])
        yield data[:at]
        while data[at] != END:
            start = at
            if data[at] == IMAGE:
                at += 11 + _gif_palette(data[at + 9])
            elif data[at] == EXTENSION:
                at += 2
            else:
                raise Broken
            while data[at]:
                at += 1 + data[at]
            at += 1
            yield data[start:at]
        yield data[at : at + 1]
    except IndexError as error:
        raise Broken from error


def _gif_palette(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


# --- Plain text: the record is a last line of its own behind an empty one ---------------------------------------------

TEXT_MARK = b"\n\nstudio: "


def _text_split(data: bytes) -> tuple[bytes, bytes]:
    """The words, and the record behind them or nothing."""
    words, mark, record = data.rpartition(TEXT_MARK)
    whole = mark and record.startswith(b"{") and record.endswith(b"}\n") and b"\n" not in record[:-1]
    return (words, record[:-1]) if whole else (data, b"")


def _text_with(data: bytes, metadata: Metadata) -> bytes:
    record = metadata.texts.get("studio", "").encode()
    return _text_split(data)[0] + (TEXT_MARK + record + b"\n" if record else b"")


# --- AVIF and MP4: ISO boxes (ISO 14496-12) ---------------------------------------------------------------------------
#
# All places are counted from the file's beginning, so nothing can be cut out or put in: what is taken off is
# overwritten with zeros and its length is set to zero. XMP is added behind the end, in the box that ISO's media files
# have for it (XMP specification, part 3, 1.1.6), and so is EXIF (ExifTool's UUID-EXIF).

AVIF_BRANDS, MP4_BRANDS = (b"avif", b"avis"), (b"isom", b"iso2", b"mp41", b"mp42", b"avc1", b"M4V ", b"qt  ")
# Boxes whose body is boxes, with the bytes that stand before them.
ISO_PARENTS = {b"meta": 4, b"moov": 0, b"trak": 0, b"mdia": 0, b"edts": 0, b"iprp": 0, b"ipco": 0}
ISO_PARENTS |= {b"minf": 0, b"stbl": 0, b"stsd": 8, b"av01": 78}
ISO_CLOCKS = (b"mvhd", b"tkhd", b"mdhd")  # they say when the file was made
ISO_DURATIONS = {b"mvhd": 24, b"tkhd": 28}  # where they say how long all plays take
ISO_EXTRAS = (b"uuid", b"udta", b"free", b"skip")  # may hold anything, and no picture
ISO_META = (b"Exif", b"mime", b"uri ")  # kinds of items that are no picture
ISO_XMP = b"application/rdf+xml"
# Identifiers of `uuid` boxes.
ISO_UUIDS = {bytes.fromhex("be7acfcb97a942e89c71999491e3afac"): XMP, b"JpgTiffExif->JP2": EXIF}
ISO_BOXES = 4096  # boxes and pieces of items that are looked at: a tiny file can name billions of pieces without bytes


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


def _iso_extras(data: bytes) -> Iterator[Extra]:
    boxes = _iso_boxes(data)
    for kind, pieces in _iso_items(data, boxes):
        if sum(piece.end - piece.start for piece in pieces) > LIMIT:
            raise Broken("metadata.too_much")
        body = b"".join(data[piece.start : piece.end] for piece in pieces)
        if kind == b"Exif":  # it begins with the place of its TIFF block, counted from behind these four bytes
            yield EXIF, body[4 + int.from_bytes(body[:4]) :].removeprefix(EXIF_HEADER), False
        elif kind == ISO_XMP:
            yield XMP, body, False
    for box in boxes:
        if box.kind == b"uuid" and (name := ISO_UUIDS.get(data[box.body : box.body + 16])):
            yield name, data[box.body + 16 : box.end], False


def _iso_with(data: bytes, metadata: Metadata) -> bytes:
    """With zeros in place of EXIF, XMP, boxes that show nothing, and the time when it was made."""
    last, extras = list(_boxes_between(data, 0, len(data))), _iso_extra_kinds(data)
    while last and last[-1].kind in extras:
        data = data[: last.pop().start]
    plain, boxes = bytearray(data), _iso_boxes(data)
    for _, pieces in _iso_items(data, boxes):
        for piece in pieces:
            plain[piece.start : piece.end] = bytes(piece.end - piece.start)
            plain[piece.field : piece.field + piece.width] = bytes(piece.width)
    for box in boxes:
        if box.kind in extras:
            plain[box.start + 4 : box.start + 8] = b"free"
            plain[box.body : box.end] = bytes(box.end - box.body)
        elif box.kind in ISO_CLOCKS:
            if box.end - box.body < 20:
                raise Broken
            times = (box.body + 4, box.body + (20 if data[box.body] else 12))
            plain[slice(*times)] = bytes(times[1] - times[0])
        if data[box.start : box.start + 4] == bytes(4):  # "up to the file's end", which is about to move
            plain[box.start : box.start + 4] = (box.end - box.start).to_bytes(4)
    blocks = {EXIF: metadata.exif, XMP: metadata.xmp}
    for identifier, name in ISO_UUIDS.items():
        if body := blocks[name]:
            plain += struct.pack(">I4s", 24 + len(body), b"uuid") + identifier + body
    return bytes(plain)


def with_plays(data: bytes, plays: int) -> bytes:
    """A moving AVIF of Pillow's that plays so often, 0 for ever, and does not say when it was made. Edit lists say
    whether a track repeats, for as long as it lasts (ISO 14496-12, 8.6.6).
    """
    changed, boxes = bytearray(data), _iso_boxes(data)
    once = next(data[box.body + 24 : box.body + 32] for box in boxes if box.kind == b"mdhd")  # all are of version 1
    whole = (plays * int.from_bytes(once)).to_bytes(8)
    for box in boxes:
        if box.kind in ISO_CLOCKS:
            changed[box.body + 4 : box.body + 20] = bytes(16)
        if box.kind == b"elst" and plays:
            changed[box.body + 3] = plays != 1
        elif plays and (at := ISO_DURATIONS.get(box.kind)):
            changed[box.body + at : box.body + at + 8] = whole
    return bytes(changed)


def _iso_extra_kinds(data: bytes) -> tuple[bytes, ...]:
    """The boxes that show nothing. A film's `meta` is one of them; a picture's says where its pixels are."""
    return ISO_EXTRAS if _is_of(AVIF_BRANDS, data) else (*ISO_EXTRAS, b"meta")


def _iso_boxes(data: bytes) -> list[_Box]:
    """All boxes, those in ISO_PARENTS followed by what is in them."""
    boxes, todo, extras = list[_Box](), [(0, len(data))], _iso_extra_kinds(data)
    while todo:
        at, end = todo.pop()
        for box in _boxes_between(data, at, end):
            boxes.append(box)
            if box.kind in ISO_PARENTS and box.kind not in extras:
                todo.append((box.body + ISO_PARENTS[box.kind], box.end))
            if len(boxes) > ISO_BOXES:
                raise Broken
    return boxes


def _boxes_between(data: bytes, at: int, end: int) -> Iterator[_Box]:
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


def _iso_items(data: bytes, boxes: list[_Box]) -> Iterator[tuple[bytes, list[_Piece]]]:
    """Kind and pieces of the items that are no pictures, of every `meta` box."""
    for meta in (box for box in boxes if box.kind == b"meta"):
        inside = {box.kind: box for box in boxes if meta.body < box.start < meta.end}
        if b"iinf" in inside and b"iloc" in inside:
            kinds = _item_kinds(data, inside[b"iinf"])
            for item, pieces in _item_pieces(data, inside[b"iloc"], inside.get(b"idat")):
                if item in kinds:
                    yield kinds[item], pieces


def _item_kinds(data: bytes, iinf: _Box) -> dict[int, bytes]:
    """The items that are no pictures by number: Exif, or the media type of what they hold."""
    kinds, file = {}, io.BytesIO(data)
    first = iinf.body + (8 if _iso_number(file, 1, iinf.body) else 6)  # behind version, flags and count
    for box in _boxes_between(data, first, iinf.end):
        wide = _iso_number(file, 4, box.body) >> 24 >= 3
        item, _, kind = _iso_number(file, 4 if wide else 2), _iso_number(file, 2), _iso_number(file, 4).to_bytes(4)
        if kind in ISO_META:
            _, _, rest = data[file.tell() : box.end].partition(b"\0")  # behind the item's name
            kinds[item] = rest.partition(b"\0")[0] if kind == b"mime" else kind
    return kinds


def _item_pieces(data: bytes, iloc: _Box, idat: _Box | None) -> Iterator[tuple[int, list[_Piece]]]:
    """The number of each item with its pieces."""
    file, left = io.BytesIO(data), ISO_BOXES
    version, sizes = _iso_number(file, 4, iloc.body) >> 24, _iso_number(file, 2)
    offset_size, length_size, base_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_size, wide = sizes & 15 if version else 0, 2 if version < 2 else 4
    for _ in range(_iso_number(file, wide)):
        item, method = _iso_number(file, wide), _iso_number(file, 2) & 15 if version else 0
        _iso_number(file, 2)  # of the file that holds it: this one
        base, pieces = _iso_number(file, base_size), []
        for _ in range(_iso_number(file, 2)):
            left -= 1
            if left < 0 or file.tell() > iloc.end:
                raise Broken
            _iso_number(file, index_size)
            start = base + _iso_number(file, offset_size) + (idat.body if idat and method == 1 else 0)
            field, length = file.tell(), _iso_number(file, length_size)
            if start + length > len(data):
                raise Broken
            pieces.append(_Piece(field, length_size, start, start + length))
        yield item, pieces


def _iso_number(file: io.BytesIO, width: int, at: int | None = None) -> int:
    """The next `width` bytes, or those `at` a place, as a number; Broken where there are not so many."""
    file.seek(file.tell() if at is None else at)
    data = file.read(width)
    if len(data) < width:
        raise Broken
    return int.from_bytes(data)


# --- WebM: elements (RFC 8794; Matroska's are in RFC 9559) ------------------------------------------------------------
#
# Nothing is moved: what is taken off becomes a `Void` of the same length, and tags are added behind the segment's end.
# A remux by FFmpeg loses the alpha channel and the duration of the last frame.

WEBM = b"\x1a\x45\xdf\xa3"
EBML_SEGMENT, EBML_INFO, EBML_TAGS, EBML_TAG = 0x18538067, 0x1549A966, 0x1254C367, 0x7373
SIMPLE_TAG, TAG_NAME, TAG_TEXT = 0x67C8, 0x45A3, 0x4487
EBML_VOID = 0xEC
WEBM_EXTRAS = (EBML_TAGS, EBML_VOID, 0x1941A469, 0x1043A770)  # the last two are attached files and chapters
WEBM_INFO_EXTRAS = (
    0x7BA9,
    0x4461,
    0x73A4,
    0xBF,
)  # title, date, the file's random number, checksum
TAG_PARAMETERS, TAG_RECORD = "COMMENT", "STUDIO"  # names of tags, beside "XMP"
WEBM_KEYWORDS = {TAG_PARAMETERS: "parameters", "XMP": XMP}
EBML_WIDTH = 8  # bytes of a length at most
WEBM_ELEMENTS = 2**16  # elements that are looked at in one


@dataclass(frozen=True)
class _Element:
    kind: int
    start: int
    body: int
    end: int


def _webm_extras(data: bytes) -> Iterator[Extra]:
    for tags in _ebml_elements(data, _webm_segment(data), EBML_TAGS):
        for tag in _ebml_elements(data, tags, EBML_TAG):
            for simple in _ebml_elements(data, tag, SIMPLE_TAG):
                parts = {one.kind: data[one.body : one.end] for one in _ebml_elements(data, simple)}
                name = parts.get(TAG_NAME, b"").decode(errors="replace")
                yield WEBM_KEYWORDS.get(name, name.lower()), parts.get(TAG_TEXT, b""), False


def _webm_with(data: bytes, metadata: Metadata) -> bytes:
    segment = _webm_segment(data)
    elements = list(_ebml_elements(data, segment))
    while elements and elements[-1].kind in WEBM_EXTRAS:
        elements.pop()
    file = bytearray(data[: elements[-1].end if elements else segment.body])
    removed = [element for element in elements if element.kind in WEBM_EXTRAS]
    infos = [element for element in elements if element.kind == EBML_INFO]
    removed += [part for info in infos for part in _ebml_elements(data, info) if part.kind in WEBM_INFO_EXTRAS]
    for element in removed:
        file[element.start : element.end] = _ebml_void(element.end - element.start)
    file += _webm_tags(metadata)
    length = slice(segment.start + 4, segment.body)
    file[length] = _ebml_length(len(file) - segment.body, length.stop - length.start)
    return bytes(file)


def _webm_tags(metadata: Metadata) -> bytes:
    texts = {TAG_PARAMETERS: metadata.texts.get("parameters", "").encode(), "XMP": metadata.xmp}
    texts[TAG_RECORD] = metadata.texts.get("studio", "").encode()
    tags = [
        _ebml_element(SIMPLE_TAG, _ebml_element(TAG_NAME, name.encode()) + _ebml_element(TAG_TEXT, text))
        for name, text in texts.items()
        if text
    ]
    return _ebml_element(EBML_TAGS, _ebml_element(EBML_TAG, b"".join(tags))) if tags else b""


def _ebml_element(kind: int, body: bytes) -> bytes:
    return kind.to_bytes(-(-kind.bit_length() // 8)) + _ebml_length(len(body), EBML_WIDTH) + body


def _ebml_void(size: int) -> bytes:
    """An element of so many bytes that holds nothing."""
    if size >= 9:
        return _ebml_element(EBML_VOID, bytes(size - 9))
    return bytes([EBML_VOID, 0x80 | size - 2]) + bytes(size - 2)


def _ebml_length(size: int, width: int) -> bytes:
    """A length in so many bytes; what they can't hold is "up to the end", all ones."""
    return (min(size, (1 << 7 * width) - 1) | 1 << 7 * width).to_bytes(width)


def _webm_segment(data: bytes) -> _Element:
    for element in _ebml_elements(data, _Element(0, 0, 0, len(data)), EBML_SEGMENT):
        return element
    raise Broken


def _ebml_elements(data: bytes, parent: _Element, kind: int | None = None) -> Iterator[_Element]:
    """What lies in an element, those of a kind or all."""
    at, left = parent.body, WEBM_ELEMENTS
    while at < parent.end:
        left -= 1
        number, size_at, _ = _ebml_number(data, at, parent.end)
        size, body, unknown = _ebml_number(data, size_at, parent.end)
        width = body - size_at
        end = parent.end if unknown else body + (size ^ 1 << 7 * width)
        if end > parent.end or not left:
            raise Broken
        if kind in (None, number):
            yield _Element(number, at, body, end)
        at = end


def _ebml_number(data: bytes, at: int, end: int) -> tuple[int, int, bool]:
    """A number of 1 to 8 bytes with the bit that says how many, where it ends, and whether all others are ones."""
    width = EBML_WIDTH + 1 - data[at].bit_length() if at < end else EBML_WIDTH + 1
    if at + width > end or width > EBML_WIDTH:
        raise Broken
    value = int.from_bytes(data[at : at + width])
    return value, at + width, value == (2 << 7 * width) - 1


# --- The table --------------------------------------------------------------------------------------------------------

PNG_ROW = Container(
    "PNG", "image/png", ".png", lambda data: data.startswith(PNG), _png_extras, _png_with,
    keywords=True, still={},
)  # fmt: skip
WEBP_ROW = Container(
    "WEBP", "image/webp", ".webp", lambda data: data[:4] == b"RIFF" and data[8:12] == b"WEBP", _webp_extras, _webp_with,
    still={"lossless": True, "exact": True},
)  # fmt: skip
JPEG_ROW = Container(
    "JPEG", "image/jpeg", ".jpg", lambda data: data.startswith(JPEG + b"\xff"), _jpeg_extras, _jpeg_with,
    still={"quality": 95, "subsampling": 0},
)  # fmt: skip
GIF_ROW = Container("GIF", "image/gif", ".gif", lambda data: data[:6] in GIFS, _gif_extras, _gif_with)
TEXT_ROW = Container(
    "text", "text/plain", ".txt", lambda data: bool(_text_split(data)[1]),
    lambda data: iter([("studio", _text_split(data)[1], False)]), _text_with, keywords=True,
)  # fmt: skip
# Colours at full size: flat art with thin lines shows it at once when they are not.
AVIF_OPTIONS = {"quality": 90, "subsampling": "4:4:4"}
AVIF_ROW = Container(
    "AVIF", "image/avif", ".avif", partial(_is_of, AVIF_BRANDS), _iso_extras, _iso_with, still=AVIF_OPTIONS
)
MP4_ROW = Container("MP4", "video/mp4", ".mp4", partial(_is_of, MP4_BRANDS), _iso_extras, _iso_with)
WEBM_ROW = Container(
    "WebM", "video/webm", ".webm", lambda data: data.startswith(WEBM), _webm_extras, _webm_with, keywords=True
)
# By media type. AVIF before MP4: some AVIFs are of MP4's brands, too.
CONTAINERS = {
    row.media_type: row for row in (PNG_ROW, WEBP_ROW, JPEG_ROW, GIF_ROW, AVIF_ROW, WEBM_ROW, MP4_ROW, TEXT_ROW)
}
