"""The lexicon: words of prompts and captions as data, a file a language under `assets/lexicon/`.

A file holds words, patterns made of them, and rewriting rules (`en.toml` says which); `concepts.toml` holds classes of
concepts, which are the same in every language. A prompt may mix languages, so patterns and rules of all of them apply.
"""

import re
import tomllib
from collections.abc import Callable, Iterable
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
        by_word = {word.removesuffix("的"): face for mood, face in faces.items() for word in self.moods[mood]}
        return by_word | {word: face for face, words in self.rows["expressions"].items() for word in words.split(", ")}

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
    path.stem: Lexicon(tomllib.loads(path.read_text(encoding="utf-8")))
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
    rows = [one.rows["words"][name] for one in LEXICONS.values() if name in one.rows["words"]]
    return frozenset(word for row in rows for word in row.split("|"))


@cache
def patterns(name: str) -> list[re.Pattern[str]]:
    """The patterns `name` of all languages, in the order in which they are listed."""
    rows = [(one, one.rows["patterns"].get(name, [])) for one in LEXICONS.values()]
    each = [(one, row) for one, found in rows for row in ([found] if isinstance(found, str) else found)]
    return [re.compile(one.expand(row), re.IGNORECASE) for one, row in each]


@cache
def pattern(name: str) -> re.Pattern[str]:
    """The patterns `name` of all languages as one."""
    return re.compile("|".join(one.pattern for one in patterns(name)) or "(?!)", re.IGNORECASE)


def search(name: str, text: str) -> re.Match[str] | None:
    """The first match of the patterns `name`, one after the other."""
    return next(filter(None, (one.search(text) for one in patterns(name))), None)


@cache
def _rules(stage: str) -> list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str], str]]:
    """Patterns, what takes the place of each, and what must be in the text."""
    return [
        (re.compile(one.expand(row[0]), re.IGNORECASE), _replacement(one, row[1]), "".join(row[2:]))
        for one in LEXICONS.values()
        for row in one.rows["rewrite"].get(stage, [])
    ]


def _replacement(lexicon: Lexicon, template: str) -> str | Callable[[re.Match[str]], str]:
    """The template, or what fills its {table[group]} in."""

    def fill(match: re.Match[str]) -> str:
        look_up = lambda hole: lexicon.table(hole[1])[match[int(hole[2])].lower()]  # noqa: E731
        return _LOOKUP.sub(look_up, match.expand(template))

    return fill if "[" in template else template


def rewrite(stage: str, text: str) -> str:
    """The text after all rules of a stage, language by language."""
    for rule, replacement, only_with in _rules(stage):
        if only_with in text:
            text = rule.sub(replacement, text)
    return text
