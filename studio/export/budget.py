"""Files that are no larger than they may be, as good as that allows."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from models.data.pixels import premultiply, unpremultiply
from models.messages import Refused
from studio.export.scale import resized, straight
from studio.metadata import Provenance, encoded

PALETTES = (256, 128, 64, 32, 16, 8, 4, 2)
COARSER = (1, 2, 4, 8, 16)
ALPHAS = (100, 50, 0)  # WebP's quality of the alpha channel


def within(picture: Image.Image, kind: str, limit: int, says: Provenance | None = None) -> bytes:
    """A "png" or "webp" file of a picture (RGBA) of at most `limit` bytes, what it says of itself included.

    Without any loss where that fits, else with as little as it takes: fewer colours in PNG, a lower quality in WebP, in
    the end fewer details. Refused where the limit is too small for any picture of that size.
    """
    for data in (_webps if kind == "webp" else _pngs)(picture, limit, says):
        if len(data) <= limit:
            return data
    raise Refused(f"a picture of {picture.width} x {picture.height} pixels does not fit into {limit:,} bytes.")


def _pngs(picture: Image.Image, limit: int, says: Provenance | None) -> Iterator[bytes]:
    yield encoded([picture], says, "png", optimize=True)
    for colours in PALETTES:
        yield encoded([indexed(picture, colours)], says, "png", optimize=True)


def _webps(picture: Image.Image, limit: int, says: Provenance | None) -> Iterator[bytes]:
    yield encoded([picture], says, "webp", exact=False, method=4)
    for coarser in COARSER:
        small = premultiply(np.asarray(picture))
        size = max(1, picture.width // coarser), max(1, picture.height // coarser)
        shown = straight(resized(resized(small, size), picture.size))
        for alpha in ALPHAS:
            lossy: dict[str, Any] = {"lossless": False, "exact": False, "alpha_quality": alpha, "method": 4}
            yield _best(partial(_webp, shown, says, lossy), limit)


def _webp(shown: Image.Image, says: Provenance | None, lossy: dict[str, Any], quality: int) -> bytes:
    return encoded([shown], says, "webp", quality=quality, **lossy)


def _best(encode: Callable[[int], bytes], limit: int) -> bytes:
    """The file of the highest quality from 1 to 100 that fits, else of the lowest."""
    low, high, best = 1, 100, encode(1)
    while len(best) <= limit and low < high:
        middle = (low + high + 1) // 2
        data = encode(middle)
        if len(data) <= limit:
            low, best = middle, data
        else:
            high = middle - 1
    return best


def indexed(picture: Image.Image, colours: int) -> Image.Image:
    """The picture (RGBA) in so many colours, one of them transparent: mode "P".

    Colours are chosen premultiplied: a faint pixel's colour hardly counts, and none of them can leave a dark rim.
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
