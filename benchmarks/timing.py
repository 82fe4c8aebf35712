"""What benchmarks share: the command line, medians of work that takes turns, how results are printed."""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests"))  # tiny models


def parser(doc: str | None, **defaults: Any) -> argparse.ArgumentParser:
    """A command line with `--json` and an option for each default, described by the first line of a docstring."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true")
    for name, value in defaults.items():
        parser.add_argument(f"--{name}", type=type(value), default=value, help="default: %(default)s")
    return parser


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
    pairs: list[tuple[float, float]] = []
    for turn in range(repeats + 1):
        seconds = [0.0, 0.0]
        for which in (0, 1) if turn % 2 else (1, 0):
            start = time.perf_counter()
            (first, second)[which]()
            seconds[which] = time.perf_counter() - start
        pairs += [(seconds[0], seconds[1])] if turn else []
    a, b = (statistics.median(pair[which] for pair in pairs) for which in (0, 1))
    return a, b, statistics.median(later / earlier for earlier, later in pairs)


def in_milliseconds(seconds: dict[str, float]) -> Iterator[str]:
    """A line for each, with the ratio to the first."""
    base = next(iter(seconds.values()))
    return (f"{name:40s} {value * 1000:9.2f} ms  x{value / base:.2f}" for name, value in seconds.items())


def write(document: Any, lines: Iterable[str], options: argparse.Namespace) -> None:
    """Print the document with --json, else the lines."""
    print(json.dumps(document, indent=2, ensure_ascii=False) if options.json else "\n".join(lines))
