"""`python -m models.train RECIPE [--preset --minutes | --steps --resume --init --rate --out --parts --world --seed]`.

Many processes: `torchrun --nproc-per-node N -m models.train RECIPE ...`; the batch stays the whole step's.
"""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch
import typer
from rich.console import Console

from models.data.world import World
from models.train import checkpoint
from models.train.door import command
from models.train.loop import Length, Recipe, TaskOptions, Trainer
from models.train.recipes import RECIPES

console = Console(stderr=True)

PRESET = "sticker"
Setting = TypeVar("Setting", int, str)


def train(
    recipe: Annotated[str, typer.Argument(help=", ".join(sorted(RECIPES)))],
    preset: Annotated[
        str | None, typer.Option(help="row of models.presets: tiny, sticker (the usual one), full")
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="training time; the recipe's own otherwise")] = None,
    piece: Annotated[float | None, typer.Option(help="stop after so many minutes; --resume goes on")] = None,
    steps: Annotated[int | None, typer.Option(help="optimiser steps instead of minutes")] = None,
    resume: Annotated[bool, typer.Option(help="go on from --out's last checkpoint")] = False,
    init: Annotated[
        Path | None, typer.Option(help="state folder of a run, or a part, to take the weights from")
    ] = None,
    rate: Annotated[float | None, typer.Option(help="peak learning rate; the recipe's own otherwise")] = None,
    out: Annotated[Path | None, typer.Option(help="folder for state, statistics, sheets and export")] = None,
    parts: Annotated[Path | None, typer.Option(help="folder of the frozen parts; the shipped ones otherwise")] = None,
    world: Annotated[Path | None, typer.Option(help="folder of the built pictures")] = None,
    seed: Annotated[int | None, typer.Option(help="0 otherwise, or that of the run that goes on")] = None,
    every: Annotated[float, typer.Option(help="minutes between checkpoints")] = 5.0,
    threads: Annotated[int, typer.Option(help="0: torch's own choice")] = 0,
    compiled: Annotated[bool, typer.Option("--compile", help="by torch.compile; for the image recipe")] = False,
) -> None:
    """Train one part."""
    if threads:
        torch.set_num_threads(threads)
    length = Length(steps, minutes, piece)
    run(RECIPES, recipe, preset, length, out, seed, every, resume, init, parts, world, compiled, rate)


def chosen(recipes: dict[str, Recipe], name: str, rate: float | None = None) -> Recipe:
    """The recipe of that name, with another peak learning rate where one is given; ValueError names what is wrong."""
    if name not in recipes:
        raise ValueError(f"no recipe {name!r}; there are {', '.join(sorted(recipes))}")
    if rate is None:
        return recipes[name]
    if not 0 < rate < math.inf:
        raise ValueError(f"a learning rate of {rate:g}; give more than 0, {recipes[name].lr:g} is this recipe's own")
    return dataclasses.replace(recipes[name], lr=rate)


def settled(name: str, given: Setting | None, began: Mapping[str, Any], usual: Setting) -> Setting:
    """A setting as it is given, else as the run that goes on has it; ValueError where the two differ."""
    had = began.get(name)
    if None not in (given, had) and given != had:
        raise ValueError(f"this run was begun with {name} {had}, not {given}; go on with that, or give another --out")
    found = had if given is None else given
    return usual if found is None else found


def run(
    recipes: dict[str, Recipe],
    name: str,
    preset: str | None,
    length: Length,
    out: Path | None,
    seed: int | None,
    every: float,
    resume: bool,
    init: Path | None = None,
    parts: Path | None = None,
    world: Path | None = None,
    compiled: bool = False,
    rate: float | None = None,
) -> None:
    """Train `recipes[name]`; the evaluation trains its judge through the same door."""
    out = out or Path("runs") / f"{name}-{preset or PRESET}"
    began = checkpoint.began(out, resume)
    preset, seed = settled("preset", preset, began, PRESET), settled("seed", seed, began, 0)
    recipe = chosen(recipes, name, began.get("rate") if rate is None else rate)
    if length.steps is None:
        length = dataclasses.replace(length, minutes=length.minutes or recipe.minutes)
    if init is not None:
        checkpoint.weight_files(init)  # said before anything is built
    pictures = World.load(world)
    settled("world", pictures.digest, began, pictures.digest)
    options = TaskOptions(preset, seed, pictures, recipe.batch_size, parts, Path("runs") / "cache")
    trainer = Trainer(recipe, options, out, length, every, compiled=compiled)
    if init is not None:
        trainer.start_from(init)
    if resume:
        trainer.resume()
    trainer.run()
    console.print(f"{trainer.state.step:,} steps, {trainer.state.samples:,} samples, in {out}")


if __name__ == "__main__":
    command(lambda: typer.run(train))
