"""A row of the table: one figure, with what it must be read against."""

from dataclasses import dataclass


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
    """A measure lacks something it stands on (weights, the world, a file): one sentence says what and what to do."""
