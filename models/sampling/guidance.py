"""Classifier-free guidance within an interval of noise levels, with autoguidance.

Shapes: B pictures, latents (B, C, ...).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from models.sampling.condition import ComposedCondition, Condition
from models.sampling.schedulers import GUIDANCE

Network = Callable[..., Tensor]  # (x, t, states, mask, vector, reference) and (B,) bool `weakened` -> velocity
Velocity = Callable[[Tensor, float], Tensor]  # (x, sigma) -> velocity


@dataclass(frozen=True)
class Guidance:
    """Classifier-free guidance (arXiv 2207.12598, equation 6) at noise levels within `interval` only.

    Outside it guidance costs diversity (high noise) or changes nothing (low noise), and twice the time
    (arXiv 2404.07724). With `autoguidance` (arXiv 2406.02507) the second pass goes through a weakened network too: what
    a small network gets wrong it gets more wrong, so leading away from it mends shapes as well as meaning.
    """

    scale: float = GUIDANCE
    interval: tuple[float, float] = (0.0, 1.0)
    autoguidance: bool = False

    def active(self, sigma: float) -> bool:
        """Whether the second pass is worth making at `sigma`."""
        low, high = self.interval
        return self.scale != 1.0 and low <= sigma <= high


def guided(network: Network, wanted: ComposedCondition, unwanted: Condition, guidance: Guidance) -> Velocity:
    """The velocity u + scale (w - u), where w is under `wanted` and u under `unwanted`; w alone where inactive.

    The first part and `unwanted` are one batch of 2 B rows, in that order, and each other part is a batch of its own:
    so a picture's bits do not depend on how many parts another one has.
    """
    first, *others = wanted.parts
    both = Condition.cat([first, unwanted])
    weak = {"weakened": torch.arange(len(both)) >= len(wanted)} if guidance.autoguidance else {}

    def velocity(x: Tensor, sigma: float) -> Tensor:
        t = x.new_full((len(x),), sigma)
        beside = [network(x, t, *vars(part).values()) for part in others]
        if not guidance.active(sigma):
            return wanted.mean([network(x, t, *vars(first).values()), *beside])
        output = network(torch.cat([x, x]), torch.cat([t, t]), *vars(both).values(), **weak)
        own, away = output.chunk(2)
        return combined(torch.cat([wanted.mean([own, *beside]), away]), guidance.scale)

    return velocity


def combined(outputs: Tensor, scale: float | Tensor) -> Tensor:
    """u + scale (w - u) of a network's answers to 2 B rows, `wanted` first; one scale for all or (B, 1, ...)."""
    wanted, unwanted = outputs.chunk(2)
    return unwanted + scale * (wanted - unwanted)
