"""Emoji in a prompt, read by the names that Unicode's CLDR gives them (`assets/lexicon/emoji.json`)."""

import json
import re
from collections.abc import Iterator

from models.assets import assets
from models.data.grammar import SKIN_EN, SKIN_ZH, language_of

# By emoji, without tones and variation selectors: its English and its Chinese name.
NAMES: dict[str, tuple[str, str]] = json.loads((assets() / "lexicon" / "emoji.json").read_text(encoding="utf-8"))
TONES = dict(zip(map(chr, range(0x1F3FB, 0x1F400)), SKIN_ZH, strict=True))
_SIGN = f"[{re.escape(''.join({key[0] for key in NAMES if not key[0].isascii()}))}]"
_DRESS = "[\ufe0f\U0001f3fb-\U0001f3ff]*"  # a variation selector, a skin tone
_EMOJI = re.compile(
    r"[0-9#*]\ufe0f?\u20e3|[\U0001f1e6-\U0001f1ff]{2}|\U0001f3f4[\U000e0020-\U000e007f]+"
    rf"|{_SIGN}{_DRESS}(?:\u200d{_SIGN}{_DRESS})*"
)
_UNSAID = re.compile(_DRESS.removesuffix("*"))


def spelled(text: str) -> tuple[str, list[tuple[int, int]]]:
    """`text` with names in the place of emoji, in its language, and where each of its characters stands in `text`
    (first, behind the last). Of emoji beside each other all are named; one that has no name stays."""
    said, places = "", list[tuple[int, int]]()
    for start, end, name in _pieces(text, language_of(text) == "zh"):
        said += name
        places += [(start, end)] * len(name)
    return said, places


def _pieces(text: str, chinese: bool) -> Iterator[tuple[int, int, str]]:
    at = 0
    for found in _EMOJI.finditer(text):
        name = _name(found[0], chinese)
        if not name:
            continue
        between = text[at : found.start()]
        yield from ((i, i + 1, text[i]) for i in range(at, found.start()))
        beside = at and not between.strip()
        joint = ("和" if chinese else " and ") if beside else " " if between[-1:].isalnum() and not chinese else ""
        at = found.end()
        space = " " if not chinese and text[at : at + 1].isalnum() else ""
        yield found.start(), at, joint + name + space
    yield from ((i, i + 1, text[i]) for i in range(at, len(text)))


def _name(emoji: str, chinese: bool) -> str:
    """What an emoji is called; a sequence that has no name of its own by its first."""
    plain = _UNSAID.sub("", emoji)
    names = NAMES.get(plain) or NAMES.get(plain.split("\u200d")[0])
    if names is None:
        return ""
    tone = next((TONES[sign] for sign in emoji if sign in TONES), "")
    if chinese and names[1]:
        return f"{SKIN_ZH[tone]}的{names[1]}" if tone else names[1]
    return f"{names[0]} {SKIN_EN[0].format(tone)}" if tone else names[0]
