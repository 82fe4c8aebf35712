"""Reading and writing of pixels: premultiplied RGBA inside, straight RGBA in files.

Storage is uint8 HWC with `rgb <= alpha`; networks see float NCHW in [0, 1]. Resizing happens premultiplied, or the
colour of invisible pixels bleeds into the edges. Imports no torch until a tensor is asked for.
"""

from __future__ import annotations

import io
import struct
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import Image, ImageOps

from models.messages import Refused

if TYPE_CHECKING:
    from torch import Tensor

SIZE = 128  # pixels a side
FORMATS = ("PNG", "WEBP", "JPEG", "GIF", "AVIF")
MAX_BYTES = 32 * 2**20
MAX_PIXELS = 4096 * 4096
THUMB = 16  # pixels a side of a thumbnail
GROUND = 16  # levels that the pixels of a plain ground differ by: JPEG's noise
# The largest mean absolute difference, in levels of 255, of the thumbnails of two pictures that are the same drawing:
# redrawn details (a face's mouth) move one by more, a recompressed copy by less.
SAME_DRAWING = 3.0


def premultiply(straight: np.ndarray) -> np.ndarray:
    """Straight RGBA (..., 4) uint8 -> premultiplied, rounded."""
    alpha = straight[..., 3:].astype(np.uint16)
    rgb = (straight[..., :3] * alpha + 127) // 255
    return np.concatenate([rgb.astype(np.uint8), straight[..., 3:]], -1)


def unpremultiply(pixels: np.ndarray) -> np.ndarray:
    """Premultiplied RGBA (..., 4) uint8 -> straight; transparent pixels become black, colours are clamped to alpha."""
    alpha = pixels[..., 3:].astype(np.uint16)
    rgb = np.minimum(pixels[..., :3], alpha).astype(np.uint16)
    straight = (rgb * 255 + alpha // 2) // np.maximum(alpha, 1)
    return np.concatenate([straight.astype(np.uint8), pixels[..., 3:]], -1)


def png(pixels: np.ndarray) -> Image.Image:
    """Premultiplied uint8 (H, W, 4) -> straight RGBA picture, ready to be saved."""
    return Image.fromarray(unpremultiply(pixels), "RGBA")


def fit(picture: Image.Image, size: int = SIZE) -> np.ndarray:
    """Any picture -> premultiplied uint8 (size, size, 4), whole picture kept, centred on transparent ground."""
    rgba = picture.convert("RGBA").convert("RGBa")  # RGBa is Pillow's premultiplied mode
    inner, left, top = place(rgba.size, size)
    if rgba.size != inner:
        rgba = rgba.resize(inner, Image.Resampling.LANCZOS, reducing_gap=3.0)
    canvas = np.zeros((size, size, 4), np.uint8)
    canvas[top : top + inner[1], left : left + inner[0]] = np.asarray(rgba)
    canvas[..., :3] = np.minimum(canvas[..., :3], canvas[..., 3:])  # Lanczos rings past alpha
    return canvas


def place(shape: tuple[int, int], size: int = SIZE) -> tuple[tuple[int, int], int, int]:
    """Where `fit` puts a picture of (width, height): its new (width, height), left and top in a square of `size`."""
    scale = size / max(shape)
    width, height = (max(1, round(side * scale)) for side in shape)
    return (width, height), (size - width) // 2, (size - height) // 2


def without_ground(picture: Image.Image) -> Image.Image:
    """An opaque picture with its ground made transparent: what is connected with a corner and as that is, within GROUND
    levels a channel, where all four corners are alike. Any other picture as it is."""
    rgba = np.array(picture.convert("RGBA"))
    corners = rgba[[0, 0, -1, -1], [0, -1, 0, -1]].astype(int)
    if rgba[..., 3].min() < 255 or np.ptp(corners, 0).max() > GROUND:
        return picture
    import cv2  # 0.1 s

    height, width = rgba.shape[:2]
    reached, range_of = np.zeros((height + 2, width + 2), np.uint8), (GROUND,) * 3
    for corner in ((0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)):
        flags = 4 | cv2.FLOODFILL_MASK_ONLY | cv2.FLOODFILL_FIXED_RANGE | (1 << 8)
        cv2.floodFill(np.ascontiguousarray(rgba[..., :3]), reached, corner, 0, range_of, range_of, flags)
    rgba[reached[1:-1, 1:-1] > 0] = 0
    return Image.fromarray(rgba, "RGBA")


def load_picture(path: str | Path) -> np.ndarray:
    """Read one picture file -> premultiplied uint8 (128, 128, 4), by `fit`; raises as `read_picture` does."""
    return fit(read_picture(path))


def read_picture(path: str | Path) -> Image.Image:
    """One picture file as it is, turned upright as far as its EXIF can be read. First frame of an animation.

    Untrusted input: format allow-list, limits on bytes and pixels checked before decoding.
    Refused with one sentence that names the file and what is wrong.
    """
    path = Path(path)
    if path.is_dir():
        raise Refused("picture.folder", path=str(path), formats=FORMATS)
    if not path.is_file():
        raise Refused("picture.missing", path=str(path), formats=FORMATS)
    if path.stat().st_size > MAX_BYTES:
        raise Refused("picture.too_large", path=str(path), most=MAX_BYTES >> 20)
    return _decode(path, path)


def decode_picture(data: bytes, name: str) -> Image.Image:
    """As `read_picture`, of the bytes of a file; the sentence calls it `name`."""
    if len(data) > MAX_BYTES:
        raise Refused("picture.too_large", path=name, most=MAX_BYTES >> 20)
    return _decode(io.BytesIO(data), name)


def _decode(file: Path | BinaryIO, name: Path | str) -> Image.Image:
    try:
        with warnings.catch_warnings():
            # Pillow only warns between one and two times its own limit; ours is checked below, before any decoding.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(file, formats=FORMATS) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    size = f"{picture.width} x {picture.height}"
                    raise Refused("picture.pixels", path=str(name), size=size, most=MAX_PIXELS)
                picture.load()
                upright = _upright(picture)
                if upright.mode.startswith("I;16"):  # grey of 16 bits, which Pillow would turn white above 255
                    return Image.fromarray((np.asarray(upright) // 257).astype(np.uint8))
                return upright
    except Image.DecompressionBombError as error:
        raise Refused("picture.too_many_pixels", path=str(name), most=MAX_PIXELS) from error
    except Image.UnidentifiedImageError as error:
        raise Refused("picture.no_picture", path=str(name), formats=FORMATS) from error
    except Refused:
        raise
    # ValueError: a text chunk that is too large. RuntimeError and ArithmeticError: an AVIF that can't be decoded, or
    # has no clock. struct.error: a GIF that ends in the middle of a number.
    except (OSError, SyntaxError, EOFError, ValueError, RuntimeError, ArithmeticError, struct.error) as error:
        raise Refused("picture.damaged", path=str(name), problem=str(error)) from error


def _upright(picture: Image.Image) -> Image.Image:
    """A copy turned as its EXIF says; as it is where that can't be read."""
    try:
        return ImageOps.exif_transpose(picture)  # a copy in any case
    except (struct.error, SyntaxError):
        return picture.copy()


def resized(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """Premultiplied (H, W, 4) to another size. Hamming's window has no negative lobe: rgb <= alpha holds."""
    image = Image.frombuffer("RGBa", picture.shape[1::-1], np.ascontiguousarray(picture), "raw", "RGBa", 0, 1)
    return np.asarray(image.resize((width, height), Image.Resampling.HAMMING))


def put(canvas: np.ndarray, picture: np.ndarray, left: int, top: int) -> None:
    """Lay a premultiplied picture over the canvas in place (Porter and Duff's "over"); what lies outside is cut off."""
    height, width = picture.shape[:2]
    y0, x0 = max(top, 0), max(left, 0)
    y1, x1 = min(top + height, canvas.shape[0]), min(left + width, canvas.shape[1])
    if y0 >= y1 or x0 >= x1:
        return
    picture = picture[y0 - top : y1 - top, x0 - left : x1 - left]
    below = canvas[y0:y1, x0:x1]
    through = (255 - picture[..., 3:]).astype(np.uint16)
    below[:] = picture + ((below * through + 127) // 255).astype(np.uint8)


def to_tensor(pixels: np.ndarray) -> Tensor:
    """uint8 (H, W, 4) or (N, H, W, 4) -> float32 (N, 4, H, W) in [0, 1]."""
    import torch

    batch = pixels[None] if pixels.ndim == 3 else pixels
    return torch.from_numpy(np.ascontiguousarray(batch)).permute(0, 3, 1, 2).float().div_(255)


def to_uint8(pictures: Tensor) -> np.ndarray:
    """float (N, 4, H, W), any range -> premultiplied uint8 (N, H, W, 4) with `rgb <= alpha`."""
    array = pictures.detach().float().clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    array[..., :3] = np.minimum(array[..., :3], array[..., 3:])
    return array


def composite(pictures: Tensor, background: Tensor | tuple[float, float, float]) -> Tensor:
    """Premultiplied (N, 4, H, W) over a colour (3,), (N, 3) or picture (N, 3, H, W) in [0, 1] -> (N, 3, H, W)."""
    import torch

    ground = torch.as_tensor(background, dtype=pictures.dtype, device=pictures.device)
    if ground.ndim == 1:
        ground = ground[None]
    if ground.ndim == 2:
        ground = ground[:, :, None, None]
    return pictures[:, :3] + (1 - pictures[:, 3:]) * ground


def thumbs(pixels: np.ndarray) -> np.ndarray:
    """uint8 (N, S, S, 4) -> float32 (N, 1024): means over S / 16 x S / 16 pixels."""
    n, side = len(pixels), pixels.shape[1] // THUMB
    return pixels.reshape(n, THUMB, side, THUMB, side, 4).mean((2, 4), dtype=np.float32).reshape(n, -1)
