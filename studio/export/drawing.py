"""Pictures on their way out, as pixels: in any size, and with the white rim of a sticker.

Everything is premultiplied, so that what is transparent never colours an edge. A picture that is wanted in more pixels
than it has is drawn from a larger version of it where there is one (in the program that is the upscaler's, on the page
the worker's), else by Lanczos.
"""

import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from models.data.pixels import png, premultiply, unpremultiply

FINE = 1024  # pixels of the longer side, at least, in which distances are measured: edges come out smooth
SEEN = 8  # of 255: fainter pixels are nothing
MUCH = 1.25  # times as large: below that there is nothing to gain

Larger = Callable[[Path], Image.Image | None]  # a picture file -> it, larger, or None where nothing does that


def resized(pixels: np.ndarray, size: tuple[int, int], how: Image.Resampling = Image.Resampling.LANCZOS) -> np.ndarray:
    """Premultiplied uint8 (H, W, 4) -> (height, width, 4) for `size` (width, height), with `rgb <= alpha`."""
    if pixels.shape[1::-1] == size:
        return pixels
    out = np.array(Image.fromarray(pixels, "RGBa").resize(size, how, reducing_gap=3.0))
    out[..., :3] = np.minimum(out[..., :3], out[..., 3:])  # these filters ring past alpha
    return out


def indexed(picture: Image.Image, colours: int) -> Image.Image:
    """The picture (RGBA) in so many colours, one of them transparent: mode "P". They are chosen premultiplied: a faint
    pixel's colour hardly counts, and none of them can leave a dark rim.
    """
    pixels = premultiply(np.asarray(picture))
    chosen = Image.fromarray(pixels, "RGBA").quantize(max(1, colours - 1), Image.Quantize.FASTOCTREE)
    rows = np.where(pixels[..., 3] > 0, np.asarray(chosen).astype(int) + 1, 0)  # row 0 is nothing, and only that
    counts = np.maximum(np.bincount(rows.ravel(), minlength=colours), 1)
    sums = [np.bincount(rows.ravel(), pixels[..., band].ravel(), colours) for band in range(4)]
    table = np.rint(np.stack(sums, -1) / counts[:, None]).astype(np.uint8)[None]
    table = unpremultiply(table)[0]
    out = Image.fromarray(rows.astype(np.uint8), "P")
    out.putpalette(table[:, :3].tobytes())
    out.info["transparency"] = table[:, 3].tobytes()
    return out


def is_more(own: tuple[int, int], size: tuple[int, int]) -> bool:
    """Whether `size` (width, height) asks for more pixels than a picture of `own` size has."""
    return max(size[0] / own[0], size[1] / own[1]) > MUCH


def both(
    path: Path, picture: Image.Image, size: tuple[int, int] | None, larger: Larger, rim: bool = False
) -> tuple[Image.Image, Image.Image | None]:
    """The picture (RGBA) of a file, and the same one `larger` where `size` (width, height) asks for more pixels than it
    has; None where that is not so, or nothing makes it larger. With `rim` both have the same white one.
    """
    more = larger(path) if size and is_more(picture.size, size) and picture.width == picture.height else None
    if not rim:
        return picture, more
    if more is None:
        return outlined(picture), None
    more = outlined(more)  # once: the room that a rim takes is another share of a smaller picture
    return png(resized(premultiply(np.asarray(more)), picture.size)), more


class Drawing:
    """A picture (RGBA, any size), ready to be drawn in other sizes; `larger` is the same one of more pixels."""

    def __init__(self, picture: Image.Image, larger: Image.Image | None = None) -> None:
        self.pixels = premultiply(np.asarray(picture.convert("RGBA")))
        self._larger = None if larger is None else premultiply(np.asarray(larger.convert("RGBA")))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]

    def at(self, size: tuple[int, int]) -> np.ndarray:
        """Premultiplied uint8 (height, width, 4) for `size` (width, height)."""
        if self._larger is not None and is_more(self.size, size):
            return resized(self._larger, size)
        return resized(self.pixels, size)


Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels


def outlined(picture: Image.Image, share: float = 0.04, box: Box | None = None) -> Image.Image:
    """The picture (RGBA, any size) with a white rim round all that is opaque, in the same size.

    `share` is the rim's width as a share of the longer side; the picture is made smaller and moved as far as the rim
    needs it, and not at all where it has the room. `box` is what is seen of all frames, where the picture is one.
    """
    pixels = premultiply(np.asarray(picture.convert("RGBA")))
    width = share * max(pixels.shape[:2])
    if not width or not (pixels[..., 3] >= SEEN).any():
        return png(pixels)
    own = _with_room(pixels, width, box).astype(np.float32)
    under = 255 * _cover(own[..., 3].astype(np.uint8), width)[..., None]
    return png(np.rint(own + under * (1 - own[..., 3:] / 255)).astype(np.uint8))


def seen_box(alpha: np.ndarray) -> Box:
    """(left, top, right, bottom) of what can be seen of an alpha channel (H, W) uint8; all of it where nothing can."""
    return Image.fromarray(alpha >= SEEN).getbbox() or (0, 0, *alpha.shape[::-1])


def _with_room(pixels: np.ndarray, width: float, seen: Box | None) -> np.ndarray:
    """The picture smaller where its content and a rim of `width` do not fit, and moved no further than they need."""
    (high, wide), box = pixels.shape[:2], seen or seen_box(pixels[..., 3])
    air = math.ceil(width) + 1  # a pixel for the rim's smooth edge
    scale = min(1.0, (wide - 2 * air) / (box[2] - box[0]), (high - 2 * air) / (box[3] - box[1]))
    if scale < 1:  # a smaller picture has its edges between pixels: up to two more on each side
        scale = max(0.0, min((wide - 2 * air - 2) / (box[2] - box[0]), (high - 2 * air - 2) / (box[3] - box[1])))
    size = max(1, int(wide * scale)), max(1, int(high * scale))
    small = resized(pixels, size)
    left, top, right, bottom = (
        seen_box(small[..., 3]) if seen is None else _scaled(seen, size[0] / wide, size[1] / high)
    )
    x = _kept_in((wide - size[0]) // 2, left, right, wide, air)
    y = _kept_in((high - size[1]) // 2, top, bottom, high, air)
    canvas = Image.new("RGBa", (wide, high))
    canvas.paste(Image.fromarray(small, "RGBa"), (x, y))  # what lies outside is cut off
    return np.array(canvas)


def _scaled(box: Box, x: float, y: float) -> Box:
    left, top, right, bottom = box
    return math.floor(left * x), math.floor(top * y), math.ceil(right * x), math.ceil(bottom * y)


def _kept_in(start: int, low: int, high: int, side: int, air: int) -> int:
    """Where a picture begins as near `start` as can be with air on both sides of its content (`low` to `high`)."""
    least, most = air - low, side - air - high
    return min(max(start, least), most) if least <= most else (least + most) // 2


def _cover(alpha: np.ndarray, width: float) -> np.ndarray:
    """How much of each pixel lies within `width` pixels of what is opaque: float32 (H, W), 0 to 1."""
    high, wide = alpha.shape
    times = -(-FINE // max(high, wide)) if max(high, wide) < FINE else 1
    fine = Image.fromarray(alpha).resize((wide * times, high * times), Image.Resampling.BICUBIC)
    outside = (np.asarray(fine) <= 127).astype(np.uint8)
    far = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)  # pixels to the nearest opaque one
    cover = np.clip(width * times - far + 0.5, 0, 1)
    return cover.reshape(high, times, wide, times).mean((1, 3))
