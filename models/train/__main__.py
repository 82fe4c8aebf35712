"""`python -m models.train RECIPE [--preset --minutes | --steps --resume --init --rate --out --parts --world --seed]`.

Many processes: `torchrun --nproc-per-node N -m models.train RECIPE ...`; the batch stays the whole step's.
"""

from pathlib import Path
from typing import Annotated

import torch
import typer

from models.train.loop import Length
from models.train.recipes import RECIPES, command, run


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


if __name__ == "__main__":
    command(lambda: typer.run(train))
