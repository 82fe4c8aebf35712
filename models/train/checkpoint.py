"""Checkpoints that resume exactly: one safetensors file, nothing that unpickles; a new one replaces the old whole."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from models import lora
from models.data.stored import whole
from models.weights import from_8_bits

STATE = "state.safetensors"  # in the folder of a run
MODEL, AVERAGE, OPTIMIZER = "model.", "ema.", "optimizer."  # prefixes of its tensors


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers by name; tied weights once (`state_dict` lists them twice)."""
    persistent = model.state_dict().keys()
    buffers = {name: b for name, b in model.named_buffers() if name in persistent}
    return {**dict(model.named_parameters()), **buffers}


def save(
    out: Path, model: nn.Module, ema: EMAModel, optimizers: Sequence[torch.optim.Optimizer], counters: dict[str, Any]
) -> None:
    """Write the state of the run in `out`; a kill or a full disk leaves the state before."""
    tensors = {f"{MODEL}{name}": tensor for name, tensor in tensors_of(model).items()}
    tensors |= {f"{AVERAGE}{i}": tensor for i, tensor in enumerate(ema.shadow_params)}
    for number, optimizer in enumerate(optimizers):
        for index, row in optimizer.state_dict()["state"].items():
            tensors |= {f"{OPTIMIZER}{number}.{index}.{key}": tensor for key, tensor in row.items()}
    metadata = {"counters": json.dumps({**counters, "ema_steps": ema.optimization_step})}
    with whole(out / STATE) as part:
        save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, part, metadata)


def run_settings(out: Path, resume: bool) -> dict[str, Any]:
    """The settings of the run in `out` to resume; {} for a new run.

    FileNotFoundError where there is none to resume; FileExistsError where a new run would overwrite one.
    """
    if resume:
        return _counters(out).get("settings", {})
    if (out / STATE).exists():
        raise FileExistsError(f"{out} holds a run; give --resume to continue it, or another --out")
    return {}


def _counters(out: Path) -> dict[str, Any]:
    if not (out / STATE).exists():
        raise FileNotFoundError(f"nothing to resume in {out}; start without --resume")
    with safe_open(out / STATE, "pt") as file:
        return json.loads(file.metadata()["counters"])


def load(out: Path, model: nn.Module, ema: EMAModel, optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, Any]:
    """Fill model, averages and optimisers from the run in `out`, in place, and return the counters."""
    counters, tensors = _counters(out), load_file(out / STATE)
    load_tensors(model, _below(tensors, MODEL), str(out))
    for i, shadow in enumerate(ema.shadow_params):
        shadow.copy_(tensors[f"{AVERAGE}{i}"])
    for number, optimizer in enumerate(optimizers):
        state = {**optimizer.state_dict(), "state": {}}
        for name, tensor in _below(tensors, f"{OPTIMIZER}{number}.").items():
            index, key = name.split(".", 1)
            state["state"].setdefault(int(index), {})[key] = tensor
        optimizer.load_state_dict(state)
    ema.optimization_step = counters.pop("ema_steps")
    return counters


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def weight_files(source: Path) -> list[Path]:
    """The files that hold the weights of a run (its folder) or of a part; FileNotFoundError where there are none."""
    files = [source / STATE] if (source / STATE).exists() else sorted(source.glob("*.safetensors"))
    if not files:
        raise FileNotFoundError(f"no .safetensors in {source}; name the folder of a run, or a part's folder")
    return files


def load_weights(source: Path, model: nn.Module) -> None:
    """Fill a model from another run, or one of its networks from the folder of a part, in one file or several.

    A part of low-rank changes (`models.lora`) fills those of the model.
    """
    tensors = from_8_bits({name: tensor for file in weight_files(source) for name, tensor in load_file(file).items()})
    if (source / STATE).exists():
        load_tensors(model, _below(tensors, MODEL), str(source))
        return
    if all(name.endswith((lora.DOWN, lora.UP)) for name in tensors):
        lora.begin_from(model, tensors)
        return
    fitting = (network for network in model.children() if tensors_of(network).keys() == tensors.keys())
    load_tensors(next(fitting, model), tensors, str(source))


@torch.no_grad()
def load_tensors(model: nn.Module, tensors: dict[str, Tensor], source: str) -> None:
    """Copy `tensors` into the model; ValueError names what is missing, left over or of another shape."""
    targets = tensors_of(model)
    wrong = sorted(targets.keys() ^ tensors.keys())
    wrong += [name for name in targets.keys() & tensors.keys() if targets[name].shape != tensors[name].shape]
    if wrong:
        raise ValueError(f"{source} does not fit the model: {', '.join(wrong[:5])}{' ...' if len(wrong) > 5 else ''}")
    for name, target in targets.items():
        target.copy_(tensors[name])
