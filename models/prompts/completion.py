"""Completes the word that a prompt ends with, and replaces unknown words by what can be drawn. Imports no torch.

Words are the names of concepts and of kinds of them (the table of words), colours and moods, in both languages. Those
of the most used emoji (`assets/prompts/frequent.txt`) come first, then the shortest.
"""

import re
from collections import Counter
from functools import cache
from itertools import chain, islice

from models.data.grammar import Language, article, language_of
from models.lexicon import LEXICONS, closed_classes
from models.prompts.parsed import Part, Reading
from models.prompts.words import WordTable
from models.weights import part_folder, read_json

COUNT = 3  # completions
LETTERS = 2  # of an English word before it is completed
LAST = 1_000  # rank of what is not among the most used
_WORDS = {"en": re.compile(r"[a-z][a-z' -]*"), "zh": re.compile(r"[\u3400-\u9fff]+")}
_TAILS = {"en": re.compile(r"(?:[a-z'-]+ ){0,2}[a-z'-]+$"), "zh": re.compile(r"[\u3400-\u9fff]{1,3}$")}


def complete(text: str, count: int = COUNT) -> list[str]:
    """`text` with the word that it ends with completed, in at most `count` ways; [] after a whole word."""
    language = language_of(text)
    begun = _begun_word(text, language)
    completed = (text + word[len(begun) :] for word in completions(language) if begun and word.startswith(begun))
    return list(islice(completed, count))


def _begun_word(text: str, language: Language) -> str:
    """The longest end of `text` that begins a word and is none itself; "" where there is none."""
    tail, words = _TAILS[language].search(text[-40:].lower()), completions(language)
    if tail is None:
        return ""
    for start in re.finditer(r"(?<![a-z'-])[a-z'-]|[\u3400-\u9fff]", tail[0]):
        end = tail[0][start.start() :]
        if end in words or end in closed_classes():
            return ""
        if (language == "zh" or len(end) >= LETTERS) and any(word.startswith(end) for word in words):
            return end
    return ""


@cache
def completions(language: Language) -> dict[str, None]:
    """The words of a language, those of one or two words first, the most used of them first."""
    lexicon, is_word, table = LEXICONS[language], _WORDS[language].fullmatch, WordTable.load()
    rank = table.most_used()
    words = {word: rank.get(concept, LAST) for word, concept in table.names(language).items()}
    words |= dict.fromkeys([*lexicon.colours.values(), *chain.from_iterable(lexicon.moods.values())], LAST)
    ranked = {word.lower(): (word.count(" ") > 1, place, len(word), word) for word, place in words.items()}
    return dict.fromkeys(sorted(filter(is_word, ranked), key=lambda word: ranked[word]))


def members(kind: str, language: Language) -> list[str]:
    """Things of a kind, as "fruits", the most used of them first: those with that keyword, in the group of most of
    them; or the words of a class of the lexicon, as "colours"; [] of a kind that nothing is of."""
    lexicon, table = LEXICONS[language], WordTable.load()
    for name, words in lexicon.table("lists").items():
        if kind in words:
            return list(dict.fromkeys(chain.from_iterable(lexicon.table(name).values())))
    known = read_json(part_folder("wording") / "wording.json")["known"]
    kinds, rank = (
        {kind, kind.removesuffix("s"), *(row.base for row in table.look_up([kind]).values())},
        table.most_used(),
    )
    things = [row for row in known if kinds & {*row["keywords"]} and row["group"] and language in row["names"]]
    group = Counter(row["group"] for row in things).most_common(1)
    ranked = sorted(things, key=lambda row: rank.get(row["names"]["en"][0], LAST))
    return [row["names"][language][0] for row in ranked if row["group"] == group[0][0]]


def with_nearest(reading: Reading) -> list[str]:
    """Prompts with the nearest things that can be drawn in the place of each unknown word of a prompt that was read, or
    in the place of all of it where it names nothing; [] where none is near."""
    unknown = [part for part in reading.parts if part.state == "unknown"]
    replaced = (_replaced(reading.text, part, name) for part in unknown for name in part.nearest)
    return list(dict.fromkeys([*reading.instead, *replaced]))


def _replaced(text: str, part: Part, name: str) -> str:
    """`text` with `name` for a part of it, and the article that goes with it."""
    before, after = text[: part.start], text[part.start + len(part.text) :]
    alone = re.sub(r"\ban? $", "", before, flags=re.IGNORECASE)
    return before + name + after if alone == before else alone + article(name) + after
