"""What benchmarks share: options, medians of work that takes turns, and how results are printed."""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any


def parser(doc: str, **defaults: Any) -> argparse.ArgumentParser:
    """A command line with `--json` and an option for each default, described by the first line of a docstring."""
    made = argparse.ArgumentParser(description=doc.splitlines()[0])
    made.add_argument("--json", action="store_true")
    for name, value in defaults.items():
        made.add_argument(f"--{name}", type=type(value), default=value, help="default: %(default)s")
    return made


def medians(work: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each, taken in turns after one round that is not counted: other work on the machine then slows
    all of them alike."""
    taken: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(repeats + 1):
        for name, run in work.items():
            start = time.perf_counter()
            run()
            if turn:
                taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in taken.items()}


def ratio(first: Callable[[], object], second: Callable[[], object], repeats: int) -> tuple[float, float, float]:
    """Median seconds of both, and the median of the ratios of pairs, the second by the first. Each pair is one right
    after the other, in turns the one or the other first, after one pair that is not counted.
    """
    taken: list[tuple[float, float]] = []
    for turn in range(repeats + 1):
        seconds = [0.0, 0.0]
        for which in (0, 1) if turn % 2 else (1, 0):
            start = time.perf_counter()
            (first, second)[which]()
            seconds[which] = time.perf_counter() - start
        taken += [(seconds[0], seconds[1])] if turn else []
    a, b = (statistics.median(one[which] for one in taken) for which in (0, 1))
    return a, b, statistics.median(one / other for other, one in taken)


def show(seconds: dict[str, float], note: Callable[[float], str] = lambda _: "") -> None:
    """A line for each: milliseconds, and the ratio to the first."""
    base = next(iter(seconds.values()))
    for name, value in seconds.items():
        print(f"  {name:40s} {value * 1000:9.2f} ms  x{value / base:.2f}{note(value)}")


def write_json(document: Any) -> None:
    print(json.dumps(document, indent=2, ensure_ascii=False))
