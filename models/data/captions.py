"""Captions of single pictures, in the many ways in which people ask for one.

A caption says the concept (CLDR name, or keywords, or the feeling of a face), and then, as length allows, measured
colours, skin tone, feeling, keywords, background and style: as a sentence, as a phrase, or as comma-separated tags.
Everything said is true of the picture. A caption is a pure function of (picture.id, seed) and of what is asked for.
"""

import functools
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.data.colours import COLOURS, colour_words
from models.data.grammar import (
    BUDGET,
    CHINESE_SHARE,
    SKIN_EN,
    SKIN_ZH,
    Language,
    Length,
    article,
    fit,
    size,
    spread_case,
    stream,
)
from models.data.styles import Style, style_of
from models.data.world import Picture
from models.lexicon import CONCEPTS, LEXICONS

TAGGED_KEYWORDS = 4
STYLED_SHARE = 0.6  # of captions that leave it open: as many prompts name no style at all
# Templates. s: subject, cs: subject with its colour, a_...: with article, noun: emoji, sticker, icon; style: its words.
TEMPLATES: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("captions.json").read_text(encoding="utf-8"))
# Keywords that say nothing of what is drawn, and colours: CLDR's apple is red, the one of a black set is not.
EMPTY_WORDS = frozenset({"face", "emoji", "ily", "xoxo", "symbol", "sign", "脸", "表情", "符号", "gray", *COLOURS}) | {
    character for colour in COLOURS.values() for character in (colour.zh, colour.zh[:-1])
}


@dataclass(frozen=True)
class Mood:
    """Adjectives that fit "a ... face" in both languages, and CLDR name words or keywords (`signs`) that mean it."""

    en: tuple[str, ...]
    zh: tuple[str, ...]
    signs: frozenset[str]


MOODS = tuple(
    Mood(LEXICONS["en"].moods[mood], LEXICONS["zh"].moods[mood], frozenset(row["keywords"].split()))
    for mood, row in CONCEPTS["moods"].items()
)


@functools.cache
def moods_of(name: str, keywords: tuple[str, ...], group: str) -> tuple[Mood, ...]:
    """What a face shows, from its English name and keywords; empty for anything that is no face.

    A mood that the name itself speaks of comes alone: "crying face" has "awful" and "sad" among its keywords, but is
    asked for as crying.
    """
    words = frozenset(name.lower().replace("-", " ").split())
    if group != "smileys-emotion" or not words & {"face", "cat", "head"}:
        return ()
    named = tuple(mood for mood in MOODS if mood.signs & words)
    return named or tuple(mood for mood in MOODS if mood.signs & frozenset(keywords))


def caption(
    picture: Picture,
    seed: int,
    language: Language | None = None,
    length: Length | None = None,
    style: bool | None = None,
) -> str:
    """One caption of the picture, at most about 30 byte-pair tokens long; another seed, another wording.

    None lets the seed choose the language, the length, and whether the style is named. Without a Chinese name a
    picture's English one stands in Chinese captions too.
    """
    rng = stream(picture.id, seed)
    if language is None:
        language = "zh" if "zh" in picture.names and rng.random() < CHINESE_SHARE else "en"
    is_long = rng.random() < 0.5 if length is None else length == "long"
    styled = rng.random() < STYLED_SHARE if style is None else style
    text = _Writer(picture, rng, language).write(is_long, styled)
    return spread_case(text, rng, shout=not is_long)


def tags(picture: Picture, seed: int, language: Language) -> str:
    """Comma-separated words for a picture: its name, colours, some keywords, its style."""
    rng, name = stream(picture.id, "tags", seed), display_name(picture, language)
    words = telling_keywords(picture.keywords.get(language, ()), name)
    colours = [colour_words((colour,), language) for colour in picture.colours]
    style = _words(style_of(picture.style), language)[0]
    said = [*colours, *rng.sample(words, min(TAGGED_KEYWORDS, len(words))), style]
    return fit(name, said, TEMPLATES[language]["joint"])


def subject(picture: Picture, rng: random.Random, language: Language) -> str:
    """What the picture shows, without article: its name, at times as people shorten it or as its feeling."""
    name, draw = display_name(picture, language), rng.random()
    if draw < 0.2 and (moods := _moods(picture)):
        mood, cat = rng.choice(_words(rng.choice(moods), language)), "cat" in picture.names["en"].split()
        if language == "zh":
            return f"{mood}{'猫' if cat else '脸'}"
        noun = "cat" if cat else "face"
        return f"{noun} in love" if mood == "in love" else f"{mood} {noun}"
    if draw < 0.4 and picture.group in ("animals-nature", "travel-places"):  # "dog face" as people ask for it: "dog"
        if language == "en":
            return name.removesuffix(" face")
        return name[:-1] if len(name) > 1 and name[-1] in "脸头" else name
    return name


def display_name(picture: Picture, language: Language) -> str:
    """The picture's name; the English one where the language has none."""
    return picture.names.get(language) or picture.names["en"]


def _moods(picture: Picture) -> tuple[Mood, ...]:
    return moods_of(picture.names["en"], picture.keywords.get("en", ()), picture.group)


def _words(named: Mood | Style, language: Language) -> tuple[str, ...]:
    return named.en if language == "en" else named.zh


@functools.cache
def telling_keywords(keywords: tuple[str, ...], name: str) -> tuple[str, ...]:
    """Keywords that add to the name: no number, no abbreviation, no word that the name has."""
    said = frozenset(name.lower().replace("-", " ").split()) | EMPTY_WORDS
    return tuple(
        word
        for word in keywords
        if word not in said and word != name and not word[:1].isdigit() and (len(word) > 2 or not word.isascii())
    )


@dataclass(frozen=True)
class _Writer:
    picture: Picture
    rng: random.Random
    language: Language

    @property
    def templates(self) -> dict[str, Any]:
        return TEMPLATES[self.language]

    def write(self, is_long: bool, styled: bool) -> str:
        rng, t = self.rng, self.templates
        names = _words(style_of(self.picture.style), self.language)
        style = rng.choice(names) if self.language == "zh" or rng.random() < 0.4 else names[0]
        if is_long:
            tags = self.language == "en" and rng.random() < 0.25
            return (self.tags if tags else self.long)(style if styled else "")
        if not styled and rng.random() < 0.1 and (keywords := self.keywords(2, t["most_keywords"])):
            return rng.choice(t["keyword_joints"]).join(keywords)
        text = self.filled(rng.choice(t["styled"] if styled else t["plain"]), style)
        return t["joint"].join([text, self.skin()]) if self.picture.skin and rng.random() < 0.6 else text

    def filled(self, template: str, style: str) -> str:
        s = subject(self.picture, self.rng, self.language)
        cs = self.coloured(s) if "cs}" in template else s
        noun = self.rng.choice(self.templates["nouns"])
        return template.format(
            s=s, a_s=article(s), cs=cs, a_cs=article(cs), noun=noun, a_noun=article(noun),
            a_s_noun=article(f"{s} {noun}"), style=style, a_style=article(style),
        )  # fmt: skip

    def coloured(self, text: str) -> str:
        """The subject with one or two of its colours before it, unless it has a colour word already."""
        names = self.picture.colours[: 1 if self.rng.random() < 0.65 else 2]
        known = (name if self.language == "en" else colour.zh[:1] for name, colour in COLOURS.items())
        if not names or any(word in text for word in known):
            return text
        return f"{colour_words(names, self.language)}{self.templates['space']}{text}"

    def keywords(self, least: int, most: int) -> list[str]:
        name = display_name(self.picture, self.language)
        words = telling_keywords(self.picture.keywords.get(self.language, ()), name)
        count = min(self.rng.randint(least, most), len(words))
        return self.rng.sample(words, count) if count >= least else []

    def skin(self) -> str:
        tone = str(self.picture.skin)
        return SKIN_ZH[tone] if self.language == "zh" else self.rng.choice(SKIN_EN).format(tone)

    def long(self, style: str) -> str:
        rng, t = self.rng, self.templates
        template = rng.choice(t["heads"])
        head = self.filled(template, style)
        style_clause = rng.choice(t["style_clauses"]).format(style=style) if style else ""
        clauses = self.clauses(coloured="cs}" in template)
        rng.shuffle(clauses)
        if self.picture.skin and rng.random() < 0.85:
            clauses.insert(0, self.skin())
        if rng.random() < 0.6:
            return fit(head + style_clause, clauses, t["joint"])
        return fit(head, clauses, t["joint"], BUDGET - size(style_clause)) + style_clause

    def clauses(self, coloured: bool) -> list[str]:
        rng, t, colours, clauses = self.rng, self.templates, self.picture.colours, list[str]()
        if colours and not coloured and rng.random() < 0.75:
            template = rng.choice(t["colours"]["many" if len(colours) > 1 else "one"])
            clauses.append(template.format(colour_words(colours, self.language)))
        if (moods := _moods(self.picture)) and rng.random() < 0.6:
            mood = rng.choice(_words(rng.choice(moods), self.language))
            clauses.append(rng.choice(t["moods"]).format(mood))
        if rng.random() < 0.6:
            clauses += self.keywords(1, 3)
        if rng.random() < 0.45:
            clauses.append(rng.choice(t["backgrounds"]))
        return clauses

    def tags(self, style: str) -> str:
        """Comma-separated tags, the way prompts for picture generators are typed in English."""
        clauses = self.clauses(coloured=False)
        if self.picture.skin:
            clauses.insert(0, f"{self.picture.skin} skin")
        noun = self.rng.choice(self.templates["nouns"])
        tail = ", ".join(filter(None, (noun, self.rng.choice((style, f"{style} style")) if style else "")))
        return fit(subject(self.picture, self.rng, "en"), clauses, ", ", BUDGET - size(tail)) + ", " + tail
