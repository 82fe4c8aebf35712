"""A training that is halted and goes on, beside one that is not: the law that every recipe keeps."""

from collections.abc import Callable
from pathlib import Path

import torch

from models.train import checkpoint
from models.train.loop import Trainer

STEPS, HALT = 4, 2


def straight_and_resumed(begun: Callable[[Path], Trainer], folder: Path) -> tuple[Trainer, Trainer]:
    """Two after STEPS steps of a run that `begun` begins in a folder; the other was halted after HALT of them."""
    straight, halted = begun(folder / "straight"), begun(folder / "halted")
    for step in range(STEPS):
        straight.step(step / STEPS)
        if step < HALT:
            halted.step(step / STEPS)
    checkpoint.save(halted.out / "state", halted.plain, halted.ema, halted.optimizers, vars(halted.state))
    resumed = begun(folder / "halted")
    resumed.resume()
    assert resumed.state.step == HALT
    for step in range(HALT, STEPS):
        resumed.step(step / STEPS)
    return straight, resumed


def are_equal(one: Trainer, other: Trainer, tolerance: float = 0.0) -> bool:
    """Whether two have the same weights and averages."""
    tensors = [[*run.plain.state_dict().values(), *run.ema.shadow_params] for run in (one, other)]
    return all(torch.allclose(a, b, rtol=0, atol=tolerance) for a, b in zip(*tensors, strict=True))
