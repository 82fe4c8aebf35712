"""Two blocks that most formats have room for: EXIF, where A1111 keeps its text, and XMP, where our record lies beside
IPTC's mark for pictures that were made by a model.
"""

import re
import struct
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from models.references.credits import Credit, lines
from studio.metadata.containers import EXIF_HEADER, LIMIT, Broken, decoded

# The few EXIF tags in which programs keep settings. Only they are read: a directory of 65,535 tags that all point at
# the same megabyte fills the memory of a reader that takes everything.
DESCRIPTION, MAKE, MODEL, ORIENTATION, DETAILS, COMMENT = 0x010E, 0x010F, 0x0110, 0x0112, 0x8769, 0x9286
WANTED = (DESCRIPTION, MAKE, MODEL, ORIENTATION, DETAILS, COMMENT)
WIDTHS = {1: 1, 2: 1, 3: 2, 4: 4, 7: 1, 129: 1}  # bytes of a value, by type; 129 is UTF-8
UNICODE = b"UNICODE\0"

NAMESPACE = "urn:x-studio128:settings/"
# Beside our settings it has IPTC's term for pictures made wholly by a trained model
# (cv.iptc.org/newscodes/digitalsourcetype).
PACKET = Path(__file__).with_name("packet.xmp").read_text(encoding="utf-8").strip("\n")
NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")


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
    details = struct.pack(">HHHIII", 1, COMMENT, 7, len(comment), at + 18, 0)
    return struct.pack(">2sHIH", b"MM", 42, 8, count) + first + bytes(4) + details + comment


def exif_orientation(block: bytes) -> int:
    """How the picture is turned, 1 to 8; 1 where it does not say."""
    order, tags = _tags(block)
    value = tags.get(ORIENTATION, b"")
    turned = struct.unpack(order + "H", value[:2])[0] if len(value) >= 2 else 1
    return turned if 1 <= turned <= 8 else 1


def exif_texts(block: bytes) -> dict[str, str]:
    """`parameters` from UserComment (A1111, SwarmUI, Fooocus), and `prompt` from where ComfyUI puts it: camera tags."""
    _, tags = _tags(block)
    found = {}
    for tag in (MODEL, MAKE, DESCRIPTION):
        keyword, colon, text = decoded(tags.get(tag, b"")).rstrip("\0").partition(":")
        if colon and keyword == "prompt":
            found[keyword] = text
    if COMMENT in tags:
        found["parameters"] = _comment(tags[COMMENT])
    return found


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
        looks = (said for said in (big, little) if "Steps: " in said or said.lstrip().startswith("{"))
        return next(looks, big).rstrip("\0")
    return decoded(rest if code in (b"ASCII\0\0\0", bytes(8)) else value).rstrip("\0")


class _NoDoctype(ElementTree.TreeBuilder):
    """A document type is where entities come from, which grow without end or fetch files: no writer of XMP has one."""

    def doctype(self, *_: object) -> None:
        raise Broken("metadata.doctype")


def xmp_packet(settings: str = "", credits: Sequence[Credit] = ()) -> str:
    """A packet with the mark and, where there are any, settings as JSON, and whom the picture is owed to: what to print
    beside it in `dc:rights`, the makers in IPTC's credit line (`dc:creator` would say that they made this picture).

    https://iptc.org/std/photometadata/specification/IPTC-PhotoMetadata
    """
    parts = f"<studio:settings>{_safe(settings)}</studio:settings>" if settings else ""
    if credits:
        told, makers = _safe(lines(credits)), dict.fromkeys(f"{one.maker} ({one.set})".strip() for one in credits)
        parts += f'<dc:rights><rdf:Alt><rdf:li xml:lang="x-default">{told}</rdf:li></rdf:Alt></dc:rights>'
        parts += f"<photoshop:Credit>{_safe(', '.join(makers))}</photoshop:Credit>"
    return PACKET.format(said=parts)


def _safe(text: str) -> str:
    return escape(NOT_XML.sub(lambda match: f"\\u{ord(match[0]):04x}", text))


def xmp_settings(packet: bytes) -> str:
    """Our settings in a packet, else nothing. Raises Broken for a document type, and for more than is looked at."""
    if NAMESPACE.encode() not in packet:
        return ""
    if len(packet) > LIMIT:
        raise Broken("metadata.too_much")
    try:
        parser = ElementTree.XMLParser(target=_NoDoctype(), encoding="utf-8")
        return ElementTree.fromstring(packet, parser).findtext(f".//{{{NAMESPACE}}}settings") or ""
    except ElementTree.ParseError:
        return ""
