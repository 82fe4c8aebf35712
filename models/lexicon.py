"""The lexicon: closed classes of words, colours, moods and styles as data, a file a language under `assets/lexicon/`.

`concepts.toml` holds classes of concepts, which are the same in every language. Open classes (nouns, verbs, adjectives)
are in the table of words (`models.prompts.words`). A prompt may mix languages: words of all of them apply.
"""

import tomllib
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from models.assets import assets

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
    def colours(self) -> dict[str, str]:
        """The word for each colour of `models.data.colours.COLOURS`."""
        return dict(self.rows["colours"])

    @property
    def numbers(self) -> tuple[str, ...]:
        """Words for the numbers from 0."""
        return tuple(self.rows["numbers"].split("|"))

    @cached_property
    def moods(self) -> dict[str, tuple[str, ...]]:
        """By mood, adjectives of a face."""
        return self.table("moods")

    def table(self, name: str) -> dict[str, tuple[str, ...]]:
        """The words of each row of a table."""
        return {row: tuple(words.split("|")) for row, words in self.rows.get(name, {}).items()}


LEXICONS = {
    path.stem: Lexicon(tomllib.loads(path.read_text(encoding="utf-8")))
    for path in sorted(_FOLDER.glob("*.toml"))
    if path.stem != "concepts"
}
# The class of the words of each table; the row that they stand in is their value in it.
_CLASSES = {
    "colours": "colour",
    "shades": "colour",
    "stuffs": "stuff",
    "counts": "count",
    "genders": "gender",
    "skin": "skin",
    "sides": "side",
    "expressions": "state",
    "relations": "relation",
    "styles": "style",
}


@cache
def closed_classes() -> dict[str, tuple[tuple[str, str], ...]]:
    """By word or phrase of any language, its uses as (class, value): ("relation", "on"), ("colour", "red"), ("skip",
    "")."""
    uses: dict[str, dict[tuple[str, str], None]] = {}
    for lexicon in LEXICONS.values():
        tables = [(kind, "", words) for kind, words in lexicon.table("classes").items()]
        tables += [(kind, row, words) for name, kind in _CLASSES.items() for row, words in lexicon.table(name).items()]
        for mood, words in lexicon.moods.items():
            if face := CONCEPTS["moods"][mood].get("face"):
                tables.append(("state", face, tuple(word.removesuffix("的") for word in words)))
        for kind, value, words in tables:
            for word in words:
                uses.setdefault(word.lower(), {})[kind, value] = None
    return {word: tuple(pairs) for word, pairs in uses.items()}
