"""`python -m models.train.grow OUT FOLDER --depth N`: a generator with more blocks that draws what it drew before.

New blocks stand in the middle, so that every long skip still joins the two blocks that it joined. They are copies of
their neighbours, whose features they so begin with, but what they add to the stream begins at zero (as in Net2Net,
arXiv 1511.05641, and stacking, arXiv 2011.13635, but that the network computes the same from its first step on). A
fast variant grows with it: its changes stay at the layers that they change.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.dit import DiT
from models.lora import FILE
from models.lora import PART as FAST
from models.train.door import command
from models.weights import (
    MADE_WITH,
    listed_parts,
    load_part,
    part_digests,
    part_folder,
    record_made_with,
    record_part,
    save_part,
)

PART = "dit"
INTO_STREAM = ("attention.out.weight", "cross.out.weight", "mlp.down.weight", "skip.weight")  # of a block

console = Console(stderr=True)


def grow(folder: Path, depth: int, out: Path) -> list[str]:
    """Save the generator in `folder` (of parts) into `out` with `depth` blocks; names of what was saved.

    ValueError where it has as many or more, or where a depth is odd: both halves grow alike.
    """
    made_with = json.loads((part_folder(PART, folder) / MADE_WITH).read_text(encoding="utf-8"))
    small: Any = load_part(DiT, PART, folder, torch.float32)
    config = {name: value for name, value in small.config.items() if not name.startswith("_")}
    before = config["depth"]
    if depth <= before or depth % 2 or before % 2:
        raise ValueError(f"--depth {depth} for a generator of {before} blocks; give an even number above theirs")
    large: Any = DiT(**config | {"depth": depth})
    large.load_state_dict(deeper(small.state_dict(), before, depth))
    save_part(large, PART, out, made_with)
    if FAST not in listed_parts(folder):
        return [PART]
    _grow_fast(part_folder(FAST, folder) / FILE, before, depth, out)
    return [PART, FAST]


def deeper(state: dict[str, Tensor], before: int, after: int) -> dict[str, Tensor]:
    """The weights of `before` blocks as those of `after`, both even."""
    grown = {name: tensor for name, tensor in state.items() if not name.startswith("blocks.")}
    for number in range(after):
        source, new = _source(number, before, after)
        for name in (name for name in state if name.startswith(f"blocks.{source}.")):
            inner = name.removeprefix(f"blocks.{source}.")
            tensor = torch.zeros_like(state[name]) if new and inner in INTO_STREAM else state[name].clone()
            grown[f"blocks.{number}.{inner}"] = tensor
    return grown


def _source(number: int, before: int, after: int) -> tuple[int, bool]:
    """Which of the blocks before block `number` is made of, and whether it is a new one."""
    if number < after // 2:
        return min(number, before // 2 - 1), number >= before // 2
    return max(number - (after - before), before // 2), number < after - before // 2


def _grow_fast(file: Path, before: int, after: int, out: Path) -> None:
    """The fast variant's changes, at the same layers under their new numbers."""
    changes = load_file(file)
    moved = {number: _source(number, before, after) for number in range(after)}
    new = tuple(f"blocks.{number}." for number, (_, fresh) in moved.items() if fresh)
    kept = {name: tensor for name, tensor in deeper(changes, before, after).items() if not name.startswith(new)}
    (out / FAST).mkdir(parents=True, exist_ok=True)
    save_file(kept, out / FAST / FILE)
    record_made_with(out / FAST, part_digests((PART,), out))
    record_part(FAST, out)


def main(
    out: Annotated[Path, typer.Argument(help="folder of parts to write into")],
    folder: Annotated[Path, typer.Argument(help="folder of parts: assets/weights, a run's export")],
    depth: Annotated[int, typer.Option(help="blocks that it shall have, an even number")],
) -> None:
    """Make a generator deeper."""
    console.print(f"{' and '.join(grow(folder, depth, out))} of {depth} blocks in {out}", highlight=False)


if __name__ == "__main__":
    command(lambda: typer.run(main))
