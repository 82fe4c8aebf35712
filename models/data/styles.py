"""The styles of the sticker world, as the words that people use for them."""

from dataclasses import dataclass
from enum import StrEnum


class Finish(StrEnum):
    """What the areas of a style's drawings are: shaded, each of one colour, or black alone."""

    SHADED = "shaded"
    FLAT = "flat"
    INK = "ink"


@dataclass(frozen=True)
class Style:
    """How captions name a style: adjectives that stand before "style" or "sticker", and what its pictures are called.

    `en[0]` and `zh[0]` are the plain names; the others say what the style looks like. Chinese ones end without 风格.
    What is of ink is not what somebody wants who names no style.
    """

    en: tuple[str, ...]
    zh: tuple[str, ...]
    noun_en: str = "emoji"
    finish: Finish = Finish.SHADED


STYLES: dict[str, Style] = {
    "noto": Style(("noto", "noto emoji", "Android"), ("noto", "安卓"), finish=Finish.FLAT),
    "blob": Style(("blob", "blob emoji", "soft blob"), ("blob", "果冻"), finish=Finish.FLAT),
    "twemoji": Style(("twemoji", "Twitter", "twemoji flat"), ("twemoji", "推特"), finish=Finish.FLAT),
    "fluent": Style(("fluent", "fluent gradient"), ("fluent", "流畅渐变")),
    "fluent flat": Style(("fluent flat", "flat fluent", "flat vector"), ("fluent flat", "扁平"), finish=Finish.FLAT),
    "black glyph": Style(
        ("black glyph", "high contrast", "black silhouette"), ("black glyph", "黑色图标"), "icon", Finish.INK
    ),
    "emojione": Style(("emojione", "emojione glossy"), ("emojione", "光泽"), finish=Finish.FLAT),
    "fxemoji": Style(("fxemoji", "Firefox"), ("fxemoji", "火狐"), finish=Finish.FLAT),
    "outline": Style(("outline", "outlined", "line art"), ("outline", "线条"), "icon"),
    "fluent 3d": Style(("fluent 3d", "3d", "3d rendered"), ("fluent 3d", "3D", "立体")),
}


def styled(text: str, style: str, chinese: bool) -> str:
    """The text with its style as captions write it, in the text's language; a style alone where there is no text."""
    if chinese:
        return f"{text}，{style_of(style).zh[0]}风格"
    return f"{text}, {style} style" if text else f"{style} style"


def style_of(word: str) -> Style:
    """The style's words; a style that the table lacks is called by its own word."""
    return STYLES.get(word) or Style((word,), (word,))
