"""Fonts that have the characters of a text, and its lines."""

import contextlib
import functools

from PIL import ImageFont

from models.assets import assets

# Ours has Latin letters, kana and the 6,763 Chinese characters of GB 2312; of rarer ones and other scripts the first of
# the system's that has them is used.
FONT = "fonts/NotoSansSC-GB2312.otf"
SYSTEM_FONTS = ("NotoSansCJK-Regular.ttc", "wqy-microhei.ttc", "PingFang.ttc", "msyh.ttc", "DejaVuSans.ttf")
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def font_for(text: str, size: int) -> Font:
    """The first font that has all of a text's characters, else our own, which draws boxes for those it lacks."""
    fonts = _fonts(size)
    return next((font for font in fonts if all(_has(font, c) for c in set(text) if not c.isspace())), fonts[0])


@functools.cache
def _fonts(size: int) -> list[Font]:
    """Ours and those of the system's that are there; Pillow's own where ours is missing."""
    found: list[Font] = []
    for name in (str(assets() / FONT), *SYSTEM_FONTS):
        with contextlib.suppress(OSError):
            found.append(ImageFont.truetype(name, size))
    return found or [ImageFont.load_default(size)]


@functools.lru_cache(4096)
def _has(font: Font, character: str) -> bool:
    """Whether a font has a character: it draws it otherwise than one that there is not."""
    return bytes(font.getmask(character)) != bytes(font.getmask("\uffff"))


def wrap(text: str, font: Font, width: float) -> list[str]:
    """Lines no wider than `width` pixels; breaks between words, and anywhere in a text without spaces."""
    lines = [""]
    for word in text.replace(" ", " \0").split("\0"):
        pieces = list(word) if not word.isascii() else [word]
        for piece in pieces:
            if lines[-1] and font.getlength(lines[-1] + piece.rstrip()) > width:
                lines.append("")
            lines[-1] += piece
    return lines
