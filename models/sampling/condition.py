"""What the generator is conditioned on: one condition, or several that hold at once.

Shapes: B pictures, L text tokens, T width of a token state, V size of the semantic vector, latents (B, C, ...), K parts
of a composed condition.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import normalize, pad

MIDDLE = 0.25  # how far the common centre lies below the picture's: ears, leaves and hats belong to the outer part
REACH = 0.88  # how far from there things reach, of half a side: two equal parts meet at 0.62 of it
EDGE = 8.0  # steepness of the sigmoid between two parts, per half side: one or two cells of a latent


@dataclass(frozen=True)
class Condition:
    """Token states (B, L, T), their mask (B, L), semantic vectors (B, V), reference latents to draw from (B, C, ...).
    Rows that are all false or zero are no condition."""

    states: Tensor
    mask: Tensor
    vector: Tensor
    reference: Tensor

    def __len__(self) -> int:
        return len(self.vector)

    def rows(self, index: list[int]) -> "Condition":
        """The rows `index`, in that order."""
        return Condition(*(part[index] for part in vars(self).values()))

    @staticmethod
    def cat(conditions: "Sequence[Condition]") -> "Condition":
        """All rows of `conditions`."""
        return Condition(*map(torch.cat, zip(*(vars(one).values() for one in conditions), strict=True)))


@dataclass(frozen=True)
class ComposedCondition:
    """Conditions that hold at once: `parts`, K of B rows each, and their `weights` (B, K), in all 1 a row.

    The network answers each part on its own and the velocities' mean is followed (conjunction, arXiv 2206.01714):
    halfway between the vectors of two things there is seldom anything that was ever drawn. Each part has its region
    (MultiDiffusion, arXiv 2302.08113), the first in the middle and every other around those before it: of a mean alone
    the noise mostly makes one of both (LOG.md).
    """

    parts: tuple[Condition, ...]
    weights: Tensor

    @staticmethod
    def of(condition: Condition) -> "ComposedCondition":
        """That condition alone."""
        return ComposedCondition((condition,), torch.ones(len(condition), 1))

    @staticmethod
    def cat(conditions: "Sequence[ComposedCondition]") -> "ComposedCondition":
        """All rows of `conditions`. A row with fewer parts has its first once more, without weight."""
        most = max(len(one.parts) for one in conditions)
        filled = [(*one.parts, *one.parts[:1] * (most - len(one.parts))) for one in conditions]
        weights = [pad(one.weights, (0, most - len(one.parts))) for one in conditions]
        return ComposedCondition(tuple(map(Condition.cat, zip(*filled, strict=True))), torch.cat(weights))

    def __len__(self) -> int:
        return len(self.weights)

    def rows(self, index: list[int]) -> "ComposedCondition":
        """The rows `index`, in that order."""
        return ComposedCondition(tuple(part.rows(index) for part in self.parts), self.weights[index])

    def scaled(self, strength: float) -> "ComposedCondition":
        """The same with the references multiplied, which scales what the network adds for them; 0 is none."""
        return replace(self, parts=tuple(replace(part, reference=strength * part.reference) for part in self.parts))

    @cached_property
    def shares(self) -> Tensor:
        """Of each part at each place (B, K, 1, ..., S, S), in all 1."""
        latent = self.parts[0].reference
        between = [1] * (latent.ndim - 3)  # channels, and frames where there are any
        return rings(self.weights, latent.shape[-1]).unflatten(1, (len(self.parts), *between))

    @property
    def vector(self) -> Tensor:
        """The mean of the parts' vectors: a unit vector (B, V), zeros where no part has one."""
        vectors = torch.stack([part.vector for part in self.parts], 1)
        return normalize((self.weights[..., None] * vectors).sum(1), dim=-1)

    @property
    def reference(self) -> Tensor:
        """(B, C, ...): the parts' references, each in its region; where one has none, those of the others."""
        references = torch.stack([part.reference for part in self.parts], 1)
        there = references.flatten(2).any(2).view(*self.weights.shape, *[1] * (references.ndim - 2))
        shares = self.shares * there
        return (shares / shares.sum(1, keepdim=True).clamp_min(1e-6) * references).sum(1)

    def mean(self, velocities: Sequence[Tensor]) -> Tensor:
        """Of the velocities (B, C, ...) under each part, by their shares."""
        return velocities[0] if len(velocities) == 1 else (self.shares * torch.stack(list(velocities), 1)).sum(1)


def rings(weights: Tensor, size: int) -> Tensor:
    """Shares (B, K, S, S) of parts that lie around each other, by their `weights` (B, K), in all 1."""
    across = torch.linspace(-1, 1, size)
    away = (across**2 + (across[:, None] - MIDDLE) ** 2).sqrt()  # of each place from the middle, in half sides
    within = weights.cumsum(1)[..., None, None]
    inside = torch.sigmoid(EDGE * (REACH * within.sqrt() - away))
    inside = torch.where(within > 1 - 1e-6, 1.0, inside)  # nothing lies around the last of them
    return inside.diff(dim=1, prepend=torch.zeros_like(inside[:, :1]))
