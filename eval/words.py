"""Words that no caption taught: do they land near their meaning?

English words are drawn by seed among WordNet's synonyms and hyponyms of the trained concepts; Chinese ones are a list,
written down before anything was measured. A word is right where one of its concepts is among the 10 nearest.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np

from eval.bench import SEED, Bench
from eval.intervals import wilson
from eval.parts import SPACE
from eval.ranks import cosine, places
from eval.rows import MissingError, Row
from models.assets import assets
from models.data.text import Nouns, unseen_words
from models.data.world import World
from models.train.lexicon import is_held_out

NEAREST = 10
GOAL = 0.7
MORE = 5  # times as many words are drawn to tell apart those that training left out, one in ten

Words = Mapping[str, frozenset[str]]  # word -> the concepts it means


def word_rows(bench: Bench) -> Iterator[Row]:
    """Share of words with a right concept among the nearest: all drawn, those never taught as words, Chinese ones."""
    count = bench.sizes.words
    more = english_words(bench, MORE * count)
    first = dict(islice(more.items(), count))  # what a draw of `count` gives: a longer one goes on from it
    asked: list[tuple[str, Words, float | None]] = [(f"{count} WordNet words in no caption", first, GOAL)]
    for name, held_out in (("taught by the dictionary", False), ("seen in glosses and phrases at most", True)):
        words = {word: concepts for word, concepts in more.items() if is_held_out(word) is held_out}
        asked.append((f"of {MORE * count}, {name}", words, None))
    asked.append(("Chinese words in no caption", chinese_words(bench.world), None))
    yield from (word_row(name, concept_shares(bench, words), goal) for name, words, goal in asked if words)


def word_row(name: str, found: Mapping[str, float], goal: float | None = None) -> Row:
    """Share of words that were right; the first wrong ones are named."""
    values = np.array([*found.values()])
    wrong = [word for word, value in found.items() if value < 1]
    return Row(
        "words", name, float(values.mean()), len(values), interval=wilson(values.sum(), len(values)), goal=goal,
        note=f"wrong: {', '.join(wrong[:8])}{', ...' if len(wrong) > 8 else ''}" if wrong else "",
        seeds=f"draw {SEED}", parts=SPACE,
    )  # fmt: skip


def english_words(bench: Bench, count: int) -> Words:
    """`count` words drawn by seed; MissingError where WordNet is not there or has not that many."""
    try:
        return unseen_words(read_nouns(bench.wordnet), bench.world, SEED, count)
    except (FileNotFoundError, ValueError) as error:
        raise MissingError(str(error)) from error


@cache
def read_nouns(folder: Path) -> Nouns:
    """WordNet's nouns, read once."""
    return Nouns(folder)


def chinese_words(world: World) -> Words:
    """The list in `assets/prompts/words_zh.json`, as far as the world has the concepts."""
    listed = json.loads((assets() / "prompts" / "words_zh.json").read_text(encoding="utf-8"))
    known = {picture.concept for picture in world.split("train")}
    words = {word: frozenset(concepts) & known for word, concepts in listed.items()}
    return {word: concepts for word, concepts in words.items() if concepts}


def concept_shares(bench: Bench, words: Words) -> dict[str, float]:
    """For each word the chance that its nearest concepts hold a right one: 1 or 0, between where scores are equal."""
    names = concept_names(bench.world)
    embedder = bench.parts.embedder
    scores = cosine(embedder.text(list(words)).numpy(), embedder.text(list(names.values())).numpy())
    right = np.array([[concept in concepts for concept in names] for concepts in words.values()])
    return dict(zip(words, places(scores, right).recall(NEAREST).tolist(), strict=True))


def concept_names(world: World) -> dict[str, str]:
    """English name of each trained concept."""
    return {picture.concept: picture.names["en"] for picture in world.split("train")}
