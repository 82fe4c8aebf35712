"""File containers, piece by piece: what lies in a file beside its content, and the same file with other metadata in it.

Nothing is decoded: pixels, frames, durations, loop count, colour profile and resolution stay as they are, byte for
byte. One row of CONTAINERS a container.

Pillow is not used to read metadata. When it opens a JPEG or an AVIF it reads EXIF directories without a bound (a
thousand tags that point at the same megabyte take a gigabyte), it takes UTF-8 in a PNG's tEXt for Latin-1, and one
text that is too long makes it give up the whole file.
"""

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import Any

from models.messages import Refused
from studio.media import riff_chunk
from studio.metadata.leaks import LIMIT, Broken, in_pieces, plain_chunk, plain_profile, to_the_end

EXIF, XMP = "exif", "xmp"  # names of extras beside the keywords of texts
EXIF_HEADER = b"Exif\0\0"

Extra = tuple[str, bytes, bool]  # EXIF, XMP or a text's keyword; its bytes; whether they are deflated


@dataclass(frozen=True)
class Metadata:
    """What to put into a file, as far as it has room: EXIF (a TIFF block), XMP (a packet), texts by keyword."""

    exif: bytes = b""
    xmp: bytes = b""
    texts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Container:
    """A file format. `extras` yields what lies beside the content, `with_metadata` is the file with nothing beside its
    content but what is given; both raise Broken. `keywords`: whether it holds texts by keyword, and needs no EXIF.
    `name` is Pillow's, `still` are its options for one picture, None where we make none.
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
PNG_KEPT = frozenset(
    b"IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB iCCP sBIT bKGD pHYs hIST cICP mDCV cLLI acTL fcTL fdAT".split()
)
PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"comf")  # ComfyUI's animations have a chunk of their own, built like tEXt
PIXELS = {b"IDAT": 0, b"fdAT": 4}  # with how many bytes of the chunk stand before them
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
    head, *rest = _png_kept([(kind, whole) for kind, whole in png_chunks(data) if kind in PNG_KEPT])
    texts = metadata.texts | ({PNG_XMP: metadata.xmp.decode()} if metadata.xmp else {})
    added = [png_chunk(b"iTXt", key.encode() + bytes(5) + text.encode()) for key, text in texts.items()]
    added += [png_chunk(b"eXIf", metadata.exif)] if metadata.exif else []
    return b"".join([PNG, head, *added, *rest])


def _png_kept(chunks: list[tuple[bytes, bytes]]) -> Iterator[bytes]:
    """The chunks without words in the profile, and without bytes behind the end of each frame's pixels."""
    for _, group in groupby(enumerate(chunks), lambda one: one[1][0] if one[1][0] in PIXELS else one[0]):
        kind, wholes = (found := [chunk for _, chunk in group])[0][0], [whole for _, whole in found]
        if kind in PIXELS:
            ahead = PIXELS[kind]
            ends = to_the_end(whole[8 + ahead : -4] for whole in wholes)
            bodies = [(whole[8 : 8 + ahead], end) for whole, end in zip(wholes, ends, strict=True)]
            yield from (png_chunk(kind, number + body) for number, body in bodies if body or kind == b"fdAT")
        else:
            yield png_chunk(kind, plain_chunk(wholes[0][8:-4])) if kind == b"iCCP" else wholes[0]


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

WEBP_KEPT = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP")
WEBP_EXTRAS = {b"EXIF": EXIF, b"XMP ": XMP}
FRAME_HEADER = 16  # bytes of an ANMF before its own chunks
HAS_EXIF, HAS_XMP, HAS_ALPHA = 0x08, 0x04, 0x10  # bits of VP8X


def _webp_extras(data: bytes) -> Iterator[Extra]:
    for kind, body in _riff_chunks(_riff_content(data)):
        if kind in WEBP_EXTRAS:
            yield WEBP_EXTRAS[kind], body, False


def _webp_with(data: bytes, metadata: Metadata) -> bytes:
    chunks = [(kind, body) for kind, body in _riff_chunks(_riff_content(data)) if kind in WEBP_KEPT]
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
    if kind == b"ICCP":
        return plain_profile(body)
    if kind == b"ANMF":
        inside = (riff_chunk(kind, part) for kind, part in _riff_chunks(body[FRAME_HEADER:]) if kind in WEBP_KEPT)
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
JPEG_KEPT = {JFIF: b"JFIF\0", COLOUR: b"ICC_PROFILE\0", ADOBE: b"Adobe"}
BARE = frozenset((0x01, *range(0xD0, 0xD8)))  # markers without a length
AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
ICC_AHEAD = 18  # bytes of a segment before its part of the profile: marker, length, name, number, count
SEGMENT = 0xFFFF  # bytes of a segment at most


def _jpeg_extras(data: bytes) -> Iterator[Extra]:
    for marker, whole in _jpeg_segments(data):
        for name, head in ((EXIF, EXIF_HEADER), (XMP, JPEG_XMP)):
            if marker == APP1 and whole.startswith(head, 4):
                yield name, whole[4 + len(head) :], False


def _jpeg_with(data: bytes, metadata: Metadata) -> bytes:
    kept = [(marker, whole) for marker, whole in _jpeg_segments(data) if _jpeg_is_kept(marker, whole[4:])]
    bodies = [head + body for head, body in ((EXIF_HEADER, metadata.exif), (JPEG_XMP, metadata.xmp)) if body]
    if any(len(body) + 2 > SEGMENT for body in bodies):
        raise Refused("metadata.too_long", kind="jpeg")
    added = [struct.pack(">BBH", 0xFF, APP1, len(body) + 2) + body for body in bodies]
    profiles = iter(in_pieces([whole[ICC_AHEAD:] for marker, whole in kept if marker == COLOUR], plain_profile))
    segments = [whole[:ICC_AHEAD] + next(profiles) if marker == COLOUR else whole for marker, whole in kept]
    after = 1 if kept and kept[0][0] == JFIF else 0  # JFIF wants to be the first
    return b"".join([JPEG, *segments[:after], *added, *segments[after:]])


def _jpeg_is_kept(marker: int, body: bytes) -> bool:
    if marker in JPEG_KEPT:
        return body.startswith(JPEG_KEPT[marker])
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
GIF_KEPT = (b"NETSCAPE2.0", b"ANIMEXTS1.0", b"ICCRGBG1012")  # how often it plays, and its colours
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
    return (GIFS[1] + head[6:] if added else head) + added + b"".join(map(_gif_plain, filter(_gif_is_kept, blocks)))


def gif_frames(data: bytes, most: int) -> int:
    """How many frames a GIF holds, counted to one more than `most`; Pillow would decode it. Broken if damaged."""
    blocks = islice(gif_blocks(data), 1, None)
    return sum(1 for _ in islice((block for block in blocks if block[0] == IMAGE), most + 1))


def _gif_is_kept(block: bytes) -> bool:
    if block[0] != EXTENSION or block[1] not in (COMMENT, APPLICATION):
        return True
    return block[1] == APPLICATION and block[3:14] in GIF_KEPT


def _gif_plain(block: bytes) -> bytes:
    """A block as it is, but for the words in a profile."""
    if block[3:14] != GIF_KEPT[2]:
        return block
    pieces, at = list[bytes](), 14
    while block[at]:
        pieces.append(block[at + 1 : at + 1 + block[at]])
        at += 1 + block[at]
    plain = in_pieces(pieces, plain_profile)
    return block[:14] + b"".join(bytes([len(one)]) + one for one in plain) + b"\0"


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
PICTURE_ROWS = (PNG_ROW, WEBP_ROW, JPEG_ROW, GIF_ROW)  # AVIF has a file of its own; `files` has the whole table
TEXT_ROW = Container(
    "text", "text/plain", ".txt", lambda data: bool(_text_split(data)[1]),
    lambda data: iter([("studio", _text_split(data)[1], False)]), _text_with, keywords=True,
)  # fmt: skip
