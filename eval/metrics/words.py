"""Words in no caption ("words"): are they embedded near their meaning? And does the vocabulary report words from
outside the world, and those alone ("unknown")?

English words are drawn by seed among WordNet's synonyms and hyponyms of the trained concepts; Chinese ones are a list,
written down before anything was measured. A word is right where one of its concepts is among the 10 nearest.

For the vocabulary, inside words are below a trained concept in WordNet and in no caption; outside words are neither
below nor above one, and those that chose the threshold are left out. A false alarm is an inside word that the space
does not put where it belongs, and that no near concept excuses.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from eval import sets
from eval.context import SEED, Context
from eval.generator import SPACE
from eval.metrics import metric
from eval.neighbours import cosine, places
from eval.rows import Row, missing_where, named, share_row
from models.assets import assets
from models.data.captions import Language, caption, display_name
from models.data.text import Nouns, unseen_words
from models.data.world import World
from models.prompts.build import inside_words, is_for_calibration, outside_words
from models.train.lexicon import is_held_out

NEAREST = 10
GOAL = 0.7
MORE = 5  # times as many words are drawn to tell apart those that training left out, one in ten
OUTSIDE = "hits: outside words called unknown"

Words = Mapping[str, frozenset[str]]  # word -> the concepts it means


@metric("words", "embeddings")
def word_rows(context: Context) -> Iterator[Row]:
    """Share of words with a right concept among the nearest: all drawn, those never taught as words, Chinese ones."""
    count = context.sizes.words
    more = english_words(context, MORE * count)
    # What a draw of `count` gives: a longer one goes on from it.
    yield word_row(context, f"{count} WordNet words in no caption", dict(islice(more.items(), count)), GOAL)
    apart: dict[str, Words] = {}
    for name, held_out in (("taught by the dictionary", False), ("seen in glosses and phrases at most", True)):
        words = {word: concepts for word, concepts in more.items() if is_held_out(word) is held_out}
        apart[f"of {MORE * count}, {name}"] = words
    apart["Chinese words in no caption"] = chinese_words(context.world)
    yield from (word_row(context, name, words) for name, words in apart.items() if words)


def word_row(context: Context, name: str, words: Words, goal: float | None = None) -> Row:
    """Share of words that were right; the first wrong ones are named."""
    found = concept_shares(context, words)
    note = named([word for word, value in found.items() if value < 1], 8)
    return share_row(name, np.array([*found.values()]), goal=goal, note=note, seeds=f"draw {SEED}", parts=SPACE)


@missing_where(ValueError)
def english_words(context: Context, count: int) -> Words:
    """`count` words drawn by seed; MissingError where WordNet is not there or has not that many."""
    return unseen_words(nouns_of(context.wordnet), context.world, SEED, count)


@cache
@missing_where(FileNotFoundError)
def nouns_of(folder: Path) -> Nouns:
    """WordNet's nouns, read once; MissingError without WordNet."""
    return Nouns(folder)


def chinese_words(world: World) -> Words:
    """The list in `assets/prompts/words_zh.json`, as far as the world has the concepts."""
    listed = json.loads((assets() / "prompts" / "words_zh.json").read_text(encoding="utf-8"))
    known = {picture.concept for picture in world.split("train")}
    words = {word: frozenset(concepts) & known for word, concepts in listed.items()}
    return {word: concepts for word, concepts in words.items() if concepts}


def concept_shares(context: Context, words: Words, embedder: Any = None) -> dict[str, float]:
    """For each word the chance that its nearest concepts hold a right one: 1 or 0, between where scores are equal. By
    the generator's own space, or by another embedder."""
    embedder = embedder or context.generator.weights.embedder
    concepts_of, vectors = named_concepts(context, embedder)
    scores = cosine(embedder.text(list(words)).numpy(), vectors)
    right = np.array([[concept in concepts for concept in concepts_of] for concepts in words.values()])
    return dict(zip(words, places(scores, right).recall(NEAREST).tolist(), strict=True))


@cache
def named_concepts(context: Context, embedder: Any, language: Language = "en") -> tuple[list[str], np.ndarray]:
    """Training's concepts and the vectors (C, D) of their names."""
    names = {picture.concept: display_name(picture, language) for picture in context.world.split("train")}
    return list(names), embedder.text(list(names.values())).numpy()


@metric("unknown", "vocabulary")
def unknown_rows(context: Context) -> Iterator[Row]:
    """Hits on outside words; false alarms on inside words, on captions of held-out pictures, on Chinese synonyms."""
    vocabulary = context.generator.weights.vocabulary
    for name, prompts in asked(context).items():
        if prompts:
            called = [bool(vocabulary.unknown(prompt)) for prompt in prompts]
            false = [prompt for prompt, answer in zip(prompts, called, strict=True) if answer != (name == OUTSIDE)]
            origin = {"seeds": f"captions {SEED}", "parts": (*SPACE, "vocabulary")}
            yield share_row(name, called, note=named(false, 6), **origin)


def asked(context: Context) -> dict[str, list[str]]:
    """Prompts by row of the table; of words the first of those that did not choose the threshold. MissingError without
    WordNet."""
    nouns, pictures = nouns_of(context.wordnet), sets.cells(context.world, context.sizes.gallery)
    outside, inside = (
        [word for word in of(nouns, context.world) if not is_for_calibration(word)][: context.sizes.words]
        for of in (outside_words, inside_words)
    )
    return {
        OUTSIDE: outside,
        "false alarms: inside words called unknown": inside,
        "false alarms: English captions with a word called unknown": [caption(p, SEED, "en") for p in pictures],
        "false alarms: Chinese captions": [caption(p, SEED, "zh") for p in pictures],
        "false alarms: Chinese synonyms": list(chinese_words(context.world)),
    }
