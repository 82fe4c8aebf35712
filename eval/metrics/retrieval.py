"""Retrieval over held-out cells in the semantic space: text to picture and back, in English and in Chinese.

A right answer is any picture (or caption) of the same concept, since several families draw it; the one picture itself
is said in the note.
"""

import random
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from eval import sets
from eval.captions import words
from eval.context import SEED, Context
from eval.generator import SPACE
from eval.metrics import metric
from eval.neighbours import cosine, expected_recall, hubness, places, same
from eval.rows import Row, mean_row
from models.data.captions import caption
from models.data.grammar import LANGUAGES
from models.data.world import Picture

K = 10
GOAL = 0.85
CHINESE_WITHIN = 0.10  # of the English figure
SPOKEN = dict(zip(LANGUAGES, ("English", "Chinese"), strict=True))


@metric("retrieval", "embeddings")
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
            beside = {who: (own, images) if queries is texts else (images, own) for who, own in worse.items()}
            right = same(*[[picture.concept for picture in pictures]] * 2)
            found = ((who, float(places(cosine(*both), right).recall(K).mean())) for who, both in beside.items())
            yield replace(row, against=(*row.against, *found))


def worse_texts(context: Context, captions: list[str]) -> dict[str, np.ndarray]:
    """Vectors (N, 128) of the captions with their words in another order, and the means of their words' own: what is
    gained by reading whole sentences. Of Chinese, characters stand for words."""
    said = [words(one) for one in captions]
    draw = random.Random(SEED)
    single = list(dict.fromkeys(word for own in said for word in own))
    embed = context.generator.weights.embedder.text
    each = dict(zip(single, embed(single).numpy(), strict=True))
    shuffled = embed([" ".join(draw.sample(own, len(own))) for own in said]).numpy()
    bags = np.stack([np.sum([each[word] for word in own], 0) for own in said])
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
