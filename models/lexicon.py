"""The lexicon: words of prompts and captions as data, a file a language under `assets/lexicon/`.

A file holds words, patterns made of them, and rewriting rules (`en.toml` says which); `concepts.toml` holds classes of
concepts, which are the same in every language. A prompt may mix languages, so patterns and rules of all of them apply.
"""

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from models.assets import assets

_CLASS, _LOOKUP = re.compile(r"\{([a-z_]+)\}"), re.compile(r"\{([a-z_]+)\[(\d)\]\}")
_FOLDER = assets() / "lexicon"
# By class, a set of names; or a table.
CONCEPTS: dict[str, Any] = {
    kind: frozenset(names) if isinstance(names, list) else names
    for kind, names in tomllib.loads((_FOLDER / "concepts.toml").read_text(encoding="utf-8")).items()
}


@dataclass(frozen=True)
class Lexicon:
    """The rows of one language's file, and what is derived from them."""

    language: str
    rows: dict[str, Any]

    @property
    def spaced(self) -> bool:
        """Whether words are separated by spaces."""
        return bool(self.rows["spaced"])

    @property
    def colours(self) -> dict[str, str]:
        """The word for each colour of `models.data.colours.COLOURS`."""
        return dict(self.rows["colours"])

    @property
    def numbers(self) -> tuple[str, ...]:
        """Words for the numbers from 0."""
        return tuple(self.rows["words"]["numbers"].split("|"))

    @cached_property
    def expressions(self) -> dict[str, str]:
        """By word or phrase that says how something feels, the name of the face that it then has."""
        faces = {mood: row["face"] for mood, row in CONCEPTS["moods"].items() if "face" in row}
        found = {word.removesuffix("的"): face for mood, face in faces.items() for word in self.moods[mood]}
        return found | {word: face for face, words in self.rows["expressions"].items() for word in words.split(", ")}

    @cached_property
    def moods(self) -> dict[str, tuple[str, ...]]:
        """By mood, adjectives of a face."""
        return {mood: tuple(re.split("[,，] ?", words)) for mood, words in self.rows["moods"].items()}

    def table(self, name: str) -> dict[str, str]:
        """By word, the row of a table that it stands in."""
        rows = self.rows["tables"].get(name, {})
        return {word: meant for meant, words in rows.items() for word in words.split("|")}

    @cached_property
    def _derived(self) -> dict[str, Iterable[str]]:
        styles = (word.lower() for words in self.rows["styles"].values() for word in words)
        unsaid = (*self.rows["words"]["plain"].split("|"), *self.colours.values())
        return {
            "colours": self.colours.values(),
            "expressions": [word for word in self.expressions if len(word) > 1],
            "unsaid": (*unsaid, *(word for word in styles if word.isascii() is self.spaced)),
        }

    def expand(self, pattern: str) -> str:
        """The pattern with its {classes} replaced by alternatives."""
        return _CLASS.sub(lambda found: self._alternatives(found[1]), pattern)

    def _alternatives(self, name: str) -> str:
        if name in self.rows["words"]:
            return self.expand(self.rows["words"][name])
        return any_of(self._derived.get(name) or self.table(name))


LEXICONS = {
    path.stem: Lexicon(path.stem, tomllib.loads(path.read_text(encoding="utf-8")))
    for path in sorted(_FOLDER.glob("*.toml"))
    if path.stem != "concepts"
}


def any_of(phrases: Iterable[str]) -> str:
    """A pattern of any of the phrases, the longest first; of none, one that never matches."""
    return "|".join(re.escape(phrase) for phrase in sorted(phrases, key=len, reverse=True)) or "(?!)"


@cache
def table(name: str) -> dict[str, str]:
    """A table of all languages: by word, the row that it stands in."""
    return {word: meant for one in LEXICONS.values() for word, meant in one.table(name).items()}


@cache
def expressions() -> dict[str, str]:
    """The expressions of all languages: by word, the name of a face."""
    return {word: face for one in LEXICONS.values() for word, face in one.expressions.items()}


@cache
def word_set(name: str) -> frozenset[str]:
    """The alternatives of a row of words, of all languages."""
    return frozenset(word for one in LEXICONS.values() for word in one.rows["words"].get(name, "").split("|"))


@cache
def alternatives(name: str) -> str:
    """The pattern `name` of all languages as one, uncompiled."""
    return "|".join(_each(name)) or "(?!)"


@cache
def pattern(name: str) -> re.Pattern[str]:
    """The pattern `name` of all languages as one."""
    return re.compile(alternatives(name), re.IGNORECASE)


def search(name: str, text: str) -> re.Match[str] | None:
    """The first match of the patterns `name`, tried in the order in which they are listed."""
    return next(filter(None, (one.search(text) for one in _compiled(name))), None)


@cache
def _compiled(name: str) -> list[re.Pattern[str]]:
    return [re.compile(one, re.IGNORECASE) for one in _each(name)]


def _each(name: str) -> list[str]:
    found = []
    for one in LEXICONS.values():
        rows = one.rows["patterns"].get(name, [])
        found += [one.expand(row) for row in ([rows] if isinstance(rows, str) else rows)]
    return found


@dataclass(frozen=True)
class _Rule:
    pattern: re.Pattern[str]
    replacement: str
    only_with: str
    lexicon: Lexicon

    def apply(self, text: str) -> str:
        if self.only_with not in text:
            return text
        return self.pattern.sub(self._fill if "[" in self.replacement else self.replacement, text)

    def _fill(self, match: re.Match[str]) -> str:
        def looked_up(hole: re.Match[str]) -> str:
            return self.lexicon.table(hole[1])[match[int(hole[2])].lower()]

        return _LOOKUP.sub(looked_up, match.expand(self.replacement))


@cache
def _rules(stage: str) -> list[_Rule]:
    return [
        _Rule(re.compile(one.expand(row[0]), re.IGNORECASE), row[1], "".join(row[2:]), one)
        for one in LEXICONS.values()
        for row in one.rows["rewrite"].get(stage, [])
    ]


def rewrite(stage: str, text: str) -> str:
    """The text after all rules of a stage, language by language."""
    for rule in _rules(stage):
        text = rule.apply(text)
    return text
