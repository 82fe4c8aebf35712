"""Text to learn language from: WordNet's words, senses and glosses, and captions without end.

WordNet's files are read as they are distributed (`wndb(5WN)`): a line of `data.<pos>` is one synset, a line of
`index.<pos>` lists a word's synsets, commonest first. Functions take the folder that holds these files.
"""

import functools
import itertools
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.data import captions, clips, grammar
from models.data.captions import caption
from models.data.clips import motion_caption
from models.data.colours import NAMES
from models.data.grammar import stream
from models.data.scenes import make_scene
from models.data.world import Picture, Sampler, World
from models.lexicon import CONCEPTS

PARTS_OF_SPEECH = ("noun", "verb", "adj", "adv")
_POINTED = {"n": "noun", "v": "verb", "a": "adj", "s": "adj", "r": "adv"}
# WordNet marks slurs and obscenities in their glosses. They are left out.
_OFFENSIVE = re.compile(r"slur|offensive|disparag|obscen|derogat|vulgar|taboo", re.IGNORECASE)
# Lexicographer files (lexnames(5WN)) of things that can be drawn, and those that belong to a CLDR group: among the
# animals, "seal" is not the stamp.
_ANIMAL, _ARTIFACT, _BODY, _FOOD, _OBJECT, _PHENOMENON, _PLANT = 5, 6, 8, 13, 17, 19, 20
_GROUP_FILES = {
    "animals-nature": (_ANIMAL, _PLANT),
    "food-drink": (_FOOD, _PLANT, _ARTIFACT),
    "travel-places": (_ARTIFACT, _OBJECT, _PHENOMENON),
    "activities": (_ARTIFACT, _OBJECT),
    "objects": (_ARTIFACT, _OBJECT, _BODY),
    "people-body": (18, _BODY),
}
MAX_RELATED = 300  # a concept with more words ("person") is too general
HYPERNYMS, HYPONYMS = ("@", "@i"), ("~", "~i")  # pointer symbols; the second one is for instances (Everest, a mountain)
# Kinds of training texts with their shares: captions of pictures, scenes and motions, bare names.
SOURCES = ("caption", "scene", "motion", "name")
SOURCE_WEIGHTS = (0.55, 0.2, 0.15, 0.1)


@dataclass(frozen=True)
class Synset:
    """One sense: the words that share it, its gloss, pointers (symbol, pos, offset) to other senses, and the number of
    the lexicographer file it is in, which says what kind of thing it is (5 animal, 13 food...)."""

    offset: int
    pos: str
    file: int
    words: tuple[str, ...]
    gloss: str
    pointers: tuple[tuple[str, str, int], ...]

    @property
    def offensive(self) -> bool:
        return _OFFENSIVE.search(self.gloss) is not None


def wordnet_folder(data_folder: Path) -> Path:
    """Where the build unpacks WordNet inside the world's folder."""
    return data_folder / "text" / "wordnet" / "dict"


def read_lines(folder: Path, name: str) -> Iterator[str]:
    """Lines of a file without the indented licence at its top. FileNotFoundError names the command that fetches it."""
    if not (folder / name).exists():
        raise FileNotFoundError(f"no WordNet at {folder / name}; fetch it with: python -m models.data build")
    with (folder / name).open(encoding="utf-8") as file:
        yield from (line for line in file if not line.startswith(" "))


def read_synsets(folder: Path, pos: str) -> Iterator[Synset]:
    """All senses of one part of speech, in the file's order."""
    return (_synset(line, pos) for line in read_lines(folder, f"data.{pos}"))


def _synset(line: str, pos: str) -> Synset:
    """offset lex_filenum ss_type w_cnt(hex) {word lex_id} p_cnt {symbol offset pos source/target} [frames] | gloss."""
    facts, _, gloss = line.partition("|")
    fields = facts.split()
    count = int(fields[3], 16)
    words = tuple(_spell(word) for word in fields[4 : 4 + 2 * count : 2])
    start = 5 + 2 * count
    rows = (fields[start + 4 * i : start + 4 * i + 3] for i in range(int(fields[start - 1])))
    pointers = tuple((symbol, _POINTED[target], int(offset)) for symbol, offset, target in rows)
    # Examples stand in quotation marks after the definition and a semicolon.
    definition = re.split(r'[;:]?\s*"', gloss.strip(), maxsplit=1)[0].strip(" ;:") or gloss.strip()
    return Synset(int(fields[0]), pos, int(fields[1]), words, definition, pointers)


def _spell(word: str) -> str:
    """ "guide_dog" -> "guide dog"; adjectives lose their marker of place: "galore(ip)"."""
    return re.sub(r"\((?:a|p|ip)\)$", "", word).replace("_", " ")


class Nouns:
    """The noun senses of WordNet, looked up by word and walked up and down."""

    def __init__(self, folder: Path) -> None:
        self.synsets = {synset.offset: synset for synset in read_synsets(folder, "noun")}
        self._senses: dict[str, tuple[int, ...]] = {}
        for line in read_lines(folder, "index.noun"):
            fields = line.split()  # lemma pos synset_cnt p_cnt {symbol} sense_cnt tagsense_cnt {offset}
            self._senses[_spell(fields[0])] = tuple(map(int, fields[-int(fields[2]) :]))

    def senses(self, word: str) -> tuple[Synset, ...]:
        """Senses of a noun, commonest first; empty for a word that WordNet lacks."""
        return tuple(self.synsets[offset] for offset in self._senses.get(word.lower(), ()))

    def pointed(self, synset: Synset, symbols: tuple[str, ...]) -> tuple[Synset, ...]:
        """Senses that `synset` points to, by HYPERNYMS or HYPONYMS."""
        return tuple(
            self.synsets[offset] for symbol, pos, offset in synset.pointers if symbol in symbols and pos == "noun"
        )

    def below(self, senses: Iterable[Synset], depth: float = math.inf) -> Iterator[Synset]:
        """Senses and those up to `depth` steps below, by level, each once, without slurs and what is below them."""
        level, seen = list(senses), set[int]()
        while level and depth >= 0:
            new = {one.offset: one for one in level if one.offset not in seen and not one.offensive}
            yield from new.values()
            seen |= new.keys()
            level = [lower for one in new.values() for lower in self.pointed(one, HYPONYMS)]
            depth -= 1

    def sense_of(self, word: str, hints: frozenset[str], files: tuple[int, ...]) -> Synset | None:
        """The sense of a word in the first of the lexicographer `files` that has any; of several the one that shares
        most words with `hints` (M. Lesk, 1986), and of equals the commonest."""
        for file in files:
            if senses := [synset for synset in self.senses(word) if synset.file == file]:
                return max(senses, key=lambda synset: len(self._context(synset) & hints))
        return None

    def _context(self, synset: Synset) -> frozenset[str]:
        """Words of a sense's gloss, of its synonyms and of its hypernyms up to two steps."""
        near = [synset, *self.pointed(synset, HYPERNYMS)]
        near += [upper for one in near[1:] for upper in self.pointed(one, HYPERNYMS)]
        return frozenset(words_of(" ".join([synset.gloss, *(word for one in near for word in one.words)])))


def concept_sense(nouns: Nouns, picture: Picture) -> Synset | None:
    """The WordNet sense of what a picture shows, from its name (or its name without "face"), group and keywords; None
    where WordNet has no such thing."""
    name, files = picture.names["en"].lower(), _GROUP_FILES.get(picture.group)
    if files is None:
        return None
    hints = frozenset(picture.keywords.get("en", ())) | frozenset(name.split())
    for word in (name, name.removesuffix(" face"), name.removesuffix(" fruit")):
        if (synset := nouns.sense_of(word, hints, files)) is not None:
            return synset
    return None


def related_words(nouns: Nouns, pictures: Iterable[Picture], depth: int = 3) -> dict[str, frozenset[str]]:
    """Synonyms and hyponyms (down to `depth` steps) of the pictures' concepts -> the concepts each one means.

    A word of several concepts ("poodle" is below "dog" and "dog face" too) keeps them all. Capitalised words (proper
    and Latin names), slurs, and concepts of more than MAX_RELATED words are left out.
    """
    related: dict[str, set[str]] = {}
    for concept, picture in {picture.concept: picture for picture in pictures}.items():
        below = nouns.below(filter(None, [concept_sense(nouns, picture)]), depth)
        words = {word for synset in below for word in synset.words if word.islower()}
        for word in words if len(words) <= MAX_RELATED else ():
            related.setdefault(word, set()).add(concept)
    return {word: frozenset(concepts) for word, concepts in related.items()}


@functools.lru_cache(maxsize=4)
def caption_words(world: World) -> frozenset[str]:
    """Every English word that any caption of training can hold, lower case: of names, keywords, styles, moods,
    colours and templates."""
    texts: list[str] = [*NAMES, *grammar.NUMBERS["en"]]
    for picture in world.split("train"):
        names = picture.names["en"]
        texts += [names, grammar.plural(names), *picture.keywords.get("en", ())]
    for style in grammar.STYLES.values():
        texts += [*style.en, style.noun_en]
    texts += [word for mood in captions.MOODS for word in (*mood.en, *mood.signs)]
    texts += [form for row in clips.MOTIONS.values() for pair in row.en for form in pair]
    tables = (
        *(CONCEPTS, grammar.SKIN_EN, grammar.NUMBERS, grammar.LANGUAGES, grammar.OPPOSITE, grammar.GROUNDS),
        *(grammar.SCENE_TEMPLATES, captions.TEMPLATES, captions.EMPTY_WORDS, clips.MOTION_WORDS),
    )
    texts += [text for table in tables for text in _strings(table)]
    texts += [
        "mostly all in colours expression mood feeling love drawn small large on a an gradient from to background"
    ]
    return frozenset(word for text in texts for word in words_of(text))


def _strings(value: object) -> Iterator[str]:
    """Strings inside a template table, however it is nested."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple | list | frozenset):
        yield from itertools.chain.from_iterable(map(_strings, value))
    elif isinstance(value, dict):
        yield from itertools.chain.from_iterable(map(_strings, value.values()))


def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def unseen_words(nouns: Nouns, world: World, seed: int, count: int) -> dict[str, frozenset[str]]:
    """`count` single words drawn by seed from `related_words` of the training concepts, none in a training caption.

    Each concept gives one word in turn, or herbs and birds would give most of them. Returns {word: concepts it means};
    ValueError where there are not that many.
    """
    seen, rng = caption_words(world), stream("unseen words", seed)
    related = related_words(nouns, world.split("train"))
    piles: dict[str, list[str]] = {}
    for word in sorted(related):
        plain = word.isascii() and word.isalpha() and len(word) > 2
        if plain and not {word, word + "s", word.removesuffix("s")} & seen:
            piles.setdefault(min(related[word]), []).append(word)
    for pile in piles.values():
        rng.shuffle(pile)
    order = rng.sample(sorted(piles), len(piles))
    turns = itertools.zip_longest(*(piles[concept] for concept in order))
    drawn = [word for turn in turns for word in turn if word is not None][:count]
    if len(drawn) < count:
        raise ValueError(f"only {len(drawn)} words are unseen, {count} were asked for; use a larger world")
    return {word: related[word] for word in drawn}


def names(pictures: Iterable[Picture], languages: Iterable[str] = ("en", "zh")) -> Iterator[str]:
    """The distinct names and keywords of the pictures in the given languages, in order of appearance."""
    languages = tuple(languages)
    texts = (
        text for picture in pictures for code in languages
        for text in (picture.names.get(code, ""), *picture.keywords.get(code, ()))
    )  # fmt: skip
    return (text for text in dict.fromkeys(texts) if text)


def training_captions(world: World, seed: int) -> Iterator[str]:
    """Captions without end, in both languages: of training pictures, drawn balanced, of scenes and of motions, and
    bare names. The same world and seed give the same texts."""
    sampler = Sampler(world.split("train"))
    draws = np.random.default_rng(np.random.SeedSequence([seed, 0x7E87]))
    for key in itertools.count(seed << 32, 64):
        yield from (_training_text(world, picture, key + i) for i, picture in enumerate(sampler.draw(draws, 64)))


def _training_text(world: World, picture: Picture, key: int) -> str:
    rng = stream("training text", key)
    source = rng.choices(SOURCES, SOURCE_WEIGHTS)[0]
    if source == "caption":
        return caption(picture, key)
    if source == "scene":
        return make_scene(world, key).caption(key)
    if source == "motion":
        return motion_caption(picture if rng.random() < 0.7 else make_scene(world, key), key)
    return rng.choice(tuple(picture.names.values()))
