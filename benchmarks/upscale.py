"""What larger pictures cost and gain: `python benchmarks/upscale.py`.

Median time of one picture from 128 to 512 px, by the network in both number types and by Pillow's Lanczos filter, which
take turns, so that other work on the machine slows all of them alike; each stands beside its ratio to the filter. Then
PSNR on white and at edges, against the same filter, on pairs of split `val`: of pictures as rendered, and as the
autoencoder decodes them. Without the part `upscaler` an untrained one is timed and nothing is compared.
"""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timing import medians, parser, show, write_json  # the file beside this one

from models.data.fixture import fixture_world
from models.data.large import COUNTS
from models.data.world import World
from models.presets import preset
from models.train.upscaler import compare, pairs
from models.upscaler import PART, Upscaler, lanczos
from models.weights import listed_parts, load_part

GOAL = 1.0  # seconds a picture


def network(root: Path | None, dtype: torch.dtype) -> Upscaler:
    """The part under `root` (None: the shipped ones), or an untrained one where there is none."""
    made: Any
    if PART in listed_parts(root):
        made = load_part(Upscaler, PART, root, dtype)
    else:
        made = Upscaler(**preset(PART, "sticker")).eval()
        torch.nn.Module.to(made, dtype)  # the library's own `to` warns of a list of fp32 modules that is empty
    made.to(memory_format=torch.channels_last)
    return made


def _one_picture(enlarge: Callable[[np.ndarray], np.ndarray]) -> Callable[[], object]:
    """Another picture each time, the same ones for every way."""
    pictures = itertools.cycle(fixture_world().pixels)
    return lambda: enlarge(next(pictures))


def quality(root: Path | None, count: int) -> dict[str, dict[str, float]]:
    """Figures of `models.train.upscaler.compare` for both kinds of pictures."""
    data = pairs(World.load(), "val", COUNTS["val"], soft=True, parts=root, cache=Path("runs") / "cache")
    rows, made = range(min(count, len(data))), network(root, torch.float32)
    return {kind: compare(made, data, rows, soft) for kind, soft in (("as rendered", False), ("as decoded", True))}


def main() -> None:
    """Print both tables."""
    made = parser(__doc__, threads=2, repeats=9, pictures=COUNTS["val"])
    made.add_argument("--weights", type=Path, help="folder of the parts; the shipped ones otherwise")
    arguments = made.parse_args()
    torch.set_num_threads(arguments.threads)
    types = {"network, fp32": torch.float32, "network, bf16": torch.bfloat16}
    ways: dict[str, Callable[[np.ndarray], np.ndarray]] = {"Lanczos": lanczos}
    ways |= {name: network(arguments.weights, dtype).enlarge for name, dtype in types.items()}
    times = medians({name: _one_picture(enlarge) for name, enlarge in ways.items()}, arguments.repeats)
    trained = PART in listed_parts(arguments.weights) and arguments.pictures
    rows = quality(arguments.weights, arguments.pictures) if trained else {}
    if arguments.json:
        write_json({"threads": arguments.threads, "seconds": times, "psnr": rows})
        return
    show(times, lambda seconds: "" if seconds < GOAL else f"  more than {GOAL:g} s")
    for kind, figures in rows.items():
        for what in ("white", "edges"):
            ours, theirs = figures[what], figures[f"{what}_lanczos"]
            print(f"{kind}, {what}: {ours:.2f} dB, Lanczos {theirs:.2f} dB ({ours - theirs:+.2f})")


if __name__ == "__main__":
    main()
