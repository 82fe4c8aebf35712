"""AdamW, Muon and the schedule of their learning rate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.overrides import TorchFunctionMode

from models.hardware import native_dtype

if TYPE_CHECKING:
    from models.train.loop import Recipe


def learning_rate(recipe: Recipe, step: int, progress: float) -> float:
    """Linear warm-up in steps, constant, half a cosine from `decay_from` to the end."""
    warm = min(1.0, (step + 1) / recipe.warmup) if recipe.warmup else 1.0
    late = max(0.0, (progress - recipe.decay_from) / max(1e-9, 1 - recipe.decay_from))
    return recipe.lr * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * late)))


def hidden_matrices(model: nn.Module) -> list[nn.Parameter]:
    """Weights of the linear layers inside a list of blocks: what Muon is for. Inputs and outputs are AdamW's."""
    lists = [m for m in model.modules() if isinstance(m, nn.ModuleList)]
    linear = [m for blocks in lists for m in blocks.modules() if isinstance(m, nn.Linear)]
    return [p for m in linear for name, p in m.named_parameters() if name == "weight"]


def optimisers(model: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """AdamW, whose vectors (norms, biases, scalars) are not decayed, and Muon (kellerjordan.github.io/posts/muon).

    Muon's step is scaled to the size of AdamW's (arXiv 2502.16982, section 2.2), so that one rate serves both. Of
    several processes each has its share of Muon's matrices and tells the others: its iterations were a fifth of a
    step's time in every process, though all came to the same.
    """
    hidden = {id(weight): weight for weight in hidden_matrices(model)} if recipe.muon else {}
    others = [p for p in model.parameters() if p.requires_grad and id(p) not in hidden]
    matrices, vectors = [p for p in others if p.ndim >= 2], [p for p in others if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    adamw = torch.optim.AdamW([g for g in groups if g["params"]], lr=recipe.lr, betas=recipe.betas, fused=True)
    if not hidden:
        return [adamw]
    settings: dict[str, Any] = {"lr": recipe.lr, "weight_decay": recipe.weight_decay, "adjust_lr_fn": "match_rms_adamw"}
    if dist.is_initialized() and dist.get_world_size() > 1:
        return [adamw, ZeroRedundancyOptimizer(list(hidden.values()), Muon, **settings)]
    return [adamw, Muon(list(hidden.values()), **settings)]


class Muon(torch.optim.Muon):
    """torch's Muon, whose Newton-Schulz iterations are in fp32 where the CPU would emulate their bf16.

    Emulated they take seventeen times as long (`models/train/LOG.md`).
    """

    def step(self, closure: Any = None) -> Any:
        """One step; on a GPU, and on a CPU that computes in bf16, torch's own."""
        devices = {weight.device.type for group in self.param_groups for weight in group["params"]}
        if devices != {"cpu"} or native_dtype() == torch.bfloat16:
            return super().step(closure)
        with _Unrounded():
            return super().step(closure)


class _Unrounded(TorchFunctionMode):
    """A cast to bf16 is a copy of its own type: the one place where Muon's step rounds."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        cast = func is torch.Tensor.to and any(value is torch.bfloat16 for value in (*args, *kwargs.values()))
        return args[0].clone() if cast or func is torch.Tensor.bfloat16 else func(*args, **kwargs)
