"""The few EXIF tags in which programs keep settings. Only they are read: a directory of 65,535 tags that all point at
the same megabyte fills the memory of a reader that takes everything.
"""

import struct

from studio.metadata.raw import LIMIT, decoded

HEADER = b"Exif\0\0"
DESCRIPTION, MAKE, MODEL, ORIENTATION, DETAILS, COMMENT = 0x010E, 0x010F, 0x0110, 0x0112, 0x8769, 0x9286
WANTED = (DESCRIPTION, MAKE, MODEL, ORIENTATION, DETAILS, COMMENT)
WIDTHS = {1: 1, 2: 1, 3: 2, 4: 4, 7: 1, 129: 1}  # bytes of a value, by type; 129 is UTF-8
UNICODE = b"UNICODE\0"


def with_comment(text: str) -> bytes:
    """A TIFF block with `text` as UserComment, in the encoding that A1111 writes and reads.

    By hand, for Pillow marks it as bytes instead of undefined, and then A1111's reader falls over it.
    """
    comment = UNICODE + text.encode("utf-16-be", "replace")
    head = struct.pack(">2sHI", b"MM", 42, 8)
    first = struct.pack(">HHHIII", 1, DETAILS, 4, 1, 26, 0)
    details = struct.pack(">HHHIII", 1, COMMENT, 7, len(comment), 44, 0)
    return head + first + details + comment


def only_orientation(turned: int) -> bytes:
    """A TIFF block that says nothing but how the picture is turned (1 to 8)."""
    return struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, ORIENTATION, 3, 1, turned, 0, 0)


def orientation(block: bytes) -> int:
    """How the picture is turned, 1 to 8; 1 where it does not say."""
    order, tags = _tags(block)
    value = tags.get(ORIENTATION, b"")
    turned = struct.unpack(order + "H", value[:2])[0] if len(value) >= 2 else 1
    return turned if 1 <= turned <= 8 else 1


def texts(block: bytes) -> dict[str, str]:
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
    tiff = block.removeprefix(HEADER)
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
    """A UserComment: eight bytes that name the encoding, then the text; some programs leave the eight out."""
    code, rest = value[:8], value[8:]
    if code == UNICODE:
        return _utf16(rest).rstrip("\0")
    if code in (b"ASCII\0\0\0", bytes(8)):
        value = rest
    return decoded(value).rstrip("\0")


def _utf16(text: bytes) -> str:
    """The byte order is not said. A1111 writes the big end first; others are known by what settings look like."""
    big, little = (text.decode(f"utf-16-{order}", "replace") for order in ("be", "le"))
    looks = [said for said in (big, little) if "Steps: " in said or said.lstrip().startswith("{")]
    return looks[0] if looks else big
