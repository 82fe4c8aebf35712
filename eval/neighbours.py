"""Nearest neighbours among real pictures, and ranks in a gallery.

Rounding never decides between equal candidates. Scores that differ by at most `TIE` are equal: two equal vectors get
cosines that differ in their last bits, by the kernel that multiplies them. A metric gives tied candidates their
expected share, so a constant embedding gets exactly chance; `ranked` orders them by their place in the gallery.

Shapes: N pictures, Q queries, G gallery items, D features; `right` (Q, G) says which items answer which query.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np

from models.data.world import Picture

# Vectors come in float32. Two cosines whose vectors are one unit in the last place apart in every number differ by at
# most this: 2^-23 relative for each of the two candidates and for the norm of each.
TIE = 4 * 2.0**-23


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
    tied = np.abs(scores - best) <= TIE
    return Places((scores > best + TIE).sum(1), tied.sum(1), (tied & right).sum(1))


def average_precision(scores: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(Q,) mean precision at each right item; among equal scores that at their last, so a constant gets what chance
    does."""
    precisions = []
    for row, wanted in zip(scores, right, strict=True):
        ordered, hits = np.sort(-row), np.sort(-row[wanted])
        rank, hit_rank = (np.searchsorted(values, hits + TIE, "right") for values in (ordered, hits))
        precisions.append(float(np.mean(hit_rank / rank)))
    return np.array(precisions)


def preferred(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Of two scores (N,): 1 where the first is higher, 0 where the second is, one half where they are equal."""
    apart = np.asarray(first, np.float64) - second
    return 0.5 * (1 + np.sign(np.where(np.abs(apart) <= TIE, 0, apart)))


def same(keys: Sequence[object], others: Sequence[object]) -> np.ndarray:
    """(Q, G) bool: which gallery keys equal which query keys. Concepts make it semantic, ids make it instance."""
    codes = {key: i for i, key in enumerate(dict.fromkeys([*keys, *others]))}
    return np.equal.outer([codes[key] for key in keys], [codes[key] for key in others])


def expected_recall(right: np.ndarray, k: int) -> float:
    """Recall at `k` of a random order: the chance level, which several right answers a query lift above k / G."""
    gallery = right.shape[1]
    return float(np.mean([_chance(min(k, gallery), gallery, count) for count in right.sum(1).tolist()]))


def hubness(scores: np.ndarray, k: int = 10) -> tuple[float, float]:
    """Skewness of how often an item is among the `k` best of a query, and the largest such count (a hub). Items tied at
    the last place share it."""
    k = min(k, scores.shape[1])
    last = -np.partition(-scores, k - 1, axis=1)[:, k - 1 : k]
    above, tied = scores > last + TIE, np.abs(scores - last) <= TIE
    counts = (above + tied * ((k - above.sum(1)) / tied.sum(1))[:, None]).sum(0)
    spread = counts.std()
    skewness = float(((counts - counts.mean()) ** 3).mean() / spread**3) if spread > 1e-9 else 0.0
    return skewness, float(counts.max())


def ranked(scores: np.ndarray, count: int) -> np.ndarray:
    """Indices (Q, count) of the items of highest score, best first; equal ones in the order of the gallery."""
    count = min(count, scores.shape[1])
    last = -np.partition(-scores, count - 1, axis=1)[:, count - 1]
    rows = []
    for row, least in zip(scores, last - TIE, strict=True):
        items = np.flatnonzero(row >= least)
        items = items[np.argsort(-row[items], kind="stable")]
        group = np.cumsum(-np.diff(row[items], prepend=row[items[:1]]) > TIE)
        rows.append(items[np.lexsort((items, group))][:count])
    return np.array(rows, np.int64).reshape(len(scores), count)


def nearest(features: np.ndarray, gallery: np.ndarray, count: int) -> np.ndarray:
    """Indices (N, count) of the gallery items of highest cosine, best first."""
    return ranked(cosine(features, gallery), count)


def concept_matches(pictures: list[Picture], gallery: list[Picture], rows: np.ndarray) -> np.ndarray:
    """(N,) bool: one of the neighbours `rows` (N, K) shows the picture's concept."""
    return np.take_along_axis(same([p.concept for p in pictures], [p.concept for p in gallery]), rows, 1).max(1)


def style_share(pictures: list[Picture], gallery: list[Picture], rows: np.ndarray) -> np.ndarray:
    """(N,) in [0, 1]: how many of the neighbours `rows` (N, K) have the picture's style; steadier than the nearest."""
    return np.take_along_axis(same([p.style for p in pictures], [p.style for p in gallery]), rows, 1).mean(1)
