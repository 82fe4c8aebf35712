"""Blends of two concepts in one picture: are both recognised?

A blend lies between many drawings, so many nearest neighbours are searched; controls say what that is worth: the first
concept alone, and two other concepts looked for in the same pictures.
"""

from collections.abc import Iterator

import numpy as np

from eval import sets
from eval.context import Context
from eval.metrics import metric
from eval.neighbours import concept_found, nearest
from eval.rows import Row, beside, share_row
from models.data.captions import display_name

NEAR = 0.04  # share of all drawings that are searched


@metric("blends", "image", "blends")
def blend_rows(context: Context) -> Iterator[Row]:
    """Pairs of seen concepts, blended as the studio blends them, beside the midpoint of their vectors."""
    pairs = sets.pairs(context.world, context.sizes.conditions)
    names = [(display_name(a, "en"), display_name(b, "en")) for a, b in pairs]
    made, half = context.features(context.generate(names)), len(pairs) // 2
    controls = {
        "halfway between their vectors": context.generate(names, midpoint=True),
        "the first alone": context.generate([first for first, _ in names]),
    }
    found = {name: _found(context, pairs, context.features(drawn)) for name, drawn in controls.items()}
    found["two other things"] = _found(context, pairs[half:] + pairs[:half], made)
    yield share_row(
        f"both of two things among the nearest {NEAR:.0%} of drawings", _found(context, pairs, made),
        against=beside(found), **context.origin(),
    )  # fmt: skip


def _found(context: Context, pairs: list[sets.Pair], features: np.ndarray) -> np.ndarray:
    """(N,) bool: whether both things of each pair are among the neighbours."""
    rows = nearest(features, context.drawing_features, max(1, round(NEAR * len(context.drawings))))
    first, second = (concept_found(list(column), context.drawings, rows) for column in zip(*pairs, strict=True))
    return first & second
