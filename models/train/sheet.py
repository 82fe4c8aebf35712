"""Contact sheets: many small pictures in one, on white or on a checkerboard."""

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from models.data.pixels import composite


def grid(pictures: Tensor, columns: int, background: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Image.Image:
    """Premultiplied (N, 4, H, W) in [0, 1] -> one picture, row by row."""
    rgb = composite(pictures.float().clamp(0, 1), background)
    count, _, height, width = rgb.shape
    rows = -(-count // columns)
    canvas = torch.ones(rows * columns, 3, height, width)
    canvas[:count] = rgb
    canvas = canvas.view(rows, columns, 3, height, width).permute(0, 3, 1, 4, 2).reshape(rows * height, columns * width, 3)
    return Image.fromarray((canvas.clamp(0, 1) * 255).round().byte().numpy())


def captioned(pixels: list[np.ndarray], captions: list[str], columns: int = 8, line: int = 24) -> Image.Image:
    """Premultiplied uint8 pictures (H, W, 4) with a caption of two lines under each."""
    from models.data.pixels import png

    side = pixels[0].shape[0]
    rows = -(-len(pixels) // columns)
    sheet = Image.new("RGB", (columns * side, rows * (side + 2 * line)), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (picture, text) in enumerate(zip(pixels, captions, strict=True)):
        x, y = i % columns * side, i // columns * (side + 2 * line)
        sheet.paste(png(picture), (x, y), png(picture))
        for k in range(2):
            draw.text((x + 2, y + side + k * line // 2), text[k * 22 : (k + 1) * 22], "black")
    return sheet
