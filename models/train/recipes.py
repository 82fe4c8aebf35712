"""The recipes as a table, `recipes.toml`, and the command that trains one of them."""

import dataclasses
import importlib
import math
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch.distributed
import typer
from rich.console import Console
from safetensors import SafetensorError

from models.data.world import World
from models.train import checkpoint
from models.train.loop import Length, Recipe, Task, TaskOptions, Trainer


def _recipe(task: str, batch_size: Sequence[tuple[float, int]], **settings: Any) -> Recipe:
    """A row of the file. Its module is imported only when it is used: recipes need different extras."""
    module, name = task.split(":")

    def build(options: TaskOptions) -> Task:
        return getattr(importlib.import_module(f"models.train.{module}"), name)(options)

    return Recipe(build, lambda now: [size for start, size in batch_size if start <= now][-1], **settings)


_TABLE = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
RECIPES = {name: _recipe(**row) for name, row in _TABLE.items()}

PRESET = "sticker"
Setting = TypeVar("Setting", int, str, float)
console = Console(stderr=True)


def train(
    recipe: Annotated[str, typer.Argument(help=", ".join(sorted(RECIPES)))],
    preset: Annotated[str | None, typer.Option(help=f"row of models/presets.toml: tiny or {PRESET}")] = None,
    minutes: Annotated[float | None, typer.Option(help="training time; the recipe's own otherwise")] = None,
    steps: Annotated[int | None, typer.Option(help="optimiser steps instead of minutes")] = None,
    resume: Annotated[bool, typer.Option(help="go on from --out's last checkpoint")] = False,
    init: Annotated[Path | None, typer.Option(help="folder of a run, or of a part, to begin from")] = None,
    rate: Annotated[float | None, typer.Option(help="peak learning rate; the recipe's own otherwise")] = None,
    out: Annotated[Path | None, typer.Option(help="folder for state, statistics, sheets and export")] = None,
    parts: Annotated[Path | None, typer.Option(help="folder of the frozen parts; the shipped otherwise")] = None,
    world: Annotated[Path | None, typer.Option(help="folder of the built pictures")] = None,
    seed: Annotated[int | None, typer.Option(help="of weights and batches; the recipe's own otherwise")] = None,
    every: Annotated[float, typer.Option(help="minutes between checkpoints")] = 5.0,
    compiled: Annotated[bool, typer.Option("--compile", help="by torch.compile; for the image recipe")] = False,
) -> None:
    """Train one part. Wrong settings and folders are errors before anything is built."""
    if recipe not in RECIPES:
        raise ValueError(f"no recipe {recipe!r}; there are {', '.join(sorted(RECIPES))}")
    row, out = RECIPES[recipe], out or Path("runs") / f"{recipe}-{preset or PRESET}"
    length = Length(steps, row.minutes if minutes is None and steps is None else minutes)
    previous = checkpoint.run_settings(out, resume)
    preset, seed = _settled("preset", preset, previous, PRESET), _settled("seed", seed, previous, row.seed)
    rate = rate if rate is not None else previous.get("rate", row.lr)
    if not 0 < rate < math.inf:
        raise ValueError(f"a learning rate of {rate:g}; give more than 0, {row.lr:g} is this recipe's own")
    if init is not None:
        checkpoint.weight_files(init)
    pictures = World.load(world)
    _settled("world", pictures.digest, previous, pictures.digest)
    options = TaskOptions(preset, seed, pictures, row.batch_size, parts, Path("runs") / "cache")
    trainer = Trainer(dataclasses.replace(row, lr=rate), options, out, length, every, compiled=compiled)
    if init is not None:
        trainer.start_from(init)
    if resume:
        trainer.resume()
    trainer.run()
    console.print(f"{trainer.state.step:,} steps, {trainer.state.samples:,} samples, in {out}")


def _settled(name: str, given: Setting | None, previous: Mapping[str, Any], usual: Setting) -> Setting:
    """A setting as given, else of the run to resume, else `usual`; ValueError where the run has another."""
    had = previous.get(name)
    if None not in (given, had) and given != had:
        raise ValueError(
            f"this run was begun with {name} {had}, not {given}; continue with that, or give another --out"
        )
    return given if given is not None else had if had is not None else usual


# Of bad settings and files, a full disk, a rate too high, an extra that is not installed, weights cut short.
USER_ERRORS: tuple[type[Exception], ...] = (ValueError, OSError, FloatingPointError, ImportError, SafetensorError)


def command(function: Callable[..., object]) -> None:
    """Run a function as a command; USER_ERRORS become one sentence on standard error and exit code 2."""
    try:
        typer.run(function)
    except USER_ERRORS as error:
        console.print(f"[red]{error}[/red]", highlight=False)
        sys.exit(2)
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()  # or a thread of its own may end the process with a signal
