"""How far a set of pictures is from real ones as a distribution: FD over its floor, and KID.

Both sides have the same number of pictures and the same mix of styles. The floor is the real held-out pictures
themselves, measured against the same training pictures: a distance means nothing without it at these sizes.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from eval.context import SEED, Context
from eval.extractors import ROWS, extractor
from eval.rows import MissingError, Row
from eval.sets import partners
from eval.statistics import NAME, FeatureStatistics, expected_floor, frechet_distance, kernel_distance
from models.data.world import Picture

KERNEL_NAME = "KID-EffLite0 x 1000"
DRAWS = 4  # sets of training pictures that a distance is averaged over


@dataclass(frozen=True)
class Distances:
    """FD of made and of real pictures from the same training pictures, one of each a draw, and KID (mean, std)."""

    n: int
    made: np.ndarray
    real: np.ndarray
    expected: float
    kernel: tuple[float, float]
    kernel_real: tuple[float, float]

    @property
    def ratio(self) -> float:
        return float(self.made.mean() / self.real.mean())


def distances(context: Context, pictures: list[Picture], made: np.ndarray) -> Distances:
    """Features `made` (N, 1280) of what was made for held-out `pictures` -> its distances from train, and theirs."""
    project, real = context.reference, context.features_of(pictures)
    a, b = FeatureStatistics.of(project(made)), FeatureStatistics.of(project(real))
    others = [context.features_of(partners(context.world, pictures, str(draw))) for draw in range(DRAWS)]
    stats = [FeatureStatistics.of(project(features)) for features in others]
    return Distances(
        len(made),
        np.array([frechet_distance(a, other) for other in stats]),
        np.array([frechet_distance(b, other) for other in stats]),
        expected_floor(b, len(made), len(made)),
        kernel_distance(made, others[0], seed=SEED),
        kernel_distance(real, others[0], seed=SEED),
    )


def distribution_rows(found: Distances, parts: tuple[str, ...] = (), goal: float | None = None) -> Iterator[Row]:
    """FD, FD over its floor (with its goal), KID."""
    low, high = float(found.made.min()), float(found.made.max())
    yield Row(
        NAME, float(found.made.mean()), found.n,
        against=(("real floor", float(found.real.mean())), ("one Gaussian twice", found.expected)),
        note=f"{low:.1f} to {high:.1f} over {DRAWS} sets of training pictures; {ROWS['EffLite0']['kin']}", parts=parts,
    )  # fmt: skip
    yield Row(
        f"{NAME} over its floor", found.ratio, found.n, goal=goal, lower_is_better=True,
        note="goal: twice the autoencoder's own ratio" if goal else "", parts=parts,
    )  # fmt: skip
    mean, spread = (1000 * value for value in found.kernel)
    yield Row(
        KERNEL_NAME, mean, found.n, against=(("real floor", 1000 * found.kernel_real[0]),),
        note=f"deviation {spread:.1f} over 50 subsets, raw features", seeds=f"subsets {SEED}", parts=parts,
    )  # fmt: skip


def unrelated_rows(context: Context, pictures: list[Picture], made: np.ndarray, **origin: Any) -> Iterator[Row]:
    """KID of pictures `made` (N, 128, 128, 4) by networks that are no siblings of what taught the generator: the judge,
    and models of open_clip that were named. None without a judge."""
    with suppress(MissingError):
        beside = [context.judge_features, *(extractor(f"open_clip:{name}") for name in context.parts.named)]
        for by in beside:
            real, other = (context.features_of(own, by) for own in (pictures, partners(context.world, pictures, "0")))
            found, floor = (1000 * kernel_distance(x, other, seed=SEED)[0] for x in (context.features(made, by), real))
            yield Row(f"KID-{by.name} x 1000", found, len(made), against=(("real floor", floor),), **origin)
