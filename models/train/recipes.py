"""The recipes as a table: `RECIPES[name]` says what `python -m models.train name` trains, and how.

A row holds settings; what is trained is the task it names. Each task is imported when its recipe is built, so that one
recipe's needs (a sentence encoder) are not another's.
"""

import importlib
from collections.abc import Callable

from models.train.loop import Recipe, Task, TaskOptions


def _task(path: str) -> Callable[[TaskOptions], Task]:
    module, name = path.split(":")

    def build(options: TaskOptions) -> Task:
        return getattr(importlib.import_module(module), name)(options)

    return build


def _falling(early: int, late: int, at: float) -> Callable[[float], int]:
    """Batch size `early` until progress `at`, `late` afterwards."""
    return lambda progress: early if progress < at else late


RECIPES: dict[str, Recipe] = {
    # 16 crops of 64 px, then 8 whole pictures: small batches win at equal time on this budget (LOG.md).
    "autoencoder": Recipe(
        _task("models.train.autoencoder:AutoencoderTask"),
        batch_size=_falling(16, 8, at=0.6),
        lr=1e-3,
        minutes=90,
        channels_last=True,
    ),
}
