"""Is a picture a copy of another? By small prints of it: the strict one is the drawing itself, the loose one what
remains of it when it is moved, scaled, mirrored or painted in other colours.

Prints are extractors (`eval.extractors`), so they are read in the same stream and kept as features are.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageChops, ImageOps
from torch import Tensor

from eval.coverage import ROWS
from eval.extractors import Extractor, white
from eval.neighbours import SAME_DRAWING, drawing_distance, thumbs
from models.data.pixels import fit

SIDE = 16
SAME_EDGES = 0.93  # correlation of edges
GROUND = 16  # levels by which a pixel differs from the ground


def _ready(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels, np.float32))


def _thumb(picture: Image.Image) -> Tensor:
    return _ready(thumbs(fit(picture)[None])[0])


def _edges(picture: Image.Image) -> Tensor:
    """How strong the edges are in 16 x 16 places of what a picture shows, (256,) of mean 0 and length 1."""
    shown = Image.fromarray(white(picture).permute(1, 2, 0).numpy())
    corner: Any = shown.getpixel((0, 0))
    ground = Image.new("RGB", shown.size, corner)
    box = ImageChops.difference(shown, ground).convert("L").point(lambda level: 255 * (level > GROUND)).getbbox()
    square = ImageOps.pad(shown.crop(box), (64, 64), Image.Resampling.BOX, color=corner)
    x = np.pad(np.asarray(square, np.float64), ((1, 1), (1, 1), (0, 0)), mode="edge")
    across, down = x[1:-1, 2:] - x[1:-1, :-2], x[2:, 1:-1] - x[:-2, 1:-1]
    strength = np.sqrt(np.hypot(across, down).max(2))  # of the strongest channel: a colour may be lost in grey
    print_ = strength.reshape(SIDE, 4, SIDE, 4).mean((1, 3)).ravel()
    print_ -= print_.mean()
    return _ready(print_ / max(1e-9, float(np.linalg.norm(print_))))


def _as_it_is(batch: Tensor) -> Tensor:
    return batch


THUMBS = Extractor("thumbs", "16-px thumbnail, premultiplied, fitted into 128", _thumb, _as_it_is)
EDGES = Extractor("edges", "16-px edges of what is shown, padded to a square, root, unit; 1", _edges, _as_it_is)


def same_drawing(made: np.ndarray, real: np.ndarray) -> np.ndarray:
    """(N,) bool of thumbs (N, 1024) and (M, 1024): the same but for 3 of 255 levels, or mirrored."""
    mirrored = made.reshape(-1, SIDE, SIDE, 4)[:, :, ::-1].reshape(made.shape)
    return np.min([drawing_distance(side, real)[0] for side in (made, mirrored)], 0) <= SAME_DRAWING


def likeness(made: np.ndarray, real: np.ndarray, itself: bool = False) -> np.ndarray:
    """(N,) the highest correlation of edges (N, 256) with some of (M, 256), mirrored or not; not with the row of the
    same number where `real` is the same set `itself`."""
    best = []
    for start in range(0, len(made), ROWS):
        block = made[start : start + ROWS]
        mirrored = block.reshape(-1, SIDE, SIDE)[:, :, ::-1].reshape(block.shape)
        found = np.maximum(block @ real.T, mirrored @ real.T)
        if itself:
            found[np.arange(len(block)), start + np.arange(len(block))] = -1
        best.append(found.max(1))
    return np.concatenate(best)


def _moved(picture: Image.Image, scale: float = 1.0, shift: float = 0.0) -> Image.Image:
    """Scaled about the middle and shifted, by shares of the side, on a ground of its own corner."""
    ground = Image.new("RGBA", picture.size, picture.getpixel((0, 0)))
    width, height = (max(1, round(scale * side)) for side in picture.size)
    left, top = (round((own - new) / 2 + shift * own) for own, new in zip(picture.size, (width, height), strict=True))
    ground.paste(picture.resize((width, height), Image.Resampling.LANCZOS), (left, top))
    return ground


def _recoloured(picture: Image.Image) -> Image.Image:
    """A third of the way around the circle of hues."""
    hue, *rest = picture.convert("RGB").convert("HSV").split()
    turned = Image.merge("HSV", (hue.point(lambda level: (level + 85) % 256), *rest)).convert("RGB")
    turned.putalpha(picture.getchannel("A"))
    return turned


# What a copy must survive, of RGBA pictures; the share that is still recognised is said beside every count of copies.
DISGUISES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "shifted": partial(_moved, scale=0.9, shift=0.04),
    "scaled": partial(_moved, scale=0.75),
    "mirrored": ImageOps.mirror,
    "recoloured": _recoloured,
}
