"""What a batch costs beyond the drawing, and what drawing requests together saves: `python benchmarks/batch.py`.

First, as many one-line prompts through `studio batch`'s own runner (plan, journal, files with their origin) as pictures
drawn by the bare pipeline in batches of the same shape, in turns, after all prompts have been parsed once. The ratio is
the batch's share of the bare speed. Then sixteen requests of one picture each, drawn together, apart in the same shape,
and one at a time, against one request of sixteen pictures; on tiny parts, whose networks leave the overhead to be seen.
"""

import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from timing import medians, parser, show, write_json  # the file beside this one

from models.pipelines.image import BATCH, StickerPipeline
from models.sampling.loop import Sampling
from models.weights import WeightsError
from studio.backends.base import run, run_batch
from studio.backends.embedded import SHAPES, Embedded, _words
from studio.cli import batch as command
from studio.planner import resolve
from studio.requests import ImageRequest, make_request

sys.path += [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent / "tests")]
from generate import untrained
from tiny_parts import save_tiny_parts

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


COUNT = 16


def asked(backend: Embedded, count: int, seed: int, shape: int) -> ImageRequest:
    """One request; its words are its own, so that nothing is read once for all."""
    fields = {"prompt": f"a red apple {seed}", "count": count, "seed": seed, "shape": shape}
    resolved: ImageRequest = resolve(make_request(**fields), backend.capabilities())
    return resolved


def together(backend: Embedded) -> dict[str, Callable[[], Iterable[object]]]:
    """The ways to sixteen pictures."""
    one, batch = SHAPES
    whole = asked(backend, COUNT, 0, batch)
    small = [asked(backend, 1, seed, batch) for seed in range(COUNT)]
    alone = [asked(backend, 1, seed, one) for seed in range(COUNT)]
    return {
        f"one request of {COUNT}": lambda: run(backend, whole),
        f"{COUNT} requests together": lambda: run_batch(backend, small),
        f"{COUNT} requests apart, {batch} at a time": lambda: (event for ask in small for event in run(backend, ask)),
        f"{COUNT} requests apart, one at a time": lambda: (event for ask in alone for event in run(backend, ask)),
    }


def _drained(events: Callable[[], Iterable[object]]) -> Callable[[], object]:
    return lambda: deque(events(), maxlen=0)


def main() -> None:
    """Print both tables."""
    options = parser(__doc__, count=200, repeats=3, preset="sticker", threads=2).parse_args()
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
        backend = Embedded(str(save_tiny_parts(root / "tiny")))
        backend.load()
        times = medians({name: _drained(events) for name, events in together(backend).items()}, options.repeats)
    if options.json:
        write_json({"threads": options.threads, "bare": alone, "batch": took, "requests": times})
        return
    print(f"bare pipeline {alone:.2f} s, studio batch {took:.2f} s: {alone / took:.2f} of its speed (at least {GOAL})")
    show(times)


if __name__ == "__main__":
    main()
