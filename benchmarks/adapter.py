"""How long a change of adapter takes, beside loading all parts anew: `python benchmarks/adapter.py`.

Two random adapters of the shipped generator, of the rank that `studio learn` trains, take turns: each is read from its
folder and added to copies of the generator and of its fast variant, as a prompt with another `<lora:NAME>` asks for.
"""

import copy
import itertools
import tempfile
from pathlib import Path

import torch
from timing import medians, parser, write  # the file beside this one

from models.lora import _linear, attach, load_adapter, load_generator, save_adapter
from models.pipelines.sticker import StickerPipeline
from models.train.style import StyleTask

GOALS = {"an adapter swapped, ms": 50}


def random_adapter(folder: Path, seed: int) -> Path:
    """An adapter that changes every layer a little."""
    torch.manual_seed(seed)
    network = load_generator()
    attach(network, StyleTask.rank)
    for layer in _linear(network).values():
        layer.parametrizations["weight"][0].up.data.normal_(0, 0.01)
    save_adapter(network, folder, "benchmark")
    return folder


def main() -> None:
    options = parser(__doc__, repeats=15).parse_args()
    base = StickerPipeline.assemble()
    with tempfile.TemporaryDirectory() as folder:
        turns = itertools.cycle([random_adapter(Path(folder) / f"{seed}", seed) for seed in range(2)])
        work = {
            "an adapter swapped, ms": lambda: base.with_adapters([(load_adapter(next(turns)), 1.0)]),
            "both networks copied, ms": lambda: (copy.deepcopy(base.dit), copy.deepcopy(base.fast)),
            "generator loaded anew, ms": load_generator,
        }
        figures = {name: 1000 * seconds for name, seconds in medians(work, options.repeats).items()}
    goals = {name: f"   at most {goal:g}" for name, goal in GOALS.items()}
    write(figures, (f"{name:32} {value:8.2f}{goals.get(name, '')}" for name, value in figures.items()), options)


if __name__ == "__main__":
    main()
