"""What the models know the words of: "I don't know *axolotl*; nearest: lizard, fish".

Known are the words of training captions, and those below a concept in WordNet that the semantic space puts where they
belong: among the ten concepts nearest to "hound" is a dog. Any other word is looked up: a typing error or a diminutive
lies so near to a concept that few words from outside do; what does not is unknown. Words that name no thing
(adjectives, verbs) are not asked about. All of it lies in two small files beside the weights; the pictures are needed
only to build them.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from models.prompts.normalise import JOINTS
from models.space import Embedder
from models.weights import load_table, of_split, save_table

PART = "vocabulary"
NEAREST = 3  # concepts that are named
# What they reach at least, by language, as `_nearest` counts: of 47 untaught English words below it three had a kin
# among them, of six above it five. Of Chinese ones near is no better than far (元宵 lies near a dollar): none is named.
NEAR = {"en": 0.53}
LONGEST_PROMPT = 64  # words looked at: a prompt of thousands would take minutes
ENDINGS = {"s": ("",), "es": ("",), "ies": ("y",), "ing": ("", "e"), "ed": ("", "e"), "ly": ("",)}  # and without
_ENGLISH = re.compile(r"[a-z]+(?:['’-][a-z]+)*")
CHINESE = re.compile(r"[\u3400-\u9fff]+")


@dataclass(frozen=True)
class Words:
    """What needs no vector to be known."""

    known: frozenset[str]  # English words that captions or the space taught
    unasked: frozenset[str]  # English words that name no thing
    pairs: frozenset[str]  # pairs of Chinese characters that captions hold, and single ones that are names

    def candidates(self, prompt: str) -> list[str]:
        """Words of a prompt that may be unknown, in order, each once."""
        text = prompt.lower()
        # What stands between two things is read as that, whether captions have it or not: chasing, wearing.
        english = [word for word in _ENGLISH.findall(JOINTS.sub(" ", text)) if not self._is_plain(word)]
        chinese = [part for run in CHINESE.findall(text) for part in self._uncovered(run)]
        return list(dict.fromkeys([*english[:LONGEST_PROMPT], *chinese[:LONGEST_PROMPT]]))

    def _is_plain(self, word: str) -> bool:
        parts = re.split(r"['’-]", word)
        if len(parts) > 1:
            return all(len(part) < 2 or self._is_plain(part) for part in parts)
        return len(word) < 3 or any(form in self.known or form in self.unasked for form in forms(word))

    def _uncovered(self, run: str) -> list[str]:
        """Parts of a run of Chinese characters that no known pair covers. Chinese has no spaces: 一只蝾螈 holds the
        known pair 一只, and 蝾螈 is left. A single character that is left and that captions know from other words is
        grammar more often than a thing (里, 会, 戴)."""
        covered = [character in self.pairs for character in run]
        for i in range(len(run) - 1):
            if run[i : i + 2] in self.pairs:
                covered[i] = covered[i + 1] = True
        marked = "".join(" " if known else character for character, known in zip(run, covered, strict=True))
        return [part for part in marked.split() if len(part) > 1 or part not in self._characters]

    @cached_property
    def _characters(self) -> frozenset[str]:
        return frozenset("".join(self.pairs))


def forms(word: str) -> list[str]:
    """A word and what it may be a form of."""
    ends = ((ending, plain) for ending, each in ENDINGS.items() for plain in each)
    stems = [word.removesuffix(end) + plain for end, plain in ends if word.endswith(end) and len(word) - len(end) >= 3]
    return [word, *stems]


class Vocabulary:
    """The words of one trained space: what is known without asking its `embedder`, and what is not.

    Args:
        concepts: names of the concepts by language, row by row; "" where a language has none.
        vectors: (C, 128) of the English names.
        threshold: a word whose cosine to every concept is lower is unknown.
        common: (C,) mean cosine of words from outside to each concept; None where nothing is known of it.
    """

    def __init__(
        self,
        embedder: Embedder,
        words: Words,
        concepts: dict[str, list[str]],
        vectors: Tensor,
        threshold: float,
        common: Tensor | None = None,
    ) -> None:
        self.embedder, self.words, self.concepts = embedder, words, concepts
        self.vectors, self.threshold = vectors.float(), threshold
        self.common = torch.zeros(len(vectors)) if common is None else common.float()

    def unknown(self, prompt: str) -> list[tuple[str, tuple[str, ...]]]:
        """Words of a prompt that the models were not taught, each with the nearest concepts in its language."""
        candidates = self.words.candidates(prompt)
        if not candidates:
            return []
        cosines = self.cosines(candidates)
        return [
            (word, self._nearest(row, "zh" if CHINESE.match(word) else "en"))
            for word, row in zip(candidates, cosines, strict=True)
            if float(row.max()) < self.threshold or CHINESE.match(word)  # the teacher of distances was English
        ]

    def nearest(self, text: str) -> tuple[str, ...]:
        """The concepts that a text lies near to, in its language; none where none is near."""
        return self._nearest(self.cosines([text])[0], "zh" if CHINESE.search(text) else "en")

    def cosines(self, words: Sequence[str]) -> Tensor:
        """(N, C) of words to the concepts."""
        return self.embedder.text(words) @ self.vectors.T

    def _nearest(self, cosines: Tensor, language: str) -> tuple[str, ...]:
        """Half of what a concept has in common with any word is taken off (after CSLS, arXiv 1710.04087, section 2.3).
        Without it "herb" and "banana" come near to everything; with all of it, what is rare does."""
        own, order = (cosines - self.common / 2).sort(descending=True)
        ranked = dict.fromkeys(self.concepts[language][i] for i in order[own >= NEAR.get(language, math.inf)].tolist())
        return tuple(islice((name for name in ranked if name), NEAREST))

    def save(self, root: Path, space: str = "", split: str = "") -> Path:
        """Write the part and enter it in the manifest; `space` is the digest of the parts it is of, `split` that of its
        pictures."""
        tensors = {"vectors": self.vectors.to(torch.float16), "common": self.common.to(torch.float16)}
        words = {name: sorted(found) for name, found in vars(self.words).items() if not name.startswith("_")}
        listed = {"space": space, "threshold": round(self.threshold, 4), "concepts": self.concepts, **words}
        return save_table(of_split(PART, split), root, tensors, listed)

    @classmethod
    def load(cls, embedder: Embedder, root: Path | None = None, split: str = "") -> "Vocabulary":
        """The shipped vocabulary, or the one under `root`; WeightsError where it is missing or altered."""
        tensors, listed = load_table(of_split(PART, split), root)
        words = Words(*(frozenset(listed[name]) for name in ("known", "unasked", "pairs")))
        return cls(embedder, words, listed["concepts"], tensors["vectors"], listed["threshold"], tensors["common"])
