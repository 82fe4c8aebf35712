"""Places in the semantic space as bytes: 128 float16, which is how rows and files keep them."""

from collections.abc import Sequence

import numpy as np

DIM = 128


def as_bytes(vector: Sequence[float] | np.ndarray) -> bytes:
    """A vector (128,) -> 256 bytes."""
    return np.asarray(vector, np.float16).tobytes()


def from_bytes(data: bytes) -> np.ndarray:
    """Bytes of n vectors -> float32 (n, 128). ValueError where they are not whole."""
    return np.frombuffer(data, np.float16).reshape(-1, DIM).astype(np.float32)
