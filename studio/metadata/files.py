"""Picture files in: what they say of themselves, and the same files without it. What a file says is untrusted: sizes
are capped, nothing in it is run or fetched, and it is only ever shown as text. Reading never writes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.data.pixels import MAX_BYTES
from models.messages import Refused
from studio.metadata import avif, exif, gif, jpeg, png, webp, xmp
from studio.metadata.raw import Broken, Raw
from studio.metadata.readers import KEYWORDS, own, read_texts
from studio.metadata.write import OWN, Said


@dataclass(frozen=True)
class Container:
    """A file format: whether bytes are one, what lies in it beside its pixels, and the same bytes without that."""

    name: str
    begins: Callable[[bytes], bool]
    look: Callable[[bytes, frozenset[str]], Raw]
    strip: Callable[[bytes], bytes]


CONTAINERS = (
    Container("PNG", png.is_png, png.look, png.strip),
    Container("WEBP", webp.is_webp, webp.look, webp.strip),
    Container("JPEG", jpeg.is_jpeg, jpeg.look, jpeg.strip),
    Container("GIF", gif.is_gif, gif.look, gif.strip),
    Container("AVIF", avif.is_avif, avif.look, avif.strip),
)


def read(path: Path) -> dict[str, Any]:
    """What the file says about itself, as `readers.read_texts` has it; `{}` where it says nothing.

    Of a file that is cut short, what comes before the cut. Refused where it is no picture, or where it may say
    something that can't be read.
    """
    raw = texts(content(path), path)
    found = read_texts(raw.texts)
    if not found and raw.problem:
        raise Refused(f"{path} {raw.problem}.")
    return found


def said_in(path: Path) -> Said | None:
    """What a file of ours says, to be put into another file of the same picture; None where it is not of ours."""
    found = texts(content(path), path).texts
    return Said(found.get("parameters", ""), found[OWN]) if own(found.get(OWN, "")) else None


def texts(data: bytes, name: Path | str) -> Raw:
    """The texts in a picture file's bytes by keyword, those of EXIF and XMP among them.

    Refused where it is no picture; the sentence calls it `name`.
    """
    raw = _container(name, data).look(data, KEYWORDS)
    raw.texts |= exif.texts(raw.exif) if raw.exif else {}
    try:
        raw.texts.setdefault("studio", xmp.own(raw.xmp))
    except Broken as broken:
        raw.problem = raw.problem or str(broken)
    return raw


def stripped(path: Path) -> bytes:
    """The file's bytes without all that it says about itself. No pixel changes, for none is decoded.

    Colour profile, resolution, animation and the way the picture is turned stay. Refused where it is no whole picture.
    """
    data = content(path)
    try:
        return _container(path, data).strip(data)
    except Broken as broken:
        raise Refused(f"{path} {broken}.") from broken


def content(path: Path) -> bytes:
    """A picture file's bytes, once, so that nothing can change between two looks. Refused with the reason."""
    try:
        if not path.is_file():
            raise Refused(f"{path} is {_what(path)}; give a picture file.")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Refused(f"{path} can't be read ({error.strerror or error}).") from error
    if len(data) > MAX_BYTES:
        raise Refused(f"{path} is larger than {MAX_BYTES >> 20} MB; give a smaller picture.")
    return data


def _what(path: Path) -> str:
    if path.is_dir():
        return "a folder"
    return "no ordinary file" if path.exists() else "not there"


def _container(path: Path | str, data: bytes) -> Container:
    for container in CONTAINERS:
        if container.begins(data):
            return container
    names = ", ".join(container.name for container in CONTAINERS)
    raise Refused(f"{path} is not a picture that can be read ({names}).")
