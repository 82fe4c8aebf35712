"""Larger pictures as A1111 has them made: by a factor or to a size, by a filter or by the studio's own network."""

from PIL import Image, ImageOps

from models.data.pixels import MAX_PIXELS
from models.messages import Refused
from studio.api.a1111_models import Upscaling

OURS = "Studio 128"
UPSCALERS = {"None": Image.Resampling.LANCZOS, "Lanczos": Image.Resampling.LANCZOS, "Nearest": Image.Resampling.NEAREST}


def target(size: tuple[int, int], how: Upscaling) -> tuple[int, int]:
    """(width, height) that a picture of `size` becomes; Refused where that is too much."""
    width, height = _wanted(size, how)
    if width * height > MAX_PIXELS:
        raise Refused(f"{width} x {height} pixels are too many (at most {MAX_PIXELS}); ask for less.")
    return width, height


def resized(picture: Image.Image, size: tuple[int, int], how: Upscaling) -> Image.Image:
    """The picture in `size`, cut where it is to be; colours of what is transparent do not bleed into edges."""
    method, premultiplied = UPSCALERS.get(how.upscaler_1, Image.Resampling.LANCZOS), picture.convert("RGBA")
    premultiplied = premultiplied.convert("RGBa")
    if how.resize_mode == 1 and how.upscaling_crop:
        return ImageOps.fit(premultiplied, size, method).convert("RGBA")
    return premultiplied.resize(size, method).convert("RGBA")


def _wanted(size: tuple[int, int], how: Upscaling) -> tuple[int, int]:
    if how.resize_mode == 1 and how.upscaling_crop:
        return how.upscaling_resize_w, how.upscaling_resize_h
    fills = max(how.upscaling_resize_w / size[0], how.upscaling_resize_h / size[1])  # as A1111: nothing is left free
    share = how.upscaling_resize if how.resize_mode == 0 else fills
    width, height = (max(1, round(side * share)) for side in size)
    return width, height
