"""What company saves: `python benchmarks/together.py`.

Sixteen requests of one picture each, drawn together, and apart in the same shape and one picture at a time, against one
request of sixteen pictures. On tiny parts, whose networks are so small that all the rest shows. They take turns, so
that other work on the machine slows all of them alike; each median stands beside its ratio to the first.
"""

import argparse
import json
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from timing import medians  # the file beside this one

from studio.backends.embedded import SHAPES, Embedded
from studio.planner import resolve
from studio.requests import ImageRequest, make_request

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))
from tiny_parts import save_tiny_parts

COUNT = 16


def asked(backend: Embedded, count: int, seed: int, shape: int) -> ImageRequest:
    """One request; its words are its own, so that nothing is read once for all."""
    fields = {"prompt": f"a red apple {seed}", "count": count, "seed": seed, "shape": shape}
    return resolve(make_request(**fields), backend.capabilities())


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


def _drained(events: Callable[[], Iterable[object]]) -> Callable[[], object]:
    return lambda: deque(events(), maxlen=0)


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
        times = medians({name: _drained(events) for name, events in work(backend).items()}, arguments.repeats)
    if arguments.json:
        print(json.dumps({"threads": arguments.threads, "seconds": times}, indent=2))
        return
    first = next(iter(times.values()))
    for name, seconds in times.items():
        print(f"{name:36s} {seconds * 1000:8.1f} ms  x{seconds / first:.2f}")


if __name__ == "__main__":
    main()
