"""A row of the table: one figure with its 95 % interval and what it must be read against.

Intervals cover the sampling of pictures and queries; another training of the same model moves more.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        group, name: where it stands in the table.
        value, unit: the figure; `interval` is its 95 % interval over pictures or queries.
        n: how many pictures, queries or choices it was measured on.
        against: (name, value) pairs that give it meaning: floor, chance, real pictures, controls.
        goal: what it should reach, at least, or at most where `lower_is_better`; None where nothing is promised.
        note: what else was seen, in words.
        seeds: what was drawn by which seeds.
        parts: names of the weights that made it; none for real pictures and controls.
    """

    group: str
    name: str
    value: float
    n: int
    unit: str = ""
    interval: tuple[float, float] | None = None
    against: tuple[tuple[str, float], ...] = ()
    goal: float | None = None
    lower_is_better: bool = False
    note: str = ""
    seeds: str = ""
    parts: tuple[str, ...] = ()

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None without a goal."""
        if self.goal is None:
            return None
        return self.value <= self.goal if self.lower_is_better else self.value >= self.goal


class MissingError(RuntimeError):
    """A metric lacks something it stands on (weights, the world, a file): one sentence says what and what to do."""


def share_row(group: str, name: str, answers: np.ndarray, **fields: object) -> Row:
    """The share of right `answers` (N,) with its Wilson interval."""
    interval = wilson(answers.sum(), len(answers))
    return Row(group, name, float(answers.mean()), len(answers), interval=interval, **fields)  # type: ignore[arg-type]


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
