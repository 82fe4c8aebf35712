"""Seconds for a clip: `python benchmarks/clips.py`.

From a given picture and from words alone, everything loaded, until the first preview and until the last frame; and by
the number of frames, of which the attention over a whole clip is quadratic and all else linear.
"""

import argparse
import resource
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timing import parser, write  # the file beside this one

from models.data.pixels import SIZE
from models.pipelines.video import ClipPipeline, DrawnClip

FRAMES = (8, 16, 32, 64)
GOALS = {"seconds": 6.0, "preview": 2.0}  # of 16 frames on two cores
PROMPT = "a red apple spins"


def taken(pipeline: ClipPipeline, picture: np.ndarray | None, count: int, seed: int) -> tuple[float, float]:
    """Seconds until the first preview and until the end of a clip of `count` frames."""
    start, first = time.perf_counter(), 0.0
    for event in pipeline.steps(PROMPT, seed, picture=picture, count=count, loop=True, previews=True):
        first = first or time.perf_counter() - start
        if isinstance(event, DrawnClip):
            break
    return first, time.perf_counter() - start


def medians(pipeline: ClipPipeline, picture: np.ndarray | None, count: int, repeats: int) -> dict[str, float]:
    """Over `repeats` clips of other seeds, after one that is not counted."""
    rows = [taken(pipeline, picture, count, seed) for seed in range(repeats + 1)][1:]
    first, whole = (statistics.median(column) for column in zip(*rows, strict=True))
    return {"preview": round(first, 3), "seconds": round(whole, 3)}


def measured(options: argparse.Namespace) -> dict[str, Any]:
    torch.set_num_threads(options.threads)
    pipeline = ClipPipeline.assemble(options.weights)
    picture = pipeline.first(PROMPT, 0)
    assert picture.shape == (SIZE, SIZE, 4)
    rows = {f"picture, {count} frames": medians(pipeline, picture, count, options.repeats) for count in FRAMES}
    rows["words, 16 frames"] = medians(pipeline, None, 16, options.repeats)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"threads": options.threads, "peak_mb": round(peak), **rows}


def main() -> None:
    made = parser(__doc__, threads=2, repeats=3)
    made.add_argument("--weights", type=Path, metavar="DIR")
    options = made.parse_args()
    found = measured(options)
    head = f"{found['threads']} threads, {found['peak_mb']} MB at most; goals for 16 frames {GOALS}"
    rows = ((name, row) for name, row in found.items() if isinstance(row, dict))
    lines = (f"{name:20} first preview {row['preview']:.2f} s, whole {row['seconds']:.2f} s" for name, row in rows)
    write(found, [head, *lines], options)


if __name__ == "__main__":
    main()
