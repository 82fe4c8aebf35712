"""Captions of held-out pictures beside their controls: the blind decoder, the nearest training picture, the nearest
name.

A caption names a concept where the longest names in it hold one of the concept's. References are training captions of
the true picture. Scenes are scored by the stated things, colours, numbers and relations.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from eval import sets
from eval.captions import bleu, bleu_counts, cider_d, rouge_l
from eval.context import Context
from eval.extractors import BLOCK
from eval.generator import IMAGE, SPACE, CaptionPrompt, StickerGenerator
from eval.metrics.space import CHINESE_WITHIN, SPOKEN
from eval.rows import SEED, Row, beside, mean_row, missing_where, share_row
from eval.statistics import nearest
from models.captioner import Kind
from models.data.captions import Namer, caption, display_name, f1, scene_facts
from models.data.grammar import Language
from models.data.scenes import Scene, make_scene
from models.data.stored import stored
from models.data.variety import outside_pictures
from models.data.world import Picture
from models.weights import weights_digest

REFERENCES = 5
SEVERAL: dict[str, Any] = {"candidates": 5}
BLIND: dict[str, Any] = {"blind": True}
WAYS = {"best of five": SEVERAL, "blind": BLIND}


def caption_rows(context: Context) -> Iterator[Row]:
    """Concepts named, texts against references, scenes, and what is called unknown."""
    cells = [p for p in sets.cells(context.world, context.sizes.cells) if not p.skin]
    english = named_row(context, "held-out cells", cells, "en", 0.5)
    yield english
    yield named_row(context, "held-out cells, Chinese", cells, "zh", english.value - CHINESE_WITHIN)
    unseen = [p for p in sets.unseen(context.world, context.sizes.cells) if not p.skin]
    yield named_row(context, "concepts never seen", unseen, "en")
    yield drawn_row(context)
    yield from text_rows(context, cells[: context.sizes.conditions])
    yield from scene_rows(context)
    yield from unknown_rows(context, cells[: context.sizes.conditions])


def written(
    context: Context, pixels: np.ndarray, language: Language = "en", kind: Kind = "short", **options: Any
) -> list[str]:
    """A caption of each picture (N, 128, 128, 4)."""
    prompts = [CaptionPrompt(one, language, kind) for one in pixels]
    return context.generate(prompts, **options).tolist()


def named_row(
    context: Context,
    what: str,
    pictures: Sequence[Picture],
    language: Language,
    goal: float | None = None,
    pixels: np.ndarray | None = None,
    ways: Mapping[str, dict[str, Any]] = WAYS,
) -> Row:
    """Of pictures of the world, or of `pixels` that show what they show; beside other ways to caption, and controls."""
    pixels = sets.pixels(context.world, list(pictures)) if pixels is None else pixels
    right = right_by(context, pictures, language)
    by_way = {name: right(written(context, pixels, language, **how)) for name, how in ways.items()}
    by_way["nearest training picture"] = near_right(context, pictures, pixels)
    by_way["nearest name"] = right(nearest_names(context, pixels, language))
    answers = right(written(context, pixels, language))
    return share_row(f"concept named: {what}", answers, goal=goal, against=beside(by_way), **context.origin())


def right_by(
    context: Context, pictures: Sequence[Picture], language: Language
) -> Callable[[Sequence[str]], np.ndarray]:
    """Which of the texts about the pictures name their concepts, (N,) bool."""
    namer = namer_of(context)
    return lambda texts: np.array(
        [namer.names(text, language, p.concept) for text, p in zip(texts, pictures, strict=True)]
    )


def near_right(context: Context, pictures: Sequence[Picture], pixels: np.ndarray) -> np.ndarray:
    """Which pictures' nearest training drawings show their concepts, (N,) bool."""
    return np.array([p.concept == q.concept for p, q in zip(pictures, nearest_pictures(context, pixels), strict=True)])


@cache
def namer_of(context: Context) -> Namer:
    return Namer(context.world.pictures)


def nearest_pictures(context: Context, pixels: np.ndarray) -> list[Picture]:
    """The training drawing nearest to each picture in the space."""
    vectors = context.parts.embedder.image(pixels).numpy()
    return [context.drawings[row] for row in nearest(vectors, drawing_vectors(context), 1)[:, 0]]


@cache
def drawing_vectors(context: Context) -> np.ndarray:
    """(G, 128) of the training drawings; the first time takes minutes, then they are kept."""
    pictures = context.drawings

    def encoded() -> np.ndarray:
        starts = context.track(range(0, len(pictures), BLOCK), "vectors of training drawings")
        parts = [context.parts.embedder.image(sets.pixels(context.world, pictures[i : i + BLOCK])) for i in starts]
        return np.concatenate([part.numpy() for part in parts])

    named = context.world.digest[:8], weights_digest(SPACE, context.parts.root)[:12]
    return np.array(stored(context.cache and context.cache / f"drawings-{named[0]}-{named[1]}.npy", encoded))


def nearest_names(context: Context, pixels: np.ndarray, language: Language) -> list[str]:
    """The training name nearest to each picture in the space."""
    names, vectors = name_vectors(context, language)
    return [names[row] for row in nearest(context.parts.embedder.image(pixels).numpy(), vectors, 1)[:, 0]]


@cache
def name_vectors(context: Context, language: Language) -> tuple[list[str], np.ndarray]:
    names = list(dict.fromkeys(display_name(p, language) for p in context.train))
    return names, context.parts.embedder.text(names).numpy()


def drawn_row(context: Context) -> Row:
    """Pictures that the image generator draws of known things."""
    known = [p for p in sets.seen(context.world, context.sizes.conditions) if p.group]
    seeds = range(SEED, SEED + len(known))
    pixels = StickerGenerator(context.parts).generate([sets.prompt(p) for p in known], seeds)
    right = right_by(context, known, "en")
    ways = {"best of five": SEVERAL, "blind": BLIND}
    by_way = {name: right(written(context, pixels, **how)) for name, how in ways.items()}
    by_way["nearest training picture"] = near_right(context, known, pixels)
    return share_row(
        "concept named: pictures that the generator drew of known things", right(written(context, pixels)), goal=0.6,
        against=beside(by_way), **context.origin() | {"parts": (*context.generator.parts, *IMAGE)},
    )  # fmt: skip


def text_rows(context: Context, pictures: Sequence[Picture]) -> Iterator[Row]:
    """Long captions against five of the true picture."""
    pixels = sets.pixels(context.world, list(pictures))
    references = [[caption(p, SEED + n, "en", "long") for n in range(REFERENCES)] for p in pictures]
    texts = {
        "": written(context, pixels, "en", "long"),
        "best of five": written(context, pixels, "en", "long", **SEVERAL),
        "nearest training picture's": [caption(p, SEED, "en", "long") for p in nearest_pictures(context, pixels)],
        "blind": written(context, pixels, "en", "long", **BLIND),
        "another of the true picture": [caption(p, SEED + REFERENCES, "en", "long") for p in pictures],
    }
    for name, measure in {"CIDEr-D": cider_d, "ROUGE-L": rouge_l}.items():
        scores = {who: measure(candidates, references) for who, candidates in texts.items()}
        goal = float(scores["nearest training picture's"].mean())
        yield mean_row(f"long captions, {name}", scores[""], goal=goal, against=beside(scores), **context.origin())
    values = {who: float(bleu(bleu_counts(candidates, references).sum(0))[3]) for who, candidates in texts.items()}
    goal = values["nearest training picture's"]
    yield Row("long captions, BLEU-4", values[""], len(pictures), goal=goal, against=beside(values), **context.origin())


def scene_rows(context: Context) -> Iterator[Row]:
    """F1 of what captions say of scenes of held-out combinations, in both languages: of held-out drawings, and of those
    that were trained on."""
    seeds = range(SEED, SEED + 2 * context.sizes.scenes)
    for kind, split, goal in (("held-out drawings", "cell", 0.75), ("known drawings", "train", None)):
        with missing_where(ValueError):
            scenes = [make_scene(context.world, seed, "test", pictures=split) for seed in seeds]
        pixels = np.stack([scene.render(context.world) for scene in scenes])
        for language, name in SPOKEN.items():
            ways: dict[str, dict[str, Any]] = {"": {}, "best of five": SEVERAL, "blind": BLIND}
            captions = {who: written(context, pixels, language, **how) for who, how in ways.items()}
            captions["true captions"] = [scene.caption(SEED, language, "short") for scene in scenes]
            scores = {who: scene_scores(context, scenes, texts, language) for who, texts in captions.items()}
            row = f"scenes of {kind}, {name}: F1 of things, colours, numbers, relations"
            yield mean_row(
                row, scores[""], goal=goal if language == "en" else None, against=beside(scores), **context.origin()
            )


def scene_scores(context: Context, scenes: Sequence[Scene], texts: Sequence[str], language: Language) -> np.ndarray:
    namer, scores = namer_of(context), []
    for scene, text in zip(scenes, texts, strict=True):
        facts = namer.facts(text, language, {item.concept for item in scene.objects})
        scores.append(f1(facts, scene_facts(scene)))
    return np.array(scores)


def unknown_rows(context: Context, pictures: Sequence[Picture]) -> Iterator[Row]:
    """What is called unknown: pictures from outside, of other seeds than those that set the threshold, and ours."""
    inside = sets.pixels(context.world, list(pictures))
    shown = {"outside pictures": outside_pictures(len(inside), SEED), "held-out cells": inside}
    for name, pixels in shown.items():
        captions = context.generator.describe([CaptionPrompt(one) for one in pixels], [SEED] * len(pixels))
        outside = name == "outside pictures"
        yield share_row(
            f"{name} called unknown", [not one.known for one in captions], goal=0.8 if outside else 0.1,
            lower_is_better=not outside, note=f"mean score {np.mean([one.score for one in captions]):.2f}",
            **context.origin(),
        )  # fmt: skip
