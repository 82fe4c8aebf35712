"""Captions of single pictures, worded as prompts are; and the facts that a caption states.

A caption names the concept (CLDR name, keywords, or the mood of a face), and then, as length allows, measured colours,
skin tone, mood, keywords, background and style: as a sentence, as a phrase, or as comma-separated tags. All of it is
true of the picture. A caption is a pure function of picture.id and the arguments.

`Namer` reads facts (concepts, colours, counts, relations) from texts in the wording of these captions.
"""

import functools
import json
import random
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.data.colours import COLOURS, colour_words
from models.data.grammar import (
    BUDGET,
    CHINESE_SHARE,
    LANGUAGES,
    NUMBERS,
    OPPOSITE,
    RELATIONS,
    SKIN_EN,
    SKIN_ZH,
    Language,
    Length,
    Style,
    article,
    fit,
    plural,
    size,
    spread_case,
    stream,
    style_of,
)
from models.data.scenes import Scene
from models.data.world import Picture
from models.lexicon import CONCEPTS, LEXICONS

TAGGED_KEYWORDS = 4
STYLED_SHARE = 0.6  # of captions with style None: many prompts name no style
# Templates. s: subject, cs: subject with its colour, a_...: with article, noun: emoji, sticker, icon; style: its words.
TEMPLATES: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("captions.json").read_text(encoding="utf-8"))
# Keywords without meaning for the drawing, and colours: CLDR's apple is red, the apple of a black set is not.
EMPTY_WORDS = frozenset({"face", "emoji", "ily", "xoxo", "symbol", "sign", "脸", "表情", "符号", "gray", *COLOURS}) | {
    character for colour in COLOURS.values() for character in (colour.zh, colour.zh[:-1])
}


@dataclass(frozen=True)
class Mood:
    """A mood: adjectives that fit "a ... face" in both languages, and CLDR name words or keywords (`signs`) for it."""

    en: tuple[str, ...]
    zh: tuple[str, ...]
    signs: frozenset[str]


MOODS = tuple(
    Mood(LEXICONS["en"].moods[mood], LEXICONS["zh"].moods[mood], frozenset(row["keywords"].split()))
    for mood, row in CONCEPTS["moods"].items()
)


@functools.cache
def moods_of(name: str, keywords: tuple[str, ...], group: str) -> tuple[Mood, ...]:
    """Moods of a face by its English name and keywords; empty for a picture that is no face.

    Moods in the name exclude those of the keywords: "crying face" also has the keywords "awful" and "sad".
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
    """A caption of at most about 30 byte-pair tokens; another seed gives another wording.

    None lets the seed choose the language, the length, and whether the caption names the style. A picture without a
    Chinese name has its English name in Chinese captions, too.
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
    clauses = [*colours, *rng.sample(words, min(TAGGED_KEYWORDS, len(words))), style]
    return fit(name, clauses, TEMPLATES[language]["joint"])


def subject(picture: Picture, rng: random.Random, language: Language) -> str:
    """The picture's subject without article: its name, at times shortened as people do, or its mood."""
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
    """Keywords that add to the name: no number, no abbreviation, no word of the name."""
    known = frozenset(name.lower().replace("-", " ").split()) | EMPTY_WORDS
    return tuple(
        word
        for word in keywords
        if word not in known and word != name and not word[:1].isdigit() and (len(word) > 2 or not word.isascii())
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


Fact = tuple[str, ...]  # ("thing", concept), ("colour", concept, its), ("count", concept, its), ("relation", its, a, b)
_CANONICAL = ("left of", "above", "in front of")  # of a relation and its opposite, the one that facts use
# Icons have names like "left" and "2"; in texts, such words are places and numbers.
_RELATION_WORDS = frozenset(
    re.findall(r"[a-z]+", " ".join(form for forms in RELATIONS["en"].values() for form in forms))
)
_COLOUR_WORDS: dict[str, dict[str, str]] = {
    "en": {name: name for name in COLOURS},
    "zh": {colour.zh: name for name, colour in COLOURS.items()},
}


@dataclass(frozen=True)
class Mention:
    """A name in a text: the concepts that have this name, and the text between it and the name before."""

    concepts: frozenset[str]
    before: str


class Namer:
    """Finds names of `pictures` and their plurals in texts, the longest first."""

    def __init__(self, pictures: Iterable[Picture]) -> None:
        self._concepts: dict[str, dict[str, set[str]]] = {language: defaultdict(set) for language in LANGUAGES}
        for picture in pictures:
            for language, name in picture.names.items():
                low = name.lower()
                bare = low.removesuffix(" face")
                for form in {low, bare, plural(low), plural(bare)} if language == "en" else {low}:
                    if not form.isdigit() and form not in _RELATION_WORDS:
                        self._concepts[language][form].add(picture.concept)
        self._pattern = {
            language: re.compile(_EDGES[language].format("|".join(map(re.escape, sorted(names, key=len)[::-1]))))
            for language, names in self._concepts.items()
        }

    def mentions(self, text: str, language: Language) -> Iterator[Mention]:
        """All names in a text, in order."""
        end, low = 0, text.lower()
        for match in self._pattern[language].finditer(low) if self._concepts[language] else ():
            yield Mention(frozenset(self._concepts[language][match[0]]), low[end : match.start()])
            end = match.end()

    def names(self, text: str, language: Language, concept: str) -> bool:
        """Whether the text names the concept; a Chinese text may also use its English name."""
        mentions = [mention for code in {language, LANGUAGES[0]} for mention in self.mentions(text, code)]
        return any(concept in mention.concepts for mention in mentions)

    def facts(self, text: str, language: Language, about: Collection[str] = ()) -> set[Fact]:
        """The facts that a text states. A name of several concepts stands for one in `about`, where there is one."""

        def concept(mention: Mention) -> str:
            return min(mention.concepts & set(about) or mention.concepts)

        facts: set[Fact] = set()
        for mention in self.mentions(text, language):
            name, before = concept(mention), mention.before
            facts.add(("thing", name))
            colours = [colour for word, colour in _COLOUR_WORDS[language].items() if _contains(before, word, language)]
            facts |= {("colour", name, colour) for colour in colours[-1:]}
            facts |= {
                ("count", name, str(n))
                for n in range(2, 5)
                if any(_contains(before, word, language) for word in (NUMBERS[language][n], str(n)))
            }
        for relation, first, second in self._relations(text, language):
            facts.add(relation_fact(relation, concept(first), concept(second)))
        return facts

    def _relations(self, text: str, language: Language) -> Iterator[tuple[str, Mention, Mention]]:
        low = text.lower()
        for relation, templates in RELATIONS[language].items():
            for template in templates:
                form = re.escape(template.lower())
                form = form.replace(r"\{a\}", "(?P<a>[^,，]+?)").replace(r"\{b\}", "(?P<b>[^,，]+)")
                if match := re.match(f"{form}(?:[,，.。]|$)", low):
                    first, second = (list(self.mentions(match[side], language)) for side in "ab")
                    if len(first) == len(second) == 1:
                        yield relation, first[0], second[0]


_EDGES = {"en": r"(?<![a-z])(?:{})(?![a-z])", "zh": "(?:{})"}


def _contains(text: str, word: str, language: Language) -> bool:
    return word in text if language == "zh" else re.search(rf"\b{word}\b", text) is not None


def relation_fact(relation: str, first: str, second: str) -> Fact:
    """The fact of a relation; the opposite relation of the exchanged things is the same fact."""
    if relation in _CANONICAL:
        return ("relation", relation, first, second)
    return ("relation", OPPOSITE[relation], second, first)


def scene_facts(scene: Scene) -> set[Fact]:
    """The facts of a scene that its captions state."""
    facts: set[Fact] = {("thing", item.concept) for item in scene.objects}
    facts |= {("colour", item.concept, item.colour) for item in scene.objects if item.colour}
    if scene.kind == "count" and scene.count > 1:
        facts.add(("count", scene.objects[0].concept, str(scene.count)))
    if scene.relation:
        facts.add(relation_fact(scene.relation, scene.objects[0].concept, scene.objects[1].concept))
    return facts


def f1(predicted: set[Fact], true: set[Fact]) -> float:
    """Harmonic mean of precision and recall; 1 where both are empty."""
    return 2 * len(predicted & true) / (len(predicted) + len(true)) if predicted or true else 1.0
