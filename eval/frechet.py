"""Distances between two sets of features: streaming statistics in float64, then numbers made from two of them.

torchmetrics has the kernel of KID right, and it is used here. Its `FrechetInceptionDistance` takes the eigenvalues of
the non-symmetric product C1 C2 (rounding makes some negative or complex, and they are dropped), returns float32, and
its KID draws subsets from the global generator: those three are done here instead. A test holds the two together.

Shapes: n samples, D features.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torchmetrics.image.kid import poly_mmd


@dataclass(frozen=True, eq=False)
class Stats:
    """Sums over n samples, in float64: `total` (D,) and `outer` (D, D) = X^T X. Two of them add up."""

    n: int
    total: np.ndarray
    outer: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray) -> "Stats":
        """Statistics of features (n, D)."""
        x = np.asarray(features, np.float64)
        if x.ndim != 2 or not np.isfinite(x).all():
            raise ValueError(f"features must be a finite (n, D) array, not {x.shape}; look for NaN in the pictures")
        return cls(len(x), x.sum(0), x.T @ x)

    def __add__(self, other: "Stats") -> "Stats":
        return Stats(self.n + other.n, self.total + other.total, self.outer + other.outer)

    @property
    def mean(self) -> np.ndarray:
        """(D,)"""
        return self.total / self.n

    @property
    def covariance(self) -> np.ndarray:
        """(D, D), unbiased (n - 1). ValueError under two samples."""
        if self.n < 2:
            raise ValueError(f"a covariance needs two samples or more, got {self.n}")
        mean = self.mean
        return (self.outer - self.n * np.outer(mean, mean)) / (self.n - 1)


def _root(matrix: np.ndarray) -> np.ndarray:
    """Square root of a symmetric positive semidefinite matrix; eigenvalues that rounding made negative are zero."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T


def frechet_distance(a: Stats, b: Stats) -> float:
    """|mu1 - mu2|^2 + Tr(C1 + C2 - 2 (C1 C2)^(1/2)) (Heusel et al., arXiv 1706.08500, equation 6).

    The last trace is the nuclear norm of C1^(1/2) C2^(1/2), which is real and never negative, also where n < D.
    ValueError if the two have different numbers of features.
    """
    if a.total.shape != b.total.shape:
        raise ValueError(f"can't compare {len(a.total)} and {len(b.total)} features; use one extractor for both")
    c1, c2 = a.covariance, b.covariance
    cross = np.linalg.svd(_root(c1) @ _root(c2), compute_uv=False).sum()
    return float(np.square(a.mean - b.mean).sum() + np.trace(c1) + np.trace(c2) - 2.0 * cross)


def expected_floor(stats: Stats, n: int, m: int) -> float:
    """What two samples of `n` and `m` from one Gaussian with this covariance differ by, on average.

    Second-order expansion of the Bures distance, with l the eigenvalues of the covariance:
    (1/n + 1/m) (sum_i l_i + 1/2 sum_ij l_i l_j (1 + [i = j]) / (l_i + l_j)). Holds for n, m well above D.
    """
    values = np.maximum(np.linalg.eigvalsh(stats.covariance), 0.0)
    values = values[values > values.max(initial=0.0) * 1e-12]
    pairs = np.outer(values, values) / np.add.outer(values, values)
    spread = values.sum() + 0.5 * (pairs.sum() + np.trace(pairs))
    return float((1.0 / n + 1.0 / m) * spread)


def kernel_distance(
    a: np.ndarray, b: np.ndarray, subsets: int = 50, size: int = 500, seed: int = 0
) -> tuple[float, float]:
    """KID: mean and standard deviation of the unbiased MMD^2 with kernel (x.y / D + 1)^3 over seeded subsets.

    Binkowski et al., arXiv 1801.01401. `a` (n, D) and `b` (m, D); subsets hold min(size, n / 2, m / 2) of each. Unlike
    the Frechet distance its mean does not depend on the sample size, so it is the headline at a thousand pictures.
    """
    least = min(len(a), len(b))
    if least < 2:
        raise ValueError(f"KID needs two pictures or more on each side, got {len(a)} and {len(b)}")
    size = min(size, max(2, least // 2))  # of larger ones the 50 would hold nearly the same pictures
    rng = np.random.default_rng(seed)
    values = [float(poly_mmd(_subset(a, size, rng), _subset(b, size, rng))) for _ in range(subsets)]
    return float(np.mean(values)), float(np.std(values))


def _subset(features: np.ndarray, size: int, rng: np.random.Generator) -> torch.Tensor:
    chosen = rng.choice(len(features), size, replace=False)
    return torch.from_numpy(np.asarray(features, np.float64)[chosen])
