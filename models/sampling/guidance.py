"""Classifier-free guidance within an interval of noise levels, with autoguidance. Latents are (B, C, ...)."""

from collections.abc import Callable

import torch
from torch import Tensor

from models.sampling.condition import ComposedCondition, Condition

Network = Callable[..., Tensor]  # (x, t, states, mask, vector, reference) and (B,) bool `weakened` -> velocity
Velocity = Callable[[Tensor, float], Tensor]  # (x, sigma) -> velocity


def guided(
    network: Network,
    wanted: ComposedCondition,
    unwanted: Condition,
    scale: float = 1.0,
    interval: tuple[float, float] = (0.0, 1.0),
    autoguidance: bool = False,
) -> Velocity:
    """The velocity u + scale (w - u), where w is under `wanted` and u under `unwanted` (arXiv 2207.12598, equation 6);
    w alone for scale 1 and at noise levels outside `interval`, where guidance costs diversity (high noise) or changes
    nothing (low noise), and twice the time (arXiv 2404.07724).

    With `autoguidance` (arXiv 2406.02507) the second pass goes through a weakened network too: what a small network
    gets wrong it gets more wrong, so leading away from it mends shapes as well as meaning. The first part and
    `unwanted` are one batch of 2 B rows, and each other part is a batch of its own: so a picture's bits do not depend
    on how many parts another one has.
    """
    first, *others = wanted.parts
    both = Condition.cat([first, unwanted])
    weak = {"weakened": torch.arange(len(both)) >= len(wanted)} if autoguidance else {}

    def velocity(x: Tensor, sigma: float) -> Tensor:
        t = x.new_full((len(x),), sigma)
        beside = [network(x, t, *vars(part).values()) for part in others]
        if scale == 1 or not interval[0] <= sigma <= interval[1]:
            return wanted.mean([network(x, t, *vars(first).values()), *beside])
        output = network(torch.cat([x, x]), torch.cat([t, t]), *vars(both).values(), **weak)
        own, away = output.chunk(2)
        return combined(torch.cat([wanted.mean([own, *beside]), away]), scale)

    return velocity


def combined(outputs: Tensor, scale: float | Tensor) -> Tensor:
    """u + scale (w - u) of a network's answers to 2 B rows, `wanted` first; one scale for all or (B, 1, ...)."""
    wanted, unwanted = outputs.chunk(2)
    return unwanted + scale * (wanted - unwanted)
