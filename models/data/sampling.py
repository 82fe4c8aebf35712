"""Which pictures a training step draws: balanced by concept and style."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

from models.data.world import Picture

T = TypeVar("T")

POWER = 0.75  # 0 draws every picture alike, 1 every (style, concept) alike


def evenly(items: Sequence[T], count: int) -> list[T]:
    """At most `count` of them, spread over all: the first and the last among them."""
    rows = np.linspace(0, len(items) - 1, min(count, len(items))).astype(int)
    return [items[row] for row in rows]


class Sampler:
    """Draws pictures with weight count(style, concept) ** -0.75.

    The concept is the base one, so the six skin tones and three genders of one gesture share a cell: a cell of n
    pictures gets n ** 0.25 of a single picture's weight instead of n, and variants, a third of the pictures, do not eat
    the budget. `groups` multiplies the weights of the pictures of a CLDR group.
    """

    def __init__(self, pictures: Sequence[Picture], groups: Mapping[str, float] = {}) -> None:
        if not pictures:
            raise ValueError("no pictures to draw from; is the split empty?")
        self.pictures = tuple(pictures)
        cells = Counter((picture.style, picture.concept) for picture in pictures)
        shares = np.array([groups.get(picture.group, 1.0) for picture in pictures])
        weights = shares * [cells[picture.style, picture.concept] ** -POWER for picture in pictures]
        self.weights = weights / weights.sum()
        self._ends = np.cumsum(self.weights)

    def draw(self, rng: np.random.Generator, n: int) -> list[Picture]:
        """`n` pictures, with replacement."""
        return [self.pictures[row] for row in self.rows(rng, n)]

    def rows(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """The same as numbers into `pictures`, (n,) int64."""
        return np.searchsorted(self._ends, rng.random(n) * self._ends[-1], side="right")
