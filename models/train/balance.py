"""Load of the experts: the balancing update, and how far it is from balance.

Shapes: Y layers, X experts.
"""

import torch
import torch.distributed as dist
from torch import Tensor, nn

from models.experts import Router


def routers(model: nn.Module) -> list[Router]:
    return [module for module in model.modules() if isinstance(module, Router)]


@torch.no_grad()
def update_router_bias(model: nn.Module, rate: float = 1e-3) -> Tensor:
    """One step of loss-free balancing (arXiv 2408.15664, algorithm 1), once per optimizer step; counters start anew.

    b += rate * sign(mean load - load), less its own mean: a constant added to every bias changes no choice, and would
    only wander. The sign and not the size: the paper found no gain in the size. `rate` 1e-3 as there; 1e-2 oscillates.
    Returns the (Y, X) int64 counts that the step saw, of all processes.
    """
    found = routers(model)
    if not found:
        raise ValueError(f"{type(model).__name__} has no experts to balance")
    load = torch.stack([router.load for router in found])
    if dist.is_initialized():
        dist.all_reduce(load)
    counts = load.float()
    step = rate * (counts.mean(-1, keepdim=True) - counts).sign()
    for router, delta in zip(found, step - step.mean(-1, keepdim=True), strict=True):
        router.bias.add_(delta)
        router.load.zero_()
    return load


def max_violation(load: Tensor) -> Tensor:
    """MaxVio of each layer (arXiv 2408.15664, equation 4): `max / mean - 1` of `load` (..., X); 0 is perfect balance.

    Of each layer on its own: averaged over layers, two opposite imbalances look like none.
    """
    load = load.double()
    return load.amax(-1) / load.mean(-1) - 1
