"""Low-rank changes of a network's linear layers (LoRA, arXiv 2106.09685): a second behaviour in few more bytes.

While it is trained a layer's weight W is W + B A, W frozen, B from zero, so that it begins as the network itself.
What is stored are A and B, under the names of `diffusers` and `peft`; to draw, they are added to the weights once.

Two parts are such changes, each with the digest of the generator that it changes: "release" (`models.train.image`)
teaches it the pictures of all splits, for users; "fast" (`models.train.fast`) makes of it the fast variant, four steps
without guidance instead of sixteen with it. An adapter is what a user taught it, a style (`models.train.style`) or
what is preferred (`models.train.preference`): a folder as `peft` writes it. It is added to generator and fast variant
alike, as LCM-LoRA (arXiv 2311.05556) adds styles.

Shapes: W (out, in), A (rank, in), B (out, rank).
"""

import copy
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils import parametrize

from models.dit import DiT
from models.weights import (
    align,
    fits,
    from_8_bits,
    load_part,
    part_folder,
    read_json,
    record_dependencies,
    record_part,
    to_8_bits,
)

FAST, RELEASE = "fast", "release"  # parts
GENERATOR = "dit"  # the part that they change
FILE = "pytorch_lora_weights.safetensors"  # as diffusers calls such a file
DOWN, UP = "lora_A.weight", "lora_B.weight"
ADAPTER, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"  # as peft calls them
PEFT = "base_model.model."  # before the names of layers in an adapter
LEARNED, STYLE = "studio128.learned", "style"  # an entry of an adapter's header; without it, it is a style


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
def fold(network: Any, tensors: dict[str, Tensor], weight: float = 1.0) -> None:
    """Add that share of changes to a network's weights; ValueError names the first that it has no layer for, or of
    another shape."""
    for layer, up, down in _matched(network, tensors):
        layer.weight.copy_((layer.weight.float() + weight * (up @ down)).to(layer.weight.dtype))


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


def save_changes(
    part: str, network: nn.Module, root: Path, dependencies: dict[str, str], *, int8: bool = False
) -> None:
    """Save the changes of a network that `attach` was at as a part under `root`, in bf16, or with `int8` in 8 bits,
    which `diffusers` does not read; `dependencies` are the digests of the parts that it changes."""
    (root / part).mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in changes(network).items()}
    save_file(to_8_bits(tensors) if int8 else tensors, root / part / FILE)
    record_dependencies(root / part, dependencies)
    record_part(part, root)


def load_generator(root: Path | None = None, dtype: torch.dtype = torch.float32, split: str = "") -> DiT:
    """The generator of all pictures: with the changes of part "release", where they fit. With a `split` (that of the
    training pictures), the generator alone."""
    dit = load_part(DiT, "dit", root)
    if not split and fits(RELEASE, root):
        fold(dit, from_8_bits(load_file(part_folder(RELEASE, root) / FILE)))
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


# --- Adapters ---------------------------------------------------------------------------------------------------------


def save_adapter(network: nn.Module, folder: Path, base: str, learned: str = STYLE) -> None:
    """Write the changes of a network that `attach` was at as an adapter of `peft`, in bf16. `base` names the network
    without them; `learned` says what they are."""
    from peft import LoraConfig

    tensors = {PEFT + name: tensor.to(torch.bfloat16).contiguous() for name, tensor in changes(network).items()}
    layers = {name.removeprefix(PEFT).removesuffix(f".{DOWN}"): len(tensors[name]) for name in tensors if DOWN in name}
    rank = max(layers.values())
    smaller = {f"^{name}": size for name, size in layers.items() if size < rank}  # of layers with fewer inputs
    config = LoraConfig(
        r=rank, lora_alpha=rank, target_modules=list(layers), rank_pattern=smaller, alpha_pattern=smaller,
        base_model_name_or_path=base, inference_mode=True,
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / ADAPTER, {"format": "pt", "modelspec.architecture": "studio128/lora", LEARNED: learned})
    config.target_modules = sorted(layers)  # the library has a set here, whose order differs between processes
    (folder / ADAPTER_CONFIG).write_text(
        json.dumps(config.to_dict(), indent=2, default=sorted) + "\n", encoding="utf-8"
    )


def adapter_base(folder: Path) -> str:
    """What an adapter says that it belongs to."""
    return str(read_json(folder / ADAPTER_CONFIG).get("base_model_name_or_path", ""))


def is_style(folder: Path) -> bool:
    """Whether an adapter decides what drawings look like."""
    with safe_open(folder / ADAPTER, "pt") as file:
        return (file.metadata() or {}).get(LEARNED, STYLE) == STYLE


def load_adapter(folder: Path) -> dict[str, Tensor]:
    """The changes of an adapter, scaled as `peft` scales them (alpha / rank). ValueError for one that is no LoRA of
    linear layers."""
    config, stored = read_json(folder / ADAPTER_CONFIG), load_file(folder / ADAPTER)
    names = {name: name.removeprefix(PEFT) for name in stored}
    if strange := sorted(name for name in stored if not name.endswith((DOWN, UP))):
        raise ValueError(f"{strange[0]!r} is no low-rank change of a linear layer")
    alphas = {pattern.removeprefix("^"): alpha for pattern, alpha in config.get("alpha_pattern", {}).items()}
    tensors = {}
    for stored_name, name in names.items():
        tensors[name] = stored[stored_name].float()
        if name.endswith(UP):
            alpha, rank = alphas.get(name.removesuffix(f".{UP}"), config["lora_alpha"]), tensors[name].shape[1]
            tensors[name] *= alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    return tensors


@torch.no_grad()
def adapted(network: DiT | None, adapters: Iterable[tuple[dict[str, Tensor], float]]) -> DiT | None:
    """A copy of a network with the changes of adapters, each at a weight; None of None. ValueError as in `fold`."""
    if network is None:
        return None
    weights: dict[Tensor, Tensor] = {}  # fp32: several adapters are rounded once
    for tensors, share in adapters:
        for layer, up, down in _matched(network, tensors):
            weights[layer.weight] = weights.get(layer.weight, layer.weight.float()).addmm(up, down, alpha=share)
    # The copy takes the changed weights from the table of what is copied, in place of copies of the old ones.
    copied = {id(old): nn.Parameter(new.to(old.dtype), old.requires_grad) for old, new in weights.items()}
    network = copy.deepcopy(network, copied)
    align(network)
    return network
