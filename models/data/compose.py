"""Pictures resized and laid over each other. Everything premultiplied, so that no edge gets a halo."""

import numpy as np
from PIL import Image

from models.data.colours import COLOURS
from models.data.pixels import SIZE

# Grounds without a paint of their own take this sRGB value.
_GROUNDS = {"light blue": "BFE3FF", "beige": "F5E3C3"}


def ground(colours: tuple[str, ...]) -> np.ndarray:
    """The background alone, premultiplied uint8 (128, 128, 4)."""
    if not colours:
        return np.zeros((SIZE, SIZE, 4), np.uint8)
    ends = np.array([_rgb(colours[0]), _rgb(colours[-1])], np.float32)
    ramp = np.linspace(0, 1, SIZE, dtype=np.float32)[:, None]
    rows = np.round(ends[0] + ramp * (ends[1] - ends[0])).astype(np.uint8)  # (128, 3)
    canvas = np.full((SIZE, SIZE, 4), 255, np.uint8)
    canvas[..., :3] = rows[:, None]
    return canvas


def _rgb(colour: str) -> tuple[int, int, int]:
    code = _GROUNDS.get(colour) or str(COLOURS[colour].paint)
    return int(code[:2], 16), int(code[2:4], 16), int(code[4:], 16)


def resized(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """Premultiplied (H, W, 4) to another size. Hamming's window has no negative lobe: rgb <= alpha survives."""
    image = Image.frombuffer("RGBa", picture.shape[1::-1], np.ascontiguousarray(picture), "raw", "RGBa", 0, 1)
    return np.asarray(image.resize((width, height), Image.Resampling.HAMMING))


def put(canvas: np.ndarray, picture: np.ndarray, left: int, top: int) -> None:
    """Lay a premultiplied picture over the canvas in place; what lies outside is cut off. Porter and Duff's "over"."""
    height, width = picture.shape[:2]
    y0, x0 = max(top, 0), max(left, 0)
    y1, x1 = min(top + height, canvas.shape[0]), min(left + width, canvas.shape[1])
    if y0 >= y1 or x0 >= x1:
        return
    picture = picture[y0 - top : y1 - top, x0 - left : x1 - left]
    below = canvas[y0:y1, x0:x1]
    through = (255 - picture[..., 3:]).astype(np.uint16)
    below[:] = picture + ((below * through + 127) // 255).astype(np.uint8)
