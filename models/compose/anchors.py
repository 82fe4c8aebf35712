"""Anchors: where a thing has most room for a face or letters, and the features of a drawn face to put there.

"A smiling avocado" takes eyes and mouth of a smiling face. Faces of the sets are discs of one skin colour, and what
differs from the skin is a feature. Features are cut out as in blue-screen matting: each pixel shows some share of the
known skin. Pictures are premultiplied uint8 (S, S, 4).
"""

import numpy as np
from PIL import Image

SEEN = 128  # alpha from which a pixel is part of a thing
RIM = 0.92  # of the face's half axes: beyond it are its outline and its shading
SAME, OTHER = 30.0, 80.0  # levels of 255 from the skin: up to the first a pixel is skin, from the second a feature
ROOM = 1.5  # the features' longer side, in radii of the disc that they are put in
STEP = 5  # one in so many pixels of a thing is tried as the centre
SLIM = 0.09  # of the side: a smaller disc has no room, and the middle of the thing is taken
DARK, INK = 95.0, 90.0  # mean levels: a ground below the first is dark, and marks below the second turn light on it
LIGHT = 235.0


def features(face: np.ndarray) -> np.ndarray:
    """Eyes and mouth of a face, cut out; (0, 0, 4) where there are none."""
    inside = _disc(face[..., 3] >= SEEN)
    if not inside.any():
        return face[:0, :0]
    colours = face[..., :3].astype(float)
    skin = np.median(colours[inside], 0)  # features are less than half of a face
    share = np.clip((np.linalg.norm(colours - skin, axis=-1) - SAME) / (OTHER - SAME), 0, 1) * inside
    own = np.clip(colours - (1 - share[..., None]) * skin, 0, 255 * share[..., None])
    cut = np.dstack([own, 255 * share]).round().astype(np.uint8)
    left, top, right, bottom = Image.fromarray(cut[..., 3] >= SEEN).getbbox() or (0, 0, 0, 0)
    return cut[top:bottom, left:right]


def middle(alpha: np.ndarray) -> tuple[float, float, float] | None:
    """Centre (x, y) and radius, in pixels, of the largest disc within what `alpha` (H, W) shows; None of an empty one.
    A thing without room anywhere, such as a snowflake, is treated as a disc."""
    seen = np.pad(alpha >= SEEN, 1)
    if not seen.any():
        return None
    beside = np.any([np.roll(seen, step, axis) for step in (1, -1) for axis in (0, 1)], 0)
    around = np.argwhere(~seen & beside)
    inside = np.argwhere(seen)[::STEP]
    nearest = np.sqrt(np.square(inside[:, None] - around[None]).sum(-1, dtype=np.int32).min(1))
    if nearest.max() < SLIM * max(alpha.shape):
        (top, left), (bottom, right) = inside.min(0), inside.max(0)
        size = min(bottom - top, right - left)
        return (left + right) / 2 - 1, (top + bottom) / 2 - 1, max(size / 4, nearest.max())
    best = np.argwhere(nearest >= nearest.max() - 1)[:, 0]  # of a long thing, the middle of its length
    centre = inside[best].mean(0)
    y, x = inside[best[np.argmin(np.square(inside[best] - centre).sum(1))]]
    return float(x) - 0.5, float(y) - 0.5, float(nearest.max())


def on_dark(cut: np.ndarray) -> np.ndarray:
    """The features with their dark parts made light."""
    alpha = cut[..., 3:].astype(float) / 255
    dark = (cut[..., :3].mean(-1, keepdims=True) < INK * alpha) & (alpha > 0)
    colours = np.where(dark, LIGHT * alpha, cut[..., :3])
    return np.dstack([colours, cut[..., 3:]]).round().astype(np.uint8)


def is_dark(picture: np.ndarray, x: float, y: float, radius: float) -> bool:
    """Whether the picture is dark within a disc."""
    rows, columns = np.ogrid[: picture.shape[0], : picture.shape[1]]
    disc = ((columns - x) ** 2 + (rows - y) ** 2 <= radius**2) & (picture[..., 3] >= SEEN)
    return bool(disc.any()) and float(picture[disc][:, :3].mean()) < DARK


def _disc(seen: np.ndarray) -> np.ndarray:
    """The ellipse in the box of a mask, without its rim."""
    left, top, right, bottom = Image.fromarray(seen).getbbox() or (0, 0, 0, 0)
    rows, columns = np.ogrid[: len(seen), : len(seen)]
    across = (columns + 0.5 - (left + right) / 2) / max(RIM * (right - left) / 2, 1)
    down = (rows + 0.5 - (top + bottom) / 2) / max(RIM * (bottom - top) / 2, 1)
    return (across**2 + down**2 <= 1) & seen
