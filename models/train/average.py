"""`python -m models.train.average OUT FOLDER FOLDER...`: the mean of several trainings of the generator.

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
from models.weights import DEPENDENCIES, load_part, part_folder, save_part

PART = "dit"


def average_generators(folders: Sequence[Path], out: Path) -> Path:
    """Save the mean of the generators in `folders` (of parts, as runs export them) into `out`; its folder.

    ValueError where they do not fit together.
    """
    if len(folders) < 2:
        raise ValueError("an average needs two folders or more")
    origins = {(part_folder(PART, folder) / DEPENDENCIES).read_text(encoding="utf-8") for folder in folders}
    if len(origins) > 1:
        raise ValueError("these generators were trained with different parts; average those of one release")
    networks: list[Any] = [load_part(DiT, PART, folder, torch.float32) for folder in folders]
    mean = networks[0]
    for network in networks[1:]:
        shape = {name: value for name, value in mean.config.items() if not name.startswith("_")}
        if different := [name for name, value in shape.items() if network.config[name] != value]:
            raise ValueError(f"these generators differ in {different[0]}; average those of one shape")
    states = [network.state_dict() for network in networks]
    mean.load_state_dict({name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]})
    return save_part(mean, PART, out, json.loads(origins.pop()))


def main(
    out: Annotated[Path, typer.Argument(help="folder of parts to write into")],
    folders: Annotated[list[Path], typer.Argument(help="folders of parts: assets/weights, a run's export")],
) -> None:
    """Average generators."""
    folder = average_generators(folders, out)
    Console(stderr=True).print(f"{len(folders)} generators averaged in {folder}", highlight=False)


if __name__ == "__main__":
    command(lambda: typer.run(main))
