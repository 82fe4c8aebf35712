"""Seconds for four pictures, alone and beside other work: `python benchmarks/busy.py`.

Threads of OpenMP that wait for one another spin, unless OMP_WAIT_POLICY says PASSIVE, as `studio/__init__.py` does. Two
processes draw the same in turns, one with each policy; other processes then keep as many cores busy as there are.
"""

import contextlib
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache

from timing import in_milliseconds, medians, parser, write  # the file beside this one

from models.pipelines.image import StickerPipeline

POLICY = "OMP_WAIT_POLICY"  # read by libgomp when a process loads it
PROCESSES = multiprocessing.get_context("spawn")
pipeline = cache(StickerPipeline.assemble)


def draw() -> None:
    for _ in pipeline().steps("a red apple, twemoji style", range(4)):
        pass


def spin() -> None:
    while True:
        pass


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """As many processes that do nothing but compute."""
    others = [PROCESSES.Process(target=spin, daemon=True) for _ in range(count)]
    for one in others:
        one.start()
    try:
        yield
    finally:
        for one in others:
            one.kill()


def drawing(policy: str | None) -> ProcessPoolExecutor:
    """A process that draws by a policy; None is the one that libgomp has of itself."""
    os.environ.pop(POLICY, None)
    if policy:
        os.environ[POLICY] = policy
    made = ProcessPoolExecutor(1, PROCESSES)
    made.submit(draw).result()
    return made


def waiting(process: ProcessPoolExecutor) -> Callable[[], object]:
    return lambda: process.submit(draw).result()


def main() -> None:
    """Print seconds of both policies without other work and with it."""
    options = parser(__doc__, repeats=5, others=os.cpu_count() or 1).parse_args()
    with drawing(None) as spinning, drawing("PASSIVE") as sleeping:
        turns = {"threads spin": waiting(spinning), "threads sleep": waiting(sleeping)}
        alone = medians(turns, options.repeats)
        with busy(options.others):
            beside = medians(turns, options.repeats)
    lines = ["alone", *in_milliseconds(alone)]
    lines += [f"beside {options.others} processes that compute", *in_milliseconds(beside)]
    write({"alone": alone, "beside": beside}, lines, options)


if __name__ == "__main__":
    main()
