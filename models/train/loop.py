"""The training loop: accelerate, autocast over fp32 weights, AdamW and Muon, EMA, checkpoints that resume exactly.

A `Task` is what is trained, a `Recipe` (a row of `recipes.toml`) its settings; the loop knows neither data nor losses.
"""

import dataclasses
import json
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, broadcast_object_list
from diffusers.training_utils import EMAModel
from PIL import Image
from torch import Tensor, nn
from torch.distributed.nn.functional import all_gather as all_gather_with_gradients

from models.data.pixels import composite
from models.data.world import World
from models.runtime import keep_freed_memory, native_dtype
from models.train import checkpoint
from models.weights import check_dependencies

CPU = torch.device("cpu")
CLIP_NORM = 1.0  # of the gradient
Schedule = Callable[[float], int]  # of progress in [0, 1]


@dataclass(frozen=True)
class TaskOptions:
    preset: str  # row of `models.assets.PRESETS`
    seed: int  # every batch is a pure function of seed, step and rank
    world: World
    batch_size: Schedule  # of the whole step over all ranks
    parts: Path | None = None  # folder of the frozen parts, None for the shipped ones
    cache: Path | None = None  # folder for results that are computed once
    device: torch.device = CPU  # of the model and the batches


class Task(Protocol):
    """Base class of what a recipe trains. `model` holds all trained networks."""

    model: nn.Module

    def batch(self, step: int, rank: int, ranks: int, progress: float) -> dict[str, Any]:
        """Inputs of one step on one rank: a pure function of (seed, step, rank, progress)."""

    def loss(self, model: nn.Module, batch: dict[str, Any], progress: float) -> dict[str, Tensor]:
        """Scalars; "loss" is minimised, the others are logged. `model` may be wrapped: call it, or its `forward`."""

    def after_step(self, model: nn.Module) -> None:
        """Called after each optimiser step, without gradients; nothing by default."""
        return

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Figures on the validation split, which take seconds; called with the averaged weights."""

    def sheet(self, model: nn.Module) -> Image.Image | None:
        """A contact sheet to look at, or None; called with the averaged weights."""
        return None

    def export(self, model: nn.Module, folder: Path) -> None:
        """Save the parts in the form that ships; called with the averaged weights."""


@dataclass(frozen=True)
class Recipe:
    """How a task is trained. Schedules are functions of progress, so they work with --minutes and with --steps."""

    task: Callable[[TaskOptions], Task]
    batch_size: Schedule = lambda _: 64  # over all ranks
    lr: float = 1e-3  # at its peak
    muon: bool = False  # for the matrices inside the model's blocks; AdamW for the rest
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.01
    decay_from: float = 0.5  # progress at which the rate begins its half cosine to a hundredth of the peak
    warmup: int = 200  # optimiser steps, linear
    ema: float = 0.999  # of the averaged weights; its ramp (1 + n) / (10 + n) keeps early averages of a new model young
    minutes: float = 60.0
    channels_last: bool = False
    seed: int = 0


def learning_rate(recipe: Recipe, step: int, progress: float) -> float:
    """Linear warm-up in steps, constant, half a cosine from `decay_from` to the end."""
    warm = min(1.0, (step + 1) / recipe.warmup) if recipe.warmup else 1.0
    late = max(0.0, (progress - recipe.decay_from) / max(1e-9, 1 - recipe.decay_from))
    return recipe.lr * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * late)))


def hidden_matrices(model: nn.Module) -> list[nn.Parameter]:
    """Weights of the linear layers inside a list of blocks, which Muon is for; not inputs and outputs."""
    lists = [m for m in model.modules() if isinstance(m, nn.ModuleList)]
    linear = [m for blocks in lists for m in blocks.modules() if isinstance(m, nn.Linear)]
    return [p for m in linear for name, p in m.named_parameters() if name == "weight"]


def optimisers(model: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """AdamW, without decay of vectors (norms, biases, scalars), and Muon (kellerjordan.github.io/posts/muon).

    Muon's step is scaled to the size of AdamW's (arXiv 2502.16982, section 2.2), so that one rate serves both. It
    computes in bf16: a CPU that would emulate it, seventeen times as slowly (LOG.md), trains with AdamW alone.
    """
    muon = recipe.muon and (next(model.parameters()).device.type != "cpu" or native_dtype() == torch.bfloat16)
    hidden = {id(weight): weight for weight in hidden_matrices(model)} if muon else {}
    others = [p for p in model.parameters() if p.requires_grad and id(p) not in hidden]
    matrices, vectors = [p for p in others if p.ndim >= 2], [p for p in others if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    adamw = torch.optim.AdamW([g for g in groups if g["params"]], lr=recipe.lr, betas=recipe.betas, fused=True)
    if not hidden:
        return [adamw]
    settings: dict[str, Any] = {"lr": recipe.lr, "weight_decay": recipe.weight_decay, "adjust_lr_fn": "match_rms_adamw"}
    return [adamw, torch.optim.Muon(hidden.values(), **settings)]


@dataclass
class Length:
    """How long to train: steps, or minutes of training time (without evaluation)."""

    steps: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and not value > 0:
                raise ValueError(f"{name} {value}; give more than 0")

    def progress(self, step: int, seconds: float) -> float:
        done = step / self.steps if self.steps is not None else seconds / (60 * (self.minutes or 1))
        return min(done, 1.0)


@dataclass
class State:
    """Counters of a checkpoint."""

    step: int = 0
    seconds: float = 0.0
    samples: int = 0


@dataclass
class Trainer:
    """Runs a recipe in a folder: `stats.jsonl`, `state.safetensors` (to resume), `sheet-*.png`, `export/` (to ship)."""

    recipe: Recipe
    options: TaskOptions
    out: Path
    length: Length
    every_minutes: float = 5.0
    precision: str | None = None  # of the autocast, accelerate's name; None: a fast one on this machine
    compiled: bool = False  # by torch.compile: needs a C++ compiler and a minute; a DiT trains a quarter faster
    state: State = field(default_factory=State)

    def __post_init__(self) -> None:
        keep_freed_memory()
        cpu = not torch.cuda.is_available()
        # Emulated, bf16 takes seven times as long as fp32 (a CPU with AVX2 alone).
        precision = self.precision or ("no" if cpu and native_dtype() == torch.float32 else "bf16")
        unused = DistributedDataParallelKwargs(find_unused_parameters=True)
        self.accelerator = Accelerator(cpu=cpu, mixed_precision=precision, kwargs_handlers=[unused])
        self.options = dataclasses.replace(self.options, device=self.accelerator.device)
        torch.manual_seed(self.options.seed)  # initial weights
        self.task = self.recipe.task(self.options)
        if self.recipe.channels_last:
            model: Any = self.task.model  # torch's older stubs don't know this argument
            model.to(memory_format=torch.channels_last)
        self.model = self.accelerator.prepare(self.task.model)
        self.optimizers = optimisers(self.plain, self.recipe)
        if self.compiled:
            # Graphs cut at DDP's buckets gave NaN gradients on a CPU with AMX (torch 2.13).
            torch._dynamo.config.optimize_ddp = False
            self.plain.compile(dynamic=False)
        self.restart_average()
        self._stopped = False

    @property
    def plain(self) -> nn.Module:
        return self.accelerator.unwrap_model(self.model)

    def restart_average(self, young: bool = True) -> None:
        """Restart the average from the present weights; a `young` average forgets them soon."""
        self.ema = EMAModel(self.plain.parameters(), decay=self.recipe.ema, foreach=True)
        if not young:  # past the ramp
            self.ema.optimization_step = math.ceil(10 / (1 - self.recipe.ema))

    def start_from(self, folder: Path) -> None:
        """Take only the weights of another run or of a part."""
        check_dependencies(
            folder, self.options.parts, but=("dit",)
        )  # changes of a generator begin those of the next one
        checkpoint.load_weights(folder, self.plain)
        self.restart_average(young=False)

    def resume(self) -> None:
        """Continue from the state in `out`; FileNotFoundError where there is none."""
        counters = checkpoint.load(self.out, self.plain, self.ema, self.optimizers)
        counters.pop("settings", None)
        self.state = State(**counters)

    def run(self) -> None:
        """Train to the end of `length`, or to the first SIGINT or SIGTERM, and leave a checkpoint either way."""
        self.out.mkdir(parents=True, exist_ok=True)
        # The first batch may encode data for minutes, which is no training time. Batches are pure: nothing changes.
        self.task.batch(self.state.step, self.accelerator.process_index, self.accelerator.num_processes, 0.0)
        log = Log(self.out / "stats.jsonl", self.accelerator.is_main_process, self.state.samples)
        last = time.monotonic()
        with self._signals():
            while True:
                progress, over, due = self._agreed(last)
                if over:
                    break
                if due:
                    self.checkpoint(log)
                    last = time.monotonic()
                started = time.monotonic()
                log.add(self.state, progress, self.step(progress))
                self.state.seconds += time.monotonic() - started
        self.checkpoint(log)

    def _agreed(self, last: float) -> tuple[float, bool, bool]:
        """Progress, whether to end, and whether a checkpoint is due: decided by the first rank.

        Clocks differ between ranks, and a signal reaches them at different steps. If one rank ended alone, the others
        would wait for its gradients.
        """
        now = time.monotonic()
        progress = self.length.progress(self.state.step, self.state.seconds)
        over = self._stopped or progress >= 1
        decisions: list[Any] = [progress, over, now - last > 60 * self.every_minutes]
        return tuple(broadcast_object_list(decisions))

    def step(self, progress: float) -> dict[str, Tensor]:
        """One optimiser step; returns what the task logs."""
        accelerator, state = self.accelerator, self.state
        batch = self.task.batch(state.step, accelerator.process_index, accelerator.num_processes, progress)
        # Noise drawn inside the loss depends on the step alone, or a resumed run would differ from a straight one.
        torch.manual_seed(hash((self.options.seed, state.step, accelerator.process_index)) % 2**63)
        rate = learning_rate(self.recipe, state.step, progress)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
        with accelerator.autocast():
            values = self.task.loss(self.model, batch, progress)
        accelerator.backward(values["loss"])
        norm = accelerator.clip_grad_norm_(self.model.parameters(), CLIP_NORM)
        if not math.isfinite(float(norm)):
            raise FloatingPointError(f"gradient norm {norm} at step {state.step}; lower the learning rate and resume")
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.task.after_step(self.plain)
        self.ema.step(self.plain.parameters())
        state.step += 1
        state.samples += int(self.options.batch_size(progress))
        return {**values, "norm": norm, "lr": torch.tensor(rate)}

    def checkpoint(self, log: "Log") -> None:
        """Write the state first: a process that must stop may have half a minute. Then, with the averaged weights,
        export, evaluate and draw the sheet."""
        if not self.accelerator.is_main_process:
            self.accelerator.wait_for_everyone()
            return
        o, rate = self.options, self.recipe.lr
        settings = {"preset": o.preset, "seed": o.seed, "rate": rate, "world": o.world.digest}
        counters = {**vars(self.state), "settings": settings}
        checkpoint.save(self.out, self.plain, self.ema, self.optimizers, counters)
        with self.averaged() as model:
            self.task.export(model, self.out / "export")
            log.note(self.state, self.task.evaluate(model))
            if sheet := self.task.sheet(model):
                sheet.save(self.out / f"sheet-{self.state.step:07d}.png")
        self.accelerator.wait_for_everyone()

    @contextmanager
    def averaged(self) -> Iterator[nn.Module]:
        """The model with its averaged weights, in eval mode, without gradients; restored afterwards."""
        model = self.plain
        self.ema.store(model.parameters())
        self.ema.copy_to(model.parameters())
        model.eval()
        try:
            # Evaluation has other shapes: compiling for each would take longer than the evaluation.
            with torch.no_grad(), self.accelerator.autocast(), torch.compiler.set_stance("force_eager"):
                yield model
        finally:
            self.ema.restore(model.parameters())
            model.train()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        before = {name: signal.signal(name, self._stop) for name in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for name, handler in before.items():
                signal.signal(name, handler)

    def _stop(self, *_: object) -> None:
        self._stopped = True


class Log:
    """`stats.jsonl`: the mean of what steps report, one line every ten seconds, and a line for each evaluation."""

    def __init__(self, path: Path, enabled: bool, samples: int = 0) -> None:
        self.path, self.enabled = path, enabled
        self._values: dict[str, list[float]] = {}
        self._since, self._samples = time.monotonic(), samples

    def add(self, state: State, progress: float, values: dict[str, Tensor]) -> None:
        """Add one step's values, and write a line when it is due."""
        for name, value in values.items():
            self._values.setdefault(name, []).append(float(value.detach()))
        elapsed = time.monotonic() - self._since
        if elapsed >= 10:
            means = {name: sum(values) / len(values) for name, values in self._values.items()}
            rate = (state.samples - self._samples) / elapsed
            self._write({**vars(state), "progress": progress, "samples_per_second": rate, **means})
            self._values, self._since, self._samples = {}, time.monotonic(), state.samples

    def note(self, state: State, values: dict[str, float]) -> None:
        self._write({**vars(state), "evaluation": values})
        self._since, self._samples = time.monotonic(), state.samples

    def _write(self, row: dict[str, Any]) -> None:
        if self.enabled:
            with self.path.open("a") as file:
                file.write(json.dumps(row, default=float) + "\n")


def unwrapped(model: Any) -> Any:
    """A model without its distributed wrapper."""
    return getattr(model, "module", model)


def gather(x: Tensor) -> Tensor:
    """Rows of all processes, in rank order, with gradients; the rows themselves where there is one process.

    Every process then computes the whole loss. The backward pass sums over processes and DistributedDataParallel
    averages over them, so the parameters get the gradient that one process would compute.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return x
    if not x.is_floating_point():
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)
    return torch.cat(all_gather_with_gradients(x.contiguous()))


def global_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean over all processes' rows, as a number whose average over processes is that mean."""
    total = weights.detach().sum()
    if dist.is_initialized() and dist.get_world_size() > 1:
        dist.all_reduce(total)
        total = total / dist.get_world_size()
    return (values * weights).sum() / total.clamp_min(1e-6)


def recall(cosines: Tensor, relevant: Tensor, k: int) -> float:
    """Share of rows that have a relevant column among their k highest cosines; both (N, M)."""
    nearest = cosines.float().topk(min(k, cosines.shape[1])).indices
    return float(relevant.gather(1, nearest).any(1).float().mean())


def psnr(pictures: Tensor, truth: Tensor) -> Tensor:
    """(N,) decibels on white, of premultiplied (N, 4, H, W) in [0, 1]."""
    error = composite(pictures, (1.0, 1.0, 1.0)) - composite(truth, (1.0, 1.0, 1.0))
    return -10 * error.square().mean((1, 2, 3)).clamp_min(1e-10).log10()


def grid(pictures: Tensor, columns: int) -> Image.Image:
    """Premultiplied (N, 4, H, W) in [0, 1] -> one picture on white, row by row."""
    rgb = composite(pictures.float().clamp(0, 1), (1.0, 1.0, 1.0))
    rows = -(-len(rgb) // columns)
    rgb = torch.cat([rgb, rgb.new_ones(rows * columns - len(rgb), *rgb.shape[1:])])
    whole = rgb.unflatten(0, (rows, columns)).permute(0, 3, 1, 4, 2).flatten(0, 1).flatten(1, 2)
    return Image.fromarray((whole.clamp(0, 1) * 255).round().byte().numpy())
