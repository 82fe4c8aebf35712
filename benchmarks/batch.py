"""What a batch costs beyond the drawing, and what drawing requests together saves: `python benchmarks/batch.py`.

First, as many one-line prompts through `studio batch`'s own runner (plan, journal, files with their origin) as pictures
drawn by the bare pipeline in batches of the same shape, in turns, after all prompts have been parsed once. The ratio is
the batch's share of the bare speed. Then sixteen requests of one picture each, drawn together, apart in the same shape,
and one at a time, against one request of sixteen pictures; on tiny parts, whose networks leave the overhead to be seen.
"""

import tempfile
from collections import deque
from collections.abc import Callable
from pathlib import Path

import torch
from timing import in_milliseconds, medians, parser, write  # the file beside this one
from tiny_parts import save_tiny_parts

from models.pipelines.image import BATCH, StickerPipeline
from models.sampling.loop import Sampling
from studio.backends.base import run, run_batch
from studio.backends.embedded import SHAPES, Embedded
from studio.cli import batch as command
from studio.planner import resolve
from studio.requests import ImageRequest, make_request

GOAL = 0.9
COUNT = 16


def through_batch(backend: Embedded, prompts: list[str], root: Path) -> None:
    """`studio batch` with a model that is loaded, into a folder of its own."""
    folder = Path(tempfile.mkdtemp(dir=root))
    asked = folder / "prompts.txt"
    asked.write_text("\n".join(f"{prompt} --d {n}" for n, prompt in enumerate(prompts)))
    command.open_backend = lambda _: backend
    command.batch([str(asked)], out=folder / "out", home=folder / "home")


def asked(backend: Embedded, count: int, seed: int, shape: int) -> ImageRequest:
    """One request; its words are its own, so that nothing is read once for all."""
    fields = {"prompt": f"a red apple {seed}", "count": count, "seed": seed, "shape": shape}
    resolved: ImageRequest = resolve(make_request(**fields), backend.capabilities())
    return resolved


def together(backend: Embedded) -> dict[str, Callable[[], object]]:
    one, batch = SHAPES
    whole = asked(backend, COUNT, 0, batch)
    small = [asked(backend, 1, seed, batch) for seed in range(COUNT)]
    alone = [asked(backend, 1, seed, one) for seed in range(COUNT)]
    ways = {
        f"one request of {COUNT}": lambda: run(backend, whole),
        f"{COUNT} requests together": lambda: run_batch(backend, small),
        f"{COUNT} requests apart, {batch} at a time": lambda: (event for ask in small for event in run(backend, ask)),
        f"{COUNT} requests apart, one at a time": lambda: (event for ask in alone for event in run(backend, ask)),
    }
    return {name: lambda events=events: deque(events(), maxlen=0) for name, events in ways.items()}


def main() -> None:
    options = parser(__doc__, count=200, repeats=3, threads=2).parse_args()
    torch.set_num_threads(options.threads)
    prompts = [f"a small red cat number {n}" for n in range(options.count)]
    pipeline, shipped = StickerPipeline.assemble(), Embedded()
    shipped.load()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        steps = lambda: deque(pipeline.steps(prompts, range(len(prompts)), Sampling(batch=BATCH)), maxlen=0)  # noqa: E731
        ways = {"bare pipeline": steps, "studio batch": lambda: through_batch(shipped, prompts, root)}
        batch = medians(ways, options.repeats)
        tiny = Embedded(str(save_tiny_parts(root / "tiny")))
        tiny.load()
        times = medians(together(tiny), options.repeats)
    alone, took = batch.values()
    share = f"bare pipeline {alone:.2f} s, studio batch {took:.2f} s: {alone / took:.2f} of its speed (at least {GOAL})"
    document = {"threads": options.threads, "batch": batch, "requests": times}
    write(document, [share, *in_milliseconds(times)], options)


if __name__ == "__main__":
    main()
