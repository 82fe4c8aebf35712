"""The distance of a picture to the nearest of others, whatever its place, size, mirroring and hue.

What is shown is cut out, laid into a square of 16 pixels and taken apart into opacity, lightness and colour, so that
turning all hues by the angle that fits best is a product of complex numbers. The distance is the squared difference
over the sum of both squares: 0 is the same drawing, 1 nothing in common. What is finer is not seen: noise is a grey
square. Half of real held-out drawings, each by another artist than all in training, are nearer than FAR to one of them:
a heart is a heart. So read a share beside that of real ones.

Prints are an extractor (`eval.extractors`), so they are read in the same stream and kept as features are.
"""

from typing import Any

import numpy as np
import torch
from PIL import Image, ImageChops
from torch import Tensor

from eval.extractors import Extractor, pixels
from eval.statistics import ROWS

SIDE = 16
GROUND = 16  # levels by which a pixel differs from the ground, or its opacity from none
NEAR, FAR = 0.02, 0.05  # distances under which a picture is taken for another, and looks like it
# Red, green and blue as an angle each: with lightness they make an orthogonal basis, and distances stay what they are.
_HUES = np.exp(2j * np.pi * np.arange(3) / 3) * np.sqrt(2 / 3)


def shown_of(picture: Image.Image) -> np.ndarray:
    """Premultiplied uint8 (H, W, 4); of an opaque picture without what is as its corner."""
    shown = pixels(picture)
    if shown[..., 3].min() < 255:
        return shown
    rgb = picture.convert("RGB")
    corner: Any = rgb.getpixel((0, 0))
    apart = np.asarray(ImageChops.difference(rgb, Image.new("RGB", rgb.size, corner))).max(2) > GROUND
    return shown * apart[..., None] if apart.any() else shown


def _print(picture: Image.Image) -> Tensor:
    """(1024,): opacity, lightness and the two parts of colour at each place."""
    shown = shown_of(picture)
    left, top, right, bottom = Image.fromarray(shown[..., 3] >= GROUND).getbbox() or (0, 0, 1, 1)
    side = max(right - left, bottom - top)
    x, y = (left + right - side) // 2, (top + bottom - side) // 2
    whole = Image.frombuffer("RGBa", shown.shape[1::-1], np.ascontiguousarray(shown), "raw", "RGBa", 0, 1)
    small = whole.crop((x, y, x + side, y + side)).resize((SIDE, SIDE), Image.Resampling.BOX)
    places = np.asarray(small, np.float32).reshape(-1, 4) / 255
    colour = places[:, :3] @ _HUES
    parts = [places[:, 3], places[:, :3].sum(1) / np.sqrt(3), colour.real, colour.imag]
    return torch.from_numpy(np.stack(parts, 1).astype(np.float32).ravel())


PRINTS = Extractor("prints", f"{SIDE}-px print of what is shown: opacity, lightness, colour; 1", _print, lambda x: x)


def distances(prints: np.ndarray, real: np.ndarray, itself: bool = False) -> np.ndarray:
    """(N,) of prints (N, 1024) from the nearest of (M, 1024), mirrored or not; not from the row of the same number
    where `real` is the same set `itself`."""
    plain, colour = _parts(real)
    norms, nearest = np.square(real).sum(1), []
    for start in range(0, len(prints), ROWS):
        block = prints[start : start + ROWS]
        both = np.square(block).sum(1)[:, None] + norms
        overlap = np.full(both.shape, -np.inf, np.float32)
        for side in (block, block.reshape(-1, SIDE, SIDE, 4)[:, :, ::-1].reshape(block.shape)):
            still, turned = _parts(side)
            along = turned.real @ colour.real.T + turned.imag @ colour.imag.T
            across = turned.imag @ colour.real.T - turned.real @ colour.imag.T
            overlap = np.maximum(overlap, still @ plain.T + np.hypot(along, across))
        overlap = 1 - 2 * overlap / np.maximum(both, 1e-9)
        if itself:
            overlap[np.arange(len(block)), start + np.arange(len(block))] = 1
        nearest.append(overlap.min(1))
    return np.maximum(np.concatenate(nearest), 0)


def _parts(prints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Opacity and lightness (N, 512), and colour (N, 256) as complex numbers."""
    places = np.asarray(prints, np.float32).reshape(len(prints), -1, 4)
    return places[..., :2].reshape(len(prints), -1), places[..., 2] + 1j * places[..., 3]
