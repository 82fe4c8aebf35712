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


def show(seconds: dict[str, float], note: Callable[[float], str] = lambda _: "") -> None:
    """A line for each: milliseconds, and the ratio to the first."""
    base = next(iter(seconds.values()))
    for name, value in seconds.items():
        print(f"  {name:40s} {value * 1000:9.2f} ms  x{value / base:.2f}{note(value)}")


def write_json(document: Any) -> None:
    print(json.dumps(document, indent=2, ensure_ascii=False))
