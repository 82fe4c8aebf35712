"""The recipes as a table: `RECIPES[name]` says what `python -m models.train name` trains, and how.

A row holds settings; what is trained is the task it names. Each task is imported when its recipe is built, so that one
recipe's needs (a sentence encoder) are not another's.
"""

import dataclasses
import importlib
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch.distributed
import typer
from rich.console import Console
from safetensors import SafetensorError

from models.data.world import World
from models.train import checkpoint
from models.train.loop import Length, Recipe, Task, TaskOptions, Trainer


def task_of(path: str) -> Callable[[TaskOptions], Task]:
    module, name = path.split(":")
    return lambda options: getattr(importlib.import_module(f"models.train.{module}"), name)(options)


def sizes(*values: tuple[float, int]) -> Callable[[float], int]:
    """A batch size that changes at given points of progress: (from, size) in rising order."""
    return lambda progress: [size for start, size in values if start <= progress][-1]


RECIPES: dict[str, Recipe] = {
    # 16 crops of 64 px, then 8 whole pictures: small batches win at equal time on this budget (LOG.md).
    "autoencoder": Recipe(
        task_of("autoencoder:AutoencoderTask"),
        batch_size=sizes((0.0, 16), (0.6, 8)),
        lr=1e-3,
        minutes=90,
        channels_last=True,
    ),
    # Small batches early, when every sample is new; larger ones late, when gradients are small and noisy.
    "language_space": Recipe(
        task_of("language_space:LanguageSpaceTask"),
        batch_size=sizes((0.0, 64), (0.3, 96), (0.7, 128)),
        lr=1e-3,
        weight_decay=0.05,
        decay_from=0.4,
        warmup=300,
        ema=0.998,
        minutes=120,
    ),
    "image": Recipe(
        task_of("image:ImageTask"),
        batch_size=sizes((0.0, 96)),
        lr=1e-3,
        muon=True,
        decay_from=0.3,
        warmup=100,
        ema=0.999,
        minutes=600,
    ),
    # A step costs eight passes of the teacher, so batches are small.
    "fast": Recipe(
        task_of("fast:FastTask"),
        batch_size=sizes((0.0, 32)),
        lr=1e-3,
        weight_decay=0.0,
        warmup=50,
        ema=0.99,
        minutes=20,
    ),
    # The gradient is noisy, and a rate three times as high lost colours before lines improved (LOG.md).
    "polish": Recipe(
        task_of("polish:PolishTask"),
        batch_size=sizes((0.0, 32)),
        lr=1.5e-4,
        weight_decay=0.0,
        warmup=20,
        ema=0.99,
        minutes=25,
    ),
    "video": Recipe(
        task_of("video:VideoTask"),
        batch_size=sizes((0.0, 4)),
        lr=1e-3,
        muon=True,
        decay_from=0.5,
        warmup=50,
        ema=0.998,
        minutes=480,
    ),
    "upscaler": Recipe(
        task_of("upscaler:UpscalerTask"),
        batch_size=sizes((0.0, 16)),
        lr=1e-3,
        minutes=60,
        channels_last=True,
    ),
}

PRESET = "sticker"
Setting = TypeVar("Setting", int, str, float)
console = Console(stderr=True)


def settled(name: str, given: Setting | None, began: Mapping[str, Any], usual: Setting, fixed: bool = True) -> Setting:
    """A setting as given, else as the run that goes on has it; ValueError where the two differ and it is fixed."""
    had = began.get(name)
    if fixed and None not in (given, had) and given != had:
        raise ValueError(f"this run was begun with {name} {had}, not {given}; go on with that, or give another --out")
    return given if given is not None else had if had is not None else usual


def run(
    recipe: Recipe,
    out: Path,
    length: Length,
    preset: str | None = None,
    seed: int | None = None,
    every: float = 5.0,
    resume: bool = False,
    init: Path | None = None,
    parts: Path | None = None,
    world: Path | None = None,
    compiled: bool = False,
    rate: float | None = None,
) -> None:
    """Train a recipe in `out`. What is wrong with settings and folders is said before anything is built."""
    began = checkpoint.began(out, resume)
    preset, seed = settled("preset", preset, began, PRESET), settled("seed", seed, began, recipe.seed)
    rate = settled("rate", rate, began, recipe.lr, fixed=False)
    if not 0 < rate < math.inf:
        raise ValueError(f"a learning rate of {rate:g}; give more than 0, {recipe.lr:g} is this recipe's own")
    if init is not None:
        checkpoint.weight_files(init)
    pictures = World.load(world)
    settled("world", pictures.digest, began, pictures.digest)
    if length.steps is None:
        length = dataclasses.replace(length, minutes=length.minutes or recipe.minutes)
    options = TaskOptions(preset, seed, pictures, recipe.batch_size, parts, Path("runs") / "cache")
    trainer = Trainer(dataclasses.replace(recipe, lr=rate), options, out, length, every, compiled=compiled)
    if init is not None:
        trainer.start_from(init)
    if resume:
        trainer.resume()
    trainer.run()
    console.print(f"{trainer.state.step:,} steps, {trainer.state.samples:,} samples, in {out}")


def command_line(recipes: Mapping[str, Recipe]) -> None:
    """The command that trains one of `recipes`; the evaluation trains its judge by it, too."""
    usual: Any = next(iter(recipes)) if len(recipes) == 1 else ...

    def train(
        recipe: Annotated[str, typer.Argument(help=", ".join(sorted(recipes)))] = usual,
        preset: Annotated[str | None, typer.Option(help=f"row of models.presets: tiny, {PRESET}, full")] = None,
        minutes: Annotated[float | None, typer.Option(help="training time; the recipe's own otherwise")] = None,
        piece: Annotated[float | None, typer.Option(help="stop after so many minutes; --resume goes on")] = None,
        steps: Annotated[int | None, typer.Option(help="optimiser steps instead of minutes")] = None,
        resume: Annotated[bool, typer.Option(help="go on from --out's last checkpoint")] = False,
        init: Annotated[Path | None, typer.Option(help="state folder of a run, or a part, to begin from")] = None,
        rate: Annotated[float | None, typer.Option(help="peak learning rate; the recipe's own otherwise")] = None,
        out: Annotated[Path | None, typer.Option(help="folder for state, statistics, sheets and export")] = None,
        parts: Annotated[Path | None, typer.Option(help="folder of the frozen parts; the shipped otherwise")] = None,
        world: Annotated[Path | None, typer.Option(help="folder of the built pictures")] = None,
        seed: Annotated[int | None, typer.Option(help="of weights and batches; the recipe's own otherwise")] = None,
        every: Annotated[float, typer.Option(help="minutes between checkpoints")] = 5.0,
        threads: Annotated[int, typer.Option(help="0: torch's own choice")] = 0,
        compiled: Annotated[bool, typer.Option("--compile", help="by torch.compile; for the image recipe")] = False,
    ) -> None:
        """Train one part."""
        if recipe not in recipes:
            raise ValueError(f"no recipe {recipe!r}; there are {', '.join(sorted(recipes))}")
        if threads:
            torch.set_num_threads(threads)
        out, length = out or Path("runs") / f"{recipe}-{preset or PRESET}", Length(steps, minutes, piece)
        run(recipes[recipe], out, length, preset, seed, every, resume, init, parts, world, compiled, rate)

    command(lambda: typer.run(train))


# Of bad settings and files, a full disk, a rate too high, an extra that is not installed, weights cut short.
USER_ERRORS: tuple[type[Exception], ...] = (ValueError, OSError, FloatingPointError, ImportError, SafetensorError)


def command(run: Callable[[], object]) -> None:
    """Do `run`; USER_ERRORS become one sentence on standard error and exit code 2."""
    try:
        run()
    except USER_ERRORS as error:
        console.print(f"[red]{error}[/red]", highlight=False)
        sys.exit(2)
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()  # or a thread of its own may end the process with a signal
