"""Pictures that a drawing starts from: their latents, and which of their pixels are kept to the end."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.data.pixels import SIZE
from models.edits import blend, cells

Encode = Callable[[np.ndarray], Tensor]  # one picture, premultiplied uint8 (128, 128, 4) -> clean latent (1, C, S, S)


@dataclass(frozen=True)
class Start:
    """Clean latents (N, C, S, S). Where a part is kept, pictures (N, 128, 128, 4) and masks (N, 128, 128), uint8."""

    latents: Tensor
    pixels: np.ndarray | None = None
    masks: np.ndarray | None = None

    @staticmethod
    def of(start: np.ndarray | Tensor | None, masks: np.ndarray | None, count: int, encode: Encode) -> "Start":
        """For `count` pictures, from as many or one for all. Each is encoded alone: its bits depend on nothing else."""
        if start is None or (masks is not None and isinstance(start, Tensor)):
            raise ValueError("a mask says what of a picture is drawn anew; give the picture's pixels as the start")
        if len(start) not in (1, count):
            raise ValueError(f"{len(start)} pictures to start from for {count} pictures; give 1 or {count}")
        if isinstance(start, Tensor):
            return Start(start.float().expand(count, -1, -1, -1))
        known = {picture.tobytes(): picture for picture in start}
        encoded = {key: encode(picture) for key, picture in known.items()}
        latents = torch.cat([encoded[picture.tobytes()] for picture in start]).expand(count, -1, -1, -1)
        if masks is None:
            return Start(latents)
        if masks.dtype != np.uint8 or masks.shape[1:] != (SIZE, SIZE) or len(masks) not in (1, count):
            wanted = f"uint8 (1 or {count}, {SIZE}, {SIZE})"
            raise ValueError(f"masks of type {masks.dtype} and shape {masks.shape}; give {wanted}")
        return Start(
            latents, np.broadcast_to(start, (count, SIZE, SIZE, 4)), np.broadcast_to(masks, (count, SIZE, SIZE))
        )

    def rows(self, index: list[int]) -> "Start":
        """The rows `index`, in that order."""
        if self.pixels is None or self.masks is None:
            return Start(self.latents[index])
        return Start(self.latents[index], self.pixels[index], self.masks[index])

    @property
    def redraw(self) -> Tensor | None:
        """bool (N, 1, S, S), true where a latent is drawn anew; None where all of it is."""
        return None if self.masks is None else torch.from_numpy(cells(self.masks, self.latents.shape[-1]))[:, None]

    def finish(self, drawn: np.ndarray) -> np.ndarray:
        """Decoded pictures with what is kept of the start put back, pixel by pixel."""
        if self.pixels is None or self.masks is None:
            return drawn
        return np.stack([blend(*three) for three in zip(drawn, self.pixels, self.masks, strict=True)])
