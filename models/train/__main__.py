"""`python -m models.train RECIPE [--preset --minutes | --steps --resume --init --rate --out --parts --world --seed]`.

Many processes: `torchrun --nproc-per-node N -m models.train RECIPE ...`; the batch stays the whole step's.
"""

import dataclasses
import math
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from models.data.world import World
from models.train import checkpoint
from models.train.door import command
from models.train.loop import Length, Recipe, TaskOptions, Trainer
from models.train.recipes import RECIPES

console = Console(stderr=True)


def train(
    recipe: Annotated[str, typer.Argument(help=", ".join(sorted(RECIPES)))],
    preset: Annotated[str, typer.Option(help="row of models.presets: tiny, sticker, grown, full")] = "sticker",
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
    seed: int = 0,
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


def run(
    recipes: dict[str, Recipe],
    name: str,
    preset: str,
    length: Length,
    out: Path | None,
    seed: int,
    every: float,
    resume: bool,
    init: Path | None = None,
    parts: Path | None = None,
    world: Path | None = None,
    compiled: bool = False,
    rate: float | None = None,
) -> None:
    """Train `recipes[name]`; the evaluation trains its judge through the same door."""
    recipe = chosen(recipes, name, rate)
    if length.steps is None:
        length = dataclasses.replace(length, minutes=length.minutes or recipe.minutes)
    out = out or Path("runs") / f"{name}-{preset}"
    # Said before minutes go into encoding.
    if init is not None:
        checkpoint.weight_files(init)
    if resume:
        checkpoint.state_folder(out / "state")
    options = TaskOptions(preset, seed, World.load(world), recipe.batch_size, parts, Path("runs") / "cache")
    trainer = Trainer(recipe, options, out, length, every, compiled=compiled)
    if init is not None:
        trainer.start_from(init)
    if resume:
        trainer.resume()
    trainer.run()
    console.print(f"{trainer.state.step:,} steps, {trainer.state.samples:,} samples, in {out}")


if __name__ == "__main__":
    command(lambda: typer.run(train))
