"""Seconds for a picture: `python benchmarks/picture.py`.

One picture and 64 pictures of 128 px, everything loaded, the reading of the prompt and the decoding included: 16 steps
with guidance, and where it ships the fast variant's four steps beside them; on this processor, and in a second process
that may use no more than AVX2, in fp32, as on an older laptop.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from timing import parser, write  # the file beside this one

from models.data.colours import COLOURS
from models.pipelines.image import ImagePipeline
from models.runtime import native_dtype
from models.sampling.loop import FAST_SAMPLING, Sampling

# One thing, flat and symmetric: what names two is drawn twice. Many, for what was read once is remembered.
PROMPTS = tuple(f"a {colour} {fruit}, twemoji style" for fruit in ("apple", "pear", "tomato") for colour in COLOURS)
GOALS = {"seconds": {1: 0.6, 64: 15.0}, "fast": {1: 0.15}}  # on two cores
# oneDNN's convolutions and products, ATen's own kernels and MKL's products each read their own name.
OLD_LAPTOP = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}


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
    plans = {"seconds": Sampling()} | ({"fast": FAST_SAMPLING} if pipeline.fast is not None else {})
    counts = {1: 5 * options.repeats, options.many: options.repeats}
    taken = {
        name: {count: seconds(pipeline, count, repeats, plan) for count, repeats in counts.items()}
        for name, plan in plans.items()
    }
    isa, onednn = torch.backends.cpu.get_cpu_capability(), os.environ.get("ONEDNN_MAX_CPU_ISA", "all")
    return {"isa": isa, "onednn": onednn, "dtype": str(native_dtype()), "threads": options.threads, **taken}


def main() -> None:
    """Print a row for this processor, and one for an older one."""
    command_line = parser(__doc__, threads=2, repeats=1, many=64)
    command_line.add_argument("--weights", type=Path, metavar="DIR")
    command_line.add_argument("--here", action="store_true", help="this processor only, no second process")
    options = command_line.parse_args()
    rows = [measured(options)]
    if not options.here:
        command = [sys.executable, __file__, *sys.argv[1:], "--here", "--json"]
        answer = subprocess.run(command, env={**os.environ, **OLD_LAPTOP}, check=True, capture_output=True, text=True)
        rows += json.loads(answer.stdout)
    lines = []
    for row in rows:
        lines.append(f"{row['isa']}, oneDNN {row['onednn']}, {row['dtype']}, {row['threads']} threads")
        for name, goals in GOALS.items():
            times = ", ".join(f"{count}: {time:.2f} s" for count, time in row.get(name, {}).items())
            lines.append(f"  {name:8} {times or 'none'}; goals {goals}")
    write(rows, lines, options)


if __name__ == "__main__":
    main()
