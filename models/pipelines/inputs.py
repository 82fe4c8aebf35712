"""Arguments of a call: what is given once for all pictures or once for each, and the pictures to start from."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from models.compose.collage import fit_in
from models.compose.masks import blend as blend_pixels
from models.compose.masks import cells, small_box
from models.data.pixels import SIZE
from models.messages import Refused
from models.prompts.parsed import Box
from models.sampling.condition import ComposedCondition
from models.space import DIM

T = TypeVar("T")
Vectors = Iterable[Tensor | None]  # semantic vectors (128,) or (1, 128), as (N, 128) too; None is a text's own
Encode = Callable[[np.ndarray], Tensor]  # one picture, premultiplied uint8 (128, 128, 4) -> clean latent (1, C, S, S)


@dataclass(frozen=True)
class Start:
    """Clean latents (N, C, S, S). Where a part is kept, pictures (N, 128, 128, 4) and masks (N, 128, 128), uint8."""

    latents: Tensor
    pixels: np.ndarray | None = None
    masks: np.ndarray | None = None

    @staticmethod
    def of(start: np.ndarray | None, masks: np.ndarray | None, count: int, encode: Encode) -> "Start":
        """For `count` pictures, from as many or one for all. Each is encoded alone: its bits depend on nothing else."""
        if start is None:
            raise Refused("models.mask_without_picture")
        if len(start) not in (1, count):
            raise Refused("models.starts", given=len(start), count=count)
        known = {picture.tobytes(): picture for picture in start}
        encoded = {key: encode(picture) for key, picture in known.items()}
        latents = torch.cat([encoded[picture.tobytes()] for picture in start]).expand(count, -1, -1, -1)
        if masks is None:
            return Start(latents)
        if masks.dtype != np.uint8 or masks.shape[1:] != (SIZE, SIZE) or len(masks) not in (1, count):
            raise Refused("models.masks", type=masks.dtype, shape=str(masks.shape), count=count, size=SIZE)
        shape = count, SIZE, SIZE
        return Start(latents, np.broadcast_to(start, (*shape, 4)), np.broadcast_to(masks, shape))

    def rows(self, index: list[int]) -> "Start":
        """The rows `index`, in that order."""
        pixels, masks = (None if part is None else part[index] for part in (self.pixels, self.masks))
        return Start(self.latents[index], pixels, masks)

    @property
    def redraw(self) -> Tensor | None:
        """bool (N, 1, S, S), true where a latent is redrawn; None where all of it is."""
        return None if self.masks is None else torch.from_numpy(cells(self.masks, self.latents.shape[-1]))[:, None]

    def has_room(self, number: int) -> bool:
        """Whether a thing is drawn into picture `number`: a small part of it is redrawn."""
        return self.masks is not None and small_box(self.masks[number]) is not None

    def laid(self, number: int, drawing: np.ndarray) -> np.ndarray:
        """Picture `number`, which has room, with a drawing (128, 128, 4) in place of what is redrawn of it."""
        assert self.pixels is not None and self.masks is not None
        canvas = self.pixels[number].copy()
        canvas[self.masks[number] > 127] = 0
        fit_in(canvas, drawing, Box(*small_box(self.masks[number]) or (0, 0, SIZE, SIZE)), SIZE)
        return canvas

    def finish(self, drawn: np.ndarray) -> np.ndarray:
        """Decoded pictures with the kept pixels of the start put back."""
        if self.pixels is None or self.masks is None:
            return drawn
        return np.stack([blend_pixels(*three) for three in zip(drawn, self.pixels, self.masks, strict=True)])


def each(what: str, given: Sequence[T], count: int) -> list[T]:
    """`count` of them, from as many or from one; Refused says how many `what` were given (a code of the messages)."""
    given = [given] if isinstance(given, str) else given  # type: ignore[list-item]  # then T is a text
    if len(given) not in (1, count):
        raise Refused(f"models.{what}", given=len(given), count=count)
    return list(given) * (count if len(given) == 1 else 1)


def each_vector(given: Vectors | None, count: int) -> list[Tensor | None]:
    """`each` of the vectors, (1, 128) or None for the text's own; Refused for another shape."""
    vectors = [row if row is None else row.reshape(1, -1).float() for row in ([None] if given is None else given)]
    for row in vectors:
        if row is not None and row.shape[1] != DIM:
            raise Refused("models.vector_shape", shape=str(tuple(row.shape)), count=count, size=DIM)
    return each("vectors", vectors, count)


def each_blend(given: Sequence[ComposedCondition | None], prompts: Sequence[str]) -> list[ComposedCondition | None]:
    """`each`, or None for all; Refused for one of several rows, or beside words."""
    blends = each("blends", given or [None], len(prompts))
    for blend, prompt in zip(blends, prompts, strict=True):
        if blend is not None and (prompt or len(blend) != 1):
            raise Refused("models.blend_beside_prompt", rows=len(blend), prompt=prompt)
    return blends
