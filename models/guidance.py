"""What the generator is told, and how strongly: conditions, and classifier-free guidance within an interval.

Shapes: B pictures, L text tokens, T width of a token state, V size of the semantic vector, latents (B, C, ...).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Network = Callable[..., Tensor]  # (x, t, states, mask, vector, draft) and (B,) bool `weakened` -> velocity
Velocity = Callable[[Tensor, float], Tensor]  # (x, sigma) -> velocity


@dataclass(frozen=True)
class Condition:
    """Token states (B, L, T), their mask (B, L), semantic vectors (B, V), clean latents to draw from (B, C, ...).

    Rows that are all false or zero say nothing.
    """

    states: Tensor
    mask: Tensor
    vector: Tensor
    draft: Tensor

    def __len__(self) -> int:
        return len(self.vector)

    def rows(self, index: list[int]) -> "Condition":
        """The rows `index`, in that order."""
        return Condition(*(part[index] for part in vars(self).values()))

    @staticmethod
    def cat(conditions: "list[Condition]") -> "Condition":
        """All rows of `conditions`."""
        return Condition(*map(torch.cat, zip(*(vars(one).values() for one in conditions), strict=True)))


@dataclass(frozen=True)
class Guidance:
    """Classifier-free guidance (arXiv 2207.12598, equation 6) at noise levels within `interval` only.

    Outside it guidance costs diversity (high noise) or changes nothing (low noise), and twice the time
    (arXiv 2404.07724). With `weaken` the second pass is a worse network's too: what a small network gets wrong it gets
    more wrong, so that leading away from it mends shapes as well as sense (autoguidance, arXiv 2406.02507).
    """

    scale: float = 3.0
    interval: tuple[float, float] = (0.0, 1.0)
    weaken: bool = False

    def active(self, sigma: float) -> bool:
        """Whether the second pass is worth making at `sigma`."""
        low, high = self.interval
        return self.scale != 1.0 and low <= sigma <= high


def guided(network: Network, wanted: Condition, unwanted: Condition, guidance: Guidance) -> Velocity:
    """The velocity u + scale (w - u), where w is under `wanted` and u under `unwanted`; w alone where inactive.

    Both passes are one batch of 2 B rows, wanted first.
    """
    both = Condition.cat([wanted, unwanted])
    weak = {"weakened": torch.arange(len(both)) >= len(wanted)} if guidance.weaken else {}

    def velocity(x: Tensor, sigma: float) -> Tensor:
        if not guidance.active(sigma):
            return network(x, x.new_full((len(x),), sigma), *vars(wanted).values())
        output = network(torch.cat([x, x]), x.new_full((2 * len(x),), sigma), *vars(both).values(), **weak)
        return combined(output, guidance.scale)

    return velocity


def combined(outputs: Tensor, scale: float | Tensor) -> Tensor:
    """u + scale (w - u) of a network's answers to 2 B rows, `wanted` first; one scale for all or (B, 1, ...)."""
    wanted, unwanted = outputs.chunk(2)
    return unwanted + scale * (wanted - unwanted)
