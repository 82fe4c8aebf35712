"""What a batch costs beyond the drawing: `python benchmarks/batch.py`.

As many one-line prompts through `studio batch`'s own runner (plan, journal, files with their origin) as pictures drawn
by the bare pipeline in batches of the same shape, in one process, in turns; all prompts have been read once before,
and are remembered. The ratio is the batch's share of the bare speed.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch

from models.pipelines.image import BATCH, StickerPipeline
from models.sampling.loop import Sampling
from models.weights import WeightsError
from studio.backends.embedded import Embedded, _words
from studio.cli import batch as command

sys.path.append(str(Path(__file__).resolve().parent))
from generate import untrained

GOAL = 0.9


class Ready(Embedded):
    """The embedded backend around a pipeline that is loaded already, shipped or not."""

    def __init__(self, pipeline: StickerPipeline) -> None:
        super().__init__()
        self._pipeline, self._vocabulary = pipeline, _words(pipeline, self.root)

    def digest(self) -> str:
        """Any: the batch's folder is new."""
        return "benchmark"

    def space(self) -> str:
        """Any."""
        return "benchmark"


def bare(pipeline: StickerPipeline, prompts: list[str]) -> float:
    """Seconds for one picture a prompt, and nothing else."""
    start = time.perf_counter()
    for _ in pipeline.steps(prompts, range(len(prompts)), Sampling(batch=BATCH)):
        pass
    return time.perf_counter() - start


def through_batch(pipeline: StickerPipeline, prompts: list[str], root: Path) -> float:
    """Seconds of `studio batch` for the same, the model loaded."""
    root.mkdir()
    asked = root / "prompts.txt"
    asked.write_text("\n".join(f"{prompt} --d {n}" for n, prompt in enumerate(prompts)))
    command.open_backend = lambda _: Ready(pipeline)
    start = time.perf_counter()
    command.batch([str(asked)], out=root / "out", home=root / "home")
    return time.perf_counter() - start


def main() -> None:
    """Print medians of seconds and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--preset", default="sticker")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    prompts = [f"a small red cat number {n}" for n in range(options.count)]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        try:
            pipeline = StickerPipeline.assemble()
        except WeightsError:
            pipeline = untrained(root, options.preset)
        bare(pipeline, prompts)
        turns = range(options.repeats)
        taken = [(bare(pipeline, prompts), through_batch(pipeline, prompts, root / str(turn))) for turn in turns]
        alone, took = (statistics.median(column) for column in zip(*taken, strict=True))
    print(f"bare pipeline {alone:.2f} s, studio batch {took:.2f} s: {alone / took:.2f} of its speed (at least {GOAL})")


if __name__ == "__main__":
    main()
