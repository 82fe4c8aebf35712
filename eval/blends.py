"""Blends: are both of two things seen in the one picture of both?

Each half of a hybrid looks like its own kind, so the picture lies between many: many neighbours are asked, and control
rows tell what that is worth: the first thing alone, and what two other things are found in.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from eval import sets
from eval.bench import SEED, Bench
from eval.image import DRAWN
from eval.intervals import wilson
from eval.neighbours import concept_found, nearest
from eval.parts import IMAGE
from eval.rows import Row
from models.data.captions import display_name

NEAR = 0.04  # share of all drawings that are asked


def blend_rows(bench: Bench) -> Iterator[Row]:
    """Pairs of taught things, blended as the studio blends them, beside the halfway of their vectors."""
    pairs = sets.pairs(bench.world, bench.sizes.conditions)
    names = [(display_name(a, "en"), display_name(b, "en")) for a, b in pairs]
    pipeline, nothing = bench.parts.pipeline, [""] * len(pairs)
    prompts, blends = zip(*(pipeline.together(pair) for pair in names), strict=True)
    halfway = torch.cat([pipeline.mix([(1.0, a), (1.0, b)]) for a, b in names])
    made = _drawn(bench, list(prompts), blends=blends)
    found, half = _found(bench, pairs, made), len(pairs) // 2
    others = _found(bench, pairs[half:] + pairs[:half], made)
    controls = {
        "halfway between their vectors": _drawn(bench, nothing, vector=halfway),
        "the first alone": _drawn(bench, [first for first, _ in names]),
    }
    against = [(name, float(_found(bench, pairs, drawn).mean())) for name, drawn in controls.items()]
    yield Row(
        "blends", f"both of two things among the nearest {NEAR:.0%} of drawings", float(found.mean()), len(pairs),
        interval=wilson(found.sum(), len(found)),
        against=(*against, ("two other things", float(others.mean()))), seeds=DRAWN, parts=IMAGE,
    )  # fmt: skip


def _drawn(bench: Bench, prompts: list[str], **told: Any) -> np.ndarray:
    """Features (N, 1280) of a picture a prompt."""
    from models.sampling.loop import Pictures

    events = bench.parts.pipeline.steps(prompts, range(SEED, SEED + len(prompts)), bench.sampling, **told)
    return bench.features(np.concatenate([event.pixels for event in events if isinstance(event, Pictures)]))


def _found(bench: Bench, pairs: list[sets.Pair], features: np.ndarray) -> np.ndarray:
    """(N,) bool: whether both things of each pair are among the neighbours."""
    rows = nearest(features, bench.drawing_features, max(1, round(NEAR * len(bench.drawings))))
    first, second = (concept_found(list(column), bench.drawings, rows) for column in zip(*pairs, strict=True))
    return first & second
