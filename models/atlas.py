"""Many small pictures in one file: WebP in strips, of which one is unpacked when a picture of it is asked for.

To unpack thousands takes a second, and one prompt needs one of them. Pictures are premultiplied uint8 (SIDE, SIDE, 4).
"""

import io
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from models.data.pixels import premultiply, unpremultiply

SIDE = 48
STRIP = 64  # pictures side by side: fewer pack worse, more take longer than the 7 ms that a picture may cost
QUALITY = 24  # of the WebP: what is drawn of it is as good as of 50 (LOG.md)
_KEPT = 16  # strips that stay unpacked, 0.6 MB each


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
        return cls((packed(strip.swapaxes(0, 1).reshape(SIDE, -1, 4)) for strip in strips), len(pictures))

    def tensors(self) -> dict[str, Tensor]:
        """As safetensors hold it: the bytes of all strips, where each ends, and the number of pictures."""
        whole = np.frombuffer(b"".join(self._strips), np.uint8).copy()  # torch wants memory that may be written to
        ends = torch.tensor([len(strip) for strip in self._strips], dtype=torch.int64).cumsum(0)
        return {"webp": torch.from_numpy(whole), "ends": ends, "count": torch.tensor(self._count)}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> "Atlas":
        """What `tensors` gave."""
        whole, ends = tensors["webp"].numpy().tobytes(), tensors["ends"].tolist()
        return cls((whole[start:end] for start, end in zip([0, *ends], ends, strict=False)), int(tensors["count"]))


def packed(pixels: np.ndarray) -> bytes:
    """Premultiplied pixels (H, W, 4) as WebP."""
    file = io.BytesIO()
    image = Image.fromarray(unpremultiply(pixels), "RGBA")
    image.save(file, "WEBP", quality=QUALITY, alpha_quality=QUALITY, method=6)
    return file.getvalue()


def unpacked(webp: bytes) -> np.ndarray:
    """The same back, as near as its quality is."""
    with Image.open(io.BytesIO(webp), formats=("WEBP",)) as picture:
        return premultiply(np.asarray(picture.convert("RGBA")))
