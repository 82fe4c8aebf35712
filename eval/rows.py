"""A row of the table: one figure with its 95 % interval and what it must be read against.

Intervals cover the sampling of pictures and queries; another training of the same model moves more.
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

SEED = 2026  # of captions, noise and draws; pictures are chosen by hash and need none


@dataclass(frozen=True)
class Sizes:
    """How much is measured: pictures, queries, or scenes of each attribute."""

    gallery: int
    cells: int
    distribution: int
    reconstructions: int
    conditions: int
    scenes: int
    words: int = 200
    clips: int = 78  # three of each motion
    seeds: int = 2  # pictures of each of 60 things


_SIZES = tomllib.loads(Path(__file__).with_name("sizes.toml").read_text(encoding="utf-8"))
SIZES = {name: Sizes(**row) for name, row in _SIZES.items()}


@dataclass(frozen=True)
class Row:
    name: str  # in its metric's section of the table
    value: float
    n: int  # pictures, queries or choices it was measured on
    unit: str = ""
    interval: tuple[float, float] | None = None  # of 95 %, over pictures or queries
    against: tuple[tuple[str, float], ...] = ()  # what gives it meaning: floor, chance, real pictures, controls
    goal: float | None = None  # at least, or at most where `lower_is_better`; None where nothing is promised
    lower_is_better: bool = False
    note: str = ""  # what else was seen
    seeds: str = ""  # what was drawn by which seeds
    parts: tuple[str, ...] = ()  # names of the weights that made it; none for real pictures and controls

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None without a goal."""
        if self.goal is None:
            return None
        return self.value <= self.goal if self.lower_is_better else self.value >= self.goal


class MissingError(RuntimeError):
    """A metric lacks something (weights, the world, a file): one sentence with what to do."""


@contextmanager
def missing_where(*kinds: type[Exception]) -> Iterator[None]:
    """Errors of these kinds say that something is missing; also as a decorator."""
    try:
        yield
    except kinds as error:
        raise MissingError(str(error)) from error


def share_row(name: str, answers: np.ndarray | Sequence[bool], **fields: Any) -> Row:
    """The share of right answers (N,) with its Wilson interval."""
    answers = np.asarray(answers, float)
    return Row(name, float(answers.mean()), len(answers), interval=wilson(float(answers.sum()), len(answers)), **fields)


def mean_row(name: str, values: np.ndarray, **fields: Any) -> Row:
    """The mean of values (N,) with its interval over resampled queries."""
    return Row(name, float(values.mean()), len(values), interval=bootstrap(values), **fields)


def beside(values: Mapping[str, Any]) -> tuple[tuple[str, float], ...]:
    """What stands beside the figure called "": the means of all others."""
    return tuple((name, float(np.mean(value))) for name, value in values.items() if name)


def prefixed(prefix: str, rows: Iterable[Row]) -> Iterator[Row]:
    return (replace(row, name=f"{prefix}: {row.name}") for row in rows)


def named(names: Sequence[str], most: int) -> str:
    """What was wrong, in a note: the first of them."""
    return f"wrong: {', '.join(names[:most])}{', ...' if len(names) > most else ''}" if names else ""


def bootstrap(values: np.ndarray, repeats: int = 2000, seed: int = 0) -> tuple[float, float]:
    """Percentile interval of the mean over resampled queries (Q,)."""
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, len(values), (repeats, len(values)))
    low, high = np.percentile(values[draws].mean(1), [2.5, 97.5])
    return float(low), float(high)


def wilson(successes: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """Interval of a proportion (Wilson, 1927); (0, 1) for no trials."""
    if n == 0:
        return 0.0, 1.0
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))
