"""Contact sheets for training: many small pictures in one."""

import torch
from PIL import Image
from torch import Tensor

from models.data.pixels import composite


def grid(pictures: Tensor, columns: int, background: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Image.Image:
    """Premultiplied (N, 4, H, W) in [0, 1] -> one picture, row by row."""
    rgb = composite(pictures.float().clamp(0, 1), background)
    count, _, height, width = rgb.shape
    rows = -(-count // columns)
    canvas = torch.ones(rows * columns, 3, height, width)
    canvas[:count] = rgb
    canvas = (
        canvas.view(rows, columns, 3, height, width).permute(0, 3, 1, 4, 2).reshape(rows * height, columns * width, 3)
    )
    return Image.fromarray((canvas.clamp(0, 1) * 255).round().byte().numpy())
