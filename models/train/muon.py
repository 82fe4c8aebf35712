"""Muon as torch has it, at the precision that the machine computes fast."""

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from models.hardware import native_dtype


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
    """`tensor.bfloat16()` is a copy of its own type: the one place where Muon's step rounds."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return args[0].clone() if func is torch.Tensor.bfloat16 else func(*args, **(kwargs or {}))
