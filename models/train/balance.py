"""Load of the experts: the balancing update, and what tells whether it works and what the experts are good for.

Shapes: Y layers, X experts, N tokens, K choices a token.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from transformers import PreTrainedModel

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


@torch.no_grad()
def expert_choices(model: PreTrainedModel, batch: Mapping[str, Any]) -> Tensor:
    """Experts of every real token of a batch, (Y, N, K), tokens in reading order.

    `batch` holds the arguments of the model's forward (ids and masks); counters and training mode stay as they are.
    """
    seen: list[Tensor] = []
    hooks = [router.register_forward_hook(lambda _, __, output: seen.append(output[0])) for router in routers(model)]
    training = model.training
    try:
        model.eval().base_model(**batch)
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return torch.stack(seen)


def load_of(chosen: Tensor, experts: int) -> Tensor:
    """Share of the choices (Y, N, K) that each expert gets, (Y, X), rows of sum 1."""
    counts = torch.stack([layer.flatten().bincount(minlength=experts) for layer in chosen]).double()
    return counts / counts.sum(-1, keepdim=True)


def max_violation(load: Tensor) -> Tensor:
    """MaxVio of each layer (arXiv 2408.15664, equation 4): `max / mean - 1` of `load` (..., X); 0 is perfect balance.

    Of each layer on its own: averaged over layers, two opposite imbalances look like none.
    """
    load = load.double()
    return load.amax(-1) / load.mean(-1) - 1


def dead_experts(load: Tensor, share: float = 0.1) -> Tensor:
    """True where an expert of `load` (..., X) gets less than `share` of the mean."""
    load = load.double()
    return load < share * load.mean(-1, keepdim=True)


def specialisation(chosen: Tensor, labels: Tensor) -> float:
    """Mutual information in bits between the experts chosen in a layer (N, K) and a label of each token (N,), from 0.

    0 where experts do not care, the label's entropy where they tell it. From few tokens it comes out too high, by about
    (X - 1)(labels - 1) / (2 N ln 2): show it beside the same for shuffled labels.
    """
    if len(chosen) != len(labels):
        raise ValueError(f"{len(labels)} labels for {len(chosen)} tokens")
    experts = int(chosen.max()) + 1
    pairs = labels[:, None] * experts + chosen
    joint = pairs.flatten().bincount(minlength=(int(labels.max()) + 1) * experts).double().view(-1, experts)
    joint = joint / joint.sum()
    independent = joint.sum(0, keepdim=True) * joint.sum(1, keepdim=True)
    some = joint > 0
    return float((joint[some] * (joint[some] / independent[some]).log2()).sum())
