"""What the models know the words of: "I don't know *axolotl*; nearest: lizard, fish".

Known are the words of training captions, and those below a concept in WordNet that the semantic space puts where they
belong: among the ten concepts nearest to "hound" is a dog. Any other word is looked up: a typing error or a diminutive
lies so near to a concept that few words from outside do; what does not is unknown. Words that name no thing
(adjectives, verbs) are not asked about. All of it lies in two small files beside the weights; the pictures are needed
only to build them.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.data.splits import fraction
from models.data.text import (
    HYPERNYMS,
    HYPONYMS,
    Nouns,
    Synset,
    caption_words,
    concept_sense,
    names,
    read_synsets,
    training_captions,
)
from models.data.world import Picture, World
from models.prompts.normalise import JOINTS
from models.space import Embedder
from models.weights import part_folder, record_part

PART = "vocabulary"
NEAREST = 3  # concepts that are named
AMONG = 10  # nearest concepts that must hold a right one
CALIBRATION = 400  # outside words that the threshold is chosen on
HITS = 0.9  # share of them that lies below it
CHINESE_CAPTIONS = 40_000  # read for the pairs of characters that captions hold
LONGEST_PROMPT = 64  # words looked at: a prompt of thousands would take minutes
_ENGLISH = re.compile(r"[a-z]+(?:['’-][a-z]+)*")
_CHINESE = re.compile(r"[\u3400-\u9fff]+")


@dataclass(frozen=True)
class Unknown:
    """A word that the models were not taught, and the nearest concepts that they were."""

    word: str
    nearest: tuple[str, ...]


@dataclass(frozen=True)
class Words:
    """What needs no vector to be known.

    Attributes:
        known: English words that captions or the space taught.
        unasked: English words that name no thing.
        pairs: pairs of Chinese characters that captions hold side by side, and single ones that are names.
    """

    known: frozenset[str]
    unasked: frozenset[str]
    pairs: frozenset[str]

    def candidates(self, prompt: str) -> list[str]:
        """Words of a prompt that may be unknown, in order, each once."""
        text = prompt.lower()
        # What stands between two things is read as that, whether captions have it or not: chasing, wearing.
        english = [word for word in _ENGLISH.findall(JOINTS.sub(" ", text)) if not self._is_plain(word)]
        chinese = [part for run in _CHINESE.findall(text) for part in self._uncovered(run)]
        return list(dict.fromkeys([*english[:LONGEST_PROMPT], *chinese[:LONGEST_PROMPT]]))

    def _is_plain(self, word: str) -> bool:
        parts = re.split(r"['’-]", word)
        if len(parts) > 1:
            return all(len(part) < 2 or self._is_plain(part) for part in parts)
        return len(word) < 3 or any(form in self.known or form in self.unasked for form in _forms(word))

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


def _forms(word: str) -> list[str]:
    """A word and what it may be a form of."""
    forms = [word]
    for ending, plain in (
        ("s", ""),
        ("es", ""),
        ("ies", "y"),
        ("ing", ""),
        ("ing", "e"),
        ("ed", ""),
        ("ed", "e"),
        ("ly", ""),
    ):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            forms.append(word.removesuffix(ending) + plain)
    return forms


class Vocabulary:
    """The words of one trained space.

    Args:
        embedder: the space that the vectors were made in.
        words: what is known without asking it.
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

    def unknown(self, prompt: str) -> list[Unknown]:
        """Words of a prompt that the models were not taught, with what comes nearest in the prompt's language."""
        candidates = self.words.candidates(prompt)
        if not candidates:
            return []
        cosines = self.cosines(candidates)
        return [
            Unknown(word, self._nearest(row, "zh" if _CHINESE.match(word) else "en"))
            for word, row in zip(candidates, cosines, strict=True)
            if float(row.max()) < self.threshold or _CHINESE.match(word)  # the teacher of distances was English
        ]

    def cosines(self, words: Sequence[str]) -> Tensor:
        """(N, C) of words to the concepts."""
        return self.embedder.text(words) @ self.vectors.T

    def _nearest(self, cosines: Tensor, language: str) -> tuple[str, ...]:
        """Half of what a concept has in common with any word is taken off (after CSLS, arXiv 1710.04087, section 2.3).

        Without it "herb" and "banana" come near to everything; with all of it, what is rare does.
        """
        order = (cosines - self.common / 2).argsort(descending=True).tolist()
        ranked = dict.fromkeys(self.concepts[language][i] for i in order)
        return tuple(islice((name for name in ranked if name), NEAREST))

    @classmethod
    def build(cls, embedder: Embedder, world: World, nouns: Nouns, wordnet: Path) -> "Vocabulary":
        """From the training pictures' names, and WordNet's words in `wordnet` for the threshold."""
        pictures = {picture.concept: picture for picture in world.split("train")}
        ordered = [pictures[name] for name in sorted(pictures)]
        # Icons outside Unicode's groups have names that nobody says ("envelopedownarrowabove"): they are never named.
        english = [picture.names["en"].removesuffix(" face") if picture.group else "" for picture in ordered]
        concepts = {"en": english, "zh": [picture.names.get("zh", "") for picture in ordered]}
        words = Words(caption_words(world), _unasked(nouns, wordnet), _pairs(world))
        vocabulary = cls(embedder, words, concepts, embedder.text([p.names["en"] for p in ordered]), 1.0)
        learned = vocabulary.well_placed(_meanings(nouns, ordered, world))
        vocabulary.words = replace(words, known=words.known | learned)
        outside = [word for word in outside_words(nouns, world) if is_for_calibration(word)][:CALIBRATION]
        if outside:
            cosines = vocabulary.cosines(outside)
            vocabulary.threshold = float(np.quantile(cosines.amax(1).numpy(), HITS))
            vocabulary.common = cosines.mean(0)
        return vocabulary

    def well_placed(self, meanings: dict[str, set[int]]) -> frozenset[str]:
        """Words with one of the concepts that they mean (by row) among their AMONG nearest."""
        words = list(meanings)
        nearest = self.cosines(words).topk(min(AMONG, len(self.vectors))).indices.tolist() if words else []
        return frozenset(word for word, row in zip(words, nearest, strict=True) if meanings[word] & set(row))

    @staticmethod
    def space_of(root: Path) -> str:
        """The digest of the space that the vocabulary under `root` is of, as `save` was told; "" without one."""
        path = root / PART / "vocabulary.json"
        return str(json.loads(path.read_text(encoding="utf-8")).get("space", "")) if path.is_file() else ""

    def save(self, root: Path, space: str = "") -> Path:
        """Write `root/vocabulary` and enter it in the manifest; `space` is the digest of the parts it is of."""
        folder = root / PART
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {"vectors": self.vectors.to(torch.float16), "common": self.common.to(torch.float16)}
        save_file(tensors, folder / "vocabulary.safetensors")
        listed = {
            "space": space,
            "threshold": round(self.threshold, 4),
            "concepts": self.concepts,
            "known": sorted(self.words.known),
            "unasked": sorted(self.words.unasked),
            "pairs": sorted(self.words.pairs),
        }
        (folder / "vocabulary.json").write_text(json.dumps(listed, ensure_ascii=False), encoding="utf-8")
        record_part(PART, root)
        return folder

    @classmethod
    def load(cls, embedder: Embedder, root: Path | None = None) -> "Vocabulary":
        """The shipped vocabulary, or the one under `root`; WeightsError where it is missing or altered."""
        folder = part_folder(PART, root)
        listed = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
        words = Words(*(frozenset(listed[name]) for name in ("known", "unasked", "pairs")))
        tensors = load_file(folder / "vocabulary.safetensors")
        return cls(embedder, words, listed["concepts"], tensors["vectors"], listed["threshold"], tensors["common"])


# --- the threshold ---------------------------------------------------------------------------------------------------


def is_for_calibration(word: str) -> bool:
    """Half of all words may choose the threshold; the rates are measured on the others."""
    return fraction("calibration", word) < 0.5


def inside_words(nouns: Nouns, world: World) -> list[str]:
    """Single words below a concept in WordNet that no training caption holds, in an order without sense."""
    below = _below(nouns, _concept_senses(nouns, world))
    return _shuffled(word for one in below for word in one.words if _is_new(word, world))


def _meanings(nouns: Nouns, pictures: Sequence[Picture], world: World) -> dict[str, set[int]]:
    """The inside words, each with the rows of the concepts that it is below."""
    found: dict[str, set[int]] = {}
    for row, picture in enumerate(pictures):
        sense = concept_sense(nouns, picture)
        for one in _below(nouns, [sense]) if sense else ():
            for word in filter(lambda word: _is_new(word, world), one.words):
                found.setdefault(word, set()).add(row)
    return found


def outside_words(nouns: Nouns, world: World) -> list[str]:
    """Single words for things that are neither below nor above any concept in any of their senses."""
    senses = _concept_senses(nouns, world)
    near = {one.offset for one in [*_below(nouns, senses), *_walk(nouns, senses, HYPERNYMS)]}
    things = _below(nouns, nouns.senses("physical entity"))
    candidates = {word for one in things if one.offset not in near for word in one.words if _is_new(word, world)}
    return _shuffled(word for word in candidates if not any(sense.offset in near for sense in nouns.senses(word)))


def _concept_senses(nouns: Nouns, world: World) -> list[Synset]:
    pictures = {picture.concept: picture for picture in world.split("train")}
    return [sense for picture in pictures.values() if (sense := concept_sense(nouns, picture))]


def _below(nouns: Nouns, senses: Iterable[Synset]) -> list[Synset]:
    return _walk(nouns, senses, HYPONYMS)


def _walk(nouns: Nouns, senses: Iterable[Synset], symbols: tuple[str, ...]) -> list[Synset]:
    """Senses and all that they point to, directly or not."""
    found = {one.offset: one for one in senses}
    level = list(found.values())
    while level:
        level = [other for one in level for other in nouns.pointed(one, symbols) if other.offset not in found]
        found |= {one.offset: one for one in level}
    return list(found.values())


def _is_new(word: str, world: World) -> bool:
    return word.isalpha() and word.islower() and len(word) > 2 and not set(_forms(word)) & caption_words(world)


def _shuffled(words: Iterable[str]) -> list[str]:
    return sorted(set(words), key=lambda word: fraction("order", word))


def _unasked(nouns: Nouns, wordnet: Path) -> frozenset[str]:
    """Words that WordNet has as adjective, adverb or verb and not as something one can touch, and function words."""
    things = {word for one in _below(nouns, nouns.senses("physical entity")) for word in one.words}
    others = {
        word
        for pos in ("adj", "adv", "verb")
        for one in read_synsets(wordnet, pos)
        for word in one.words
        if word.isalpha() and word.islower()
    }
    return frozenset(others - things) | frozenset(FUNCTION_WORDS.split())


def _pairs(world: World) -> frozenset[str]:
    """Pairs of neighbouring Chinese characters in names, keywords and training captions; one-character names."""
    texts = [*names(world.split("train"), ("zh",)), *islice(training_captions(world, seed=1), CHINESE_CAPTIONS)]
    runs = {run for text in texts for run in _CHINESE.findall(text)}
    singles = {name for name in names(world.split("train"), ("zh",)) if len(name) == 1}
    return frozenset(run[i : i + 2] for run in runs for i in range(len(run) - 1)) | singles


FUNCTION_WORDS = """
about above across after against all along also although among and another any are around because been before behind
being below beneath beside between both but can could did does doing down during each either every everything few for
from had has have having her here hers him his how however into its itself just let like many may might mine more most
much must myself near neither nor not nothing off once one only onto other our ours out over own please same she should
since some something such than that the their theirs them then there these they this those though through till too
toward towards under until upon very was were what when where which while who whom whose why will with within without
would yes yet you your yours
draw make create generate design give show want need picture image photo drawing illustration cute beautiful pretty
nice style version thing stuff kind type
"""
