"""Pictures larger and smaller, premultiplied, so that what is transparent never colours an edge."""

import numpy as np
from PIL import Image

from models.data.pixels import unpremultiply


def resized(pixels: np.ndarray, size: tuple[int, int], how: Image.Resampling = Image.Resampling.LANCZOS) -> np.ndarray:
    """Premultiplied uint8 (H, W, 4) -> (height, width, 4) for `size` (width, height), with `rgb <= alpha`."""
    if pixels.shape[1::-1] == size:
        return pixels
    out = np.array(Image.fromarray(pixels, "RGBa").resize(size, how, reducing_gap=3.0))
    out[..., :3] = np.minimum(out[..., :3], out[..., 3:])  # these filters ring past alpha
    return out


def straight(pixels: np.ndarray) -> Image.Image:
    """Premultiplied uint8 (H, W, 4) -> straight RGBA picture, black where nothing is to be seen."""
    return Image.fromarray(unpremultiply(pixels), "RGBA")
