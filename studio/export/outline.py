"""The white rim of a sticker."""

import math

import numpy as np
from PIL import Image, ImageColor

from models.data.pixels import premultiply
from models.messages import Refused
from studio.export.scale import resized, straight

FINE = 1024  # pixels of the longer side, at least, in which distances are measured: edges come out smooth
SEEN = 8  # of 255: fainter pixels are nothing
WIDEST = 0.2  # of the longer side


def outlined(picture: Image.Image, share: float = 0.04, colour: str = "#fff") -> Image.Image:
    """The picture (RGBA, any size) with a rim round all that is opaque, in the same size.

    `share` is the rim's width as a share of the longer side; the picture is made smaller and moved as far as the rim
    needs it, and not at all where it has the room. `colour` as in CSS. Refused for a share that is not between 0 and
    0.2 and for a colour that there is not.
    """
    if not 0 <= share <= WIDEST:
        raise Refused(f"the outline's width must be between 0 and {WIDEST:g} of the picture's side, not {share:g}.")
    try:
        rim = premultiply(np.array(ImageColor.getcolor(colour, "RGBA"), np.uint8)).astype(np.float32)
    except ValueError as error:
        raise Refused(f"{colour!r} is no colour; write one like #fff or white.") from error
    pixels = premultiply(np.asarray(picture.convert("RGBA")))
    width = share * max(pixels.shape[:2])
    if not width or not (pixels[..., 3] >= SEEN).any():
        return straight(pixels)
    pixels = _with_room(pixels, width)
    under = _cover(pixels[..., 3], width)[..., None] * rim
    own = pixels.astype(np.float32)
    return straight(np.rint(own + under * (1 - own[..., 3:] / 255)).astype(np.uint8))


def seen_box(alpha: np.ndarray) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of what can be seen of an alpha channel (H, W) uint8; all of it where nothing can."""
    rows, columns = np.flatnonzero((alpha >= SEEN).any(1)), np.flatnonzero((alpha >= SEEN).any(0))
    if not len(rows):
        return 0, 0, alpha.shape[1], alpha.shape[0]
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _with_room(pixels: np.ndarray, width: float) -> np.ndarray:
    """The picture smaller where its content and a rim of `width` do not fit, and moved no further than they need."""
    (high, wide), box = pixels.shape[:2], seen_box(pixels[..., 3])
    air = math.ceil(width) + 1  # a pixel for the rim's smooth edge
    scale = min(1.0, (wide - 2 * air) / (box[2] - box[0]), (high - 2 * air) / (box[3] - box[1]))
    if scale < 1:  # a smaller picture has its edges between pixels: up to two more on each side
        scale = max(0.0, min((wide - 2 * air - 2) / (box[2] - box[0]), (high - 2 * air - 2) / (box[3] - box[1])))
    size = max(1, int(wide * scale)), max(1, int(high * scale))
    small = resized(pixels, size)
    left, top, right, bottom = seen_box(small[..., 3])
    x = _kept_in((wide - size[0]) // 2, left, right, wide, air)
    y = _kept_in((high - size[1]) // 2, top, bottom, high, air)
    return _moved(small, x, y, (wide, high))


def _kept_in(start: int, low: int, high: int, side: int, air: int) -> int:
    """Where a picture begins as near `start` as can be with air on both sides of its content (`low` to `high`)."""
    least, most = air - low, side - air - high
    return min(max(start, least), most) if least <= most else (least + most) // 2


def _moved(pixels: np.ndarray, x: int, y: int, size: tuple[int, int]) -> np.ndarray:
    """The picture with its corner at (x, y) of a transparent canvas; what lies outside is cut off."""
    canvas = Image.new("RGBa", size)
    canvas.paste(Image.fromarray(pixels, "RGBa"), (x, y))
    return np.array(canvas)


def _cover(alpha: np.ndarray, width: float) -> np.ndarray:
    """How much of each pixel lies within `width` pixels of what is opaque: float32 (H, W), 0 to 1."""
    high, wide = alpha.shape
    times = -(-FINE // max(high, wide)) if max(high, wide) < FINE else 1
    fine = Image.fromarray(alpha).resize((wide * times, high * times), Image.Resampling.BICUBIC)
    far = distance(np.asarray(fine) > 127, math.ceil(width * times) + 1)
    cover = np.clip(width * times - far + 0.5, 0, 1)
    return cover.reshape(high, times, wide, times).mean((1, 3))


def distance(inside: np.ndarray, reach: int) -> np.ndarray:
    """Each pixel's distance to the nearest of bool (H, W), float32; exact up to `reach` pixels, then larger.

    Down the columns first, then the shortest hypotenuse along the rows: scipy would be 110 MB for one function.
    """
    rows = np.arange(len(inside), dtype=np.float32)[:, None]
    above = np.maximum.accumulate(np.where(inside, rows, -np.inf), 0)
    below = np.minimum.accumulate(np.where(inside, rows, np.inf)[::-1], 0)[::-1]
    column = np.minimum(np.minimum(rows - above, below - rows), reach + 1).astype(np.float32) ** 2
    best = column.copy()
    for step in range(1, min(reach, inside.shape[1] - 1) + 1):
        np.minimum(best[:, step:], column[:, :-step] + step**2, out=best[:, step:])
        np.minimum(best[:, :-step], column[:, step:] + step**2, out=best[:, :-step])
    return np.sqrt(best)
