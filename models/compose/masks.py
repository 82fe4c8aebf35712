"""Masks for inpainting: which part of a picture is redrawn, its soft edge, and larger canvases. Imports no torch.

A mask is uint8 (..., 128, 128): 255 is redrawn, 0 is kept exactly, values between mix the two. Pictures are
premultiplied uint8 (..., 128, 128, 4).
"""

import numpy as np
from PIL import Image, ImageFilter

from models.data.pixels import SIZE, fit, place

SMALL = 0.5  # of a picture: what is larger shows things as large as they were learned
SEEN = 128  # alpha from which a pixel is part of a thing
STEP = 5  # one in so many pixels of a thing is tried as the centre
SLIM = 0.09  # of the side: a smaller disc has no room, and the middle of the thing is taken
FEATHER = 3  # pixels inside a mask over which the redrawn part fades in


def levels(picture: Image.Image) -> Image.Image:
    """A mask file as grey levels: white is redrawn, black and transparent are kept."""
    rgba = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "black"), rgba).convert("L")


def fit_mask(grey: Image.Image, size: int = SIZE) -> np.ndarray:
    """Grey levels of any size -> uint8 (size, size), placed as `fit` places a picture; 0 around it. Averaged over
    areas: a sharper filter would ring, and change pixels that are to be kept."""
    inner, left, top = place(grey.size, size)
    mask = np.zeros((size, size), np.uint8)
    mask[top : top + inner[1], left : left + inner[0]] = np.asarray(grey.resize(inner, Image.Resampling.BOX))
    return mask


def expanded(picture: Image.Image, share: float) -> tuple[np.ndarray, np.ndarray]:
    """A picture on a canvas that is larger by `share` of its longer side on each side -> (pixels, mask), both of SIZE.
    The mask redraws everything outside of the picture itself (outpainting)."""
    inner = 2 * round(SIZE / (1 + 2 * share) / 2)  # even: the same border on both sides
    border = (SIZE - inner) // 2
    pixels = np.pad(fit(picture, inner), ((border, border), (border, border), (0, 0)))
    unchanged = np.pad(fit_mask(Image.new("L", picture.size, 255), inner), border)
    return pixels, 255 - unchanged


def small_box(mask: np.ndarray) -> tuple[int, int, int, int] | None:
    """Left, top, width and height of what is redrawn of one picture; None where it is large (SMALL), or its middle is
    kept, as in a border."""
    redrawn = mask > 127
    left, top, right, bottom = Image.fromarray(redrawn).getbbox() or (0, 0, 0, 0)
    width, height = right - left, bottom - top
    if width * height > SMALL * mask.size or not redrawn[(top + bottom) // 2, (left + right) // 2]:
        return None
    return left, top, width, height


def cells(masks: np.ndarray, count: int) -> np.ndarray:
    """Masks (N, 128, 128) -> bool (N, count, count): the cells of a latent in which anything is redrawn."""
    side = masks.shape[-1] // count
    return masks.reshape(len(masks), count, side, count, side).max((2, 4)) > 0


def blend(drawn: np.ndarray, picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """One picture of both: `drawn` within the mask, fading in over FEATHER pixels; `picture` exactly where it is 0."""
    weight = _feathered(mask).astype(np.uint32)[..., None]
    return ((drawn * weight + picture * (255 - weight) + 127) // 255).astype(np.uint8)


def _feathered(mask: np.ndarray) -> np.ndarray:
    """The mean of the mask and of its erosions by 1 to FEATHER pixels, as far as any is left, so that lines survive."""
    image, smaller = Image.fromarray(mask), list[np.ndarray]()
    while len(smaller) <= FEATHER and image.getbbox():
        smaller.append(np.asarray(image, np.float32))
        image = image.filter(ImageFilter.MinFilter(3))
    return np.rint(np.mean(smaller, 0)).astype(np.uint8) if smaller else mask


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
