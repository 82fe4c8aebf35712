"""Shapes (`models.data.shapes`) among the samples of the generator's training."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.data.shapes import Shapes
from models.sampling.condition import Condition
from models.train.encoded import Encoded, Item, Reader, encode_all

POOL = 30_000  # encoded
BELOW = 0.8  # noise level: above it a thing is decided, and shapes are none
# Share whose caption is told. Of pictures as many are told nothing (`models.train.image.Mix`): with more of them, what
# guidance leads away from were mostly icons.
TOLD = 0.925


@dataclass(frozen=True)
class ShapeRows:
    """Shapes as rows of arrays, and the share of a step that they take, its last samples."""

    encoded: Encoded
    share: float

    @classmethod
    def encode(cls, shapes: Shapes, seed: int, reader: Reader, file: Path | None, share: float) -> "ShapeRows":
        """POOL of them, the same for the same seed; kept in `file`, as `encode_all` does."""

        def item(row: int) -> Item:
            pixels, caption = shapes.draw(row, seed)
            return Item(pixels, [caption])

        return cls(encode_all(POOL, item, reader, file), share)

    def among(
        self, rng: np.random.Generator, size: int, part: slice, latents: Tensor, condition: Condition
    ) -> tuple[Tensor, Tensor, Condition]:
        """Shapes in the place of some of the rows `part` of a step of `size`: which, bool (B,), and what is then there.

        `latents` are (B, C, S, S). What is drawn does not depend on `part`, so that ranks share one step.
        """
        chosen, told = torch.from_numpy(rng.integers(len(self.encoded), size=size)), torch.from_numpy(rng.random(size))
        here = (torch.arange(size) >= size - round(self.share * size))[part].to(latents.device)
        rows, told = (own[part].to(latents.device)[here] for own in (chosen, told))
        states, mask, latents = condition.states.clone(), condition.mask.clone(), latents.clone()
        states[here], mask[here] = self.encoded.states[rows, 0], self.encoded.mask[rows, 0] & (told < TOLD)[:, None]
        latents[here] = self.encoded.latents[rows].float()
        draft = condition.reference.masked_fill(here[:, None, None, None], 0)
        return here, latents, Condition(states, mask, condition.vector.masked_fill(here[:, None], 0), draft)
