"""Does the vocabulary say "I don't know" to words from outside the world, and to those alone?

The outside words that chose its threshold are left out. Inside are words below a trained concept in WordNet that no
caption holds, outside are things that are neither below nor above one. The vocabulary lists the inside words that the
space puts where they belong: a false alarm is one that it does not, and that no near concept excuses.
"""

from collections.abc import Iterator

import numpy as np

from eval import sets
from eval.bench import SEED, Bench
from eval.intervals import wilson
from eval.parts import SPACE
from eval.rows import MissingError, Row
from eval.words import chinese_words, read_nouns
from models.data.captions import caption
from models.prompts.vocabulary import inside_words, is_for_calibration, outside_words

OUTSIDE = "hits: outside words called unknown"
PARTS = (*SPACE, "vocabulary")


def unknown_rows(bench: Bench) -> Iterator[Row]:
    """Hits on outside words; false alarms on inside words, on captions of held-out pictures, on Chinese synonyms."""
    vocabulary = bench.parts.vocabulary
    for name, prompts in asked(bench).items():
        if prompts:
            called = np.array([bool(vocabulary.unknown(prompt)) for prompt in prompts])
            false = [prompt for prompt, answer in zip(prompts, called, strict=True) if answer != (name == OUTSIDE)]
            yield Row(
                "unknown", name, float(called.mean()), len(prompts), interval=wilson(called.sum(), len(prompts)),
                note=f"wrong: {', '.join(false[:6])}{', ...' if len(false) > 6 else ''}" if false else "",
                seeds=f"captions {SEED}", parts=PARTS,
            )  # fmt: skip


def asked(bench: Bench) -> dict[str, list[str]]:
    """Prompts by row of the table. MissingError without WordNet."""
    try:
        nouns = read_nouns(bench.wordnet)
    except FileNotFoundError as error:
        raise MissingError(str(error)) from error
    pictures = sets.cells(bench.world, bench.sizes.gallery)
    return {
        OUTSIDE: _measured(outside_words(nouns, bench.world), bench.sizes.words),
        "false alarms: inside words called unknown": _measured(inside_words(nouns, bench.world), bench.sizes.words),
        "false alarms: English captions with a word called unknown": [caption(p, SEED, "en") for p in pictures],
        "false alarms: Chinese captions": [caption(p, SEED, "zh") for p in pictures],
        "false alarms: Chinese synonyms": list(chinese_words(bench.world)),
    }


def _measured(words: list[str], count: int) -> list[str]:
    """The first of those that did not choose the threshold."""
    return [word for word in words if not is_for_calibration(word)][:count]
