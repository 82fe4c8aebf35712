"""What the readers of file formats share: what they hand back, how much they look at, how they say it is broken."""

from dataclasses import dataclass, field

LIMIT = 4 * 2**20  # bytes of one text, unpacked. More is not read at all: half a setting is a wrong setting
TOO_MUCH = f"holds more than {LIMIT >> 20} MB of settings in one place; they are not read"
BROKEN = "is damaged or cut short"


class Broken(ValueError):
    """A file that does not keep to its format. Its text goes on after the file's name."""


@dataclass
class Raw:
    """What lies in a file beside its pixels: texts by keyword, EXIF (a TIFF block) and XMP (a packet), not yet parsed.

    `problem` says why there may be more than was found, to go on after the file's name.
    """

    texts: dict[str, str] = field(default_factory=dict)
    exif: bytes = b""
    xmp: bytes = b""
    problem: str = ""


def decoded(text: bytes) -> str:
    """UTF-8, else Latin-1: by its own rules a PNG's tEXt is Latin-1, but many programs write UTF-8 into it."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")
