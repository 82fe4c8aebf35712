"""A drawing that no set has: several artists' drawings of a thing, morphed into one.

The drawings are brought to one box, and dense optical flow says which place of one is which of another. Their shapes
are averaged, then their colours at places that belong together (image morphing: Beier and Neely, SIGGRAPH 1992). A mean
without flow shows two pairs of wings. What it is worth, and what else was tried: `LOG.md`.

Pictures are premultiplied uint8 (S, S, 4), K drawings of one thing.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from models.data.pixels import resized
from models.references.neighbours import COARSE, aligned, disagreement

# DIS (arXiv 1603.03590) cuts a picture into as many stripes as there are threads, and flows differ where stripes meet.
cv2.setNumThreads(1)

COLOUR, GROUND = 0.5, 0.35  # weights of lightness and of what is clear: edges count on white and on black
OTHER_PARTS = 0.18  # disagreement after the flow from which a drawing has other parts: three in four lie below it
BLUR, SMOOTH = 1.5, 3.0  # pixels, of the pictures before and of the flow after: lines differ, parts are to agree


def morphed(
    drawings: np.ndarray, shares: Sequence[float], keeps_look: bool = False
) -> tuple[np.ndarray, tuple[int, ...]]:
    """The drawing between `drawings` (K, S, S, 4), of which the first leads, and which of them have a share in it: that
    one alone, where no other agrees with it.

    Args:
        shares: of each drawing in the shape, and in the colours, K positive numbers.
        keeps_look: colours and lines are the first one's, and only the shape is everyone's.
    """
    kept, placed = aligned(drawings, shares)
    if len(kept) < 2 or 0 not in kept:
        return drawings[0], (0,)
    lead = placed[kept.index(0)]
    flows = {row: _flow(lead, one) for row, one in zip(kept, placed, strict=True)}
    warped = {row: _warped(one, flows[row]) for row, one in zip(kept, placed, strict=True)}
    agreed = {row: one for row, one in zip(kept, placed, strict=True) if row == 0 or _agree(lead, warped[row])}
    own = np.array([shares[row] for row in agreed], np.float64)
    own /= own.sum()
    shape: np.ndarray = sum(share * flows[row] for share, row in zip(own, agreed, strict=True))
    if keeps_look:
        return _warped(lead, -shape), tuple(agreed)
    warps = (_warped(one, flows[row] - shape) for row, one in agreed.items())
    mean: np.ndarray = sum(share * warp for share, warp in zip(own, warps, strict=True))
    return mean.round().astype(np.uint8), tuple(agreed)


def _agree(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether a drawing and another, laid on it by the flow, show the same parts, in whatever colours."""
    coarse = [resized(drawing, COARSE, COARSE) for drawing in (one, other)]
    light = [np.stack([drawing[..., :3].mean(-1), drawing[..., 3]], -1)[None] for drawing in coarse]
    return bool(disagreement(*light)[0, 0] <= OTHER_PARTS)


def _flow(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(S, S, 2) float32: how far, in x and y, from a place of one picture its like lies in the other; 0 of itself."""
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    found = search.calc(_seen(one), _seen(other), None)  # type: ignore[call-overload]
    return cv2.GaussianBlur(found, (0, 0), SMOOTH)


def _seen(picture: np.ndarray) -> np.ndarray:
    """What the flow is looked for in, (S, S) uint8."""
    light = COLOUR * picture[..., :3].mean(-1, dtype=np.float32) + GROUND * (255 - picture[..., 3].astype(np.float32))
    return cv2.GaussianBlur(light.astype(np.uint8), (0, 0), BLUR)


def _warped(picture: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """The picture with each place taken from where `flow` leads from it; what lies outside is clear."""
    y, x = np.mgrid[: len(picture), : len(picture)].astype(np.float32)
    dx, dy = np.moveaxis(flow.astype(np.float32), -1, 0)
    return cv2.remap(picture, x + dx, y + dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
