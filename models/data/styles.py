"""The styles of the sticker world, as the words that people use for them."""

from dataclasses import dataclass
from enum import StrEnum

from models.lexicon import LEXICONS


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


_FLAT = dict.fromkeys(("noto", "blob", "twemoji", "fluent flat", "emojione", "fxemoji"), Finish.FLAT)
STYLES: dict[str, Style] = {
    name: Style(
        tuple(words),
        tuple(LEXICONS["zh"].rows["styles"][name]),
        "icon" if name in ("black glyph", "outline") else "emoji",
        Finish.INK if name == "black glyph" else _FLAT.get(name, Finish.SHADED),
    )
    for name, words in LEXICONS["en"].rows["styles"].items()
}


def styled(text: str, style: str, chinese: bool) -> str:
    """The text with its style as captions write it, in the text's language; a style alone where there is no text."""
    if chinese:
        return f"{text}，{style_of(style).zh[0]}风格"
    return f"{text}, {style} style" if text else f"{style} style"


def style_of(word: str) -> Style:
    """The style's words; a style that the table lacks is called by its own word."""
    return STYLES.get(word) or Style((word,), (word,))
