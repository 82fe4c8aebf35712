"""95 % intervals. They cover the sampling of pictures and queries; another training of the same model moves more."""

import numpy as np


def bootstrap(values: np.ndarray, repeats: int = 2000, seed: int = 0) -> tuple[float, float]:
    """Percentile interval of the mean over resampled queries (Q,)."""
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, len(values), (repeats, len(values)))
    low, high = np.percentile(values[draws].mean(1), [2.5, 97.5])
    return float(low), float(high)


def wilson(successes: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """Interval of a proportion (Wilson, 1927); (0, 1) for no trials."""
    if n == 0:
        return 0.0, 1.0
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))
