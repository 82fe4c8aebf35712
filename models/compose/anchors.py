"""The eyes and the mouth of a drawn face, and where they go on what has none: "a smiling avocado".

A face of the sets is a disc of one skin. What differs from the skin in it are its features; taken without the skin,
they may be laid on anything (blue-screen matting: the skin is the known ground of which each pixel shows a share).
Pictures are premultiplied uint8 (S, S, 4).
"""

import numpy as np
from PIL import Image

SEEN = 128  # alpha from which a pixel is part of a thing
RIM = 0.92  # of the face's half axes: beyond it are its outline and its shade
SAME, OTHER = 30.0, 80.0  # levels of 255 from the skin: up to the first a pixel is skin, from the second a feature
ROOM = 1.5  # the features' longer side, in radii of the disc that they are laid in
STEP = 5  # of the pixels of a thing one in so many is tried as the middle
SLIM = 0.09  # of the side: a disc of a smaller radius has no room, and the middle of all is taken
DARK, INK = 95.0, 90.0  # mean levels: up to the first a ground is dark, and what is darker than the second on it light
LIGHT = 235.0


def features(face: np.ndarray) -> np.ndarray:
    """What is not skin of the face, cut out; (0, 0, 4) of nothing, or of a face without any."""
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
    """Middle (x, y) and radius, in pixels, of the largest disc in what is seen of `alpha` (H, W); None of nothing. What
    has no room anywhere, a snowflake, is taken for a disc."""
    seen = np.pad(alpha >= SEEN, 1)
    if not seen.any():
        return None
    around = np.argwhere(~seen & _near(seen))
    inside = np.argwhere(seen)[::STEP]
    nearest = np.sqrt(np.square(inside[:, None] - around[None]).sum(-1, dtype=np.int32).min(1))
    if nearest.max() < SLIM * max(alpha.shape):
        (top, left), (bottom, right) = inside.min(0), inside.max(0)
        size = min(bottom - top, right - left)
        return (left + right) / 2 - 1, (top + bottom) / 2 - 1, max(size / 4, nearest.max())
    best = np.argwhere(nearest >= nearest.max() - 1)[:, 0]  # of a long thing, the middle of its length
    centre = inside[best].mean(0)
    y, x = inside[best[np.square(inside[best] - centre).sum(1).argmin()]]
    return float(x) - 0.5, float(y) - 0.5, float(nearest.max())


def on_dark(cut: np.ndarray) -> np.ndarray:
    """The features with what is dark of them light."""
    alpha = cut[..., 3:].astype(float) / 255
    dark = (cut[..., :3].mean(-1, keepdims=True) < INK * alpha) & (alpha > 0)
    colours = np.where(dark, LIGHT * alpha, cut[..., :3])
    return np.dstack([colours, cut[..., 3:]]).round().astype(np.uint8)


def is_dark(picture: np.ndarray, x: float, y: float, radius: float) -> bool:
    """Whether what is seen in a disc of the picture is dark."""
    rows, columns = np.ogrid[: picture.shape[0], : picture.shape[1]]
    disc = ((columns - x) ** 2 + (rows - y) ** 2 <= radius**2) & (picture[..., 3] >= SEEN)
    return bool(disc.any()) and float(picture[disc][:, :3].mean()) < DARK


def _disc(seen: np.ndarray) -> np.ndarray:
    """The ellipse in the box of what is seen, less its rim."""
    left, top, right, bottom = Image.fromarray(seen).getbbox() or (0, 0, 0, 0)
    rows, columns = np.ogrid[: len(seen), : len(seen)]
    across = (columns + 0.5 - (left + right) / 2) / max(RIM * (right - left) / 2, 1)
    down = (rows + 0.5 - (top + bottom) / 2) / max(RIM * (bottom - top) / 2, 1)
    return (across**2 + down**2 <= 1) & seen


def _near(seen: np.ndarray) -> np.ndarray:
    """What is seen and the pixels beside it."""
    near = seen.copy()
    near[1:] |= seen[:-1]
    near[:-1] |= seen[1:]
    near[:, 1:] |= seen[:, :-1]
    near[:, :-1] |= seen[:, 1:]
    return near
