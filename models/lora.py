"""Low-rank changes of a network's linear layers (LoRA, arXiv 2106.09685): a second behaviour in few more bytes.

While it is trained a layer's weight W is W + B A, W frozen, B from zero, so that it begins as the network itself.
What is kept are A and B, under the names that `diffusers` and `peft` use; to draw, they are added to the weights once.

Two parts are such changes, each with the digest of the generator that it changes: "release" (`models.train.image`)
teaches it the pictures of all splits, for users; "fast" (`models.train.fast`) makes of it the fast variant, four steps
without guidance instead of sixteen with it.

Shapes: W (out, in), A (rank, in), B (out, rank).
"""

import copy
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils import parametrize

from models.dit import DiT
from models.weights import align, fits, load_part, part_folder, record_dependencies, record_part

FAST, RELEASE = "fast", "release"  # parts
FILE = "pytorch_lora_weights.safetensors"  # as diffusers calls such a file
DOWN, UP = "lora_A.weight", "lora_B.weight"


class LowRank(nn.Module):
    """W -> W + B A."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        out, width = weight.shape
        self.down = nn.Parameter(torch.empty(rank, width))
        self.up = nn.Parameter(torch.zeros(out, rank))
        nn.init.kaiming_uniform_(self.down, math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        """The changed weight."""
        return weight + self.up @ self.down


def _linear(network: Any) -> dict[str, nn.Linear]:
    return {name: module for name, module in network.named_modules() if isinstance(module, nn.Linear)}


def attach(network: nn.Module, rank: int) -> None:
    """Give every linear layer a low-rank change, and freeze everything else."""
    network.requires_grad_(False)
    for layer in _linear(network).values():
        parametrize.register_parametrization(layer, "weight", LowRank(layer.weight, min(rank, *layer.weight.shape)))


def changes(network: nn.Module) -> dict[str, Tensor]:
    """The matrices of a network that `attach` was at, by name."""
    matrices: dict[str, Tensor] = {}
    for name, layer in _linear(network).items():
        change: Any = layer.parametrizations["weight"][0]  # type: ignore[index]
        matrices |= {f"{name}.{DOWN}": change.down.detach(), f"{name}.{UP}": change.up.detach()}
    return matrices


@torch.no_grad()
def fold(network: Any, tensors: dict[str, Tensor]) -> None:
    """Add changes to a network's weights; ValueError names the first that it has no layer for, or of another shape."""
    for layer, up, down in _matched(network, tensors):
        layer.weight.copy_((layer.weight.float() + up @ down).to(layer.weight.dtype))


@torch.no_grad()
def begin_from(network: Any, tensors: dict[str, Tensor]) -> None:
    """Fill the changes that were attached with learned ones of the same rank. Layers that `tensors` lacks stay as they
    are; ValueError as in `fold`, and for another rank."""
    for layer, up, down in _matched(network, tensors):
        if not parametrize.is_parametrized(layer, "weight"):
            raise ValueError("this network learns no low-rank changes; begin from a whole one, or train recipe fast")
        change: Any = layer.parametrizations["weight"][0]  # type: ignore[index]
        if change.down.shape != down.shape:
            raise ValueError(f"these changes have rank {len(down)}, the network's have {len(change.down)}")
        change.up.copy_(up)
        change.down.copy_(down)


def _matched(network: Any, tensors: dict[str, Tensor]) -> Iterator[tuple[nn.Linear, Tensor, Tensor]]:
    """Layers with the B and A of their change."""
    layers = _linear(network)
    for name in sorted({name.removesuffix(f".{part}") for name in tensors for part in (DOWN, UP)} - tensors.keys()):
        down, up = tensors[f"{name}.{DOWN}"].float(), tensors[f"{name}.{UP}"].float()
        layer = layers.get(name)
        if layer is None or layer.weight.shape != (up.shape[0], down.shape[1]):
            raise ValueError(f"the network has no layer {name!r} of {up.shape[0]} x {down.shape[1]}")
        yield layer, up, down


def save_changes(part: str, network: nn.Module, root: Path, dependencies: dict[str, str]) -> None:
    """Save the changes of a network that `attach` was at as a part under `root`, in bf16; `dependencies` are the
    digests of the parts that it changes."""
    (root / part).mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in changes(network).items()}
    save_file(tensors, root / part / FILE)
    record_dependencies(root / part, dependencies)
    record_part(part, root)


def load_generator(root: Path | None = None, dtype: torch.dtype = torch.float32, split: str = "") -> DiT:
    """The generator of all pictures: with the changes of part "release", where they fit. With a `split` (that of the
    training pictures), the generator alone."""
    dit = load_part(DiT, "dit", root)
    if not split and fits(RELEASE, root):
        fold(dit, load_file(part_folder(RELEASE, root) / FILE))
    dit = nn.Module.to(dit, dtype)
    align(dit)
    return dit


def load_fast(dit: DiT, root: Path | None = None) -> DiT | None:
    """`dit` with the changes that make the fast variant; None where there are none, or those of another generator."""
    if not fits(FAST, root):
        return None
    fast = copy.deepcopy(dit)
    fold(fast, load_file(part_folder(FAST, root) / FILE))
    align(fast)
    return fast
