"""What it is worth to keep freed memory: `python benchmarks/memory.py`.

Sixteen pictures by the shipped generator and a training step of one, in processes that take turns: as the C
library does it, and with `models.hardware.keep_freed_memory`. Median time, its ratio to the first, and page faults.
"""

import argparse
import json
import resource
import subprocess
import sys
from functools import partial
from statistics import median

import torch
from image import inputs, network, training  # the files beside this one
from timing import medians

from models.hardware import keep_freed_memory, native_dtype
from models.pipelines.image import StickerPipeline
from models.sampling.loop import Sampling

WAYS = ("as it is", "kept")
WORK = ("16 pictures", "training step")


def _draw(pipeline: StickerPipeline) -> None:
    for _ in pipeline.steps(["a cat"] * 16, range(16), Sampling()):
        pass


def measured(way: str, repeats: int, batch: int) -> dict[str, tuple[float, float]]:
    """In this process: seconds and page faults of each piece of work."""
    if way == "kept":
        keep_freed_memory()
    learner, pipeline = network("sticker"), StickerPipeline.assemble()
    step = training(learner, inputs(learner, batch), native_dtype() == torch.bfloat16)
    draw = partial(_draw, pipeline)
    told = {}
    for name, work in zip(WORK, (draw, step), strict=True):
        work()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        seconds = medians({name: work}, repeats)[name]
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
        told[name] = (seconds, faults / (repeats + 1))
    return told


def apart(way: str, options: argparse.Namespace) -> dict[str, tuple[float, float]]:
    """The same in a process of its own, for there is no way back."""
    command = [sys.executable, __file__, "--way", way, f"--repeats={options.repeats}", f"--batch={options.batch}"]
    done = subprocess.run([*command, f"--threads={options.threads}"], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5, help="in each process")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each kind")
    parser.add_argument("--batch", type=int, default=48, help="of a training step")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.way:
        print(json.dumps(measured(options.way, options.repeats, options.batch)))
        return
    rounds = [{way: apart(way, options) for way in WAYS} for _ in range(options.rounds)]
    for work in WORK:
        base = median(told[WAYS[0]][work][0] for told in rounds)
        for way in WAYS:
            seconds, faults = (median(told[way][work][i] for told in rounds) for i in range(2))
            print(f"{work}, {way:10} {1000 * seconds:7.0f} ms  x{seconds / base:.2f}  {faults:9,.0f} page faults")


if __name__ == "__main__":
    main()
