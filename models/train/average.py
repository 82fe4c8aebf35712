"""`python -m models.train.average OUT FOLDER FOLDER... [--shares 1,2]`: the mean of several trainings of the generator.

Runs that began from the same weights lie in one basin of the loss, and their weight average is often better than each
of them (model soups, arXiv 2203.05482).
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from models.dit import DiT
from models.train.recipes import command
from models.weights import MADE_WITH, load_part, part_folder, save_part

PART = "dit"


def average_generators(folders: Sequence[Path], shares: Sequence[float], out: Path) -> Path:
    """Save the weighted mean of the generators in `folders` (of parts, as runs export them) into `out`; its folder.

    ValueError where they do not fit together.
    """
    if len(folders) != len(shares) or len(folders) < 2:
        raise ValueError(f"{len(folders)} folders and {len(shares)} shares; give at least two, and a share for each")
    if min(shares) < 0 or not sum(shares) > 0:
        raise ValueError(f"shares {', '.join(f'{share:g}' for share in shares)}; give none below 0, and one above")
    companies = {(part_folder(PART, folder) / MADE_WITH).read_text(encoding="utf-8") for folder in folders}
    if len(companies) > 1:
        raise ValueError("these generators were trained with different parts; average those of one release")
    networks: list[Any] = [load_part(DiT, PART, folder, torch.float32) for folder in folders]
    mean = networks[0]
    for network in networks[1:]:
        shape = {name: value for name, value in mean.config.items() if not name.startswith("_")}
        if different := [name for name, value in shape.items() if network.config[name] != value]:
            raise ValueError(f"these generators differ in {different[0]}; average those of one shape")
    states = [network.state_dict() for network in networks]
    weights = [share / sum(shares) for share in shares]
    mean.load_state_dict(
        {name: sum(w * state[name] for w, state in zip(weights, states, strict=True)) for name in states[0]}
    )
    return save_part(mean, PART, out, json.loads(companies.pop()))


def main(
    out: Annotated[Path, typer.Argument(help="folder of parts to write into")],
    folders: Annotated[list[Path], typer.Argument(help="folders of parts: assets/weights, a run's export")],
    shares: Annotated[str, typer.Option(help="a number for each folder, comma-separated; equal otherwise")] = "",
) -> None:
    """Average generators."""
    try:
        given = [float(share) for share in shares.split(",")] if shares else [1.0] * len(folders)
    except ValueError as error:
        raise ValueError(f"--shares {shares}; give numbers with commas between them, as in 1,2") from error
    folder = average_generators(folders, given, out)
    Console(stderr=True).print(f"{len(folders)} generators averaged in {folder}", highlight=False)


if __name__ == "__main__":
    command(lambda: typer.run(main))
