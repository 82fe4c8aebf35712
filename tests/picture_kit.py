"""Pictures that tests draw."""

import base64
import io
from typing import Any

import numpy as np
import resvg_py
from PIL import Image, ImageDraw

from models.data.pixels import premultiply


def face(side: int = 128, hue: str = "#ffcc22", mouth: bool = True) -> Image.Image:
    """A round face with smooth edges on transparent ground, drawn four times as large."""
    big = 4 * side
    picture = Image.new("RGBA", (big, big))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((0.1 * big, 0.1 * big, 0.9 * big, 0.9 * big), fill=hue, outline="#553300", width=big // 32)
    for x in (0.36, 0.64):
        draw.ellipse(((x - 0.05) * big, 0.35 * big, (x + 0.05) * big, 0.5 * big), fill="#332211")
    if mouth:
        draw.rectangle((0.38 * big, 0.64 * big, 0.62 * big, 0.7 * big), fill="#aa2222")
    return picture.resize((side, side), Image.Resampling.BOX)


def noise(width: int, height: int, seed: int = 0, alpha: str = "any") -> Image.Image:
    """Random pixels, the hardest to pack; alpha "any", "on or off" or "opaque"."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 4), np.uint8)
    if alpha == "on or off":
        pixels[..., 3] = np.where(pixels[..., 3] > 127, 255, 0)
    elif alpha == "opaque":
        pixels[..., 3] = 255
    return Image.fromarray(pixels, "RGBA")


def as_file(picture: Image.Image, kind: str = "PNG", **how: Any) -> bytes:
    written = io.BytesIO()
    picture.save(written, kind, **how)
    return written.getvalue()


def coded(picture: Image.Image, kind: str = "PNG", **how: Any) -> str:
    """The file in base64."""
    return base64.b64encode(as_file(picture, kind, **how)).decode()


def over(picture: Image.Image, ground: str) -> np.ndarray:
    """The picture on a colour: float (H, W, 3)."""
    canvas = Image.new("RGBA", picture.size, ground)
    canvas.alpha_composite(picture)
    return np.asarray(canvas.convert("RGB"), float)


def render_svg(document: str, size: tuple[int, int]) -> np.ndarray:
    """An SVG document at (width, height) pixels -> premultiplied uint8 (height, width, 4). No font, no file is read."""
    data = bytes(resvg_py.svg_to_bytes(svg_string=document, width=size[0], height=size[1], skip_system_fonts=True))
    with Image.open(io.BytesIO(data)) as picture:
        return premultiply(np.asarray(picture.convert("RGBA").resize(size)))


def psnr_on_white(first: np.ndarray, second: np.ndarray) -> float:
    """Of two premultiplied uint8 pictures of one size, in dB; infinite where they are the same."""
    a, b = (pixels[..., :3] + 255.0 - pixels[..., 3:] for pixels in (first, second))
    error = float(np.mean((a - b) ** 2))
    return 10 * float(np.log10(255**2 / error)) if error else float("inf")
