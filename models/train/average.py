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
from torch import Tensor

from models.dit import DiT
from models.train.recipes import command
from models.weights import MADE_WITH, WeightsError, load_part, part_folder, save_part

PART = "dit"

console = Console(stderr=True)


def average_generators(folders: Sequence[Path], shares: Sequence[float], out: Path) -> Path:
    """Save the weighted mean of the generators in `folders` (of parts, as runs export them) into `out`; its folder.

    What one of them lacks counts as zero there if it begins from zero (`DiT`: carry, a draft's gate), and else, behind
    what does, as the others have it. ValueError where they do not fit together.
    """
    if len(folders) != len(shares) or len(folders) < 2:
        raise ValueError(f"{len(folders)} folders and {len(shares)} shares; give at least two, and a share for each")
    if min(shares) < 0 or not sum(shares) > 0:
        raise ValueError(f"shares {', '.join(f'{share:g}' for share in shares)}; give none below 0, and one above")
    companies = {(part_folder(PART, folder) / MADE_WITH).read_text(encoding="utf-8") for folder in folders}
    if len(companies) > 1:
        raise WeightsError("these generators were trained with different parts; average those of one release")
    networks: list[Any] = [load_part(DiT, PART, folder, torch.float32) for folder in folders]
    if len(depths := {network.config.depth for network in networks}) > 1:
        listed = " and ".join(map(str, sorted(depths)))
        raise ValueError(f"generators of {listed} blocks; average those of one depth")
    widest = max(networks, key=lambda network: len(network.state_dict()))
    fresh = DiT(**{name: value for name, value in widest.config.items() if not name.startswith("_")}).state_dict()
    begins = {name for name, tensor in fresh.items() if not tensor.any()}
    widest.load_state_dict(_mean([network.state_dict() for network in networks], shares, begins))
    return save_part(widest, PART, out, json.loads(companies.pop()))


def _mean(states: Sequence[dict[str, Tensor]], shares: Sequence[float], zero: set[str]) -> dict[str, Tensor]:
    shapes = {name: tensor.shape for state in states for name, tensor in state.items()}
    for state in states:
        for name, tensor in state.items():
            if tensor.shape != shapes[name]:
                raise ValueError(f"{name} is {tuple(tensor.shape)} in one generator, {tuple(shapes[name])} in another")
    mean = {}
    for name, shape in shapes.items():
        having = [(state[name], share) for state, share in zip(states, shares, strict=True) if name in state]
        whole = sum(shares) if name in zero else sum(share for _, share in having) or 1.0
        mean[name] = sum((share / whole * tensor for tensor, share in having), torch.zeros(shape))
    return mean


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
    console.print(f"{len(folders)} generators averaged in {average_generators(folders, given, out)}", highlight=False)


if __name__ == "__main__":
    command(lambda: typer.run(main))
