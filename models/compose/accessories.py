"""Accessories: where head and neck are in a drawing, for what is worn there: from the side they are not in the middle.

The head is what is highest, once tails and antlers are left out; two ears that stand close or in a shallow dip are of
one head. The neck is where what is below the head is narrowest. All lengths are shares of the picture's side.
"""

from dataclasses import replace

import numpy as np
from PIL import Image, ImageFilter

from models.data.pixels import SIZE
from models.prompts.boxes import Box

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
    found = head(alpha) if box.anchor == "head" else neck(alpha)
    if found is None:
        return box
    middle, row, width = found
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
    found, side = head(alpha), len(alpha)
    if found is None:
        return None
    middle, top, width = found
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
