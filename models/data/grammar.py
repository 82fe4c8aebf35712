"""The words of captions: English and Chinese grammar (articles, plurals, lists, case), names of styles, templates.

Also random streams that depend on their key alone.
"""

import json
import random
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from models.lexicon import LEXICONS

Language = Literal["en", "zh"]
Length = Literal["short", "long"]  # of a caption

LANGUAGES: tuple[Language, ...] = ("en", "zh")
CHINESE_SHARE = 0.35  # of captions whose language is left open

_VOWEL = re.compile(
    r"(?!uni|use|ut|uk|eur|ew|one\b|once\b|ufo)(?:[aeiou]|hour|mri|x-ray|sos\b|sim\b|ng\b)", re.IGNORECASE
)
_NO_ARTICLE = re.compile(r"flag of|keycap|santa|mrs|mx|mount |map of|statue of|globe|family\b|kiss\b|ZZZ")
# What comes after the noun that takes the plural: "bowl with spoon" -> "bowls with spoon".
_TAIL = re.compile(r" (?:with|without|of|on|in|at|behind|and|showing|facing|held|tilted|pointing|not|done|to) ")
WORDS: dict[str, Any] = json.loads(Path(__file__).with_name("words.json").read_text(encoding="utf-8"))
SKIN_EN, SKIN_ZH = WORDS["skin"]["en"], WORDS["skin"]["zh"]
_IRREGULAR: dict[str, str] = WORDS["irregular plurals"]
_SINGULAR_S = re.compile(r"(?:ss|us|is|gas|lens|canvas|atlas)$")
_IE = r"\w*(?:cookie|brownie|zombie|genie|movie|selfie|smoothie|hoodie)|(?:mag)?pie|(?:neck|bow)?tie"
_IRREGULAR_PLURALS = "|".join(
    plural for noun, plural in _IRREGULAR.items() if noun != plural and plural.isalpha() and noun != "die"
)
_EXCEPTIONS = rf"men|women|people|children|cherries|blueberries|fries|aries|series|(?:{_IE})s"
_ODD_PLURAL = re.compile(rf"\b(?!(?:{_EXCEPTIONS})\b)(?:{_IRREGULAR_PLURALS}|[a-z]+(?:[^aeiou\W]ies|(?:x|ch|sh)es))\b")
NUMBERS = {language: LEXICONS[language].numbers for language in LANGUAGES}

# Templates of scene captions by language. Each relation has its wordings in the same order as its opposite, so that a
# seed picks the same one for a contrast. Measure words go by the last word of the English name.
SCENE_TEMPLATES: dict[str, Any] = json.loads(Path(__file__).with_name("scenes.json").read_text(encoding="utf-8"))
OPPOSITE: dict[str, str] = SCENE_TEMPLATES.pop("opposite")  # of relations
GROUNDS: list[str] = SCENE_TEMPLATES.pop("grounds")  # colours of backgrounds
RELATIONS = {language: SCENE_TEMPLATES[language]["relations"] for language in LANGUAGES}
MAX_COUNT = 4  # of one thing in a scene


def stream(*keys: object) -> random.Random:
    """A random stream that depends on `keys` alone, on every machine (unlike `hash`)."""
    return random.Random(zlib.crc32("|".join(map(str, keys)).encode()))


def is_plural(noun: str) -> bool:
    """Whether an English noun phrase is plural as it stands ("cherries", "french fries", "glasses")."""
    head = _TAIL.split(noun, 1)[0].split(" ")[-1].lower()
    return head.endswith("s") and not _SINGULAR_S.search(head)


def article(noun: str) -> str:
    """The phrase with "a" or "an", or as it is where it takes none (plurals, proper names)."""
    if is_plural(noun) or _NO_ARTICLE.match(noun):
        return noun
    return f"{'an' if _VOWEL.match(noun) else 'a'} {noun}"


def plural(noun: str) -> str:
    """Plural of an English noun phrase, by its head noun."""
    if is_plural(noun):
        return noun
    match = _TAIL.search(noun)
    head, tail = (noun[: match.start()], noun[match.start() :]) if match else (noun, "")
    before, _, word = head.rpartition(" ")
    low = word.lower()
    if low in _IRREGULAR:
        word = _IRREGULAR[low]
    elif low.endswith(("s", "x", "z", "ch", "sh")) or low in ("tomato", "potato", "mango", "volcano", "mosquito"):
        word += "es"
    elif low.endswith("y") and low[-2:-1] not in "aeiou":
        word = word[:-1] + "ies"
    else:
        word += "s"
    return f"{before} {word}{tail}".strip()


def singular(noun: str) -> str:
    """Singular of an English noun phrase, by its last word; a phrase that is no plural stays as it is."""
    before, _, word = noun.rpartition(" ")
    low = word.lower()
    irregular = next((noun for noun, plural in _IRREGULAR.items() if plural == low), "")
    if low.endswith("ies") and not re.fullmatch(rf"(?:{_IE})s", low):
        word = word[:-3] + "y"
    elif re.search(r"(?:ss|x|z|ch|sh|(?<!o)us|tomato|potato|mango|volcano|mosquito)es$", low):
        word = word[:-2]
    elif low.endswith("s") and not low.endswith("ss"):
        word = word[:-1]
    return f"{before} {irregular or word}".strip()


def regular(text: str) -> str:
    """The text in lower case with irregular plurals replaced by noun + "s", so that names can be found in it: "three
    mice" becomes "three mouses". People and names that are plurals themselves ("cherries") stay."""
    return _ODD_PLURAL.sub(lambda match: _regular_word(singular(match[0])), text.lower())


def restore_plurals(text: str, original: str) -> str:
    """Undo `regular` in `text`, for the plurals that `original` has: "three mouses" becomes "three mice" again."""
    for match in _ODD_PLURAL.finditer(original.lower()):
        text = re.sub(rf"\b{_regular_word(singular(match[0]))}\b", match[0], text)
    return text


def _regular_word(noun: str) -> str:
    return f"{noun}es" if noun.endswith("s") else f"{noun}s"


def english_list(items: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def chinese_list(items: Sequence[str]) -> str:
    """ "一", "一和二", "一、二和三"."""
    return items[0] if len(items) == 1 else f"{'、'.join(items[:-1])}和{items[-1]}"


def spread_case(text: str, rng: random.Random, shout: bool) -> str:
    """Vary capital letters and the full stop as people do; `shout` allows ALL CAPITALS."""
    draw = rng.random()
    if draw < 0.62:
        return text
    if draw < 0.74:
        return text.lower()
    if draw < 0.97 or not shout:
        stop = "" if draw < 0.88 else "." if text.isascii() else "。"
        return text[:1].upper() + text[1:] + stop
    return text.upper()


_ASCII_WORD = re.compile(r"[A-Za-z0-9'’\-]+")
_HAN = re.compile(r"[\u3400-\u9fff]")
BUDGET = 22  # see size(): about 30 byte-pair tokens, which leaves room for <bos> and <eos> in a text of 32


def size(text: str) -> float:
    """Length of a text in English words; a Chinese character counts 22/28 of one, a comma nothing."""
    return len(_ASCII_WORD.findall(text)) + len(_HAN.findall(text)) * 22 / 28


def language_of(text: str) -> Language:
    """ "zh" for a text with a Chinese character, else "en"."""
    return "zh" if _HAN.search(text) else "en"


def fit(head: str, clauses: Sequence[str], joint: str, budget: float = BUDGET) -> str:
    """`head` and as many of the clauses, in order, as fit into `budget`; empty ones are left out."""
    text, room = head, budget - size(head)
    for clause in clauses:
        if clause and (cost := size(clause)) <= room:
            text, room = f"{text}{joint}{clause}", room - cost
    return text


class Finish(StrEnum):
    """How a style fills areas: shaded, each in one colour, or black alone."""

    SHADED = "shaded"
    FLAT = "flat"
    INK = "ink"


@dataclass(frozen=True)
class Style:
    """How captions name a style: adjectives that stand before "style" or "sticker", and what its pictures are called.

    `en[0]` and `zh[0]` are the plain names; the others describe the look. Chinese names come without 风格. A prompt
    that names no style never gets one of finish INK.
    """

    en: tuple[str, ...]
    zh: tuple[str, ...]
    noun_en: str = "emoji"
    finish: Finish = Finish.SHADED


_FLAT = dict.fromkeys(("noto", "blob", "twemoji", "fluent flat", "emojione", "fxemoji"), Finish.FLAT)
STYLES: dict[str, Style] = {
    name: Style(
        tuple(words),
        LEXICONS["zh"].table("styles")[name],
        "icon" if name in ("black glyph", "outline") else "emoji",
        Finish.INK if name == "black glyph" else _FLAT.get(name, Finish.SHADED),
    )
    for name, words in LEXICONS["en"].table("styles").items()
}


def styled(text: str, style: str, chinese: bool) -> str:
    """The text with its style as captions write it, in the text's language; a style alone where there is no text."""
    if chinese:
        return f"{text}，{style_of(style).zh[0]}风格"
    return f"{text}, {style} style" if text else f"{style} style"


def style_of(word: str) -> Style:
    """The style's words; a style that the table lacks is called by its own word."""
    return STYLES.get(word) or Style((word,), (word,))
