"""Seconds for a clip: `python benchmarks/clip.py`.

From a given picture and from words alone, everything loaded, until the first preview and until the last frame; and by
the number of frames, of which the attention over a whole clip is quadratic and all else linear.
"""

import resource
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from timing import parser, write  # the file beside this one

from models.pipelines.video import ClipPipeline, DrawnClip

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


def main() -> None:
    command_line = parser(__doc__, threads=2, repeats=3, frames="8,16,32,64")
    command_line.add_argument("--weights", type=Path, metavar="DIR")
    options = command_line.parse_args()
    torch.set_num_threads(options.threads)
    pipeline = ClipPipeline.assemble(options.weights)
    picture = pipeline.first(PROMPT, 0)
    counts = [int(count) for count in options.frames.split(",")]
    rows = {f"picture, {count} frames": medians(pipeline, picture, count, options.repeats) for count in counts}
    rows["words, 16 frames"] = medians(pipeline, None, 16, options.repeats)
    peak = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    head = f"{options.threads} threads, {peak} MB at most; goals for 16 frames {GOALS}"
    lines = (
        f"{name:20} first preview {row['preview']:.2f} s, whole {row['seconds']:.2f} s" for name, row in rows.items()
    )
    write({"threads": options.threads, "peak_mb": peak, **rows}, [head, *lines], options)


if __name__ == "__main__":
    main()
