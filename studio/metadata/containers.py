"""File containers: the metadata in a file, and the same file with other metadata. One row of CONTAINERS each.

Nothing is decoded: pixels, frames, durations, loop count, colour profile and resolution stay as they are. `av` copies
the streams of films; Pillow would encode pictures anew, and it merges equal frames.

Pillow does not read the metadata either. It reads directories of EXIF and MPF without a bound (a thousand tags that
point at the same megabyte take a gigabyte), hence `bare`; it decodes UTF-8 in a PNG's tEXt as Latin-1, and one text
that is too long makes it give up the whole file.
"""

import io
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

from PIL import Image

from models.messages import Message, Refused

EXIF, XMP, MPF = "exif", "xmp", "mpf"  # names of extras beside the keywords of texts
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


# --- EXIF -------------------------------------------------------------------------------------------------------------

# The few EXIF tags in which programs keep settings. Only they are read: a directory of 65,535 tags that all point at
# the same megabyte fills the memory of a reader that takes everything.
ORIENTATION, DETAILS, USER_COMMENT = 0x0112, 0x8769, 0x9286
WANTED = (ORIENTATION, DETAILS, USER_COMMENT)
WIDTHS = {1: 1, 2: 1, 3: 2, 4: 4, 7: 1, 129: 1}  # bytes of a value, by type; 129 is UTF-8
UNICODE = b"UNICODE\0"


def exif_block(text: str = "", turned: int = 1) -> bytes:
    """A TIFF block with `text` as UserComment, in the encoding that A1111 writes and reads, and with the orientation
    `turned` (1 to 8) where it is not 1; empty where it would say nothing.

    Pillow can't write it: it gives UserComment the type BYTE, and A1111's reader fails on that.
    """
    if not text:
        return b"" if turned == 1 else struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, ORIENTATION, 3, 1, turned, 0, 0)
    comment = UNICODE + text.encode("utf-16-be", "replace")
    first = struct.pack(">HHIHH", ORIENTATION, 3, 1, turned, 0) if turned != 1 else b""
    count = 1 + bool(first)
    at = 8 + 2 + 12 * count + 4  # of the second directory, which holds the comment
    first += struct.pack(">HHII", DETAILS, 4, 1, at)
    details = struct.pack(">HHHIII", 1, USER_COMMENT, 7, len(comment), at + 18, 0)
    return struct.pack(">2sHIH", b"MM", 42, 8, count) + first + bytes(4) + details + comment


def exif_orientation(block: bytes) -> int:
    """How the picture is turned, 1 to 8; 1 where it does not say."""
    order, tags = _tags(block)
    value = tags.get(ORIENTATION, b"")
    turned = struct.unpack(order + "H", value[:2])[0] if len(value) >= 2 else 1
    return turned if 1 <= turned <= 8 else 1


def exif_texts(block: bytes) -> dict[str, str]:
    """`parameters` from UserComment, as A1111 writes it."""
    _, tags = _tags(block)
    return {"parameters": _comment(tags[USER_COMMENT])} if USER_COMMENT in tags else {}


def _tags(block: bytes) -> tuple[str, dict[int, bytes]]:
    """Byte order and values of the wanted tags, of the first directory and of its EXIF directory."""
    tiff = block.removeprefix(EXIF_HEADER)
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2], "")
    if not order or len(tiff) < 8:
        return "<", {}
    tags = _directory(tiff, order, struct.unpack_from(order + "I", tiff, 4)[0])
    details = tags.pop(DETAILS, b"")
    if len(details) == 4:
        tags |= _directory(tiff, order, struct.unpack(order + "I", details)[0])
    return order, tags


def _directory(tiff: bytes, order: str, at: int) -> dict[int, bytes]:
    if at + 2 > len(tiff):
        return {}
    tags = {}
    for entry in range(at + 2, at + 2 + 12 * struct.unpack_from(order + "H", tiff, at)[0], 12):
        if entry + 12 > len(tiff):
            break
        tag, kind, count = struct.unpack_from(order + "HHI", tiff, entry)
        size = count * WIDTHS.get(kind, 0)
        if tag in WANTED and tag not in tags and size <= LIMIT:
            start = entry + 8 if size <= 4 else struct.unpack_from(order + "I", tiff, entry + 8)[0]
            tags[tag] = tiff[start : start + size]
    return tags


def _comment(value: bytes) -> str:
    """A UserComment: eight bytes that name the encoding, then the text; some programs leave the eight out. The byte
    order of UTF-16 is not said: A1111 writes the big end first, others are known by what settings look like.
    """
    code, rest = value[:8], value[8:]
    if code == UNICODE:
        big, little = (rest.decode(f"utf-16-{order}", "replace") for order in ("be", "le"))
        settings = (text for text in (big, little) if "Steps: " in text or text.lstrip().startswith("{"))
        return next(settings, big).rstrip("\0")
    return decoded(rest if code in (b"ASCII\0\0\0", bytes(8)) else value).rstrip("\0")


# --- PNG and APNG: chunks (https://www.w3.org/TR/png-3/) --------------------------------------------------------------

PNG = b"\x89PNG\r\n\x1a\n"
# What the pixels need, and what says how they are to be shown.
PNG_CONTENT = frozenset(
    b"IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB iCCP sBIT bKGD pHYs hIST cICP mDCV cLLI acTL fcTL fdAT".split()
)
PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
PNG_XMP, PNG_EXIF = "XML:com.adobe.xmp", "Raw profile type exif"


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
            if keyword == PNG_EXIF.encode():
                yield EXIF, _raw_profile(text, deflated), False
            yield keyword.decode("latin-1"), text, deflated


def _raw_profile(text: bytes, deflated: bool) -> bytes:
    """EXIF as ImageMagick writes it, in hexadecimal behind three lines; b"" where it can't be read."""
    try:
        return bytes.fromhex("".join(decoded(unpacked(text, deflated)).split("\n")[3:]))
    except ValueError:
        return b""


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
        try:
            with Image.open(io.BytesIO(data), formats=["WEBP"]) as picture:
                sides = b"".join((side - 1).to_bytes(3, "little") for side in picture.size)
                alpha = HAS_ALPHA if picture.mode == "RGBA" else 0
        except (OSError, ValueError) as error:
            raise Broken from error
        chunks.insert(0, (b"VP8X", bytes([alpha, 0, 0, 0]) + sides))  # only files with metadata or frames need it
    chunks = [(kind, _webp_chunk_body(kind, body, flags)) for kind, body in chunks]
    chunks += [(kind, body) for kind, body in ((b"EXIF", metadata.exif), (b"XMP ", metadata.xmp)) if body]
    return riff_chunk(b"RIFF", b"WEBP" + b"".join(riff_chunk(*chunk) for chunk in chunks))


def _webp_chunk_body(kind: bytes, body: bytes, flags: int) -> bytes:
    if kind == b"VP8X":
        return bytes([body[0] & ~(HAS_EXIF | HAS_XMP) | flags]) + body[1:]
    if kind == b"ANMF":
        inside = (riff_chunk(kind, part) for kind, part in _riff_chunks(body[FRAME_HEADER:]) if kind in WEBP_CONTENT)
        return body[:FRAME_HEADER] + b"".join(inside)
    return body


def riff_chunk(name: bytes, body: bytes) -> bytes:
    return name + len(body).to_bytes(4, "little") + body + bytes(len(body) % 2)


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
JPEG_EXTRAS = ((EXIF, APP1, EXIF_HEADER), (XMP, APP1, JPEG_XMP), (MPF, COLOUR, b"MPF\0"))
# Application segments that say how the pixels are meant; all others are about something else.
JPEG_CONTENT = {JFIF: b"JFIF\0", COLOUR: b"ICC_PROFILE\0", ADOBE: b"Adobe"}
BARE = frozenset((0x01, *range(0xD0, 0xD8)))  # markers without a length
AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
SEGMENT = 0xFFFF  # bytes of a segment at most


def _jpeg_extras(data: bytes) -> Iterator[Extra]:
    for marker, whole in _jpeg_segments(data):
        for name, kind, head in JPEG_EXTRAS:
            if marker == kind and whole.startswith(head, 4):
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


# --- AVIF: ISO boxes (ISO 14496-12) -----------------------------------------------------------------------------------
#
# Places are counted from the file's beginning, so nothing is cut out: what is taken off is overwritten with zeros and
# gets the length zero. Pillow writes EXIF and XMP with the pixels; here they are read and taken out alone.

AVIF_BRANDS, MP4_BRANDS = (b"avif", b"avis"), (b"isom", b"iso2", b"mp41", b"mp42", b"avc1", b"M4V ", b"qt  ")
ISO_PARENTS = {b"meta": 4, b"moov": 0, b"trak": 0, b"mdia": 0, b"edts": 0}  # bytes before the boxes that they hold
ISO_CLOCKS = (b"mvhd", b"tkhd", b"mdhd")  # they say when the file was made
ISO_EXTRAS = (b"uuid", b"udta", b"free", b"skip")  # may hold anything, and no picture
ISO_META = (b"Exif", b"mime", b"uri ")  # kinds of items that are no picture
ISO_XMP = b"application/rdf+xml"
XMP_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
ISO_BOXES = 4096  # boxes and pieces of items that are looked at: a tiny file can name billions of pieces without bytes


@dataclass(frozen=True)
class _Box:
    kind: bytes
    start: int
    body: int
    end: int


@dataclass(frozen=True)
class _Piece:
    """Part of an item: the field that holds its length, and where it lies in the file."""

    field: slice
    place: slice


def _is_of(brands: tuple[bytes, ...], data: bytes) -> bool:
    size = int.from_bytes(data[:4])
    return data[4:8] == b"ftyp" and any(data[at : at + 4] in brands for at in range(8, min(size, 256), 4))


def _avif_extras(data: bytes) -> Iterator[Extra]:
    boxes = _iso_boxes(data)
    for kind, pieces in _iso_items(data, boxes):
        if sum(piece.place.stop - piece.place.start for piece in pieces) > LIMIT:
            raise Broken("metadata.too_much")
        body = b"".join(data[piece.place] for piece in pieces)
        if kind == b"Exif":  # it begins with the place of its TIFF block, counted from behind these four bytes
            yield EXIF, body[4 + int.from_bytes(body[:4]) :].removeprefix(EXIF_HEADER), False
        elif kind == ISO_XMP:
            yield XMP, body, False


def _avif_without(data: bytes, _metadata: Metadata) -> bytes:
    """The file without metadata; how it is turned is said beside the pixels, too."""
    plain, boxes = bytearray(data), _iso_boxes(data)
    for _, pieces in _iso_items(data, boxes):
        for place in (place for piece in pieces for place in (piece.field, piece.place)):
            plain[place] = bytes(place.stop - place.start)
    for box in boxes:
        if box.kind in ISO_EXTRAS:
            plain[box.start + 4 : box.start + 8] = b"free"
            plain[box.body : box.end] = bytes(box.end - box.body)
        elif box.kind in ISO_CLOCKS:
            size = 16 if data[box.body] else 8  # when it was made and changed: 8 bytes each in version 1, else 4
            if box.end - box.body < 20:
                raise Broken
            plain[box.body + 4 : box.body + 4 + size] = bytes(size)
    return bytes(plain)


def _iso_boxes(data: bytes) -> list[_Box]:
    """All boxes, those in ISO_PARENTS followed by what is in them."""
    boxes, todo = list[_Box](), [(0, len(data))]
    while todo:
        for box in _boxes_between(data, *todo.pop()):
            boxes.append(box)
            if box.kind in ISO_PARENTS:
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
            pieces.append(_Piece(slice(field, field + length_size), slice(start, start + length)))
        yield item, pieces


def _iso_number(file: io.BytesIO, width: int, at: int | None = None) -> int:
    """The next `width` bytes, or those `at` a place, as a number; Broken where there are not so many."""
    file.seek(file.tell() if at is None else at)
    data = file.read(width)
    if len(data) < width:
        raise Broken
    return int.from_bytes(data)


# --- WebM and MP4, MKV and MOV: `av` copies the streams into a new file -----------------------------------------------

WEBM = b"\x1a\x45\xdf\xa3"
CUT = 0.1  # seconds by which the frames may end before the header says
FILM_KEYWORDS = {"comment": "parameters", "xmp": XMP}  # by the name of a tag


def _film_extras(data: bytes) -> Iterator[Extra]:
    with _film(data) as film:
        for name, text in film.metadata.items():
            yield FILM_KEYWORDS.get(name.lower(), name.lower()), text.encode(errors="replace"), False


def _film_with(data: bytes, metadata: Metadata) -> bytes:
    """Pictures and sound alone, without chapters, attached files and dates; Broken where the end is missing."""
    import av
    from av.stream import Disposition

    file, kind, end = io.BytesIO(), _film_kind(data), 0.0
    tags = {"comment": metadata.texts.get("parameters"), "studio": metadata.texts.get("studio")}
    options = {"fflags": "+bitexact"}
    if kind in ("mp4", "mov"):
        options["movflags"] = "use_metadata_tags"  # of any name
    else:
        tags["xmp"] = metadata.xmp.decode()
    with _film(data) as film, av.open(file, "w", format=kind, container_options=options) as copy:
        copy.metadata.update({name: text for name, text in tags.items() if text})
        streams = {}
        for stream in (*film.streams.video, *film.streams.audio):
            if not stream.disposition & Disposition.attached_pic:
                streams[stream.index] = copied = copy.add_stream_from_template(stream, opaque=True)
                if language := stream.metadata.get("language"):
                    copied.metadata["language"] = language
                if stream in film.streams.video and stream.average_rate:  # else the last frame has no duration
                    copied.codec_context.framerate = stream.average_rate
                if stream.metadata.get("alpha_mode") == "1":  # else the copy does not say that it has transparency
                    copied.codec_context.pix_fmt = "yuva420p"
        for packet in film.demux():
            if packet.pts is None:
                continue
            end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))  # also of subtitles
            if packet.stream.index in streams:
                packet.stream = streams[packet.stream.index]
                copy.mux(packet)
        if not end or end + CUT < (film.duration or 0) / av.time_base:
            raise Broken
    if metadata.xmp and "movflags" in options:  # as a box behind the end (XMP specification, part 3, 1.1.6)
        file.seek(0, io.SEEK_END)
        file.write(struct.pack(">I4s", 24 + len(metadata.xmp), b"uuid") + XMP_UUID + metadata.xmp)
    return file.getvalue()


def _film_kind(data: bytes) -> str:
    """FFmpeg's name of the format."""
    if data.startswith(WEBM):
        return "webm" if b"webm" in data[:64] else "matroska"
    return "mov" if data[8:12] == b"qt  " else "mp4"


@contextmanager
def _film(data: bytes) -> Iterator[Any]:
    """The file, opened as what it begins like; FFmpeg guesses no format. Broken where it can't be read."""
    import av  # a twentieth of a second, which only films need

    kind = "matroska" if data.startswith(WEBM) else "mov"
    try:
        with av.open(io.BytesIO(data), format=kind, options={"export_xmp": "1"}, metadata_errors="replace") as film:
            yield film
    except (av.FFmpegError, ValueError) as error:
        raise error if isinstance(error, Broken) else Broken from error


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
    "AVIF", "image/avif", ".avif", partial(_is_of, AVIF_BRANDS), _avif_extras, _avif_without, still=AVIF_OPTIONS
)
MP4_ROW = Container("MP4", "video/mp4", ".mp4", partial(_is_of, MP4_BRANDS), _film_extras, _film_with, keywords=True)
WEBM_ROW = Container(
    "WebM", "video/webm", ".webm", lambda data: data.startswith(WEBM), _film_extras, _film_with, keywords=True
)
# By media type. AVIF before MP4: some AVIFs are of MP4's brands, too.
CONTAINERS = {
    row.media_type: row for row in (PNG_ROW, WEBP_ROW, JPEG_ROW, GIF_ROW, AVIF_ROW, WEBM_ROW, MP4_ROW, TEXT_ROW)
}


def orientation(container: Container, data: bytes) -> int:
    """How a file's EXIF says that it is turned, 1 to 8."""
    return exif_orientation(next((body for name, body, _ in container.extras(data) if name == EXIF), b""))


def stripped(container: Container, data: bytes) -> bytes:
    """The file without metadata but its orientation."""
    return container.with_metadata(data, Metadata(exif_block(turned=orientation(container, data))))


def bare(data: bytes, name: object) -> bytes:
    """A file as it is given to Pillow: a picture with EXIF or MPF is stripped first, for Pillow copies each value of
    their directories when it opens a file, also those that lie in the same place. Refused, by this `name`, where it is
    damaged.
    """
    container = next((row for row in CONTAINERS.values() if row.still is not None and row.begins(data)), None)
    try:
        if container and any(keyword in (EXIF, MPF) for keyword, _, _ in container.extras(data)):
            return stripped(container, data)
    except Broken as broken:
        raise Refused(broken.message(name)) from broken
    return data
