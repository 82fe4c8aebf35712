"""What is computed in bf16 where the CPU has it is computed in fp32 where it would be emulated."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from fixture_world import fixture_world
from torch.overrides import TorchFunctionMode

from models.train import loop, optimizers
from models.train.autoencoder import AutoencoderTask
from models.train.loop import Length, Recipe, TaskOptions, Trainer


class Rounded(TorchFunctionMode):
    """Counts the results in bf16."""

    count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.count += isinstance(result, torch.Tensor) and result.dtype == torch.bfloat16
        return result


def stepped(kind: type[torch.optim.Optimizer]) -> tuple[torch.Tensor, int]:
    """A weight after a step from a gradient, and how many tensors of the step were in bf16."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(24, 8, generator=generator))
    weight.grad = torch.randn(24, 8, generator=generator)
    optimizer = kind([weight], lr=0.1)  # type: ignore[call-arg]
    with Rounded() as seen:
        optimizer.step()
    return weight.detach(), seen.count


def test_muon_rounds_nothing_where_bf16_is_emulated_and_comes_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, rounded = stepped(torch.optim.Muon)
    assert rounded > 0
    monkeypatch.setattr(optimizers, "native_dtype", lambda: torch.float32)
    whole, none = stepped(optimizers.Muon)
    assert none == 0
    assert not torch.equal(whole, plain)
    assert torch.allclose(whole, plain, atol=0.005)  # steps of 0.1 times numbers of 0.2 or so, in eight bits
    nothing = optimizers.Muon([weight := torch.nn.Parameter(torch.ones(2, 2))])
    nothing.param_groups[0]["params"].clear()  # a process that was given no share
    nothing.step()
    assert weight.eq(1).all()
    monkeypatch.setattr(optimizers, "native_dtype", lambda: torch.bfloat16)
    assert torch.equal(stepped(optimizers.Muon)[0], plain)


@pytest.fixture
def no_precision_yet() -> Iterator[None]:
    """accelerate keeps one precision a process."""
    AcceleratorState._reset_state(True)
    yield
    AcceleratorState._reset_state(True)


@pytest.mark.usefixtures("no_precision_yet")
@pytest.mark.parametrize(("native", "told"), [(torch.float32, "no"), (torch.bfloat16, "bf16")])
def test_training_is_at_the_precision_that_the_machine_is_fast_in(
    native: torch.dtype, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "native_dtype", lambda: native)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    options = TaskOptions("tiny", seed=0, world=fixture_world(), batch_size=lambda _: 2)
    run = Trainer(Recipe(AutoencoderTask), options, tmp_path, Length(steps=1))
    assert run.accelerator.mixed_precision == told
