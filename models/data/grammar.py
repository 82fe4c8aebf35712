"""The little English and Chinese grammar that captions need (articles, plurals, lists, case), and random streams."""

import json
import random
import re
import zlib
from collections.abc import Sequence
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
_MANY = "|".join(many for one, many in _IRREGULAR.items() if one != many and many.isalpha() and one != "die")
_KEPT = rf"men|women|people|children|cherries|blueberries|fries|aries|series|(?:{_IE})s"
_ODD_PLURAL = re.compile(rf"\b(?!(?:{_KEPT})\b)(?:{_MANY}|[a-z]+(?:[^aeiou\W]ies|(?:x|ch|sh)es))\b")
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
    return f"{before} {_plural_word(word)}{tail}".strip()


def _plural_word(word: str) -> str:
    low = word.lower()
    if low in _IRREGULAR:
        return _IRREGULAR[low]
    if low.endswith(("s", "x", "z", "ch", "sh")) or low in ("tomato", "potato", "mango", "volcano", "mosquito"):
        return word + "es"
    if low.endswith("y") and low[-2:-1] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"


def singular(noun: str) -> str:
    """The noun phrase of whose plural this is, by its last word; what is no plural stays."""
    before, _, word = noun.rpartition(" ")
    low = word.lower()
    irregular = next((one for one, many in _IRREGULAR.items() if many == low), "")
    if low.endswith("ies") and not re.fullmatch(rf"(?:{_IE})s", low):
        word = word[:-3] + "y"
    elif re.search(r"(?:ss|x|z|ch|sh|(?<!o)us|tomato|potato|mango|volcano|mosquito)es$", low):
        word = word[:-2]
    elif low.endswith("s") and not low.endswith("ss"):
        word = word[:-1]
    return f"{before} {irregular or word}".strip()


def regular(text: str) -> str:
    """The text in small letters, with plurals that are more than a name and an s made so: "three mice" is "three
    mouses", which names can be found in. People stay, and what things are called in the plural: cherries."""
    return _ODD_PLURAL.sub(lambda match: _regular_word(singular(match[0])), text.lower())


def as_said(text: str, said: str) -> str:
    """`text` with the plurals that `regular` made of those in `said` as they were there: "three mice" again."""
    for match in _ODD_PLURAL.finditer(said.lower()):
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
    """People's own ways with capital letters; `shout` allows ALL CAPITALS."""
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
    """ "zh" where it holds a Chinese character, else "en"."""
    return "zh" if _HAN.search(text) else "en"


def fit(head: str, clauses: Sequence[str], joint: str, budget: float = BUDGET) -> str:
    """`head` and as many of the clauses, in order, as fit into `budget`; empty ones are left out."""
    text, room = head, budget - size(head)
    for clause in clauses:
        if clause and (cost := size(clause)) <= room:
            text, room = f"{text}{joint}{clause}", room - cost
    return text
