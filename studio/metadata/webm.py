"""WebM: elements within elements, each a number, a length and a body (RFC 8794; Matroska's are in RFC 9559).

Nothing is moved: what is taken off becomes a `Void` of the same length, and tags are added behind the segment's end.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from studio.metadata.containers import XMP, Broken, Container, Extra, Metadata

MAGIC = b"\x1a\x45\xdf\xa3"
SEGMENT, INFO, TAGS, TAG, SIMPLE_TAG, NAME, TEXT = 0x18538067, 0x1549A966, 0x1254C367, 0x7373, 0x67C8, 0x45A3, 0x4487
VOID = 0xEC
EXTRAS = (TAGS, VOID, 0x1941A469, 0x1043A770)  # the last two are attached files and chapters
INFO_EXTRAS = (0x7BA9, 0x4461, 0x73A4, 0xBF)  # title, date, the file's random number, the checksum of what stood there
COMMENT, RECORD = "COMMENT", "STUDIO"  # names of tags; XMP has one, too
KEYWORDS = {COMMENT: "parameters", "XMP": XMP}
WIDE = 8  # bytes of a length at most
MOST = 2**16  # elements that are looked at in one


@dataclass(frozen=True)
class _Element:
    kind: int
    start: int
    body: int
    end: int


def _extras(data: bytes) -> Iterator[Extra]:
    for tags in _elements(data, _segment(data), TAGS):
        for tag in _elements(data, tags, TAG):
            for simple in _elements(data, tag, SIMPLE_TAG):
                parts = {one.kind: data[one.body : one.end] for one in _elements(data, simple)}
                name = parts.get(NAME, b"").decode(errors="replace")
                yield KEYWORDS.get(name, name.lower()), parts.get(TEXT, b""), False


def _with_metadata(data: bytes, metadata: Metadata) -> bytes:
    segment = _segment(data)
    kept = list(_elements(data, segment))
    while kept and kept[-1].kind in EXTRAS:
        kept.pop()
    file = bytearray(data[: kept[-1].end if kept else segment.body])
    gone = [one for one in kept if one.kind in EXTRAS]
    gone += [one for info in kept if info.kind == INFO for one in _elements(data, info) if one.kind in INFO_EXTRAS]
    for one in gone:
        file[one.start : one.end] = _void(one.end - one.start)
    file += _tags(metadata)
    length = slice(segment.start + 4, segment.body)
    file[length] = _length(len(file) - segment.body, length.stop - length.start)
    return bytes(file)


def _tags(metadata: Metadata) -> bytes:
    texts = {COMMENT: metadata.texts.get("parameters"), RECORD: metadata.texts.get("studio")}
    said = {name: text.encode() for name, text in texts.items() if text} | (
        {XMP.upper(): metadata.xmp} if metadata.xmp else {}
    )
    tags = [_element(SIMPLE_TAG, _element(NAME, name.encode()) + _element(TEXT, text)) for name, text in said.items()]
    return _element(TAGS, _element(TAG, b"".join(tags))) if tags else b""


def _element(kind: int, body: bytes) -> bytes:
    return kind.to_bytes(-(-kind.bit_length() // 8)) + _length(len(body), WIDE) + body


def _void(size: int) -> bytes:
    """An element of so many bytes that holds nothing."""
    return _element(VOID, bytes(size - 9)) if size >= 9 else bytes([VOID, 0x80 | size - 2]) + bytes(size - 2)


def _length(size: int, width: int) -> bytes:
    """A length in so many bytes; what they can't hold is "up to the end", all ones."""
    return (min(size, (1 << 7 * width) - 1) | 1 << 7 * width).to_bytes(width)


def _segment(data: bytes) -> _Element:
    for element in _elements(data, _Element(0, 0, 0, len(data)), SEGMENT):
        return element
    raise Broken


def _elements(data: bytes, parent: _Element, kind: int | None = None) -> Iterator[_Element]:
    """What lies in an element, those of a kind or all."""
    at, left = parent.body, MOST
    while at < parent.end:
        left -= 1
        found, size_at, _ = _number(data, at, parent.end)
        size, body, unknown = _number(data, size_at, parent.end)
        width = body - size_at
        end = parent.end if unknown else body + (size ^ 1 << 7 * width)
        if end > parent.end or not left:
            raise Broken
        if kind in (None, found):
            yield _Element(found, at, body, end)
        at = end


def _number(data: bytes, at: int, end: int) -> tuple[int, int, bool]:
    """A number of 1 to 8 bytes with the bit that says how many, where it ends, and whether all others are ones."""
    width = WIDE + 1 - data[at].bit_length() if at < end else WIDE + 1
    if at + width > end or width > WIDE:
        raise Broken
    value = int.from_bytes(data[at : at + width])
    return value, at + width, value == (2 << 7 * width) - 1


WEBM_ROW = Container(
    "WebM", "video/webm", ".webm", lambda data: data.startswith(MAGIC), _extras, _with_metadata, keywords=True
)
