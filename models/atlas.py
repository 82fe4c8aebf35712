"""Many small pictures in one file: AVIF in strips, of which one is unpacked when a picture of it is asked for.

To unpack thousands takes a second, and one prompt needs one of them. Pictures are premultiplied uint8 (SIDE, SIDE, 4).
"""

import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from models.data.pixels import premultiply, unpremultiply

SIDE = 64
STRIP = 32  # pictures side by side: fewer pack worse, more take longer than the 3 ms that a picture may cost
QUALITY = 15  # of the AVIF
SPEED = 3  # of packing, 0 to 10: with 8 it takes seconds instead of minutes, and files are a quarter larger
SUBSAMPLING = "4:4:4"  # a colour for every pixel: one for four, as WebP has them, is little at this size (LOG.md)
TUNED = {"tune": "ssim"}  # nearer than by squared errors, in as many bytes
HAZE = 4  # levels of alpha that what is clear gets by packing, and what is opaque loses
_KEPT = 32  # strips that stay unpacked, 0.5 MB each


class Atlas:
    """Pictures by number, of `strips` of STRIP each, the last of as many as are left."""

    def __init__(self, strips: Iterable[bytes], count: int) -> None:
        self._strips, self._count = tuple(strips), count
        self._unpacked = lru_cache(_KEPT)(lambda number: unpacked(self._strips[number]))

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> np.ndarray:
        """Picture 0 to N - 1."""
        if not 0 <= number < self._count:
            raise IndexError(f"picture {number} of {self._count}")
        strip, place = divmod(number, STRIP)
        return self._unpacked(strip)[:, place * SIDE : (place + 1) * SIDE]

    @classmethod
    def of(cls, pictures: np.ndarray) -> "Atlas":
        """Of (N, SIDE, SIDE, 4)."""
        strips = (pictures[first : first + STRIP] for first in range(0, len(pictures), STRIP))
        with ThreadPoolExecutor() as threads:  # each strip is a file of its own: however many are packed at once
            files = threads.map(lambda strip: packed(strip.swapaxes(0, 1).reshape(SIDE, -1, 4)), strips)
            return cls(files, len(pictures))

    def tensors(self) -> dict[str, Tensor]:
        """As safetensors hold it: the bytes of all strips, where each ends, and the number of pictures."""
        whole = np.frombuffer(b"".join(self._strips), np.uint8).copy()  # torch wants memory that may be written to
        ends = torch.tensor([len(strip) for strip in self._strips], dtype=torch.int64).cumsum(0)
        return {"avif": torch.from_numpy(whole), "ends": ends, "count": torch.tensor(self._count)}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> "Atlas":
        """What `tensors` gave."""
        whole, ends = tensors["avif"].numpy().tobytes(), tensors["ends"].tolist()
        return cls((whole[start:end] for start, end in zip([0, *ends], ends, strict=False)), int(tensors["count"]))


def packed(pixels: np.ndarray) -> bytes:
    """Premultiplied pixels (H, W, 4) as AVIF."""
    file = io.BytesIO()
    image = Image.fromarray(unpremultiply(pixels), "RGBA")
    image.save(file, "AVIF", quality=QUALITY, speed=SPEED, subsampling=SUBSAMPLING, advanced=TUNED, max_threads=1)
    return file.getvalue()


def unpacked(avif: bytes) -> np.ndarray:
    """The same back, as near as its quality is."""
    with Image.open(io.BytesIO(avif), formats=("AVIF",)) as picture:
        pixels = np.array(picture.convert("RGBA"))
    alpha = (pixels[..., 3].astype(np.float32) - HAZE) * (255 / (255 - 2 * HAZE))
    pixels[..., 3] = alpha.round().clip(0, 255)
    return premultiply(pixels)
