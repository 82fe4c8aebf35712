"""The recipes as a table: `RECIPES[name]` says what `python -m models.train name` trains, and how.

A row holds settings; what is trained is the task it names. Each task is imported when its recipe is built, so that one
recipe's needs (a sentence encoder) are not another's.
"""

import importlib
from collections.abc import Callable
from typing import Any

from models.train.loop import Recipe, Task, TaskOptions


def task_of(path: str, **settings: Any) -> Callable[[TaskOptions], Task]:
    """Builds the task at "module:Class" with `settings`, importing it only then."""
    module, name = path.split(":")

    def build(options: TaskOptions) -> Task:
        return getattr(importlib.import_module(module), name)(options, **settings)

    return build


def sizes(*values: tuple[float, int]) -> Callable[[float], int]:
    """A batch size that changes at given points of progress: (from, size) in rising order."""
    return lambda progress: [size for start, size in values if start <= progress][-1]


RECIPES: dict[str, Recipe] = {
    # 16 crops of 64 px, then 8 whole pictures: small batches win at equal time on this budget (LOG.md).
    "autoencoder": Recipe(
        task_of("models.train.autoencoder:AutoencoderTask"),
        batch_size=sizes((0.0, 16), (0.6, 8)),
        lr=1e-3,
        minutes=90,
        channels_last=True,
    ),
    # Few samples a step while every one of them is news; more when gradients are small and noisy.
    "language_space": Recipe(
        task_of("models.train.language_space:LanguageSpaceTask"),
        batch_size=sizes((0.0, 64), (0.3, 96), (0.7, 128)),
        lr=1e-3,
        weight_decay=0.05,
        decay_from=0.4,
        warmup=300,
        ema=0.998,
        minutes=120,
    ),
    "image": Recipe(
        task_of("models.train.image:ImageTask"),
        batch_size=sizes((0.0, 96)),
        lr=1e-3,
        muon=True,
        decay_from=0.3,
        warmup=100,
        ema=0.999,
        minutes=600,
    ),
    # A step costs the teacher's eight passes: few samples, and each says exactly where to go. Of scenes it sees few,
    # so few are encoded.
    "fast": Recipe(
        task_of("models.train.fast:FastTask", walk=4, scenes=4000),
        batch_size=sizes((0.0, 32)),
        lr=1e-3,
        weight_decay=0.0,
        warmup=50,
        ema=0.99,
        minutes=20,
    ),
    # The gradient of a batch is noisy, and a rate three times as high lost colours before it found lines (LOG.md).
    # It draws no scenes, and one is the fewest that can be encoded.
    "polish": Recipe(
        task_of("models.train.polish:PolishTask", scenes=1),
        batch_size=sizes((0.0, 32)),
        lr=1.5e-4,
        weight_decay=0.0,
        warmup=20,
        ema=0.99,
        minutes=25,
    ),
    # Half of the crops are decoded pictures: nearly all that it is used on, and the other half is what it is judged by.
    "upscaler": Recipe(
        task_of("models.train.upscaler:UpscalerTask", soft=0.5),
        batch_size=sizes((0.0, 16)),
        lr=1e-3,
        minutes=60,
        channels_last=True,
    ),
}
