"""A look at latents while a pipeline is at work."""

from typing import Any

import numpy as np
from PIL import Image

RIDGE = 1e-2  # keeps the map small where colours say little about it
SHOWN = 256  # pixels of the longer side


class Previews:
    """Latents as small pictures, by the linear map to colours that fits what was decoded of the latest ones; before
    anything was, their mean in grey.

    The layout of latents is found by their shape: (1, C, h, w), (1, N, C) tokens, or (1, C, T, h, w) of a clip.
    """

    def __init__(self, multiple: int) -> None:
        self._multiple, self._map = multiple, np.zeros((0, 3))

    def __call__(self, latents: Any, size: tuple[int, int]) -> Image.Image | None:
        """A picture of latents that become one of `size` (width, height); None where their layout is unknown."""
        cells = self._cells(latents, size)
        if cells is None:
            return None
        rows = _with_one(cells)
        if len(self._map) == rows.shape[-1]:
            colours = rows @ self._map
        else:
            mean = cells.mean(-1, keepdims=True)
            colours = 0.5 + 0.2 * np.repeat((mean - mean.mean()) / (mean.std() + 1e-6), 3, -1)
        picture = Image.fromarray((np.clip(colours, 0, 1) * 255).astype(np.uint8))
        share = SHOWN / max(size)
        return picture.resize((round(size[0] * share), round(size[1] * share)), Image.Resampling.BICUBIC)

    def learn(self, latents: Any, picture: Image.Image) -> None:
        """Fit the map to what became of the last latents."""
        cells = self._cells(latents, picture.size)
        if cells is None:
            return
        small = picture.convert("RGB").resize((cells.shape[1], cells.shape[0]), Image.Resampling.BOX)
        rows, colours = _with_one(cells).reshape(-1, cells.shape[-1] + 1), np.asarray(small).reshape(-1, 3) / 255
        square = rows.T @ rows
        self._map = np.linalg.solve(square + RIDGE * len(rows) * np.eye(len(square)), rows.T @ colours)

    def _cells(self, latents: Any, size: tuple[int, int]) -> np.ndarray | None:
        """Numbers of each place (h, w, C); of a clip those of its middle frame."""
        values = latents[0].detach().float().cpu().numpy()
        if values.ndim == 4:  # channels or frames come first: a latent has more cells than channels
            values = values[:, values.shape[1] // 2] if values.shape[0] > values.shape[1] else values[len(values) // 2]
        if values.ndim == 3:
            return np.moveaxis(values, 0, -1)
        width, height = (side // self._multiple for side in size)
        if values.ndim != 2 or not width * height or len(values) % (width * height):
            return None
        frames = values.reshape(-1, height, width, values.shape[-1])
        return np.asarray(frames[len(frames) // 2])


def _with_one(cells: np.ndarray) -> np.ndarray:
    return np.concatenate([cells, np.ones((*cells.shape[:-1], 1), cells.dtype)], -1)
