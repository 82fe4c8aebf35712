"""Checkpoints that resume exactly: safetensors and JSON, nothing that unpickles; a new one replaces the old whole."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from models import lora


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers by name; tied weights once (`state_dict` lists them twice)."""
    persistent = model.state_dict().keys()
    buffers = {name: b for name, b in model.named_buffers() if name in persistent}
    return {**dict(model.named_parameters()), **buffers}


def _optimizer_files(optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, torch.optim.Optimizer]:
    return {"optimizer" if i == 0 else f"optimizer-{i + 1}": o for i, o in enumerate(optimizers)}


def save(
    folder: Path,
    model: nn.Module,
    ema: EMAModel,
    optimizers: Sequence[torch.optim.Optimizer],
    counters: dict[str, Any],
) -> None:
    """Write `folder` anew beside the old one and swap them: a kill leaves one of the two."""
    fresh, old = folder.with_name(f"{folder.name}.new"), folder.with_name(f"{folder.name}.old")
    averages = {str(i): tensor for i, tensor in enumerate(ema.shadow_params)}
    files = {"model": tensors_of(model), "ema": averages}
    for name, optimizer in _optimizer_files(optimizers).items():
        state = optimizer.state_dict()["state"]
        files[name] = {f"{index}.{key}": tensor for index, row in state.items() for key, tensor in row.items()}
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    try:
        for name, tensors in files.items():
            save_file({key: t.detach().contiguous() for key, t in tensors.items()}, fresh / f"{name}.safetensors")
        (fresh / "state.json").write_text(json.dumps({**counters, "ema_steps": ema.optimization_step}))
    except Exception:
        shutil.rmtree(fresh, ignore_errors=True)  # the disk may be full
        raise
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _present(folder: Path) -> Path | None:
    """`folder`, or its predecessor where `save` was killed between its two renames; None where there is neither."""
    return next((path for path in (folder, folder.with_name(f"{folder.name}.old")) if path.exists()), None)


def state_folder(folder: Path) -> Path:
    """What `load` reads for `folder`; FileNotFoundError where there is nothing."""
    if not (present := _present(folder)):
        raise FileNotFoundError(f"nothing to resume in {folder}; start without --resume")
    return present


def run_settings(out: Path, resume: bool) -> dict[str, Any]:
    """The settings of the run in `out` to resume; {} for a new run.

    FileNotFoundError where there is none to resume; FileExistsError where a new run would overwrite one.
    """
    if resume:
        return json.loads((state_folder(out / "state") / "state.json").read_text()).get("settings", {})
    if _present(out / "state"):
        raise FileExistsError(f"{out} holds a run; give --resume to continue it, or another --out")
    return {}


def weight_files(folder: Path) -> list[Path]:
    """The files of a run's state or of a part that hold its weights; FileNotFoundError where there are none."""
    whole = folder / "model.safetensors"
    if whole.exists() and (folder / "state.json").exists():
        return [whole]
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise FileNotFoundError(f"no .safetensors in {folder}; name the folder `state` of a run, or a part's folder")
    return files


def load(folder: Path, model: nn.Module, ema: EMAModel, optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, Any]:
    """Fill model, averages and optimisers from `folder`, in place, and return the counters."""
    folder = state_folder(folder)
    load_tensors(model, load_file(folder / "model.safetensors"), str(folder))
    averages = load_file(folder / "ema.safetensors")
    with torch.no_grad():
        for i, shadow in enumerate(ema.shadow_params):
            shadow.copy_(averages[str(i)])
    for name, optimizer in _optimizer_files(optimizers).items():
        whole = torch.optim.Optimizer.state_dict(optimizer)  # a sharded optimizer has no whole state yet
        whole["state"] = {}
        for key, tensor in load_file(folder / f"{name}.safetensors").items():
            index, field = key.split(".", 1)
            whole["state"].setdefault(int(index), {})[field] = tensor
        optimizer.load_state_dict(whole)
    counters = json.loads((folder / "state.json").read_text())
    ema.optimization_step = counters.pop("ema_steps")
    return counters


def load_weights(folder: Path, model: nn.Module) -> None:
    """Fill a model from another run's state, or one of its networks from the folder of a part, in one file or several.

    A zero-initialised branch that the part lacks stays zero: the model computes the same as the part. A part of
    low-rank changes (`models.lora`) fills those of the model.
    """
    files = weight_files(folder)
    tensors = {name: tensor for file in files for name, tensor in load_file(file).items()}
    if (folder / "state.json").exists():
        load_tensors(model, tensors, str(folder))
        return
    if all(name.endswith((lora.DOWN, lora.UP)) for name in tensors):
        lora.begin_from(model, tensors)
        return
    networks = [model, *model.children()]
    fitting = [network for network in networks if tensors_of(network).keys() == tensors.keys()]
    if not fitting:
        tensors = {name: tensor for name, tensor in tensors_of(model).items() if not tensor.any()} | tensors
    load_tensors(fitting[0] if fitting else model, tensors, str(folder))


def load_tensors(model: nn.Module, tensors: dict[str, Tensor], source: str) -> None:
    """Copy `tensors` into the model; ValueError names what is missing, left over or of another shape."""
    targets = tensors_of(model)
    wrong = sorted(targets.keys() ^ tensors.keys())
    wrong += [name for name in targets.keys() & tensors.keys() if targets[name].shape != tensors[name].shape]
    if wrong:
        raise ValueError(f"{source} does not fit the model: {', '.join(wrong[:5])}{' ...' if len(wrong) > 5 else ''}")
    with torch.no_grad():
        for name, target in targets.items():
            target.copy_(tensors[name])
