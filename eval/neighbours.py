"""The nearest real pictures: do they show the right thing, in the right style, and is one of them the picture itself?

Shapes: N pictures, G gallery, D = 1280 features.
"""

import numpy as np

from eval.ranks import cosine
from models.data.world import Picture

THUMB = 16  # pixels a side
SAME_DRAWING = 3.0  # levels of 255; the world's own rule for two pictures of one drawing (models.data.splits.kin)
COPY = f"the same 16-px thumbnail within {SAME_DRAWING:.0f} of 255 levels"  # what `copied` says
CANDIDATES = 20


def nearest(features: np.ndarray, gallery: np.ndarray, count: int) -> np.ndarray:
    """Indices (N, count) of the gallery items of highest cosine, best first."""
    scores = cosine(features, gallery)
    count = min(count, scores.shape[1])
    best = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    order = np.take_along_axis(-scores, best, 1).argsort(1, kind="stable")
    return np.take_along_axis(best, order, 1)


def concept_found(pictures: list[Picture], gallery: list[Picture], rows: np.ndarray) -> np.ndarray:
    """(N,) bool: one of the neighbours `rows` (N, K) shows the picture's concept."""
    concepts = np.array([picture.concept for picture in gallery])
    return (concepts[rows] == np.array([picture.concept for picture in pictures])[:, None]).any(1)


def style_share(pictures: list[Picture], gallery: list[Picture], rows: np.ndarray) -> np.ndarray:
    """(N,) in [0, 1]: how many of the neighbours `rows` (N, K) have the picture's style; steadier than the nearest."""
    styles = np.array([picture.style for picture in gallery])
    return (styles[rows] == np.array([picture.style for picture in pictures])[:, None]).mean(1)


def thumbs(pixels: np.ndarray) -> np.ndarray:
    """uint8 (N, 128, 128, 4) -> float32 (N, 1024): means over 8 x 8 pixels, as the world's own audit takes them."""
    n, side = len(pixels), pixels.shape[1] // THUMB
    return pixels.reshape(n, THUMB, side, THUMB, side, 4).mean((2, 4), dtype=np.float32).reshape(n, -1)


def copied(made: np.ndarray, train: np.ndarray, mirrored: bool = False) -> np.ndarray:
    """(N,) bool: some training picture, of which `train` are thumbs, is the same drawing as a picture of `made`
    (N, 128, 128, 4), or as its mirror image where `mirrored` ones count."""
    sides = (made, made[:, :, ::-1]) if mirrored else (made,)
    return np.min([drawing_distance(thumbs(side), train)[0] for side in sides], 0) <= SAME_DRAWING


def drawing_distance(made: np.ndarray, train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Thumbs (N, 1024) and (M, 1024) -> mean absolute difference (N,) from the nearest, and its index (N,).

    The nearest by absolute difference is looked for among the 20 nearest by squared difference.
    """
    norms = np.square(train).sum(1)
    distances, indices = [], []
    for thumb in made:
        candidates = np.argpartition(norms - 2 * train @ thumb, min(CANDIDATES, len(train) - 1))[:CANDIDATES]
        differences = np.abs(train[candidates] - thumb).mean(1)
        distances.append(differences.min())
        indices.append(candidates[differences.argmin()])
    return np.array(distances), np.array(indices)
