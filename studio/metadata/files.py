"""Files that say where they come from: written, read and stripped, whatever is in them.

`write`, `read_bytes` and `strip` take the bytes of a file of any of CONTAINERS and do not decode them; `read` and
`stripped` take a path, `encoded` takes pictures. PNG, WebM and MP4 hold A1111's text and our record as texts by
keyword; WebP, AVIF, JPEG and GIF hold the text as EXIF UserComment (GIF: as comment), as A1111 writes it, and the
record as a property of the XMP packet. A text file ends in an empty line and `studio: RECORD`. Pictures and films hold
IPTC's mark for what a model made.

Metadata is untrusted: sizes are limited, nothing in it is run or fetched, and it is only ever shown as text.
"""

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from PIL import Image

from models.data.pixels import MAX_BYTES
from models.messages import Message, Refused, did_you_mean
from models.references.credits import Credit, lines
from studio.media import on_ground, saved
from studio.metadata import containers
from studio.metadata.containers import (
    AVIF_ROW,
    CONTAINERS,
    EXIF,
    LIMIT,
    TEXT_ROW,
    XMP,
    Broken,
    Container,
    Metadata,
    decoded,
    exif_block,
    exif_texts,
    orientation,
    unpacked,
)
from studio.metadata.origin import KEYWORDS, OWN, Provenance, parse_record, read_texts

# The kinds of picture files that the studio writes, by the names that people use.
KINDS = {one.media_type.removeprefix("image/"): one for one in CONTAINERS.values() if one.still is not None}

NAMESPACE = "urn:x-studio128:settings/"
# Beside our settings it has IPTC's term for pictures made wholly by a trained model
# (cv.iptc.org/newscodes/digitalsourcetype).
PACKET = Path(__file__).with_name("packet.xmp").read_text(encoding="utf-8").strip("\n")
NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")


@dataclass
class Texts:
    """The texts in a file by keyword; `problem` says why there may be more."""

    texts: dict[str, str] = field(default_factory=dict)
    problem: Message | None = None


# --- Bytes ------------------------------------------------------------------------------------------------------------


def write(data: bytes, media_type: str, says: Provenance) -> bytes:
    """The file with this metadata in place of all that it had; pixels and frames stay as they are.

    ValueError where `data` is no file of that media type, and for AVIF, which `encoded` writes whole; Refused where it
    is damaged or has too little room (JPEG).
    """
    container = CONTAINERS.get(media_type)
    if container is None or container is AVIF_ROW or not (container is TEXT_ROW or container.begins(data)):
        raise ValueError(f"this is no {media_type} file that metadata can be written into")
    try:
        return container.with_metadata(data, _metadata(says, container, orientation(container, data)))
    except Broken as broken:
        raise Refused(broken.message(media_type)) from broken


def read_bytes(data: bytes, name: Path | str) -> dict[str, Any]:
    """The settings in a file, as `read_texts` returns them; `{}` without any.

    Of a file that is cut short, what comes before the cut. Refused, by this `name`, where it is of no known container
    or may say something that can't be read.
    """
    metadata = texts(data, name)
    settings = read_texts(metadata.texts)
    if not settings and metadata.problem:
        raise Refused(metadata.problem)
    return settings


def texts(data: bytes, name: Path | str) -> Texts:
    """The texts in a file's bytes by keyword: those that programs use, those in EXIF and XMP. Refused, by this `name`,
    where it is of no known container.
    """
    container, bodies, result = _container(name, data), dict[str, bytes](), Texts()
    wanted = KEYWORDS | {EXIF, XMP}
    try:
        for keyword, body, deflated in container.extras(data):
            if keyword in wanted and keyword not in bodies:
                bodies[keyword] = b""  # also where it can't be unpacked: each keyword is unpacked once
                try:
                    bodies[keyword] = body if keyword in (EXIF, XMP) else unpacked(body, deflated)
                    result.texts |= {} if keyword in (EXIF, XMP) else {keyword: decoded(bodies[keyword])}
                except Broken as broken:
                    result.problem = broken.message(name)
    except Broken as broken:
        result.problem = broken.message(name)
    result.texts |= exif_texts(bodies.get(EXIF, b""))
    try:
        result.texts.setdefault(OWN, xmp_settings(bodies.get(XMP, b"")))
    except Broken as broken:
        result.problem = result.problem or broken.message(name)
    return result


def strip(data: bytes, name: Path | str) -> bytes:
    """The file without metadata; pixels, colour profile, frames and orientation stay as they are.
    Refused, by this `name`, where it is no whole file.
    """
    container = _container(name, data)
    try:
        return containers.stripped(container, data)
    except Broken as broken:
        raise Refused(broken.message(name)) from broken


def media_type(data: bytes, name: Path | str) -> str:
    """The media type of a file's bytes; Refused, by this `name`, where it is of no known container."""
    return _container(name, data).media_type


# --- Files ------------------------------------------------------------------------------------------------------------


def read(path: Path) -> dict[str, Any]:
    """The settings in a file, as `read_bytes` returns them. Nothing is written."""
    return read_bytes(content(path), path)


def stripped(path: Path) -> bytes:
    """The file's bytes without metadata, as `strip` returns them."""
    return strip(content(path), path)


def provenance_in(path: Path) -> Provenance | None:
    """The provenance in a file of ours, for another file of the same content; None in files of others."""
    by_keyword = texts(content(path), path).texts
    if not (record := parse_record(by_keyword.get(OWN, ""))):
        return None
    return Provenance(by_keyword.get("parameters", ""), by_keyword[OWN], credits=credits_of_record(record))


def credits_in(file: Path | bytes) -> tuple[Credit, ...]:
    """The credits in a file; () where it can't be read."""
    with contextlib.suppress(Refused):
        data = file if isinstance(file, bytes) else content(file)
        return credits_of_record(read_bytes(data, "" if isinstance(file, bytes) else file))
    return ()


def credits_of_record(record: dict[str, Any]) -> tuple[Credit, ...]:
    """The credits in a file's settings (from `read`)."""
    return tuple(Credit(**one) for one in record.get("credits", ()))


def content(path: Path) -> bytes:
    """A file's bytes, once, so that nothing can change between two looks. Refused with the reason."""
    try:
        if not path.is_file():
            kind = "a_folder" if path.is_dir() else "no_file" if path.exists() else "missing"
            raise Refused(f"metadata.is_{kind}", file=str(path))
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Refused("metadata.unreadable", file=str(path), why=error.strerror or str(error)) from error
    if len(data) > MAX_BYTES:
        raise Refused("metadata.too_large", file=str(path), most=MAX_BYTES >> 20)
    return data


# --- Pictures ---------------------------------------------------------------------------------------------------------


def encoded(picture: Image.Image, says: Provenance | None, kind: str, **options: Any) -> bytes:
    """A still picture as a file of one of KINDS.

    PNG and WebP keep every pixel, AVIF is nearly exact. JPEG has no transparency: there the picture stands on white.
    Without `says` the file is plain. `options` are Pillow's for the format, in place of ours. Refused for an
    unknown kind, and for settings too long for JPEG (64 KB).
    """
    if kind not in KINDS:
        raise Refused("metadata.unknown_kind", kind=kind, hint=did_you_mean(kind, KINDS), kinds=list(KINDS))
    container = KINDS[kind]
    native = container is AVIF_ROW  # Pillow writes its EXIF and XMP as items beside the pictures
    if says and native:
        metadata = _metadata(says, container)
        options = {**options, "exif": metadata.exif, "xmp": metadata.xmp}
    if kind == "jpeg":
        picture = on_ground(picture)
    try:
        data = saved(picture, container.name, **{**(container.still or {}), **options})
    except KeyError as error:  # a Pillow that was built without it
        raise Refused("metadata.no_writer", kind=kind) from error
    return write(data, container.media_type, says) if says and not native else data


def _metadata(says: Provenance, container: Container, turned: int = 1) -> Metadata:
    """The metadata for a container: texts where it has keywords, else EXIF and XMP."""
    exif = exif_block("" if container.keywords else says.parameters, turned)
    xmp = xmp_packet("" if container.keywords else says.record, says.credits).encode()
    return Metadata(exif, xmp, {"parameters": says.parameters, says.keyword: says.record})


def _container(name: Path | str, data: bytes) -> Container:
    for container in CONTAINERS.values():
        if container.begins(data):
            return container
    formats = [container.name for container in CONTAINERS.values() if container is not TEXT_ROW]
    raise Refused("metadata.not_a_picture", file=str(name), formats=formats)


# --- XMP --------------------------------------------------------------------------------------------------------------


class _NoDoctype(ElementTree.TreeBuilder):
    """A document type is where entities come from, which grow without end or fetch files: no writer of XMP has one."""

    def doctype(self, *_: object) -> None:
        raise Broken("metadata.doctype")


def xmp_packet(settings: str = "", credits: Sequence[Credit] = ()) -> str:
    """A packet with IPTC's mark, settings as JSON and credits: the text to print beside the picture in `dc:rights`, the
    makers in IPTC's credit line (`dc:creator` would say that they made this picture).

    https://iptc.org/std/photometadata/specification/IPTC-PhotoMetadata
    """
    parts = f"<studio:settings>{_safe(settings)}</studio:settings>" if settings else ""
    if credits:
        makers = dict.fromkeys(f"{one.maker} ({one.set})".strip() for one in credits)
        rights = f'<rdf:li xml:lang="x-default">{_safe(lines(credits))}</rdf:li>'
        parts += f"<dc:rights><rdf:Alt>{rights}</rdf:Alt></dc:rights>"
        parts += f"<photoshop:Credit>{_safe(', '.join(makers))}</photoshop:Credit>"
    return PACKET.format(content=parts)


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
