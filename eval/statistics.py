"""Distances between two sets of features in float64, how they cover each other, nearest neighbours and ranks, and the
shipped reference statistics.

torchmetrics has the kernel of KID right, and it is used here. Its `FrechetInceptionDistance` takes the eigenvalues of
the non-symmetric product C1 C2 (rounding makes some negative or complex, and they are dropped), returns float32, and
its KID draws subsets from the global generator: those three are done here instead. A test holds the two together.

The floor of a Frechet distance grows with the square of the number of features: at a thousand pictures the raw 1,280
are mostly floor. So FD-EffLite0-PCA128 uses the 128 directions of most variance of the training pictures' features,
fitted once, kept as a file and named by its hash. They keep the scale of the features: nothing is whitened.

Precision and recall: T. Kynkäänniemi et al., arXiv 1904.06991; density and coverage: M. F. Naeem et al., arXiv
2002.09797; Vendi: D. Friedman and A. B. Dieng, arXiv 2210.02410.

Rounding never decides between equal candidates. Scores that differ by at most `TIE` are equal: two equal vectors get
cosines that differ in their last bits, by the kernel that multiplies them. A metric gives tied candidates their
expected share, so a constant embedding gets exactly chance; `ranked` orders them by their place in the gallery.

Shapes: n samples, D features; N generated and M real samples, or N pictures; Q queries, G gallery items; `right` (Q, G)
says which items answer which query.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from math import comb
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from torchmetrics.image.kid import poly_mmd

from eval.extractors import PREPROCESSING, WEIGHTS_SHA256
from models.assets import assets
from models.data.world import Picture

# Vectors come in float32. Two cosines whose vectors are one unit in the last place apart in every number differ by at
# most this: 2^-23 relative for each of the two candidates and for the norm of each.
TIE = 4 * 2.0**-23


@dataclass(frozen=True, eq=False)
class FeatureStatistics:
    """Mean (D,) and unbiased covariance (D, D) of n samples, in float64."""

    n: int
    mean: np.ndarray
    covariance: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray) -> "FeatureStatistics":
        """Statistics of features (n, D); ValueError under two samples."""
        statistics = cls.part(features)
        if statistics.n < 2:
            raise ValueError(f"a covariance needs two samples or more, got {statistics.n}")
        return statistics

    @classmethod
    def part(cls, features: np.ndarray) -> "FeatureStatistics":
        """Of one sample or more, to be merged with others; the covariance of one is zero."""
        x = np.asarray(features, np.float64)
        if x.ndim != 2 or not np.isfinite(x).all():
            raise ValueError(f"features must be a finite (n, D) array, not {x.shape}; look for NaN in the pictures")
        mean = x.sum(0) / len(x)
        return cls(len(x), mean, (x.T @ x - len(x) * np.outer(mean, mean)) / max(1, len(x) - 1))

    @classmethod
    def merged(cls, parts: "Iterable[FeatureStatistics]") -> "FeatureStatistics":
        """Of all samples of the parts together (T. F. Chan et al., 1979)."""
        return reduce(_merged, parts)

    @cached_property
    def root(self) -> np.ndarray:
        """Square root of the covariance."""
        return _root(self.covariance)


def _merged(a: FeatureStatistics, b: FeatureStatistics) -> FeatureStatistics:
    n, apart = a.n + b.n, b.mean - a.mean
    scatter = (a.n - 1) * a.covariance + (b.n - 1) * b.covariance + np.outer(apart, apart) * (a.n * b.n / n)
    return FeatureStatistics(n, a.mean + apart * (b.n / n), scatter / (n - 1))


def _root(matrix: np.ndarray) -> np.ndarray:
    """Square root of a symmetric positive semidefinite matrix; eigenvalues that rounding made negative are zero."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T


def frechet_distance(a: FeatureStatistics, b: FeatureStatistics) -> float:
    """|mu1 - mu2|^2 + Tr(C1 + C2 - 2 (C1 C2)^(1/2)) (Heusel et al., arXiv 1706.08500, equation 6).

    The last trace is the nuclear norm of C1^(1/2) C2^(1/2), which is real and never negative, also where n < D.
    ValueError if the two have different numbers of features.
    """
    if a.mean.shape != b.mean.shape:
        raise ValueError(f"can't compare {len(a.mean)} and {len(b.mean)} features; use one extractor for both")
    c1, c2 = a.covariance, b.covariance
    cross = np.linalg.svd(a.root @ b.root, compute_uv=False).sum()
    return float(np.square(a.mean - b.mean).sum() + np.trace(c1) + np.trace(c2) - 2.0 * cross)


def expected_floor(stats: FeatureStatistics, n: int, m: int) -> float:
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


def fold_error(a: np.ndarray, b: np.ndarray, folds: int = 10) -> float | None:
    """Half of KID's 95 % interval: from its spread over pairs of disjoint folds; None where they would hold fewer than
    two pictures each."""
    size = min(len(a), len(b)) // folds
    if size < 2:
        return None
    first, other = (torch.from_numpy(np.asarray(x, np.float64)) for x in (a, b))
    values = [float(poly_mmd(first[k::folds][:size], other[k::folds][:size])) for k in range(folds)]
    return float(1.96 * np.std(values, ddof=1) / np.sqrt(folds))


def _subset(features: np.ndarray, size: int, rng: np.random.Generator) -> torch.Tensor:
    chosen = rng.choice(len(features), size, replace=False)
    return torch.from_numpy(np.asarray(features, np.float64)[chosen])


DIMENSIONS = 128
NAME = "FD-EffLite0-PCA128"
COMMAND = "python -m eval reference"


@dataclass(frozen=True, eq=False)
class ReferenceStatistics:
    """`mean` (D,) and orthonormal `directions` (D, 128), float32, with the digest of the world they were fitted on."""

    mean: np.ndarray
    directions: np.ndarray
    world: str
    pictures: int

    @classmethod
    def fit(cls, stats: FeatureStatistics, world: str, dimensions: int = DIMENSIONS) -> "ReferenceStatistics":
        """Principal directions of the features' covariance, most variance first, signs fixed."""
        _, vectors = np.linalg.eigh(stats.covariance)
        directions = vectors[:, ::-1][:, :dimensions]
        largest = directions[np.abs(directions).argmax(0), np.arange(directions.shape[1])]
        directions = directions * np.sign(largest)  # eigh leaves the sign to the library
        return cls(stats.mean.astype(np.float32), directions.astype(np.float32), world, stats.n)

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """(N, D) -> (N, 128) float64."""
        return (np.asarray(features, np.float64) - self.mean) @ self.directions.astype(np.float64)

    def digest(self) -> str:
        """sha256 of the numbers themselves."""
        return hashlib.sha256(self.mean.tobytes() + np.ascontiguousarray(self.directions).tobytes()).hexdigest()

    def save(self, path: Path) -> None:
        """As safetensors; the file's metadata names its origin."""
        path.parent.mkdir(parents=True, exist_ok=True)
        facts = {"extractor": WEIGHTS_SHA256, "preprocessing": PREPROCESSING, "world": self.world}
        tensors = {"mean": self.mean, "directions": np.ascontiguousarray(self.directions)}
        save_file(tensors, path, {**facts, "pictures": str(self.pictures), "digest": self.digest()})

    @classmethod
    def load(cls, path: Path | None = None) -> "ReferenceStatistics":
        """The shipped statistics, or those at `path`.

        FileNotFoundError says how to make it; ValueError where it belongs to another extractor or was altered.
        """
        path = path or reference_path()
        if not path.is_file():
            raise FileNotFoundError(f"no reference statistics at {path}; make them with: {COMMAND}")
        with safe_open(path, framework="np") as file:
            facts = file.metadata() or {}
            reference = cls(
                file.get_tensor("mean"), file.get_tensor("directions"), facts["world"], int(facts["pictures"])
            )
        if (facts["extractor"], facts["preprocessing"]) != (WEIGHTS_SHA256, PREPROCESSING):
            raise ValueError(f"{path} was fitted on features of another extractor; make it again with: {COMMAND}")
        if facts["digest"] != reference.digest():
            raise ValueError(f"{path} is not what it says (sha256); make it again with: {COMMAND}")
        return reference


def reference_path() -> Path:
    return assets() / "stats" / "efflite0-pca128.safetensors"


# --- Coverage ---------------------------------------------------------------------------------------------------------


NEIGHBOURS = 5  # as in dgm-eval and prdc
ROWS = 1000  # of a matrix of distances that are held at once


@dataclass(frozen=True, eq=False)
class Coverage:
    """One answer a sample, of which the measures are means."""

    precision: np.ndarray  # (N,) whether a generated sample is in the ball of some real one
    recall: np.ndarray  # (M,) whether a real sample is in the ball of some generated one
    density: np.ndarray  # (N,) in how many balls of real samples a generated one is, over 5
    coverage: np.ndarray  # (M,) whether a real sample's own ball holds a generated one


def coverage(generated: np.ndarray, real: np.ndarray, k: int = NEIGHBOURS) -> Coverage:
    """Balls reach to the k-th neighbour in a sample's own set; ValueError where a set has none."""
    least = min(len(generated), len(real))
    if least <= k:
        raise ValueError(f"balls of {k} neighbours need {k + 1} pictures or more on each side, got {least}")
    generated_radius, real_radius = _radius(generated, k), _radius(real, k)
    inside, count = [], []
    recalled, covered = np.zeros(len(real), bool), np.zeros(len(real), bool)
    for start, block, slack in _distances(generated, real):
        within = block <= real_radius + slack
        inside.append(within.any(1))
        count.append(within.sum(1) / k)
        recalled |= (block <= generated_radius[start : start + len(block), None] + slack).any(0)
        covered |= within.any(0)
    return Coverage(np.concatenate(inside), recalled, np.concatenate(count), covered)


def _radius(x: np.ndarray, k: int) -> np.ndarray:
    """(N,) squared distance to the k-th neighbour; a sample is its own zeroth."""
    return np.concatenate([np.partition(block, k, axis=1)[:, k] for _, block, _ in _distances(x, x)])


def _distances(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Blocks of squared distances (ROWS, M) with the row that they start at, and by how much they may be off where the
    features are of float32: a sample on the border of a ball is inside."""
    y = np.asarray(y, np.float64)
    norms = np.square(y).sum(1)
    for start in range(0, len(x), ROWS):
        block = np.asarray(x[start : start + ROWS], np.float64)
        both = np.square(block).sum(1)[:, None] + norms
        yield start, np.maximum(both - 2 * block @ y.T, 0), TIE * both


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


# --- Neighbours and ranks ---------------------------------------------------------------------------------------------


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
