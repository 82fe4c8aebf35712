"""The projection under FD-EffLite0-PCA128: fitted once on training pictures, kept as a file, named by its hash.

The floor of a Frechet distance grows with the square of the number of features: at a thousand pictures the raw 1,280
are mostly floor. 128 directions of most variance keep the scale of the features (nothing is whitened).
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from eval.features import PREPROCESSING, WEIGHTS_SHA256
from eval.frechet import Stats
from models.assets import assets

DIMENSIONS = 128
NAME = "FD-EffLite0-PCA128"
COMMAND = "python -m eval reference"


@dataclass(frozen=True, eq=False)
class Projection:
    """`mean` (D,) and orthonormal `directions` (D, 128), float32, with the digest of the world they were fitted on."""

    mean: np.ndarray
    directions: np.ndarray
    world: str
    pictures: int

    @classmethod
    def fit(cls, stats: Stats, world: str, dimensions: int = DIMENSIONS) -> "Projection":
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
        """As safetensors; what it was made from is in the file's metadata."""
        path.parent.mkdir(parents=True, exist_ok=True)
        facts = {"extractor": WEIGHTS_SHA256, "preprocessing": PREPROCESSING, "world": self.world}
        tensors = {"mean": self.mean, "directions": np.ascontiguousarray(self.directions)}
        save_file(tensors, path, {**facts, "pictures": str(self.pictures), "digest": self.digest()})

    @classmethod
    def load(cls, path: Path | None = None) -> "Projection":
        """The shipped projection, or the one at `path`.

        FileNotFoundError says how to make it; ValueError where it belongs to another extractor or was altered.
        """
        path = path or projection_path()
        if not path.is_file():
            raise FileNotFoundError(f"no reference statistics at {path}; make them with: {COMMAND}")
        with safe_open(path, framework="np") as file:
            facts = file.metadata() or {}
            found = cls(file.get_tensor("mean"), file.get_tensor("directions"), facts["world"], int(facts["pictures"]))
        if (facts["extractor"], facts["preprocessing"]) != (WEIGHTS_SHA256, PREPROCESSING):
            raise ValueError(f"{path} was fitted on features of another extractor; make it again with: {COMMAND}")
        if facts["digest"] != found.digest():
            raise ValueError(f"{path} is not what it says (sha256); make it again with: {COMMAND}")
        return found


def projection_path() -> Path:
    """Where the shipped projection lies."""
    return assets() / "stats" / "efflite0-pca128.safetensors"
