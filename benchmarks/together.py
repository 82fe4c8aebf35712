"""What company saves: `python benchmarks/together.py`.

Sixteen requests of one picture each, drawn together, and apart in the same shape and one picture at a time, against one
request of sixteen pictures. On tiny parts, whose networks are so small that all the rest shows. They take turns, so
that other work on the machine slows all of them alike; each median stands beside its ratio to the first.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from studio.backends.embedded import SHAPES, Embedded
from studio.requests import ImageRequest, image_request, resolve

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))
from tiny_parts import save_tiny_parts

COUNT = 16


def asked(backend: Embedded, count: int, seed: int, shape: int) -> ImageRequest:
    """One request; its words are its own, so that nothing is read once for all."""
    fields = {"prompt": f"a red apple {seed}", "count": count, "seed": seed, "shape": shape}
    return resolve(image_request(**fields), backend.capabilities())


def work(backend: Embedded) -> dict[str, Callable[[], Iterable[object]]]:
    """The ways to sixteen pictures."""
    one, batch = SHAPES
    whole = asked(backend, COUNT, 0, batch)
    small = [asked(backend, 1, seed, batch) for seed in range(COUNT)]
    alone = [asked(backend, 1, seed, one) for seed in range(COUNT)]
    return {
        f"one request of {COUNT}": lambda: backend.run(whole),
        f"{COUNT} requests together": lambda: backend.run_together(small),
        f"{COUNT} requests apart, {batch} at a time": lambda: (event for ask in small for event in backend.run(ask)),
        f"{COUNT} requests apart, one at a time": lambda: (event for ask in alone for event in backend.run(ask)),
    }


def medians(ways: dict[str, Callable[[], Iterable[object]]], repeats: int) -> dict[str, float]:
    """Median seconds of each, taken in turns after one round that is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for name, events in ways.items():
            start = time.perf_counter()
            for _ in events():
                pass
            if turn:
                taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in taken.items()}


def main() -> None:
    """Print a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        backend = Embedded(str(save_tiny_parts(Path(folder))))
        backend.load()
        times = medians(work(backend), arguments.repeats)
    if arguments.json:
        print(json.dumps({"threads": arguments.threads, "seconds": times}, indent=2))
        return
    first = next(iter(times.values()))
    for name, seconds in times.items():
        print(f"{name:36s} {seconds * 1000:8.1f} ms  x{seconds / first:.2f}")


if __name__ == "__main__":
    main()
