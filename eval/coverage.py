"""How two sets of features cover each other, and how varied one is: precision, recall, density, coverage, the nearest
of the other set, Vendi. All in float64, block by block.

Precision and recall: T. Kynkäänniemi et al., arXiv 1904.06991; density and coverage: M. F. Naeem et al., arXiv
2002.09797; Vendi: D. Friedman and A. B. Dieng, arXiv 2210.02410.

Shapes: N made and M real samples, D features.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from eval.neighbours import TIE, unit

K = 5  # neighbours; as in dgm-eval and prdc
ROWS = 1000  # of a matrix of distances that are held at once


@dataclass(frozen=True, eq=False)
class Coverage:
    """One answer a sample, of which the measures are means."""

    precision: np.ndarray  # (N,) whether a made sample is in the ball of some real one
    recall: np.ndarray  # (M,) whether a real sample is in the ball of some made one
    density: np.ndarray  # (N,) in how many balls of real samples a made one is, over K
    coverage: np.ndarray  # (M,) whether a real sample's own ball holds a made one


def coverage(made: np.ndarray, real: np.ndarray, k: int = K) -> Coverage:
    """Balls reach to the k-th neighbour in a sample's own set; ValueError where a set has none."""
    least = min(len(made), len(real))
    if least <= k:
        raise ValueError(f"balls of {k} neighbours need {k + 1} pictures or more on each side, got {least}")
    made_radius, real_radius = _radius(made, k), _radius(real, k)
    inside, count = [], []
    recalled, covered = np.zeros(len(real), bool), np.zeros(len(real), bool)
    for start, block, slack in _distances(made, real):
        within = block <= real_radius + slack
        inside.append(within.any(1))
        count.append(within.sum(1) / k)
        recalled |= (block <= made_radius[start : start + len(block), None] + slack).any(0)
        covered |= within.any(0)
    return Coverage(np.concatenate(inside), recalled, np.concatenate(count), covered)


def _radius(x: np.ndarray, k: int) -> np.ndarray:
    """(N,) squared distance to the k-th neighbour; a sample is its own zeroth."""
    return np.concatenate([np.partition(block, k, axis=1)[:, k] for _, block, _ in _distances(x, x)])


def _distances(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Blocks of squared distances (ROWS, M) with the row that they start at, and by how much they may be off where the
    features are of float32: a sample on the border of a ball is inside, whatever rounding says."""
    y = np.asarray(y, np.float64)
    norms = np.square(y).sum(1)
    for start in range(0, len(x), ROWS):
        block = np.asarray(x[start : start + ROWS], np.float64)
        both = np.square(block).sum(1)[:, None] + norms
        yield start, np.maximum(both - 2 * block @ y.T, 0), TIE * both


def nearest_cosine(made: np.ndarray, real: np.ndarray) -> np.ndarray:
    """(N,) 1 - |cosine| to the nearest real sample."""
    y = unit(real)
    parts = [np.abs(unit(made[i : i + ROWS]) @ y.T).max(1) for i in range(0, len(made), ROWS)]
    return 1 - np.minimum(np.concatenate(parts), 1)


def vendi(blocks: Iterable[np.ndarray]) -> float:
    """How many different samples there effectively are: exp of the entropy of the eigenvalues of the cosines over n,
    which are those of the unit features' second moment (D, D), however many samples there are."""
    total, n = np.zeros(()), 0
    for block in blocks:
        x = unit(block)
        total, n = total + x.T @ x, n + len(x)
    values = np.linalg.eigvalsh(total / n)
    values = values[values > 1e-12]
    return float(np.exp(-(values * np.log(values)).sum()))


MEMORISED = 0.1  # mean 1 - |cosine| below which a set counts as memorised


def memorisation(near: np.ndarray) -> float:
    """What MiFID divides the Frechet distance by (C.-Y. Bai et al., arXiv 2106.03062): the mean of `nearest_cosine`
    where it is below 0.1, else 1."""
    mean = float(near.mean())
    return mean if mean < MEMORISED else 1.0
