"""Keeping to a draft: what nobody asked to be in another hand is drawn as it mostly is, or as the style has drawn it.

The generator has learned that a draft (`models.prototypes`) is only roughly what is wanted, for in training it is what
other hands drew, and another one is to be drawn. Who names no style wants none of them, only the thing; and what a
style has drawn itself is no other hand's. So while there is much noise, and the shape is still being decided, the clean
latents that a step promises are brought nearer to the draft, as ILVR (arXiv 2108.02938) brings them to a reference
picture: by as much as there is noise, for of noise alone nothing is known but the draft, and what has been drawn since
is to stay. In a style that lacks the thing they are left alone: the style would be lost with the shapes of others
(LOG.md).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

NEARER = 1.0  # of the way to the draft, times the noise level
UNTIL = 0.5  # noise level, not included: below it a draft has no details to give


@dataclass(frozen=True)
class DraftGuidance:
    """Leads `rows` (B,) of a drawing to their `drafts` (B, C, S, S); the others stay as they are, to the bit."""

    drafts: Tensor
    rows: Tensor

    @classmethod
    def of(cls, drafts: Tensor, wanted: Tensor) -> "DraftGuidance | None":
        """Of those rows that are `wanted` (B,) so, and have a draft: zeros are none; None where no row is left."""
        rows = drafts.flatten(1).any(1) & wanted.to(drafts.device)
        return cls(drafts, rows) if rows.any() else None

    def __call__(self, sigma: float, x: Tensor, velocity: Tensor) -> Tensor:
        """The velocity (B, C, S, S) at `x` that leads nearer to the drafts."""
        if sigma <= UNTIL:
            return velocity
        nearer = (x - sigma * velocity).lerp(self.drafts.to(x.dtype), NEARER * sigma)
        return torch.where(self.rows.view(-1, 1, 1, 1), (x - nearer) / sigma, velocity)
