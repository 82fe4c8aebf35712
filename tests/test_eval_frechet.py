"""Laws of the distances: zero on itself, symmetric, closed forms, same as torchmetrics."""

import numpy as np
import pytest
import torch
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance

from eval.statistics import FeatureStatistics, expected_floor, frechet_distance, kernel_distance


def gaussian(n: int, d: int, seed: int, shift: float = 0.0, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, scale, (n, d))


def exact(mean: np.ndarray, covariance: np.ndarray, n: int = 1000) -> FeatureStatistics:
    """Statistics whose mean and covariance are exactly these."""
    return FeatureStatistics(n, mean, covariance)


def test_zero_on_itself_and_symmetric() -> None:
    a, b = FeatureStatistics.of(gaussian(300, 16, 0)), FeatureStatistics.of(gaussian(200, 16, 1, 0.3, 2.0))
    assert abs(frechet_distance(a, a)) < 1e-9
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)
    assert frechet_distance(a, b) > 1


def test_closed_form_of_two_gaussians() -> None:
    """Diagonal covariances: |shift|^2 + sum (sqrt(l) - sqrt(m))^2, here also rotated."""
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    left, right = rng.uniform(0.1, 4, 6), rng.uniform(0.1, 4, 6)
    shift = rng.normal(size=6)
    a = exact(np.zeros(6), rotation @ np.diag(left) @ rotation.T)
    b = exact(shift, rotation @ np.diag(right) @ rotation.T)
    expected = shift @ shift + np.square(np.sqrt(left) - np.sqrt(right)).sum()
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_fewer_samples_than_features_stays_real_and_zero_on_itself() -> None:
    a = FeatureStatistics.of(gaussian(10, 64, 0))
    assert abs(frechet_distance(a, a)) < 1e-8


def test_the_covariance_is_unbiased() -> None:
    x = gaussian(100, 8, 0, 5.0)
    assert np.allclose(FeatureStatistics.of(x).covariance, np.cov(x.T))


class Identity(nn.Module):
    """Passes features through torchmetrics' picture door."""

    num_features = 12

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def test_agrees_with_torchmetrics() -> None:
    a, b = gaussian(200, 12, 0), gaussian(150, 12, 1, 0.5)
    metric = FrechetInceptionDistance(feature=Identity())
    metric.update(torch.from_numpy(a), real=True)
    metric.update(torch.from_numpy(b), real=False)
    assert frechet_distance(FeatureStatistics.of(a), FeatureStatistics.of(b)) == pytest.approx(
        float(metric.compute()), rel=1e-5
    )


def test_expected_floor_is_what_two_samples_of_one_gaussian_differ_by() -> None:
    scales = 1 / np.sqrt(np.arange(1, 33))
    pairs = [
        frechet_distance(*(FeatureStatistics.of(gaussian(400, 32, 2 * i + side) * scales) for side in (0, 1)))
        for i in range(8)
    ]
    assert expected_floor(exact(np.zeros(32), np.diag(scales**2)), 400, 400) == pytest.approx(np.mean(pairs), rel=0.1)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match="compare 3 and 4"):
        frechet_distance(FeatureStatistics.of(gaussian(9, 3, 0)), FeatureStatistics.of(gaussian(9, 4, 0)))
    with pytest.raises(ValueError, match="two samples"):
        FeatureStatistics.of(gaussian(1, 3, 0))
    with pytest.raises(ValueError, match="finite"):
        FeatureStatistics.of(np.array([[np.nan, 1.0]]))


def test_kernel_distance_is_unbiased_seeded_and_grows_with_the_shift() -> None:
    a, b = gaussian(400, 8, 0), gaussian(400, 8, 1)
    mean, spread = kernel_distance(a, b, subsets=20, size=200)
    assert abs(mean) < spread  # unbiased: around zero for one distribution, either sign
    assert kernel_distance(a, b, 20, 200) == kernel_distance(a, b, 20, 200) != kernel_distance(a, b, 20, 200, seed=1)
    assert kernel_distance(a, b + 1.0, 20, 200)[0] > 10 * spread
    torch.manual_seed(0)
    before = torch.rand(1)
    torch.manual_seed(0)
    kernel_distance(a, b, 2, 50)
    assert torch.equal(torch.rand(1), before)  # the caller's generator is left alone
