"""Seconds for a picture: `python benchmarks/picture.py`.

One picture and 64 pictures of 128 px, everything loaded, the reading of the prompt and the decoding included: 16 steps
with guidance; the same with each drawing read; and where it ships the fast variant's four steps. For an older processor
set ONEDNN_MAX_CPU_ISA=AVX2, ATEN_CPU_CAPABILITY=avx2 and MKL_ENABLE_INSTRUCTIONS=AVX2.
"""

import argparse
import os
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from timing import parser, write  # the file beside this one

from models.data.colours import COLOURS
from models.pipelines.image import ImagePipeline
from models.runtime import native_dtype
from models.sampling.loop import FAST_SAMPLING, REDRAWS, Sampling

# One thing, flat and symmetric: what names two is drawn twice. Many, for what was read once is remembered.
PROMPTS = tuple(f"a {colour} {fruit}, twemoji style" for fruit in ("apple", "pear", "tomato") for colour in COLOURS)
GOALS = {"seconds": {1: 0.6, 64: 15.0}, "read": {1: 0.35}, "fast": {1: 0.15}}  # on two cores


def seconds(pipeline: ImagePipeline, count: int, repeats: int, sampling: Sampling) -> float:
    """Median over `repeats` calls that draw `count` pictures, after one that is not counted."""
    taken = []
    for turn in range(repeats + 1):
        start = time.perf_counter()
        for _ in pipeline.steps(PROMPTS[turn % len(PROMPTS)], range(turn * count, (turn + 1) * count), sampling):
            pass
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[1:])


def measured(options: argparse.Namespace) -> dict[str, Any]:
    torch.set_num_threads(options.threads)
    pipeline = ImagePipeline.assemble(options.weights)
    plans = {"seconds": Sampling(), "read": Sampling(redraws=REDRAWS)}
    plans |= {"fast": FAST_SAMPLING} if pipeline.fast is not None else {}
    counts = {1: 5 * options.repeats, options.many: options.repeats}
    taken = {
        name: {count: seconds(pipeline, count, repeats, plan) for count, repeats in counts.items()}
        for name, plan in plans.items()
    }
    isa, onednn = torch.backends.cpu.get_cpu_capability(), os.environ.get("ONEDNN_MAX_CPU_ISA", "all")
    return {"isa": isa, "onednn": onednn, "dtype": str(native_dtype()), "threads": options.threads, **taken}


def main() -> None:
    command_line = parser(__doc__, threads=2, repeats=1, many=64)
    command_line.add_argument("--weights", type=Path, metavar="DIR")
    options = command_line.parse_args()
    row = measured(options)
    lines = [f"{row['isa']}, oneDNN {row['onednn']}, {row['dtype']}, {row['threads']} threads"]
    for name, goals in GOALS.items():
        times = ", ".join(f"{count}: {time:.2f} s" for count, time in row.get(name, {}).items())
        lines.append(f"  {name:8} {times or 'none'}; goals {goals}")
    write(row, lines, options)


if __name__ == "__main__":
    main()
