"""A picture in any size: from a larger version of it where there is one, else by Lanczos.

Whoever has a model at hand gives a `Larger`: in the program that is the upscaler, on the page a question to the worker.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from models.data.pixels import premultiply
from studio.export.outline import outlined
from studio.export.scale import resized, straight

Larger = Callable[[Path], Image.Image | None]  # a picture file -> it, larger, or None where nothing does that
MUCH = 1.25  # times as large: below that there is nothing to gain


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
    return straight(resized(premultiply(np.asarray(more)), picture.size)), more


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
