"""Helpers for training: a resumed run beside a straight run, and functions in two joined processes."""

import multiprocessing
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.multiprocessing import start_processes

from models.train import checkpoint
from models.train.loop import Trainer

multiprocessing.set_forkserver_preload(["diffusers", "transformers", "models.train.loop", "fixture_world"])
STEPS, HALT = 4, 2


def straight_and_resumed(begin: Callable[[Path], Trainer], folder: Path) -> tuple[Trainer, Trainer]:
    """Two trainers after STEPS steps; `begin` makes one in a folder. The second halts after HALT steps and resumes."""
    straight, halted = begin(folder / "straight"), begin(folder / "halted")
    for step in range(STEPS):
        straight.step(step / STEPS)
        if step < HALT:
            halted.step(step / STEPS)
    checkpoint.save(halted.out, halted.plain, halted.ema, halted.optimizers, vars(halted.state))
    resumed = begin(folder / "halted")
    resumed.resume()
    assert resumed.state.step == HALT
    for step in range(HALT, STEPS):
        resumed.step(step / STEPS)
    return straight, resumed


def are_equal(first: Trainer, second: Trainer, tolerance: float = 0.0) -> bool:
    """Whether two trainers have the same weights and averages."""
    tensors = [[*run.plain.state_dict().values(), *run.ema.shadow_params] for run in (first, second)]
    return all(torch.allclose(a, b, rtol=0, atol=tolerance) for a, b in zip(*tensors, strict=True))


def _run_rank(rank: int, port: int, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "ACCELERATE_USE_CPU": "true"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo")
    work(*arguments)
    dist.destroy_process_group()


def in_two_processes(work: Callable[..., None], *arguments: Any) -> None:
    """Run `work`, a function of a module, in two processes that are joined by gloo; raises where one of them fails."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start_processes(_run_rank, (port, work, arguments), nprocs=2, start_method="forkserver")
