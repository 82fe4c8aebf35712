"""The drawn world as the evaluation sees it; features of its pictures are computed once for all tests of a process."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from fixture_world import fixture_world

from eval.context import Context, Sizes
from eval.features import stored_features
from eval.generator import Generator, Parts
from eval.statistics import FeatureStatistics, ReferenceStatistics

SIZES = Sizes(gallery=8, cells=4, distribution=6, reconstructions=6, conditions=3, scenes=2)


@cache
def features() -> np.ndarray:
    return stored_features(fixture_world().pixels, None).astype(np.float32)


def drawn_context(
    weights: Path, cache: Path | None = None, generator: Generator | None = None, sizes: Sizes = SIZES, **more: Any
) -> Context:
    """A context over the drawn world, with reference statistics of its own training pictures."""
    made = Context(fixture_world(), sizes, Parts(weights), cache, quiet=True, generator=generator, **more)
    made.world_features = features()
    made.reference = ReferenceStatistics.fit(FeatureStatistics.of(made.features_of(made.train)), made.world.digest, 8)
    return made
