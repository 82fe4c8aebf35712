"""Contexts of the evaluation over the fixture world; its features are computed once per process."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fixture_world import fixture_world
from PIL import Image, ImageDraw

from eval.context import Context
from eval.extractors import Extractor, stored_features
from eval.generator import Generator, Parts
from eval.judge import Judge
from eval.rows import Sizes
from eval.statistics import FeatureStatistics, ReferenceStatistics
from models.weights import save_part

SIZES = Sizes(gallery=8, cells=4, distribution=6, reconstructions=6, conditions=3, scenes=2)


@cache
def features() -> np.ndarray:
    return stored_features(fixture_world().pixels, None).astype(np.float32)


def drawn_context(
    weights: Path, cache: Path | None = None, generator: Generator | None = None, sizes: Sizes = SIZES, **more: Any
) -> Context:
    """A context over the fixture world, with reference statistics of its training pictures."""
    results = Context(fixture_world(), sizes, Parts(weights), cache, quiet=True, generator=generator, **more)
    results.world_features = features()
    results.reference = ReferenceStatistics.fit(
        FeatureStatistics.of(results.features_of(results.train)), results.world.digest, 8
    )
    return results


def save_tiny_judge(root: Path) -> None:
    save_part(Judge(channels=(8, 8, 16), blocks=(1, 1), width=16, heads=2, rounds=1, buckets=64), "judge", root)


def _small(picture: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(picture.convert("RGB").resize((2, 2), Image.Resampling.BOX), np.float32))


TINY = Extractor("tiny", "1", _small, lambda batch: batch.flatten(1))  # 12 features


def draw(folder: Path, count: int, seed: int) -> Path:
    """A folder of distinct pictures of mixed sizes, modes and formats."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for number in range(count):
        side = int(rng.integers(40, 90))
        picture = Image.new("RGBA", (side, side + number % 3), (0, 0, 0, 0) if number % 4 else (255, 255, 255, 255))
        pen = ImageDraw.Draw(picture)
        for _ in range(4):
            (x, other), (y, under) = (sorted(rng.integers(4, side - 4, 2).tolist()) for _ in range(2))
            shape = (pen.rectangle, pen.ellipse)[int(rng.integers(2))]
            shape((x, y, other + 3, under + 3), (*rng.integers(0, 256, 3).tolist(), 255))
        suffix = "jpg" if number % 4 == 0 else ("webp", "png")[number % 2]
        (picture.convert("RGB") if suffix == "jpg" else picture).save(folder / f"{number}.{suffix}")
    return folder
