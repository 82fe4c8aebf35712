"""Builds what prompts are read with: the parser's names and the vocabulary, from the training pictures and WordNet."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from models.data.captions import caption
from models.data.scenes import THINGS
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
from models.data.world import Picture, World, fraction, pictures_by_concept
from models.lexicon import word_set
from models.prompts.linker import EntityLinker
from models.prompts.normalise import words_of
from models.prompts.parsed import Concept
from models.prompts.parser import PromptParser
from models.prompts.vocabulary import CHINESE, Vocabulary, Words, forms
from models.space import Embedder

AMONG = 10  # nearest concepts that must hold a right one
CALIBRATION = 400  # outside words that the threshold is chosen on
HITS = 0.9  # share of them that lies below it
CHINESE_CAPTIONS = 40_000  # read for the pairs of characters that captions hold
READ = 8  # pictures of a concept, and captions of each, that are read for what captions say
COMMON = 0.02  # share of the concepts of a group whose captions hold a word that is said of all of them


def build_parser(embedder: Embedder, world: World) -> PromptParser:
    """From the training pictures' names and keywords."""
    by_concept = pictures_by_concept(world)
    concepts = [_concept(pictures) for pictures in by_concept.values()]
    names = [name for one in concepts for of_language in one.names.values() for name in of_language]
    vectors = torch.cat([embedder.text(names[i : i + 64]) for i in range(0, len(names), 64)])
    return PromptParser(embedder, EntityLinker(concepts, vectors), _common(by_concept))


def _concept(pictures: Sequence[Picture]) -> Concept:
    """Names that are one Latin letter or digit name nothing."""
    names: dict[str, dict[str, None]] = defaultdict(dict)
    for picture in sorted(pictures, key=lambda picture: bool(picture.skin) + bool(picture.gender)):
        for language, name in picture.names.items():
            if len(name) > 1 or not name.isascii():
                names[language][name] = None
    keywords = {word: None for p in pictures for words in p.keywords.values() for word in words if len(word) > 1}
    by_language = {language: tuple(of_language) for language, of_language in names.items()}
    group = pictures[0].group
    return Concept(by_language or {"en": (pictures[0].concept,)}, tuple(keywords), group, group in THINGS)


def _common(by_concept: Mapping[str, Sequence[Picture]]) -> dict[str, frozenset[str]]:
    """By group, the words in captions of COMMON of its concepts."""
    holds: dict[str, Counter[str]] = defaultdict(Counter)
    sizes = Counter(pictures[0].group for pictures in by_concept.values())
    for pictures in by_concept.values():
        captions = (caption(picture, seed) for picture in pictures[:READ] for seed in range(READ))
        holds[pictures[0].group].update({word for text in captions for word in words_of(text)})
    return {
        group: frozenset(word for word, count in words.items() if count >= max(2, COMMON * sizes[group]))
        for group, words in holds.items()
    }


def build_vocabulary(embedder: Embedder, world: World, nouns: Nouns, wordnet: Path) -> Vocabulary:
    """From the training pictures' names, and WordNet's words in `wordnet` for the threshold."""
    ordered = _concepts(world)
    # Icons outside Unicode's groups have names that nobody says ("envelopedownarrowabove"): they are never named.
    english = [picture.names["en"].removesuffix(" face") if picture.group else "" for picture in ordered]
    concepts = {"en": english, "zh": [picture.names.get("zh", "") for picture in ordered]}
    words = Words(caption_words(world), _unasked(nouns, wordnet), _pairs(world))
    vocabulary = Vocabulary(embedder, words, concepts, embedder.text([p.names["en"] for p in ordered]), 1.0)
    learned = well_placed(vocabulary, _meanings(nouns, ordered, world))
    vocabulary.words = replace(words, known=words.known | learned)
    outside = [word for word in outside_words(nouns, world) if is_for_calibration(word)][:CALIBRATION]
    if outside:
        cosines = vocabulary.cosines(outside)
        vocabulary.threshold = float(np.quantile(cosines.amax(1).numpy(), HITS))
        vocabulary.common = cosines.mean(0)
    return vocabulary


def well_placed(vocabulary: Vocabulary, meanings: dict[str, set[int]]) -> frozenset[str]:
    """Words with one of the concepts that they mean (by row) among their AMONG nearest."""
    words = list(meanings)
    nearest = vocabulary.cosines(words).topk(min(AMONG, len(vocabulary.vectors))).indices.tolist() if words else []
    return frozenset(word for word, row in zip(words, nearest, strict=True) if meanings[word] & set(row))


def is_for_calibration(word: str) -> bool:
    """Half of all words may choose the threshold; the rates are measured on the others."""
    return fraction("calibration", word) < 0.5


def inside_words(nouns: Nouns, world: World) -> list[str]:
    """Single words below a concept in WordNet that no training caption holds, in an order without sense."""
    return _shuffled(_meanings(nouns, _concepts(world), world))


def _meanings(nouns: Nouns, pictures: Sequence[Picture], world: World) -> dict[str, set[int]]:
    """The inside words, each with the rows of the concepts that it is below."""
    meanings: dict[str, set[int]] = {}
    for row, picture in enumerate(pictures):
        sense = concept_sense(nouns, picture)
        for synset in _below(nouns, [sense]) if sense else ():
            for word in filter(lambda word: _is_new(word, world), synset.words):
                meanings.setdefault(word, set()).add(row)
    return meanings


def outside_words(nouns: Nouns, world: World) -> list[str]:
    """Single words for things that are neither below nor above any concept in any of their senses."""
    senses = [sense for picture in _concepts(world) if (sense := concept_sense(nouns, picture))]
    near = {one.offset for one in [*_below(nouns, senses), *_below(nouns, senses, HYPERNYMS)]}
    things = _below(nouns, nouns.senses("physical entity"))
    candidates = {word for one in things if one.offset not in near for word in one.words if _is_new(word, world)}
    return _shuffled(word for word in candidates if not any(sense.offset in near for sense in nouns.senses(word)))


def _concepts(world: World) -> list[Picture]:
    """A training picture of each concept, in the order of the rows."""
    pictures = {picture.concept: picture for picture in world.split("train")}
    return [pictures[name] for name in sorted(pictures)]


def _below(nouns: Nouns, senses: Iterable[Synset], symbols: tuple[str, ...] = HYPONYMS) -> list[Synset]:
    """Senses and all that are below them, or that they point to by other symbols."""
    below = {one.offset: one for one in senses}
    level = list(below.values())
    while level:
        level = [other for one in level for other in nouns.pointed(one, symbols) if other.offset not in below]
        below |= {one.offset: one for one in level}
    return list(below.values())


def _is_new(word: str, world: World) -> bool:
    return word.isalpha() and word.islower() and len(word) > 2 and not set(forms(word)) & caption_words(world)


def _shuffled(words: Iterable[str]) -> list[str]:
    return sorted(set(words), key=lambda word: fraction("order", word))


def _unasked(nouns: Nouns, wordnet: Path) -> frozenset[str]:
    """Words that WordNet has as adjective, adverb or verb and not as something one can touch, and function words."""
    things = {word for one in _below(nouns, nouns.senses("physical entity")) for word in one.words}
    others = {word for pos in ("adj", "adv", "verb") for one in read_synsets(wordnet, pos) for word in one.words}
    return frozenset(word for word in others - things if word.isalpha() and word.islower()) | word_set("function")


def _pairs(world: World) -> frozenset[str]:
    """Pairs of neighbouring Chinese characters in names, keywords and training captions; one-character names."""
    texts = [*names(world.split("train"), ("zh",)), *islice(training_captions(world, seed=1), CHINESE_CAPTIONS)]
    runs = {run for text in texts for run in CHINESE.findall(text)}
    singles = {name for name in names(world.split("train"), ("zh",)) if len(name) == 1}
    return frozenset(run[i : i + 2] for run in runs for i in range(len(run) - 1)) | singles
