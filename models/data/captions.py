"""Captions of single pictures, in the many ways in which people ask for one.

A caption says the concept (CLDR name, or keywords, or the feeling of a face), and then, as length allows, measured
colours, skin tone, feeling, keywords, background and style: as a sentence, as a phrase, or as comma-separated tags.
Everything said is true of the picture. A caption is a pure function of (picture.id, seed) and of what is asked for.
"""

import functools
import json
import random
from pathlib import Path
from typing import Any, Literal

from models.data.colours import COLOURS
from models.data.grammar import (
    BUDGET,
    CHINESE_SHARE,
    Language,
    article,
    chinese_list,
    english_list,
    fit,
    size,
    spread_case,
    stream,
)
from models.data.moods import moods_of
from models.data.styles import style_of
from models.data.world import Picture

Length = Literal["short", "long"]

STYLED_SHARE = 0.6  # of captions that leave it open: as many prompts name no style at all
# Templates. s: subject, cs: subject with its colour, a_...: with article, noun: emoji, sticker, icon; style: its words.
TEMPLATES: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("captions.json").read_text(encoding="utf-8"))
EN, ZH = TEMPLATES["en"], TEMPLATES["zh"]
SKIN_EN, SKIN_ZH = EN["skin"], ZH["skin"]


# Keywords that say nothing of what is drawn, and colours: CLDR's apple is red, the one of a black set is not.
_EMPTY_WORDS = frozenset({"face", "emoji", "ily", "xoxo", "symbol", "sign", "脸", "表情", "符号", "gray", *COLOURS}) | {
    character for colour in COLOURS.values() for character in (colour.zh, colour.zh[:-1])
}


def caption(
    picture: Picture,
    seed: int,
    language: Language | None = None,
    length: Length | None = None,
    style: bool | None = None,
) -> str:
    """One caption of the picture, at most about 30 byte-pair tokens long.

    Args:
        picture: what is described. Without a Chinese name its English one stands in Chinese captions too.
        seed: another seed, another wording.
        language, length: None lets the seed choose.
        style: True names the style, False does not, None lets the seed choose.
    """
    rng = stream(picture.id, seed)
    if language is None:
        language = "zh" if "zh" in picture.names and rng.random() < CHINESE_SHARE else "en"
    is_long = rng.random() < 0.5 if length is None else length == "long"
    styled = rng.random() < STYLED_SHARE if style is None else style
    write = _english if language == "en" else _chinese
    return spread_case(write(picture, rng, is_long, styled), rng, shout=not is_long)


def subject(picture: Picture, rng: random.Random, language: Language) -> str:
    """What the picture shows, without article: its name, at times as people shorten it or as its feeling."""
    name = display_name(picture, language)
    draw = rng.random()
    if draw < 0.2 and (moods := moods_of(picture.names["en"], picture.keywords.get("en", ()), picture.group)):
        mood = rng.choice(moods)
        return _feeling(picture, rng.choice(mood.en if language == "en" else mood.zh), language)
    if draw < 0.4 and picture.group in ("animals-nature", "travel-places"):
        return _without_face(name, language)
    return name


def display_name(picture: Picture, language: Language) -> str:
    """The picture's name; the English one where the language has none."""
    return picture.names.get(language) or picture.names["en"]


def _without_face(name: str, language: Language) -> str:
    """ "dog face" as people ask for it: "dog"."""
    if language == "en":
        return name.removesuffix(" face")
    return name[:-1] if len(name) > 1 and name[-1] in "脸头" else name


def _feeling(picture: Picture, mood: str, language: Language) -> str:
    cat = "cat" in picture.names["en"].split()
    if language == "zh":
        return f"{mood}{'猫' if cat else '脸'}"
    noun = "cat" if cat else "face"
    return f"{noun} in love" if mood == "in love" else f"{mood} {noun}"


@functools.cache
def telling_keywords(keywords: tuple[str, ...], name: str) -> tuple[str, ...]:
    """Keywords that add to the name: no number, no abbreviation, no word that the name has."""
    said = frozenset(name.lower().replace("-", " ").split()) | _EMPTY_WORDS
    return tuple(
        word
        for word in keywords
        if word not in said and word != name and not word[:1].isdigit() and (len(word) > 2 or not word.isascii())
    )


def _some_keywords(picture: Picture, language: Language, rng: random.Random, least: int, most: int) -> list[str]:
    words = telling_keywords(picture.keywords.get(language, ()), display_name(picture, language))
    count = min(rng.randint(least, most), len(words))
    return rng.sample(words, count) if count >= least else []


def colour_words(names: tuple[str, ...], language: Language) -> str:
    """Named colours as one phrase: "yellow and brown", "黄色和棕色"."""
    if language == "en":
        return english_list(names)
    return chinese_list([COLOURS[name].zh for name in names])


def _coloured(text: str, picture: Picture, rng: random.Random, language: Language) -> str:
    """The subject with one or two of its colours before it, unless it has a colour word already."""
    count = 1 if rng.random() < 0.65 else 2
    names = picture.colours[:count]
    if not names or any((name if language == "en" else COLOURS[name].zh[:1]) in text for name in COLOURS):
        return text
    return f"{colour_words(names, language)}{' ' if language == 'en' else '的'}{text}"


# --- English ---------------------------------------------------------------------------------------------------------


def _english(picture: Picture, rng: random.Random, is_long: bool, styled: bool) -> str:
    words = rng.choice(style_of(picture.style).en) if rng.random() < 0.4 else style_of(picture.style).en[0]
    if is_long:
        write = _english_tags if rng.random() < 0.25 else _english_long
        return write(picture, rng, words if styled else "")
    if not styled and rng.random() < 0.1 and (keywords := _some_keywords(picture, "en", rng, 2, 4)):
        return rng.choice((", ", " ")).join(keywords)
    text = _english_slots(rng.choice(EN["styled"] if styled else EN["plain"]), picture, rng, words)
    if picture.skin and rng.random() < 0.6:
        text += ", " + rng.choice(SKIN_EN).format(picture.skin)
    return text


def _english_slots(template: str, picture: Picture, rng: random.Random, style: str) -> str:
    s = subject(picture, rng, "en")
    cs = _coloured(s, picture, rng, "en") if "cs}" in template else s
    noun = rng.choice(EN["nouns"])
    return template.format(
        s=s, a_s=article(s), cs=cs, a_cs=article(cs), noun=noun, a_noun=article(noun),
        a_s_noun=article(f"{s} {noun}"), style=style, a_style=article(style),
    )  # fmt: skip


def _english_long(picture: Picture, rng: random.Random, style: str) -> str:
    template = rng.choice(EN["heads"])
    head = _english_slots(template, picture, rng, style)
    style_clause = rng.choice(EN["style_clauses"]).format(style=style) if style else ""
    clauses = _english_clauses(picture, rng, coloured="cs}" in template)
    rng.shuffle(clauses)
    if picture.skin and rng.random() < 0.85:
        clauses.insert(0, rng.choice(SKIN_EN).format(picture.skin))
    room = BUDGET - size(style_clause)
    if rng.random() < 0.6:
        return fit(head + style_clause, clauses, ", ")
    return fit(head, clauses, ", ", room) + style_clause


def _english_clauses(picture: Picture, rng: random.Random, coloured: bool) -> list[str]:
    clauses = []
    if picture.colours and not coloured and rng.random() < 0.75:
        template = rng.choice(
            ("{}", "in {}", "{} colours") if len(picture.colours) > 1 else ("{}", "all in {}", "mostly {}")
        )
        clauses.append(template.format(english_list(picture.colours)))
    moods = moods_of(picture.names["en"], picture.keywords.get("en", ()), picture.group)
    if moods and rng.random() < 0.6:
        clauses.append(f"{rng.choice(rng.choice(moods).en)} {rng.choice(('expression', 'mood', 'feeling'))}")
    if rng.random() < 0.6:
        clauses.extend(_some_keywords(picture, "en", rng, 1, 3))
    if rng.random() < 0.45:
        clauses.append(rng.choice(EN["backgrounds"]))
    return clauses


def _english_tags(picture: Picture, rng: random.Random, style: str) -> str:
    """Comma-separated tags, the way prompts for picture generators are typed."""
    clauses = _english_clauses(picture, rng, coloured=False)
    if picture.skin:
        clauses.insert(0, f"{picture.skin} skin")
    noun = rng.choice(EN["nouns"])
    tail = ", ".join(filter(None, (noun, rng.choice((style, f"{style} style")) if style else "")))
    return fit(subject(picture, rng, "en"), clauses, ", ", BUDGET - size(tail)) + ", " + tail


# --- Chinese ---------------------------------------------------------------------------------------------------------


def _chinese(picture: Picture, rng: random.Random, is_long: bool, styled: bool) -> str:
    words = rng.choice(style_of(picture.style).zh)
    if is_long:
        return _chinese_long(picture, rng, words if styled else "")
    if not styled and rng.random() < 0.1 and (keywords := _some_keywords(picture, "zh", rng, 2, 3)):
        return rng.choice(("，", " ", "、")).join(keywords)
    text = _chinese_slots(rng.choice(ZH["styled"] if styled else ZH["plain"]), picture, rng, words)
    if picture.skin and rng.random() < 0.6:
        text += "，" + SKIN_ZH[picture.skin]
    return text


def _chinese_slots(template: str, picture: Picture, rng: random.Random, style: str) -> str:
    s = subject(picture, rng, "zh")
    cs = _coloured(s, picture, rng, "zh") if "cs}" in template else s
    return template.format(s=s, cs=cs, noun=rng.choice(ZH["nouns"]), style=style)


def _chinese_long(picture: Picture, rng: random.Random, style: str) -> str:
    template = rng.choice(ZH["heads"])
    head = _chinese_slots(template, picture, rng, style)
    style_clause = rng.choice(ZH["style_clauses"]).format(style=style) if style else ""
    clauses = _chinese_clauses(picture, rng, coloured="cs}" in template)
    rng.shuffle(clauses)
    if picture.skin and rng.random() < 0.85:
        clauses.insert(0, SKIN_ZH[picture.skin])
    if rng.random() < 0.6:
        return fit(head + style_clause, clauses, "，")
    return fit(head, clauses, "，", BUDGET - size(style_clause)) + style_clause


def _chinese_clauses(picture: Picture, rng: random.Random, coloured: bool) -> list[str]:
    clauses = []
    if picture.colours and not coloured and rng.random() < 0.75:
        clauses.append(rng.choice(("{}", "颜色是{}", "以{}为主")).format(colour_words(picture.colours, "zh")))
    moods = moods_of(picture.names["en"], picture.keywords.get("en", ()), picture.group)
    if moods and rng.random() < 0.6:
        clauses.append(f"{rng.choice(rng.choice(moods).zh)}{rng.choice(('表情', '样子'))}")
    if rng.random() < 0.6:
        clauses.extend(_some_keywords(picture, "zh", rng, 1, 3))
    if rng.random() < 0.45:
        clauses.append(rng.choice(ZH["backgrounds"]))
    return clauses
