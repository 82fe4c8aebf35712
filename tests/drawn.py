"""Pictures that tests draw."""

import numpy as np
from PIL import Image, ImageDraw


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


def over(picture: Image.Image, ground: str) -> np.ndarray:
    """The picture on a colour: float (H, W, 3)."""
    canvas = Image.new("RGBA", picture.size, ground)
    canvas.alpha_composite(picture)
    return np.asarray(canvas.convert("RGB"), float)
