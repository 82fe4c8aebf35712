"""Anchors in a drawing: the head and the neck, where things are worn, and where it has most room for a face or letters.

The head is what is highest, once tails and antlers are left out; two ears that stand close or in a shallow dip belong
to one head. The neck is where the body below the head is narrowest.

"A smiling avocado" takes eyes and mouth of a smiling face. Faces of the sets are discs of one skin colour, and what
differs from the skin is a feature. Features are cut out as in blue-screen matting: each pixel shows some share of the
known skin. Pictures are premultiplied uint8 (S, S, 4).
"""

from dataclasses import replace

import numpy as np
from PIL import Image, ImageFilter

from models.data.pixels import SIZE
from models.prompts.parsed import Box

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
    feature = np.clip(colours - (1 - share[..., None]) * skin, 0, 255 * share[..., None])
    cut = np.dstack([feature, 255 * share]).round().astype(np.uint8)
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


SEEN = 128  # alpha from which a pixel is part of a body
THIN = 0.08  # what is thinner is no head
HIGH = 0.1  # below the top: how much of a round head's top is still its top
DIP, GAP = 0.2, 0.3  # between ears: no deeper, or no wider
WIDTHS = (0.28, 0.47)  # of what is worn
SUNK = 0.06  # how far it is pulled down
HEADS = 0.45  # of a body's height, its head's at least: a snowman's is no hat
NECK = (0.5, 1.4)  # below the head's top, in heads: from where to where a neck may be
CHIN = 0.95  # where it is of who has none, a penguin
ROUND, LOOSE = (0.2, 0.5), 1.2  # how wide what is worn round it is, and how much wider than the neck
KNOT = 0.35  # of its own height: what lies above the neck's middle


def worn(box: Box, alpha: np.ndarray) -> Box:
    """The box, moved to its anchor, the head or the neck of what is seen in `alpha` (S, S), and as wide as that; as it
    is over nothing."""
    anchor = head(alpha) if box.anchor == "head" else neck(alpha)
    if anchor is None:
        return box
    middle, row, width = anchor
    if box.anchor == "head":
        wide, bottom = round(SIZE * float(np.clip(width, *WIDTHS))), max(round(SIZE * (row + SUNK)), 1)
        height = min(box.height, bottom)
        top = bottom - height
    else:
        wide = round(SIZE * float(np.clip(LOOSE * width, *ROUND)))
        height = min(box.height * wide // box.width, SIZE)
        top = max(round(SIZE * row - KNOT * height), 0)
    left = min(max(round(SIZE * middle - wide / 2), 0), SIZE - wide)
    return replace(box, left=left, top=top, width=wide, height=height)


def neck(alpha: np.ndarray) -> tuple[float, float, float] | None:
    """Middle, height and width of the neck of what is seen in `alpha` (S, S); None of nothing."""
    head_box, side = head(alpha), len(alpha)
    if head_box is None:
        return None
    middle, top, width = head_box
    body, column = _without_thin(alpha >= SEEN), min(round(middle * side), side - 1)
    size = max(width, HEADS * float(body.any(1).sum()) / side)
    chin = (top + CHIN * size) * side
    first, last = (min(round((top + share * size) * side), side) for share in NECK)
    runs = {row: _run(body[row], column) for row in range(first, last) if body[row, column]}
    if not runs:
        return middle, chin / side, width
    row = min(runs, key=lambda row: runs[row][1] - runs[row][0])
    if row == min(runs):  # it only gets wider
        row = min(runs, key=lambda row: abs(row - chin))
    left, right = runs[row]
    return (left + right) / 2 / side, row / side, (right - left) / side


def _run(seen: np.ndarray, column: int) -> tuple[int, int]:
    """From where to where a row is seen without a gap around that column, the end not included."""
    gaps = np.flatnonzero(~seen)
    before, after = gaps[gaps < column], gaps[gaps > column]
    return int(before[-1]) + 1 if len(before) else 0, int(after[0]) if len(after) else len(seen)


def head(alpha: np.ndarray) -> tuple[float, float, float] | None:
    """Middle, top and width of the head of what is seen in `alpha` (S, S); None of nothing."""
    side = len(alpha)
    body = _without_thin(alpha >= SEEN)
    if not body.any():
        return None
    tops = np.where(body.any(0), body.argmax(0), side)
    first, last = _highest(tops, side)
    middle, width = (first + last + 1) / 2, last + 1 - first
    crown = tops[max(0, round(middle - width / 4)) : round(middle + width / 4) + 1]
    return middle / side, float(np.median(crown[crown < side])) / side, width / side


def _without_thin(seen: np.ndarray) -> np.ndarray:
    """A morphological opening; where nothing is thicker, all of it."""
    size = 2 * round(THIN * len(seen) / 2) + 1
    picture = Image.fromarray(seen.astype(np.uint8))
    opened = np.asarray(picture.filter(ImageFilter.MinFilter(size)).filter(ImageFilter.MaxFilter(size))) > 0
    return opened if opened.any() else seen


def _highest(tops: np.ndarray, side: int) -> tuple[int, int]:
    """First and last column of the head, of the height (in rows from above) at which each column begins."""
    high = np.flatnonzero(tops <= tops.min() + HIGH * side)
    runs = np.split(high, np.flatnonzero(np.diff(high) > 1) + 1)
    joined = [(int(runs[0][0]), int(runs[0][-1]))]
    for run in runs[1:]:
        between = tops[joined[-1][1] + 1 : run[0]]
        if len(between) <= GAP * side or between.max() - tops.min() <= DIP * side:
            joined[-1] = joined[-1][0], int(run[-1])
        else:
            joined.append((int(run[0]), int(run[-1])))
    return max(joined, key=lambda run: run[1] - run[0])
