"""The semantic space: retrieval of held-out cells, words in no caption ("words"), the same questions to models of
open_clip ("open_clip"), how the parser reads captions ("reading"), and how it reads ordinary nouns ("nouns").

Retrieval: a right answer is any picture (or caption) of the same concept, since several families draw it; the one
picture itself stands in the note.

Words: English ones are drawn by seed among WordNet's synonyms and hyponyms of the trained concepts; Chinese ones are a
list, written down before anything was measured. A word is right where one of its concepts is among the 10 nearest.

Nouns: 200 common nouns that name no concept, chosen by hash from WordNet's physical ones (`assets/bench/nouns.tsv`,
with the concepts that an annotator draws for each; those for which there is none are left out). Labels that the table
of words is built from leave them out. `frames.tsv` has sentences by somebody who had not seen the parser.

Reading: all things that a caption names should be found, and a caption in the training wording should be kept as it
is. Of an unseen concept the parser knows no name, so its captions should be kept as they are, too.

A row of `open_clip` is a difference of shares, ours less the other's: the interval is over resampled questions, each of
which both answered. Ours is 128 numbers; the other's are as many as it has.
"""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from eval import sets
from eval.captions import tokens
from eval.context import Context
from eval.generator import SPACE
from eval.metrics.image import held_out_choices
from eval.rows import SEED, Row, mean_row, missing_where, named, share_row
from eval.statistics import cosine, expected_recall, hubness, places, preferred, same
from models.assets import assets
from models.data.captions import Language, caption, display_name
from models.data.grammar import LANGUAGES
from models.data.scenes import ATTRIBUTES, make_scene
from models.data.text import Nouns, unseen_words
from models.data.world import Picture, World
from models.prompts.parser import PromptParser
from models.train.documents import is_held_out

K = 10
GOAL = 0.85
CHINESE_WITHIN = 0.10  # of the English figure
SPOKEN = dict(zip(LANGUAGES, ("English", "Chinese"), strict=True))


def retrieval_rows(context: Context) -> Iterator[Row]:
    """R@10 both ways in both languages, against chance and against captions of other pictures."""
    pictures = sets.cells(context.world, context.sizes.gallery)
    images = context.generator.weights.embedder.image(sets.pixels(context.world, pictures)).numpy()
    english: dict[str, float] = {}
    for language, spoken in SPOKEN.items():
        captions = [caption(picture, SEED, language, style=True) for picture in pictures]
        texts = context.generator.weights.embedder.text(captions).numpy()
        worse = worse_texts(context, captions)
        for direction in ("text to image", "image to text"):
            queries, items = (texts, images) if direction == "text to image" else (images, texts)
            # In Chinese the goal is the English figure, less what is allowed.
            goal = english[direction] - CHINESE_WITHIN if direction in english else GOAL
            row = recall_row(f"{direction} R@{K}, {spoken}", pictures, queries, items, captions, goal)
            english.setdefault(direction, row.value)
            beside = {
                who: (vectors, images) if queries is texts else (images, vectors) for who, vectors in worse.items()
            }
            right = same(*[[picture.concept for picture in pictures]] * 2)
            worse_recall = ((who, float(places(cosine(*both), right).recall(K).mean())) for who, both in beside.items())
            yield replace(row, against=(*row.against, *worse_recall))


def worse_texts(context: Context, captions: list[str]) -> dict[str, np.ndarray]:
    """Vectors (N, 128) of the captions with their words in another order, and the means of their words' own: what is
    gained by reading whole sentences. Of Chinese, characters stand for words."""
    by_caption = [tokens(one) for one in captions]
    draw = random.Random(SEED)
    single = list(dict.fromkeys(word for words in by_caption for word in words))
    embed = context.generator.weights.embedder.text
    each = dict(zip(single, embed(single).numpy(), strict=True))
    shuffled = embed([" ".join(draw.sample(words, len(words))) for words in by_caption]).numpy()
    bags = np.stack([np.sum([each[word] for word in words], 0) for words in by_caption])
    return {"words shuffled": shuffled, "bag of words": bags}


def recall_row(
    name: str, pictures: list[Picture], queries: np.ndarray, items: np.ndarray, captions: list[str], goal: float
) -> Row:
    """One direction: vectors (N, 128) of queries and of gallery items, row by row of the same N pictures."""
    concepts = [picture.concept for picture in pictures]
    scores, right = cosine(queries, items), same(concepts, concepts)
    shuffled = places(np.roll(scores, len(scores) // 2, axis=0), right).recall(K)
    return mean_row(
        name, places(scores, right).recall(K), goal=goal,
        against=(("chance", expected_recall(right, K)), ("captions shuffled", float(shuffled.mean()))),
        note=_details(queries, items, scores, right, captions), seeds=f"captions {SEED}; bootstrap 0", parts=SPACE,
    )  # fmt: skip


def _details(queries: np.ndarray, items: np.ndarray, scores: np.ndarray, right: np.ndarray, captions: list[str]) -> str:
    """Other recalls, the very picture, the first 64 and 32 numbers alone, and whether some item is near to all."""
    semantic, instance = places(scores, right), places(scores, np.eye(len(scores), dtype=bool))
    nested = {size: places(cosine(queries[:, :size], items[:, :size]), right).recall(K).mean() for size in (64, 32)}
    skewness, most = hubness(scores, K)
    return (
        f"R@1 {semantic.recall(1).mean():.3f}, R@5 {semantic.recall(5).mean():.3f}; the very picture R@1 "
        f"{instance.recall(1).mean():.3f}, R@{K} {instance.recall(K).mean():.3f}, median rank "
        f"{np.median(instance.rank()):.0f}; first 64 numbers {nested[64]:.3f}, 32 {nested[32]:.3f}; hubs: skewness "
        f"{skewness:.1f}, most {most:.0f}; {len(set(captions))} captions differ"
    )


# --- Words ------------------------------------------------------------------------------------------------------------


WORDS_GOAL = 0.7
MORE = 5  # times as many words are drawn to tell apart those that training left out, one in ten

Words = Mapping[str, frozenset[str]]  # word -> the concepts it means


def word_rows(context: Context) -> Iterator[Row]:
    """Share of words with a right concept among the nearest: all drawn, those never taught as words, Chinese ones."""
    count = context.sizes.words
    more = english_words(context, MORE * count)
    # What a draw of `count` gives: a longer one goes on from it.
    yield word_row(context, f"{count} WordNet words in no caption", dict(islice(more.items(), count)), WORDS_GOAL)
    apart: dict[str, Words] = {}
    for name, held_out in (("taught by the dictionary", False), ("seen in glosses and phrases at most", True)):
        words = {word: concepts for word, concepts in more.items() if is_held_out(word) is held_out}
        apart[f"of {MORE * count}, {name}"] = words
    apart["Chinese words in no caption"] = chinese_words(context.world)
    yield from (word_row(context, name, words) for name, words in apart.items() if words)


def word_row(context: Context, name: str, words: Words, goal: float | None = None) -> Row:
    """Share of words that were right; the first wrong ones are named."""
    shares = concept_shares(context, words)
    note = named([word for word, value in shares.items() if value < 1], 8)
    return share_row(name, np.array([*shares.values()]), goal=goal, note=note, seeds=f"draw {SEED}", parts=SPACE)


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
    return dict(zip(words, places(scores, right).recall(K).tolist(), strict=True))


@cache
def named_concepts(context: Context, embedder: Any, language: Language = "en") -> tuple[list[str], np.ndarray]:
    """Training's concepts and the vectors (C, D) of their names."""
    names = {picture.concept: display_name(picture, language) for picture in context.world.split("train")}
    return list(names), embedder.text(list(names.values())).numpy()


# --- Beside models of open_clip ---------------------------------------------------------------------------------------


OURS = "space"


@dataclass(frozen=True)
class Answers:
    """How right each of N answers is, in [0, 1], and what chance would give."""

    values: np.ndarray
    chance: float


def open_clip_rows(context: Context) -> Iterator[Row]:
    """Retrieval, names, scenes and words, for each model that was named."""
    others, space = context.parts.open_clip, context.generator.weights.embedder
    for answers_of in (retrieval_answers, naming_answers, scene_answers, word_answers):
        ours = dict(answers_of(context, space))
        for name, model in others.items():
            for question, answers in answers_of(context, model):
                yield difference_row(f"{question}: {OURS} less {name}", ours[question], answers, name)


def difference_row(question: str, ours: Answers, others: Answers, name: str) -> Row:
    """The mean difference of answers to the same N questions, beside both means."""
    mean, other = float(ours.values.mean()), float(others.values.mean())
    return mean_row(
        question, ours.values - others.values,
        against=((OURS, mean), (name, other), ("chance", ours.chance)),
        note=f"{mean / other - 1:+.1%} relative to it" if other else "", seeds=f"draws {SEED}; bootstrap 0",
        parts=SPACE,
    )  # fmt: skip


@cache
def cell_vectors(context: Context, embedder: Any) -> tuple[list[Picture], np.ndarray]:
    """Held-out cells, and their vectors (N, D)."""
    pictures = sets.cells(context.world, context.sizes.gallery)
    return pictures, embedder.image(sets.pixels(context.world, pictures)).numpy()


def retrieval_answers(context: Context, embedder: Any) -> Iterator[tuple[str, Answers]]:
    """Captions of held-out cells find a picture of their concept, and pictures a caption."""
    pictures, images = cell_vectors(context, embedder)
    right = same(*[[picture.concept for picture in pictures]] * 2)
    for language, spoken in SPOKEN.items():
        texts = embedder.text([caption(picture, SEED, language, style=True) for picture in pictures]).numpy()
        scores = cosine(texts, images)
        yield f"text to image R@{K}, {spoken}", recall_answers(scores, right)
        yield f"image to text R@{K}, {spoken}", recall_answers(scores.T, right)


def scene_answers(context: Context, embedder: Any) -> Iterator[tuple[str, Answers]]:
    """A held-out scene is nearer to its caption than to that of its contrast."""
    for attribute in ATTRIBUTES:
        scenes, *captions = held_out_choices(context, attribute)
        seen = embedder.image(np.stack([scene.render(context.world) for scene in scenes])).numpy()
        true, other = (cosine(seen, embedder.text(texts).numpy()).diagonal() for texts in captions)
        yield f"scenes, {attribute}", Answers(preferred(true, other), 0.5)


def naming_answers(context: Context, embedder: Any) -> Iterator[tuple[str, Answers]]:
    """The name of a held-out cell's concept is the nearest of those of all concepts."""
    pictures, images = cell_vectors(context, embedder)
    for language, spoken in SPOKEN.items():
        concepts, names = named_concepts(context, embedder, language)
        right = same([picture.concept for picture in pictures], concepts)
        yield f"concept named, {spoken}", recall_answers(cosine(images, names), right, 1)


def word_answers(context: Context, embedder: Any) -> Iterator[tuple[str, Answers]]:
    """Words in no caption find a picture, and the name, of a concept that they mean."""
    english = english_words(context, MORE * context.sizes.words)
    by_kind = {
        "words that nothing taught": {word: meant for word, meant in english.items() if is_held_out(word)},
        "words of our dictionary": {word: meant for word, meant in english.items() if not is_held_out(word)},
        "Chinese words": chinese_words(context.world),
    }
    pictures, images = cell_vectors(context, embedder)
    concepts, named = ([picture.concept for picture in pictures], named_concepts(context, embedder)[0])
    for kind, meanings in by_kind.items():
        shown = {word: meant for word, meant in meanings.items() if not meant.isdisjoint(concepts)}
        if shown:
            scores = cosine(embedder.text(list(shown)).numpy(), images)
            yield f"{kind} to pictures R@{K}", recall_answers(scores, _meant(shown, concepts))
        if meanings:
            shares = concept_shares(context, meanings, embedder)
            chance = expected_recall(_meant(meanings, named), K)
            yield f"{kind} to names R@{K}", Answers(np.array([*shares.values()]), chance)


def _meant(words: Words, concepts: list[str]) -> np.ndarray:
    """(words, concepts) bool: which are right."""
    return np.array([[concept in own for concept in concepts] for own in words.values()])


def recall_answers(scores: np.ndarray, right: np.ndarray, k: int = K) -> Answers:
    return Answers(places(scores, right).recall(k), expected_recall(right, k))


# --- Reading ----------------------------------------------------------------------------------------------------------


READ = {"seeds": f"captions {SEED}", "parts": (*SPACE, "wording")}


def reading_rows(context: Context) -> Iterator[Row]:
    """Share of prompts whose things are found, all of them and no other; share that is read as it is."""
    parser = context.generator.weights.parser
    cells = sets.cells(context.world, context.sizes.gallery)
    captions, things = [caption(picture, SEED) for picture in cells], [{p.names["en"].lower()} for p in cells]
    yield share_row("captions whose thing is found", _all_named(parser, captions, things), **READ)
    yield _unchanged("captions", parser, captions)
    scenes = [make_scene(context.world, SEED + i, "test") for i in range(4 * context.sizes.scenes)]
    captions = [scene.caption(0, grounded=True) for scene in scenes]
    things = [{item.names["en"].lower() for item in scene.objects} for scene in scenes]
    yield share_row("scenes whose things are all found", _all_named(parser, captions, things), **READ)
    yield _unchanged("scenes", parser, captions)
    unseen = sets.unseen(context.world, context.sizes.gallery)
    yield _unchanged("captions of unseen concepts", parser, [caption(picture, SEED) for picture in unseen])


def _unchanged(what: str, parser: PromptParser, captions: Sequence[str]) -> Row:
    return share_row(f"{what} read as they are", [parser.parse(text).encoded == text for text in captions], **READ)


def _names(parser: PromptParser, number: int) -> set[str]:
    return {name.lower() for name in parser.concepts[number].english_names}


def _all_named(parser: PromptParser, captions: Sequence[str], things: Sequence[set[str]]) -> list[bool]:
    """For each text, whether the things that it is found to name are these, by any of their English names."""
    answers = []
    for text, wanted in zip(captions, things, strict=True):
        named = [_names(parser, entity.concept) for entity in parser.parse(text).entities]
        answers.append(len(named) == len(wanted) and all(names & wanted for names in named))
    return answers


# --- Nouns ------------------------------------------------------------------------------------------------------------

BENCH = assets() / "bench"


def noun_rows(context: Context) -> Iterator[Row]:
    """Share of ordinary nouns that are drawn as a right concept, alone and in sentences, beside the concept whose name
    is nearest in the space."""
    parser = context.generator.weights.parser
    for language, spoken in SPOKEN.items():
        nouns = read_nouns(language)
        alone = [draws(parser, noun, right) for noun, right in nouns.items()]
        nearest = [
            parser.concepts[parser.nearest(noun, 1)[0]].english_names[0] in right for noun, right in nouns.items()
        ]
        control = (("nearest name in the space", float(np.mean(nearest))),)
        rows = parser.table.look_up(nouns)
        labelled = {noun for noun, row in rows.items() if row.origin in ("label", "association")}
        scored = [right for noun, right in zip(nouns, alone, strict=True) if noun not in labelled]
        note = f"{np.mean(scored) if scored else 0:.2f} of the {len(scored)} that no annotator labelled"
        yield share_row(f"nouns alone, {spoken}", alone, against=control, note=note, **READ)
        frames = [row[1] for row in read_table("frames.tsv") if row[0] == language]
        framed = [draws(parser, in_frame(frame, noun), right) for noun, right in nouns.items() for frame in frames]
        yield share_row(f"nouns in {len(frames)} sentences, {spoken}", framed, against=control, **READ)


def read_table(name: str) -> list[list[str]]:
    return [line.split("\t") for line in (BENCH / name).read_text(encoding="utf-8").splitlines() if line[:1] != "#"]


def read_nouns(language: Language) -> dict[str, frozenset[str]]:
    """Nouns with the concepts that are right for each."""
    rows = [(english if language == "en" else chinese, right) for english, chinese, right in read_table("nouns.tsv")]
    return {noun: frozenset(right.split("|")) for noun, right in rows if right}


def in_frame(frame: str, noun: str) -> str:
    """The noun in the place of {}, with the article that goes with it."""
    return frame.replace("a {}", "an {}" if noun[0] in "aeiou" else "a {}").replace("{}", noun)


def draws(parser: PromptParser, text: str, right: frozenset[str]) -> bool:
    """Whether one of these concepts is drawn for a text."""
    return any(
        not right.isdisjoint(parser.concepts[entity.concept].english_names) for entity in parser.parse(text).entities
    )
