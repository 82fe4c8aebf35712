"""`torchrun --nproc-per-node N -m models.train.trials NAME... --minutes M`: one change of the image recipe at a time.

Every trial has the same seed, pictures and minutes as "base", and the last figures of each are printed as a row; what
they gave is in LOG.md. Times are compared, not steps: a change that learns more a step and takes longer has to earn it.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from models.train import checkpoint
from models.train.__main__ import chosen, run
from models.train.door import command
from models.train.image import HELD_OUT, Mix
from models.train.loop import Length, Recipe
from models.train.recipes import RECIPES, sizes, task_of

BASE = RECIPES["image"]
console = Console()


def _with(**settings: Any) -> Recipe:
    """The recipe with other settings of its task."""
    return replace(BASE, task=task_of("models.train.image:ImageTask", **settings))


TRIALS: dict[str, Recipe] = {
    "base": _with(),
    "adamw": replace(_with(), muon=False),
    "adamw-lower-rate": replace(_with(), muon=False, lr=4e-4),
    "double-rate": replace(_with(), lr=2e-3),
    "half-rate": replace(_with(), lr=5e-4),
    "batch-48": replace(_with(), batch_size=sizes((0.0, 48))),
    "batch-192": replace(_with(), batch_size=sizes((0.0, 192))),
    "velocity": _with(sizes={"prediction": "v"}),
    "wide": _with(sizes={"width": 320, "heads": 5, "depth": 6}),
    "deep": _with(sizes={"width": 224, "heads": 4, "depth": 13}),
    "no-skips": _with(sizes={"long_skips": False}),
    "no-carry": _with(sizes={"carry": False}),
    "noisy-times": _with(mix=HELD_OUT),
    "more-scenes": _with(mix=Mix(scenes=0.35)),
    "no-shapes": _with(mix=Mix(shapes=0.0)),
    "one-view": _with(mix=Mix(views=(1.0, 0.0, 0.0, 0.0))),
    "unstaged": _with(mix=Mix(views=(0.35, 0.2, 0.45, 0.0))),
    "staged-alone": replace(_with(scenes=8000, mix=Mix(views=(0.0, 0.0, 0.0, 1.0))), lr=3e-4),  # a third of the rows
    "untold-warps": _with(sizes={"warp": 0}),
    "more-decay": replace(_with(), weight_decay=0.3),
    "more-words": _with(mix=Mix(drop_text=0.1, drop_vector=0.7)),
}


def last_figures(folder: Path) -> dict[str, float]:
    """Samples and the last evaluation of a run: `stats.jsonl` of its folder."""
    rows = [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]
    row = [row for row in rows if "evaluation" in row][-1]
    return {"samples": row["samples"], **row["evaluation"]}


def main(
    names: Annotated[list[str], typer.Argument(help=", ".join(TRIALS))],
    minutes: Annotated[float, typer.Option(help="training time of each")] = 10,
    init: Annotated[Path | None, typer.Option(help="weights to start from, as for models.train")] = None,
    out: Annotated[Path, typer.Option(help="a folder for each lies in it")] = Path("runs/trials"),
    threads: int = 1,
    seed: int = 0,
) -> None:
    """Train each for the same time and print what it came to."""
    torch.set_num_threads(threads)
    table = Table("trial", "samples", "val", "scenes", "words alone", "vector alone", "neither", "drafted")
    for name in names:  # said before the first of them takes its time
        chosen(TRIALS, name)
        checkpoint.began(out / name, resume=False)
    for name in names:
        length = Length(minutes=minutes)
        run(TRIALS, name, "sticker", length, out / name, seed, minutes, False, init, compiled=True)
        told = last_figures(out / name)
        table.add_row(name, f"{told.pop('samples'):,.0f}", *(f"{value:.4f}" for value in told.values()))
        torch.compiler.reset()
    console.print(table)


if __name__ == "__main__":
    command(lambda: typer.run(main))
