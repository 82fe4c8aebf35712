"""Generated pictures of held-out cells and of unseen concepts, and controls that the same figures must tell apart.

Every figure is a function of pixels: it is computed alike for generated pictures, real held-out ones, the nearest
training pictures (a memoriser), pictures of other prompts (deaf) and noise.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from eval import sets
from eval.charts import strips
from eval.context import SEED, Context
from eval.copies import NEAR, PRINTS, distances
from eval.distribution import KERNEL_NAME, distribution_rows, unrelated_rows
from eval.distribution import distances as set_distances
from eval.metrics import metric
from eval.neighbours import concept_found, cosine, nearest, ranked, same, style_share
from eval.rows import Row, prefixed, share_row
from eval.statistics import NAME
from models.data.pixels import SIZE
from models.data.world import SPLITS, Picture

NEIGHBOURS = 10
CONCEPT, STYLE = "concept among the 10 nearest drawings", "style of the nearest drawing"
COPIES = "copies of training pictures"


@dataclass(frozen=True)
class Judged:
    """What is seen in N made pictures, each asked for by one held-out picture."""

    concept: np.ndarray  # (N,) bool: one of the 10 nearest drawings shows the concept
    other: np.ndarray  # (N,) bool, the control: one of them shows another cell's concept
    style: np.ndarray  # (N,) bool: the nearest has the style
    styles: np.ndarray  # (N,) the share of the 10 that have it
    copied: np.ndarray  # (N,) bool: some training picture is as near as a copy is (`eval.copies`)
    pixels: np.ndarray  # what was judged


def judge(context: Context, asked: list[Picture], made: np.ndarray, features: np.ndarray | None = None) -> Judged:
    """Pictures `made` (N, 128, 128, 4), and their features where they are known, for the held-out pictures `asked`."""
    features = context.features(made) if features is None else features
    rows = nearest(features, context.drawing_features, NEIGHBOURS)
    half = len(asked) // 2
    return Judged(
        concept_found(asked, context.drawings, rows),
        concept_found(asked[half:] + asked[:half], context.drawings, rows),
        style_share(asked, context.drawings, rows[:, :1]) == 1,
        style_share(asked, context.drawings, rows),
        distances(context.features(made, PRINTS), context.train_prints) < NEAR,
        made,
    )


def judge_real(context: Context, asked: list[Picture]) -> Judged:
    """The held-out pictures themselves."""
    return judge(context, asked, *_themselves(context, asked))


@metric("image", "image")
def image_rows(context: Context) -> Iterator[Row]:
    """Generated held-out cells one by one, then as a distribution, beside the real ones."""
    asked, goal = _asked(context)[: context.sizes.distribution], None
    if context.can("autoencoder"):
        through = context.reconstruct(sets.pixels(context.world, asked))
        goal = 2 * set_distances(context, asked, context.features(through)).ratio
    yield from _generated_rows(context, goal)


@metric("fast", "image", "fast")
def fast_rows(context: Context) -> Iterator[Row]:
    """The same cells and noise, drawn by the fast variant."""
    yield from prefixed("fast", _generated_rows(context, fast=True))


def _generated_rows(context: Context, goal: float | None = None, **options: bool) -> Iterator[Row]:
    """Held-out cells as the generator draws them. `goal` is that of the distance over its floor."""
    asked, n, m = _asked(context), context.sizes.cells, context.sizes.distribution
    made = context.generate([sets.prompt(picture) for picture in asked], **options)
    judged, real = judge(context, asked[:n], made[:n]), judge_real(context, asked[:n])
    yield from judged_rows(judged, real, goals=True, **context.origin(**options))
    found = set_distances(context, asked[:m], context.features(made[:m]))
    yield from distribution_rows(found, context.generator.parts, goal)
    yield from unrelated_rows(context, asked[:m], made[:m], **context.origin(**options))


@metric("unseen", "image")
def unseen_rows(context: Context) -> Iterator[Row]:
    """Held-out concepts, which training never drew: is the concept among the 10 nearest of all real drawings?"""
    asked = sets.unseen(context.world, context.sizes.conditions)
    gallery = sets.one_a_drawing(p for name in SPLITS for p in context.world.split(name, allow_test=True))
    features = context.features_of(gallery)
    made = context.features(context.generate([sets.prompt(picture) for picture in asked]))
    found = concept_found(asked, gallery, nearest(made, features, NEIGHBOURS))
    scores = cosine(context.features_of(asked), features)
    scores[same([picture.id for picture in asked], [picture.id for picture in gallery])] = -2  # the picture itself
    real = concept_found(asked, gallery, ranked(scores, NEIGHBOURS))
    drawn = Counter(picture.concept for picture in gallery)
    left = [1 - drawn[picture.concept] / len(gallery) for picture in asked]
    yield share_row(
        "held-out concepts: concept among the 10 nearest drawings", found,
        against=(("chance", float(1 - np.mean(np.power(left, NEIGHBOURS)))), ("real", float(real.mean()))),
        **context.origin(),
    )  # fmt: skip


def _asked(context: Context) -> list[Picture]:
    return sets.held_out(context.world, max(context.sizes.cells, context.sizes.distribution))


def judged_rows(made: Judged, real: Judged, goals: bool = False, **origin: Any) -> Iterator[Row]:
    """Concept, style and copies, each beside that of real held-out pictures; controls have no goals."""
    shuffled = f"{made.other.mean():.3f} with the concepts of other cells"
    half = float(real.concept.mean()) / 2
    for name, answers, control, goal, note in (
        (CONCEPT, made.concept, real.concept, half, shuffled),
        (STYLE, made.style, real.style, 0.7, ""),
        (COPIES, made.copied, real.copied, None, f"within {NEAR}"),
    ):
        against = (("real held-out", float(control.mean())),)
        shown = strips(answers, made.pixels, name == COPIES) if goals else ()
        yield share_row(name, answers, against=against, goal=goal if goals else None, note=note, shown=shown, **origin)


@metric("controls")
def control_rows(context: Context) -> Iterator[Row]:
    """The measures of generated pictures on what they must tell apart. Needs no model."""
    asked = _asked(context)
    n, m = context.sizes.cells, context.sizes.distribution
    real = judge_real(context, asked[:n])
    # The nearest training picture of each: superb distances, and nothing of its own.
    rows = nearest(context.features_of(asked), context.features_of(context.train), 1)[:, 0]
    trained = {picture.concept: picture for picture in context.train}  # "pasted": some drawing of the thing itself
    noise = np.random.default_rng(SEED).integers(0, 256, (len(asked), SIZE, SIZE, 4), np.uint8)
    noise[..., 3] = 255
    for name, (made, features) in {
        "real held-out": _themselves(context, asked),
        "pasted": _themselves(context, [trained[picture.concept] for picture in asked]),
        "memoriser": _themselves(context, [context.train[row] for row in rows]),
        "deaf": _themselves(context, asked[1:] + asked[:1]),  # each in another's place: it ignores its prompt
        "noise": (noise, context.features(noise)),
    }.items():
        yield from prefixed(name, judged_rows(judge(context, asked[:n], made[:n], features[:n]), real))
        yield from prefixed(name, distribution_rows(set_distances(context, asked[:m], features[:m])))
        yield from prefixed(name, unrelated_rows(context, asked[:m], made[:m]))


# Of each measure the control that must be higher, and the one that must be lower.
RANKS = (
    (CONCEPT, "real held-out", "deaf"), (CONCEPT, "pasted", "deaf"), (CONCEPT, "real held-out", "noise"),
    (STYLE, "real held-out", "noise"), (COPIES, "memoriser", "real held-out"), (COPIES, "pasted", "real held-out"),
    (f"{NAME} over its floor", "noise", "real held-out"), (KERNEL_NAME, "noise", "real held-out"),
)  # fmt: skip


def misranked(rows: Iterable[Row]) -> list[str]:
    """A sentence for each pair of controls that a measure puts in the wrong order; ValueError where one is missing."""
    value = {row.name: row.value for row in rows}
    if missing := [f"{who}: {name}" for name, *pair in RANKS for who in pair if f"{who}: {name}" not in value]:
        raise ValueError(f"no control {missing[0]!r} was measured; add the measure controls")
    return [
        f"{name}: {high} ({value[f'{high}: {name}']:.3f}) must be above {low} ({value[f'{low}: {name}']:.3f})"
        for name, high, low in RANKS if value[f"{high}: {name}"] <= value[f"{low}: {name}"]
    ]  # fmt: skip


def _themselves(context: Context, pictures: list[Picture]) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (N, 128, 128, 4) and features (N, 1280) of real pictures."""
    return sets.pixels(context.world, pictures), context.features_of(pictures)
