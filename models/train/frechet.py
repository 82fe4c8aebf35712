"""The conditional Frechet distance between what is drawn and what is real, as a loss on a batch.

Features y of pictures that were told c are taken for a Gaussian whose mean is linear in c, y | c ~ N(A c, S), on both
sides (conditional FID, arXiv 2103.11521). The squared distance is

    E |A_real c - A_made c|^2 + Tr(S_real + S_made - 2 (S_real S_made)^(1/2)),

and its gradient at a sample is 2 (y - T(y)), where T is the optimal transport from the one to the other (Peyre and
Cuturi, Computational Optimal Transport, arXiv 1803.00567, remark 2.31):

    T(y) = A_real c + W (y - A_made c),  W = S_real^(1/2) (S_real^(1/2) S_made S_real^(1/2))^(-1/2) S_real^(1/2).

So the loss is |y - T(y)|^2 with T held fixed: T comes of thousands of pictures, the gradient of a batch (FD-loss, arXiv
2604.28190).

Shapes: N pictures, K numbers told, D features.
"""

from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor

RIDGE = 0.005  # of what is told, a picture: the two sides are of different numbers and must be shrunk alike
ROUNDING = 1e-3  # of the mean variance, added to what is drawn: some directions may have none, and W divides by it
LATELY = 512  # pictures that the mean is of: the network leaves older ones behind, and would be led past its goal


@dataclass(frozen=True)
class Gaussian:
    """y | c ~ N(c `weights`, `spread`): `weights` (K, D), `spread` (D, D)."""

    weights: Tensor
    spread: Tensor

    @classmethod
    def of(cls, told: Tensor, features: Tensor) -> "Gaussian":
        """Fitted to features (N, D) of pictures that were told `told` (N, K), by ridge regression."""
        gram = told.T @ told + RIDGE * len(told) * torch.eye(told.shape[1], device=told.device)
        weights = torch.linalg.solve(gram, told.T @ features)
        rest = features - told @ weights
        return cls(weights, rest.T @ rest / len(rest))

    def mean(self, told: Tensor) -> Tensor:
        """(N, K) -> (N, D)"""
        return told @ self.weights


def _roots(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Square root and its inverse of a symmetric positive matrix; eigenvalues that rounding made negative are tiny."""
    values, vectors = torch.linalg.eigh(matrix)
    values = values.clamp_min(1e-9 * values[-1]).sqrt()
    return vectors * values @ vectors.T, vectors / values @ vectors.T


def transport(made: Gaussian, real: Gaussian) -> tuple[Tensor, Tensor]:
    """W (D, D) from the one's residuals to the other's, and the last trace of the squared distance."""
    spread = made.spread.double()
    spread = spread + ROUNDING * spread.diagonal().mean() * torch.eye(len(spread)).to(spread)
    root, _ = _roots(real.spread.double())
    middle, inverse = _roots(root @ spread @ root)
    trace = real.spread.trace() + spread.trace() - 2 * middle.trace()
    return (root @ inverse @ root).to(made.spread.dtype), trace.to(made.spread.dtype)


class Likeness:
    """How one set of features of what is drawn differs from that of real pictures.

    Args:
        told: (N, K), of the real pictures; `features` (N, D).
        size: how many principal directions of the real ones are looked at.
        recent: how many drawn pictures are remembered.
    """

    def __init__(self, told: Tensor, features: Tensor, size: int, recent: int) -> None:
        self.centre, self.recent = features.mean(0), recent
        self.directions = torch.linalg.svd(features - self.centre, full_matrices=False)[2][:size].T
        seen = self._seen(features)
        self.real, self.variance = Gaussian.of(told, seen), seen.var(0).sum()
        self._drawn: deque[tuple[Tensor, Tensor]] = deque()
        self._made, self._carry = self.real, torch.eye(self.directions.shape[1]).to(seen)
        self.distance = float("nan")  # squared, in parts of the real pictures' variance, at the last `fit`

    def _seen(self, features: Tensor) -> Tensor:
        return (features - self.centre) @ self.directions

    def __len__(self) -> int:
        """How many drawn pictures it remembers."""
        return sum(len(told) for told, _ in self._drawn)

    def remember(self, told: Tensor, features: Tensor) -> None:
        """Take pictures in, (B, K) and (B, D), and forget the oldest beyond `recent`."""
        self._drawn.append((told, self._seen(features.detach())))
        while len(self) > max(self.recent, len(told)):
            self._drawn.popleft()

    def fit(self) -> None:
        """Find the transport from what it remembers to what is real."""
        told, seen = map(torch.cat, zip(*self._drawn, strict=True))
        self._made = Gaussian.of(told, seen)
        self._carry, trace = transport(self._made, self.real)
        apart = (self.real.mean(told) - self._made.mean(told)).square().sum(1).mean()
        self.distance = float((apart + trace) / self.variance)

    def loss(self, told: Tensor, features: Tensor) -> Tensor:
        """Mean squared distance of features (B, D) from where they are to be carried, in parts of the variance."""
        seen = self._seen(features)
        with torch.no_grad():
            rest = seen - self._made.mean(told) - self._drift()
            goal = self.real.mean(told) + rest @ self._carry
        return (seen - goal).square().sum(1).mean() / self.variance

    def _drift(self) -> Tensor:
        """(D,): how far the last LATELY pictures are from what the fit says of them, on average."""
        told, seen = map(torch.cat, zip(*self._drawn, strict=True))
        return (seen[-LATELY:] - self._made.mean(told[-LATELY:])).mean(0)
