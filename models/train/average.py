"""`python -m models.train.average OUT FOLDER FOLDER...`: the mean of several trainings of the generator.

Runs that began from the same weights lie in one basin of the loss, and their weight average is often better than each
of them (model soups, arXiv 2203.05482).
"""

from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from models.dit import DiT
from models.train.recipes import command
from models.weights import DEPENDENCIES, load_part, part_folder, read_json, save_part

PART = "dit"


def average(
    out: Annotated[Path, typer.Argument(help="folder of parts to write into")],
    folders: Annotated[list[Path], typer.Argument(help="folders of parts: assets/weights, a run's export")],
) -> None:
    """Save the mean of generators. ValueError where they do not fit together."""
    origins = [read_json(part_folder(PART, folder) / DEPENDENCIES) for folder in folders]
    networks: list[Any] = [load_part(DiT, PART, folder, torch.float32) for folder in folders]
    states = [network.state_dict() for network in networks]
    shapes = [{name: tensor.shape for name, tensor in state.items()} for state in states]
    if any(other != origins[0] for other in origins) or any(other != shapes[0] for other in shapes):
        raise ValueError("these generators were trained with different parts or sizes; average those of one release")
    networks[0].load_state_dict({name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]})
    save_part(networks[0], PART, out, origins[0])


if __name__ == "__main__":
    command(average)
