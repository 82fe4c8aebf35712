"""The table of words: what `python -m models.train.vocabulary` knows of an English or Chinese word, or of an emoji.

It is an SQLite file; a prompt asks for all its words and phrases in one query. Imports no torch.
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from models.assets import prompt_list
from models.weights import listed_parts, part_folder

PART, FILE = "words", "words.sqlite"
SCHEMA = """
CREATE TABLE concepts (number INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE words (
    text TEXT, language TEXT, pos TEXT, base TEXT, form TEXT, concepts TEXT, score REAL, origin TEXT, frequency REAL,
    PRIMARY KEY (text, language)
) WITHOUT ROWID;
"""
DRAWN = 0.25  # score from which a word is drawn as its concept; below it the concepts are suggestions
NAMED = 0.9  # score from which a word names its concept or a kind of it
CHUNK = 500  # texts a query: SQLite takes 32,766 parameters


@dataclass(frozen=True)
class Word:
    """A row of the table.

    Attributes:
        text: the word or phrase, in small letters; of an emoji its characters without variation selectors and skin
        tones.
        language: "en", "zh" or "emoji".
        pos: parts of speech, the commonest first: n noun, v verb, a adjective, r adverb.
        base: the word that it is a form of, itself if none.
        form: "s" of a plural or a third person, "ing", "ed"; "" of a base.
        concepts: English names of concepts: what is drawn for it, then the next nearest.
        score: probability, 0 to 1, that the first of them is right.
        origin: "cldr" (a name), "label" (an annotator), "association" (an annotator: it stands for the word, as a party
            popper for a party), "scorer", "wordfreq" (nothing is drawn for it), or "cc-cedict" (by its English
            glosses).
        frequency: Zipf's, 0 to 8: log10 of its occurrences in 10^9 words.
    """

    text: str
    language: str
    pos: str
    base: str
    form: str = ""
    concepts: tuple[str, ...] = ()
    score: float = 0.0
    origin: str = ""
    frequency: float = 0.0

    @property
    def is_drawn(self) -> bool:
        """Whether it names something that can be drawn."""
        return self.score >= DRAWN and bool(self.concepts)

    @property
    def names_thing(self) -> bool:
        """Whether it is a noun first of all, or a person calls a thing so."""
        return self.is_drawn and (self.pos[:1] == "n" or ("n" in self.pos and self.origin in ("cldr", "label")))


class WordTable:
    """Looks words up in the file at `path`. Threads may share it."""

    def __init__(self, path: Path) -> None:
        self._file = sqlite3.connect(f"{path.resolve().as_uri()}?immutable=1", uri=True, check_same_thread=False)
        self._names = [name for (name,) in self._file.execute("SELECT name FROM concepts ORDER BY number")]

    @classmethod
    def load(cls, root: Path | None = None) -> "WordTable":
        """The table under `root`, or the one that ships where there is none; WeightsError where it is altered."""
        return cls(part_folder(PART, root if root and PART in listed_parts(root) else None) / FILE)

    def look_up(self, texts: Iterable[str]) -> dict[str, Word]:
        """Those of `texts`, in small letters, that the table has."""
        distinct, rows = list(dict.fromkeys(texts)), dict[str, Word]()
        for start in range(0, len(distinct), CHUNK):
            some = distinct[start : start + CHUNK]
            query = f"SELECT * FROM words WHERE text IN ({','.join('?' * len(some))})"
            for text, language, pos, base, form, numbers, *rest in self._file.execute(query, some):
                concepts = tuple(self._names[int(number)] for number in numbers.split())
                rows[text] = Word(text, language, pos, base or text, form, concepts, *rest)
        return rows

    def most_used(self) -> dict[str, int]:
        """The concepts of the most used emoji, with their places among them, the first 0."""
        signs = [sign.replace("\ufe0f", "") for sign in prompt_list("frequent")]
        used = self.look_up(signs)
        return {used[sign].concepts[0]: place for place, sign in enumerate(signs) if sign in used}

    def names(self, language: str) -> dict[str, str]:
        """Words and phrases that name a concept or a kind of it, each with the concept."""
        query = "SELECT text, concepts FROM words WHERE language = ? AND form = '' AND score >= ? AND concepts > ''"
        rows = self._file.execute(query, (language, NAMED))
        return {text: self._names[int(numbers.split()[0])] for text, numbers in rows}
