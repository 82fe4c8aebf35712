"""Files that say where they come from: written, read and stripped, whatever is in them.

`write`, `read_bytes` and `strip` take the bytes of a file of any of CONTAINERS and do not decode them; `read` and
`stripped` take a path, `encoded` takes pictures. PNG holds A1111's text and our record as text chunks; WebP, AVIF, JPEG
and GIF hold the text as EXIF UserComment (GIF: as comment), as A1111 writes it, and the record as a property of the XMP
packet. A text file ends in an empty line and `studio: RECORD`. Pictures hold IPTC's mark for what a model made.

What a file says is untrusted: sizes are limited, nothing in it is run or fetched, and it is only ever shown as text.
"""

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from models.data.pixels import MAX_BYTES
from models.messages import Message, Refused, did_you_mean
from models.references.credits import Credit
from studio.media import on_ground, saved
from studio.metadata.boxes import AVIF_ROW, MP4_ROW
from studio.metadata.containers import EXIF, PICTURE_ROWS, TEXT_ROW, XMP, Broken, Container, Metadata, decoded, unpacked
from studio.metadata.exif_xmp import exif_block, exif_orientation, exif_texts, xmp_packet, xmp_settings
from studio.metadata.origin import OWN, Provenance
from studio.metadata.readers import KEYWORDS, own, read_texts
from studio.metadata.webm import WEBM_ROW

CONTAINERS = (*PICTURE_ROWS, AVIF_ROW, WEBM_ROW, MP4_ROW, TEXT_ROW)  # some AVIFs are of MP4's brands, too
# The kinds of picture files that are made here, by the names that people use.
KINDS = {one.media_type.removeprefix("image/"): one for one in CONTAINERS if one.still is not None}


@dataclass
class Texts:
    """The texts in a file by keyword; `problem` says why there may be more."""

    texts: dict[str, str] = field(default_factory=dict)
    problem: Message | None = None


# --- Bytes ------------------------------------------------------------------------------------------------------------


def write(data: bytes, media_type: str, says: Provenance) -> bytes:
    """The file with what it is to say of itself, in place of all that it said before. Its content keeps its bytes.

    ValueError where `data` is no file of that media type; Refused where it is damaged or has too little room (JPEG).
    """
    container = next((one for one in CONTAINERS if one.media_type == media_type), None)
    if container is None or not (container is TEXT_ROW or container.begins(data)):
        raise ValueError(f"this is no {media_type} file that metadata can be written into")
    try:
        return container.with_metadata(data, _metadata(says, container, _orientation(container, data)))
    except Broken as broken:
        raise Refused(broken.message(media_type)) from broken


def read_bytes(data: bytes, name: Path | str) -> dict[str, Any]:
    """What a file says about itself, as `readers.read_texts` has it; `{}` where it says nothing.

    Of a file that is cut short, what comes before the cut. Refused, by this `name`, where it is of no known container
    or may say something that can't be read.
    """
    found = texts(data, name)
    settings = read_texts(found.texts)
    if not settings and found.problem:
        raise Refused(found.problem)
    return settings


def texts(data: bytes, name: Path | str, more: frozenset[str] = frozenset()) -> Texts:
    """The texts in a file's bytes by keyword: those that programs use, those of `more`, those in EXIF and XMP. Refused,
    by this `name`, where it is of no known container.
    """
    container, found, result = _container(name, data), dict[str, bytes](), Texts()
    wanted = KEYWORDS | more | {EXIF, XMP}
    try:
        for keyword, body, deflated in container.extras(data):
            if keyword in wanted and keyword not in found:
                found[keyword] = b""  # also where it can't be unpacked: each keyword is unpacked once
                try:
                    found[keyword] = body if keyword in (EXIF, XMP) else unpacked(body, deflated)
                    result.texts |= {} if keyword in (EXIF, XMP) else {keyword: decoded(found[keyword])}
                except Broken as broken:
                    result.problem = broken.message(name)
    except Broken as broken:
        result.problem = broken.message(name)
    result.texts |= exif_texts(found.get(EXIF, b""))
    try:
        result.texts.setdefault(OWN, xmp_settings(found.get(XMP, b"")))
    except Broken as broken:
        result.problem = result.problem or broken.message(name)
    return result


def strip(data: bytes, name: Path | str) -> bytes:
    """The file without all that it says about itself; pixels, colour profile, frames and orientation keep their bytes.
    Refused, by this `name`, where it is no whole file.
    """
    container = _container(name, data)
    try:
        exif = exif_block(turned=_orientation(container, data))
        return container.with_metadata(data, Metadata(exif))
    except Broken as broken:
        raise Refused(broken.message(name)) from broken


def media_type(data: bytes, name: Path | str) -> str:
    """The media type of a file's bytes; Refused, by this `name`, where it is of no known container."""
    return _container(name, data).media_type


# --- Files ------------------------------------------------------------------------------------------------------------


def read(path: Path) -> dict[str, Any]:
    """What the file says about itself, as `read_bytes` has it. Nothing is written."""
    return read_bytes(content(path), path)


def stripped(path: Path) -> bytes:
    """The file's bytes without all that it says about itself, as `strip` has them."""
    return strip(content(path), path)


def provenance_in(path: Path) -> Provenance | None:
    """What a file of ours says, to be put into another file of the same content; None where it is not of ours."""
    found = texts(content(path), path).texts
    if not (record := own(found.get(OWN, ""))):
        return None
    return Provenance(found.get("parameters", ""), found[OWN], credits=credits_of_record(record))


def credits_in(file: Path | bytes) -> tuple[Credit, ...]:
    """Whom a file is owed to, as far as it says it; nobody where it can't be read."""
    with contextlib.suppress(Refused):
        data = file if isinstance(file, bytes) else content(file)
        return credits_of_record(read_bytes(data, "" if isinstance(file, bytes) else file))
    return ()


def credits_of_record(found: dict[str, Any]) -> tuple[Credit, ...]:
    """Whom a file is owed to, of what it says (from `read`)."""
    return tuple(Credit(**one) for one in found.get("credits", ()))


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
    Without `says` the file is plain. `options` are Pillow's for the format, in place of ours. Refused for a kind that
    there is not, and for settings too long for JPEG (64 KB).
    """
    if kind not in KINDS:
        raise Refused("metadata.unknown_kind", kind=kind, hint=did_you_mean(kind, KINDS), kinds=list(KINDS))
    container, how = KINDS[kind], options
    native = container is AVIF_ROW  # there EXIF has a place of its own, among the pictures
    if says and native:
        metadata = _metadata(says, container)
        how = {**how, "exif": metadata.exif, "xmp": metadata.xmp}
    if kind == "jpeg":
        picture = on_ground(picture)
    try:
        data = saved(picture, container.name, **{**(container.still or {}), **how})
    except KeyError as error:  # a Pillow that was built without it
        raise Refused("metadata.no_writer", kind=kind) from error
    return write(data, container.media_type, says) if says and not native else data


def _metadata(says: Provenance, container: Container, turned: int = 1) -> Metadata:
    """What goes into a container: texts where it has keywords, else EXIF and XMP."""
    exif = exif_block("" if container.keywords else says.parameters, turned)
    xmp = xmp_packet("" if container.keywords else says.record, says.credits).encode()
    return Metadata(exif, xmp, {"parameters": says.parameters, says.keyword: says.record})


def _orientation(container: Container, data: bytes) -> int:
    return exif_orientation(next((body for name, body, _ in container.extras(data) if name == EXIF), b""))


def _container(name: Path | str, data: bytes) -> Container:
    for container in CONTAINERS:
        if container.begins(data):
            return container
    formats = [container.name for container in CONTAINERS if container is not TEXT_ROW]
    raise Refused("metadata.not_a_picture", file=str(name), formats=formats)
