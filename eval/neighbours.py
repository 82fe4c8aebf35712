"""Nearest neighbours among real pictures, and ranks in a gallery.

Equal scores are settled by expectation, not by the order a sort happens to leave: an embedding that is constant then
gets exactly chance, where `topk` and `argsort` can give it 1.

Shapes: N pictures, Q queries, G gallery items, D features; `right` (Q, G) says which items answer which query.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np

from models.data.world import Picture


def cosine(queries: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """(Q, D) and (G, D) -> cosines (Q, G) in float64; a zero vector has cosine 0 with everything."""
    return unit(queries) @ unit(gallery).T


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (N, D) at length 1, in float64; zeros stay zeros."""
    x = np.asarray(vectors, np.float64)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


@dataclass(frozen=True, eq=False)
class Places:
    """Where each query's best right answer stands: three counts (Q,)."""

    above: np.ndarray  # items that score more than it
    tied: np.ndarray  # items that score the same, itself included
    right: np.ndarray  # right items among the tied

    def recall(self, k: int) -> np.ndarray:
        """(Q,) probability that a right item is among the first `k` when ties are broken at random."""
        counts = zip(self.above.tolist(), self.tied.tolist(), self.right.tolist(), strict=True)
        return np.array([_chance(k - above, tied, right) for above, tied, right in counts])

    def rank(self) -> np.ndarray:
        """(Q,) expected rank, from 1, of the best right item; the mid-rank where one right item is tied with others."""
        return self.above + (self.tied + 1) / (self.right + 1)


def _chance(free: int, tied: int, right: int) -> float:
    """That `free` places filled from `tied` items, `right` of them right, hold a right one (hypergeometric)."""
    if free <= 0:
        return 0.0
    if free >= tied:
        return 1.0
    return 1.0 - comb(tied - right, free) / comb(tied, free)


def places(scores: np.ndarray, right: np.ndarray) -> Places:
    """Scores (Q, G) and right answers (Q, G) bool -> where the best right answer of each query stands.

    Raises ValueError for a query without a right answer, and for scores that are not finite.
    """
    if scores.shape != right.shape or not np.isfinite(scores).all():
        raise ValueError(f"scores {scores.shape} and right answers {right.shape} must agree, and scores be finite")
    lonely = np.flatnonzero(~right.any(1))
    if lonely.size:
        raise ValueError(f"query {lonely[0]} has no right answer in the gallery; leave it out")
    best = np.where(right, scores, -np.inf).max(1, keepdims=True)
    tied = scores == best
    return Places((scores > best).sum(1), tied.sum(1), (tied & right).sum(1))


def same(keys: Sequence[object], others: Sequence[object]) -> np.ndarray:
    """(Q, G) bool: which gallery keys equal which query keys. Concepts make it semantic, ids make it instance."""
    codes = {key: i for i, key in enumerate(dict.fromkeys([*keys, *others]))}
    return np.equal.outer([codes[key] for key in keys], [codes[key] for key in others])


def expected_recall(right: np.ndarray, k: int) -> float:
    """Recall at `k` of a random order: the chance level, which several right answers a query lift above k / G."""
    gallery = right.shape[1]
    return float(np.mean([_chance(min(k, gallery), gallery, count) for count in right.sum(1).tolist()]))


def hubness(scores: np.ndarray, k: int = 10) -> tuple[float, int]:
    """Skewness of how often an item is among the `k` best of a query, and the largest such count (a hub)."""
    nearest = np.argpartition(-scores, min(k, scores.shape[1]) - 1, axis=1)[:, :k]
    counts = np.bincount(nearest.ravel(), minlength=scores.shape[1]).astype(np.float64)
    spread = counts.std()
    return float(((counts - counts.mean()) ** 3).mean() / spread**3) if spread else 0.0, int(np.max(counts))


def nearest(features: np.ndarray, gallery: np.ndarray, count: int) -> np.ndarray:
    """Indices (N, count) of the gallery items of highest cosine, best first."""
    scores = cosine(features, gallery)
    count = min(count, scores.shape[1])
    best = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    order = np.take_along_axis(-scores, best, 1).argsort(1, kind="stable")
    return np.take_along_axis(best, order, 1)


def concept_found(pictures: list[Picture], gallery: list[Picture], rows: np.ndarray) -> np.ndarray:
    """(N,) bool: one of the neighbours `rows` (N, K) shows the picture's concept."""
    return np.take_along_axis(same([p.concept for p in pictures], [p.concept for p in gallery]), rows, 1).max(1)


def style_share(pictures: list[Picture], gallery: list[Picture], rows: np.ndarray) -> np.ndarray:
    """(N,) in [0, 1]: how many of the neighbours `rows` (N, K) have the picture's style; steadier than the nearest."""
    return np.take_along_axis(same([p.style for p in pictures], [p.style for p in gallery]), rows, 1).mean(1)
