"""Which words of a prompt the models know, and which words the drawing leaves out.

"I don't know *axolotl*; nearest: lizard, fish". Known are the words of training captions, and those below a concept in
WordNet that the semantic space puts where they belong: among the ten concepts nearest to "hound" is a dog. Any other
word is looked up: a typing error or a diminutive lies so near to a concept that few words from outside do; what does
not is unknown. Words that name no thing (adjectives, verbs) are not looked up. All data lies in two small files beside
the weights.

A word is left out where neither the description of the drawing nor the names of what it shows hold it: "a dancing
banana" is drawn as a banana, so "dancing" is left out.
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, islice
from pathlib import Path

import torch
from torch import Tensor

from models.data.grammar import regular
from models.lexicon import pattern, table, word_set
from models.prompts.normalise import (
    JOINTS,
    core,
    recoloured,
    with_amounts,
    without_background,
    without_lettering,
    without_transparency,
    words_of,
)
from models.prompts.parsed import Concept, ParsedPrompt
from models.prompts.weighting import plain
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
        similarities, order = (cosines - self.common / 2).sort(descending=True)
        ranked = dict.fromkeys(
            self.concepts[language][i] for i in order[similarities >= NEAR.get(language, math.inf)].tolist()
        )
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


LONGEST = 8  # characters of a name that is looked for
_HYPHENED = re.compile(r"[a-z]+(?:-[a-z]+)*")


def left_out(parsed: ParsedPrompt, concepts: list[Concept], is_name: Callable[[str], object]) -> tuple[str, ...]:
    """Words of `parsed.text`, in order, that nothing of the drawing says; none of a prompt that is read word for word.

    `concepts` are those that are drawn; `is_name` tells names of concepts. Colours, numbers, styles and grounds have
    marks of their own in the drawing and are no content words; English is compared by word forms, Chinese by the
    phrases that the concepts are called.
    """
    if parsed.literal:
        return ()
    text, drawn = _content(parsed.text), _drawn(parsed) if concepts else ""
    names = {word for one in parsed.entities for word in words_of(one.name)}
    drawn_words = names.union(*(concept.words for concept in concepts), words_of(drawn))
    drawn_forms = {form for word in drawn_words for form in forms(word)}
    costumes = {word for phrase in table("costumes") for word in phrase.split()}  # drawn as who wears them
    grammar = word_set("function") | word_set("places") | word_set("mix") | costumes
    words = (word for word in _HYPHENED.findall(text) if len(word) > 2 and word not in grammar)
    english = [word for word in words if not drawn_forms.intersection((*forms(word), *words_of(word)))]
    phrases = {name for one in parsed.entities for name in (one.name, core(one.name))}.union(
        *(one.chinese_phrases for one in concepts)
    )
    if drawn != parsed.text:  # else it is the prompt itself that is encoded, and says nothing of what is drawn
        phrases.update(drawn.split())
    runs = _runs(JOINTS.sub(" ", text) if parsed.layout else text, phrases, is_name)
    return tuple(dict.fromkeys([*english, *runs]))


def _drawn(parsed: ParsedPrompt) -> str:
    """What the drawing shows, in words; of several drawings theirs, and what can be shown by putting them together."""
    parts = [*(one for _, one in parsed.blend), *(parsed.layout.prompts if parsed.layout else ())]
    if not parts:
        return parsed.description.lower()
    text = parsed.text if parsed.blend else parsed.description  # a blend shows an expression that its parts don't name
    together = (found[0] for found in pattern("laid_out").finditer(text.lower()))
    return " ".join([*(one.description.lower() for one in parts), *together])


def not_drawn(parsed: ParsedPrompt, vocabulary: Vocabulary) -> list[tuple[str, tuple[str, ...]]]:
    """What the drawing leaves out of a prompt, each with the nearest concepts where it is a word that was never taught;
    where nothing of the prompt is known, that is all of it. Of a prompt that is read word for word, unknown words."""
    if parsed.literal:
        return vocabulary.unknown(plain(without_lettering(parsed.text)))
    if not parsed.entities and parsed.left_out:
        words = core(_content(parsed.text))
        return [(words, vocabulary.nearest(words))]
    unknown = dict(vocabulary.unknown(" ".join(parsed.left_out)))
    return [(word, unknown.get(word, ())) for word in parsed.left_out]


def _content(prompt: str) -> str:
    """The prompt in small letters without lettering, ground, size, and what says nothing of a thing."""
    text = pattern("denied").sub(" ", without_background(without_transparency(without_lettering(prompt))).lower())
    text = with_amounts(recoloured(regular(text)))
    return core(pattern("on_body").sub(" ", pattern("small").sub(" ", text)))


def _runs(text: str, phrases: set[str], is_name: Callable[[str], object]) -> Iterator[str]:
    """Parts of runs of Chinese characters that share no two characters in a row with any of the phrases. One alone is
    grammar more often than a word, unless it is a name (伞) or listed as a word (旧)."""
    grammar, alone = word_set("function"), word_set("alone")
    for run in CHINESE.findall(text):
        covered = [character in grammar or character in phrases for character in run]
        for start, end in combinations(range(len(run) + 1), 2):
            if 1 < end - start <= LONGEST and any(run[start:end] in phrase for phrase in phrases):
                covered[start:end] = [True] * (end - start)
        left = "".join(" " if is_covered else character for character, is_covered in zip(run, covered, strict=True))
        yield from (part for part in left.split() if len(part) > 1 or part in alone or is_name(part))
