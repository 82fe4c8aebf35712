"""A map of the gallery: each artifact's vector as a point of a plane, so that what means the same lies together.

The plane is that of the two directions in which the vectors differ most (principal components, by numpy): the same
pictures give the same map, and one more moves it little, which t-SNE and UMAP do not promise.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from studio.gallery import Filter, Gallery, Kept
from studio.search import Search

NEWEST = 5_000  # artifacts on a map
REMEMBERED = 4  # maps


@dataclass(frozen=True)
class Point:
    """An artifact's place on the map, x and y from 0 to 1."""

    picture: Kept
    x: float
    y: float


def points(gallery: Gallery, search: Search, space: str) -> list[Point]:
    """The NEWEST artifacts outside the bin that have a vector in `space`."""
    numbers, vectors = search.vectors(space)
    row = dict(zip(numbers.tolist(), range(len(numbers)), strict=True))
    kept = [one for one in gallery.page(Filter(), limit=NEWEST) if one.number in row]
    places = _places(vectors[[row[one.number] for one in kept]].tobytes(), vectors.shape[1])
    return [Point(one, x, y) for one, (x, y) in zip(kept, places.tolist(), strict=True)]


@lru_cache(REMEMBERED)
def _places(vectors: bytes, width: int) -> np.ndarray:
    return projected(np.frombuffer(vectors, np.float32).reshape(-1, max(width, 1)))


def projected(vectors: np.ndarray) -> np.ndarray:
    """(N, D) -> (N, 2) from 0 to 1 on their two principal components, each with the sign that makes its largest weight
    positive; what does not differ lies in the middle."""
    if not len(vectors):
        return np.zeros((0, 2))
    centred = vectors.astype(np.float64) - vectors.mean(0, dtype=np.float64)
    _, components = np.linalg.eigh(centred.T @ centred)  # D x D, whatever N is; the largest come last
    axes = components[:, :-3:-1]
    axes = axes * np.sign(axes[np.abs(axes).argmax(0), range(2)])
    places = centred @ axes
    span = np.ptp(places, 0)
    return np.where(span > 1e-6, (places - places.min(0)) / np.maximum(span, 1e-6), 0.5)
