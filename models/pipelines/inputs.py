"""Arguments of a call: what is given once for all pictures or once for each, and the pictures to start from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from models.compose.masks import blend as blend_pixels
from models.compose.masks import cells
from models.data.pixels import SIZE
from models.messages import Refused
from models.sampling.condition import ComposedCondition

T = TypeVar("T")
Vectors = Tensor | Sequence[Tensor | None]
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
            raise Refused("models.mask_without_picture")
        if len(start) not in (1, count):
            raise Refused("models.starts", given=len(start), count=count)
        if isinstance(start, Tensor):
            return Start(start.float().expand(count, -1, -1, -1))
        known = {picture.tobytes(): picture for picture in start}
        encoded = {key: encode(picture) for key, picture in known.items()}
        latents = torch.cat([encoded[picture.tobytes()] for picture in start]).expand(count, -1, -1, -1)
        if masks is None:
            return Start(latents)
        if masks.dtype != np.uint8 or masks.shape[1:] != (SIZE, SIZE) or len(masks) not in (1, count):
            raise Refused("models.masks", type=masks.dtype, shape=str(masks.shape), count=count, size=SIZE)
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
        """bool (N, 1, S, S), true where a latent is redrawn; None where all of it is."""
        return None if self.masks is None else torch.from_numpy(cells(self.masks, self.latents.shape[-1]))[:, None]

    def finish(self, drawn: np.ndarray) -> np.ndarray:
        """Decoded pictures with the kept pixels of the start put back."""
        if self.pixels is None or self.masks is None:
            return drawn
        return np.stack([blend_pixels(*three) for three in zip(drawn, self.pixels, self.masks, strict=True)])


def each(what: str, given: Sequence[T], count: int) -> list[T]:
    """`count` of them, from as many or from one; Refused says how many `what` were given (a code of the messages)."""
    if len(given) not in (1, count):
        raise Refused(f"models.{what}", given=len(given), count=count)
    return list(given) * (count if len(given) == 1 else 1)


def each_vector(given: Vectors | None, count: int) -> Vectors | None:
    """`each` of a list of vectors; a tensor stays as it is."""
    return given if given is None or isinstance(given, Tensor) else each("vectors", given, count)


def each_blend(given: Sequence[ComposedCondition | None], prompts: Sequence[str]) -> list[ComposedCondition | None]:
    """`each`, or None for all; Refused for one of several rows, or beside words."""
    blends = each("blends", given or [None], len(prompts))
    for blend, prompt in zip(blends, prompts, strict=True):
        if blend is not None and (prompt or len(blend) != 1):
            raise Refused("models.blend_beside_prompt", rows=len(blend), prompt=prompt)
    return blends


def own_words(given: Vectors | None, count: int) -> list[bool]:
    """Which of `count` pictures are given no vector, and take that of their words."""
    if isinstance(given, Tensor):
        return [False] * count
    return [True] * count if given is None else [row is None for row in given]


def senses(given: Vectors, own: Tensor) -> Tensor:
    """The semantic vectors (N, 128) of N pictures: those that are given, else the texts' `own`."""
    if not isinstance(given, Tensor):
        given = torch.cat([own[i : i + 1] if row is None else row for i, row in enumerate(given)])
    if given.ndim != 2 or given.shape[1] != own.shape[1] or len(given) not in (1, len(own)):
        raise Refused("models.vector_shape", shape=str(tuple(given.shape)), count=len(own), size=own.shape[1])
    return given.float().expand(len(own), -1)
