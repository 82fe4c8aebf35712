"""Our space beside models of open_clip on the same questions ("open_clip"), and pictures scored by all of them
("clip_score").

A row of the first is a difference of shares, ours less the other's: the interval is over resampled questions, each of
which both answered. Ours is 128 numbers; the other's are as many as it has.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from eval import sets
from eval.context import SEED, Context
from eval.generator import SPACE
from eval.metrics import metric
from eval.metrics.retrieval import SPOKEN, K
from eval.metrics.scenes import held_out_choices
from eval.metrics.words import MORE, Words, chinese_words, concept_shares, english_words, named_concepts
from eval.neighbours import cosine, expected_recall, places, preferred, same
from eval.rows import MissingError, Row, mean_row
from models.data.captions import caption
from models.data.scenes import ATTRIBUTES
from models.data.world import Picture
from models.train.lexicon import is_held_out

OURS = "space"


@dataclass(frozen=True)
class Answers:
    """How right each of N answers is, in [0, 1], and what chance would give."""

    values: np.ndarray
    chance: float


@metric("open_clip", "embeddings")
def open_clip_rows(context: Context) -> Iterator[Row]:
    """Retrieval, names, scenes and words, for each model that was named."""
    others, space = context.parts.open_clip, context.generator.weights.embedder
    for asked in (retrieval, naming, scenes, words):
        ours = dict(asked(context, space))
        for name, model in others.items():
            for question, answers in asked(context, model):
                yield difference_row(f"{question}: {OURS} less {name}", ours[question], answers, name)


def difference_row(question: str, ours: Answers, others: Answers, name: str) -> Row:
    """The mean difference of answers to the same N questions, beside both means."""
    own, other = float(ours.values.mean()), float(others.values.mean())
    return mean_row(
        question, ours.values - others.values,
        against=((OURS, own), (name, other), ("chance", ours.chance)),
        note=f"{own / other - 1:+.1%} relative to it" if other else "", seeds=f"draws {SEED}; bootstrap 0", parts=SPACE,
    )  # fmt: skip


@cache
def gallery(context: Context, embedder: Any) -> tuple[list[Picture], np.ndarray]:
    """Held-out cells, and their vectors (N, D)."""
    pictures = sets.cells(context.world, context.sizes.gallery)
    return pictures, embedder.image(sets.pixels(context.world, pictures)).numpy()


def retrieval(context: Context, embedder: Any) -> Iterator[tuple[str, Answers]]:
    """Captions of held-out cells find a picture of their concept, and pictures a caption."""
    pictures, images = gallery(context, embedder)
    right = same(*[[picture.concept for picture in pictures]] * 2)
    for language, spoken in SPOKEN.items():
        texts = embedder.text([caption(picture, SEED, language, style=True) for picture in pictures]).numpy()
        scores = cosine(texts, images)
        yield f"text to image R@{K}, {spoken}", _found(scores, right)
        yield f"image to text R@{K}, {spoken}", _found(scores.T, right)


def scenes(context: Context, embedder: Any) -> Iterator[tuple[str, Answers]]:
    """A held-out scene is nearer to its caption than to that of its contrast."""
    for attribute in ATTRIBUTES:
        made, *captions = held_out_choices(context, attribute)
        seen = embedder.image(np.stack([scene.render(context.world) for scene in made])).numpy()
        own, other = (cosine(seen, embedder.text(texts).numpy()).diagonal() for texts in captions)
        yield f"scenes, {attribute}", Answers(preferred(own, other), 0.5)


def naming(context: Context, embedder: Any) -> Iterator[tuple[str, Answers]]:
    """The name of a held-out cell's concept is the nearest of those of all concepts."""
    pictures, images = gallery(context, embedder)
    for language, spoken in SPOKEN.items():
        concepts, names = named_concepts(context, embedder, language)
        right = same([picture.concept for picture in pictures], concepts)
        yield f"concept named, {spoken}", _found(cosine(images, names), right, 1)


def words(context: Context, embedder: Any) -> Iterator[tuple[str, Answers]]:
    """Words in no caption find a picture, and the name, of a concept that they mean."""
    english = english_words(context, MORE * context.sizes.words)
    asked = {
        "words that nothing taught": {word: own for word, own in english.items() if is_held_out(word)},
        "words of our dictionary": {word: own for word, own in english.items() if not is_held_out(word)},
        "Chinese words": chinese_words(context.world),
    }
    pictures, images = gallery(context, embedder)
    concepts, named = ([picture.concept for picture in pictures], named_concepts(context, embedder)[0])
    for kind, meanings in asked.items():
        shown = {word: own for word, own in meanings.items() if not own.isdisjoint(concepts)}
        if shown:
            scores = cosine(embedder.text(list(shown)).numpy(), images)
            yield f"{kind} to pictures R@{K}", _found(scores, _meant(shown, concepts))
        if meanings:
            found = concept_shares(context, meanings, embedder)
            chance = expected_recall(_meant(meanings, named), K)
            yield f"{kind} to names R@{K}", Answers(np.array([*found.values()]), chance)


def _meant(words: Words, concepts: list[str]) -> np.ndarray:
    """(words, concepts) bool: which are right."""
    return np.array([[concept in own for concept in concepts] for own in words.values()])


def _found(scores: np.ndarray, right: np.ndarray, k: int = K) -> Answers:
    return Answers(places(scores, right).recall(k), expected_recall(right, k))


@metric("clip_score", "image", "embeddings")
def score_rows(context: Context) -> Iterator[Row]:
    """Cosines of generated held-out cells and their prompts. The generator is led by our space, so a model that had no
    part in it scores them, too, where there is one."""
    scorers: dict[str, Any] = {OURS: context.generator.weights.embedder}
    try:
        scorers |= context.parts.open_clip
    except MissingError:
        if context.parts.named:
            raise
    asked = sets.cells(context.world, context.sizes.cells)
    prompts = [sets.prompt(picture) for picture in asked]
    made, real = context.generate(prompts), sets.pixels(context.world, asked)
    for name, model in scorers.items():
        texts = model.text(prompts).numpy()
        scores, of_real = (cosine(model.image(pictures).numpy(), texts) for pictures in (made, real))
        others = float(np.roll(scores, 1, axis=1).diagonal().mean())
        nearest = places(scores, np.eye(len(scores), dtype=bool)).recall(1).mean()
        note = f"its own prompt is the nearest of {len(prompts)}: {nearest:.3f}; as CLIPScore 2.5 x the cosine"
        yield mean_row(
            f"cosine of picture and prompt, {name}", scores.diagonal(),
            against=(("real held-out", float(of_real.diagonal().mean())), ("other prompts", others)),
            note=note, **context.origin(),
        )  # fmt: skip
