"""The training loop, on the autoencoder at `tiny` over the fixture world."""

import dataclasses
import functools
import json
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from fixture_world import fixture_world
from safetensors.torch import load_file, save_file
from tiny_parts import own_precision  # noqa: F401 - a fixture
from training_kit import in_two_processes

from models.autoencoder import Autoencoder
from models.train import checkpoint, loop
from models.train.autoencoder import AutoencoderTask
from models.train.image import CHUNK, Encoded, Item, encode_all
from models.train.loop import Length, Recipe, TaskOptions, Trainer, learning_rate
from models.train.recipes import RECIPES, command, train
from models.weights import load_part

RECIPE = Recipe(AutoencoderTask, batch_size=lambda _: 4, lr=1e-3, warmup=2)


def trainer(out: Path, steps: int, recipe: Recipe = RECIPE) -> Trainer:
    options = TaskOptions("tiny", seed=3, world=fixture_world(), batch_size=recipe.batch_size)
    return Trainer(recipe, options, out, Length(steps=steps), precision="no")


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "state.safetensors")


def test_a_run_leaves_statistics_a_sheet_and_a_part_that_loads(tmp_path):
    trainer(tmp_path, 2).run()
    rows = [json.loads(line) for line in (tmp_path / "stats.jsonl").read_text().splitlines()]
    assert rows[-1]["evaluation"].keys() == {"psnr_white", "alpha_iou"}
    assert list(tmp_path.glob("sheet-*.png"))
    part = load_part(Autoencoder, "autoencoder", tmp_path / "export")
    assert part.config.latent_std is not None


def test_export_precedes_evaluation(tmp_path, monkeypatch):
    halted = trainer(tmp_path, 1)

    def killed(model):
        raise KeyboardInterrupt

    monkeypatch.setattr(halted.task, "evaluate", killed)
    with pytest.raises(KeyboardInterrupt):
        halted.run()
    assert (tmp_path / "export/manifest.json").exists()


def test_the_learning_rate_warms_up_stays_and_falls():
    rates = [learning_rate(RECIPE, 100, progress) for progress in (0.1, 0.5, 0.75, 1.0)]
    assert learning_rate(RECIPE, 0, 0.0) == pytest.approx(RECIPE.lr / 2)
    assert rates == pytest.approx([1e-3, 1e-3, 0.505e-3, 1e-5])


def test_an_unknown_recipe_names_those_there_are(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["models.train", "autoencode"])
    with pytest.raises(SystemExit, match="2"):
        command(train)
    assert "autoencoder" in capsys.readouterr().err


@pytest.mark.parametrize("given", [{"init": Path("nowhere")}, {"resume": True}])
def test_missing_weights_are_reported_before_the_task_is_built(given, tmp_path, monkeypatch):
    def build(options: TaskOptions) -> AutoencoderTask:
        raise AssertionError("built for nothing")

    monkeypatch.setitem(RECIPES, "autoencoder", dataclasses.replace(RECIPE, task=build))
    with pytest.raises(FileNotFoundError, match=r"nowhere|without --resume"):
        train("autoencoder", "tiny", steps=1, out=tmp_path / "out", **given)


def test_the_average_of_a_run_from_other_weights_begins_with_them(tmp_path):
    trainer(tmp_path / "first", 2).run()
    second = trainer(tmp_path / "second", 9)
    second.start_from(tmp_path / "first")
    before = [weight.detach().clone() for weight in second.plain.parameters()]
    second.step(0.0)
    keep = RECIPE.ema
    for shadow, old, new in zip(second.ema.shadow_params, before, second.plain.parameters(), strict=True):
        assert torch.allclose(shadow, keep * old + (1 - keep) * new, atol=1e-6)
    assert any(not torch.equal(old, new) for old, new in zip(before, second.plain.parameters(), strict=True))


def go(out: Path, **given: Any) -> None:
    train("autoencoder", "tiny", steps=4, out=out, **given)


@pytest.fixture
def drawn_world(monkeypatch):
    monkeypatch.setitem(RECIPES, "autoencoder", RECIPE)
    monkeypatch.setattr("models.train.recipes.World.load", lambda _: fixture_world())
    monkeypatch.setattr("models.train.recipes.Trainer", functools.partial(Trainer, precision="no"))


def test_a_run_that_goes_on_keeps_its_seed_and_rate(tmp_path, drawn_world, monkeypatch):
    go(tmp_path / "straight", seed=3, rate=2e-4)
    real = Trainer._agreed
    monkeypatch.setattr(Trainer, "_agreed", lambda self, *of: (p := real(self, *of)[0], p >= 0.5, False))
    go(tmp_path / "halted", seed=3, rate=2e-4)
    monkeypatch.setattr(Trainer, "_agreed", real)
    with pytest.raises(ValueError, match="begun with seed 3, not 4"):
        go(tmp_path / "halted", resume=True, seed=4)
    go(tmp_path / "halted", resume=True)
    straight, resumed = weights(tmp_path / "straight"), weights(tmp_path / "halted")
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


def test_a_run_is_not_written_over(tmp_path, drawn_world):
    go(tmp_path)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    with pytest.raises(OSError, match="holds a run; give --resume"):
        go(tmp_path, seed=1)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


def test_truncated_weights_are_refused(tmp_path, drawn_world, monkeypatch, capsys):
    (tmp_path / "part").mkdir()
    (tmp_path / "part/some.safetensors").write_bytes(b"\x08\x00")
    monkeypatch.setattr(sys, "argv", ["models.train"])
    with pytest.raises(SystemExit, match="2"):
        command(lambda: go(tmp_path / "out", init=tmp_path / "part"))
    assert "header" in capsys.readouterr().err.lower()


def test_a_failed_checkpoint_leaves_the_previous_checkpoint(tmp_path, monkeypatch):
    first = trainer(tmp_path, 1)
    first.run()
    before = weights(tmp_path)

    def full(tensors, path, metadata):
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    first.step(0.5)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(tmp_path, first.plain, first.ema, first.optimizers, vars(first.state))
    assert len(list(tmp_path.glob("*.safetensors"))) == 1
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(tmp_path).items())


def test_an_interrupted_export_leaves_the_previous_part(tmp_path, monkeypatch):
    task = trainer(tmp_path, 1).task
    task.export(task.model, tmp_path)
    before = {file.name: file.read_bytes() for file in (tmp_path / "autoencoder").iterdir()}

    def killed(self, folder):
        (Path(folder) / "diffusion_pytorch_model.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Autoencoder, "save_pretrained", killed)
    with pytest.raises(KeyboardInterrupt):
        task.export(task.model, tmp_path)
    assert {file.name: file.read_bytes() for file in (tmp_path / "autoencoder").iterdir()} == before


@pytest.mark.parametrize("rate", [0, -1e-3, float("nan"), float("inf")])
def test_a_rate_that_teaches_nothing_is_refused(rate, tmp_path):
    with pytest.raises(ValueError, match=r"0\.001 is this recipe's own"):
        go(tmp_path, rate=rate)


def three_steps(out: Path) -> Trainer:
    run = trainer(out, 3)
    for group in run.optimizers[0].param_groups:
        group["eps"] = 1e-3  # Adam turns rounding noise in a gradient near zero into whole steps
    for _ in range(3):
        # The running deviation is a rank's own; it must not decide in this comparison.
        run.plain.latent_std.fill_(1)
        run.step(0.0)
    return run


def trained_together(out: Path) -> None:
    run, rank = three_steps(out / "steps"), dist.get_rank()
    if rank == 0:
        save_file({k: v.detach().clone() for k, v in run.plain.named_parameters()}, out / "two.safetensors")
    run, real = trainer(out / "run", 1), time.monotonic
    run.length, run.every_minutes = Length(minutes=0.02), 0.005
    if rank == 1:  # its clock runs at half the speed: alone it would end and save later
        time.monotonic = lambda: real() / 2
    run.run()
    (out / f"end.{rank}").write_text(str(run.state.step))


def test_two_processes_equal_a_single_process_and_end_together(tmp_path):
    in_two_processes(trained_together, tmp_path)
    entry, two = dict(three_steps(tmp_path / "one").plain.named_parameters()), load_file(tmp_path / "two.safetensors")
    assert all(torch.allclose(entry[name], two[name], atol=2e-5) for name in two)
    ends = [int((tmp_path / f"end.{rank}").read_text()) for rank in range(2)]
    assert ends[0] == ends[1] > 0


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"minutes": -1}, {"minutes": float("nan")}])
def test_invalid_lengths_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="give more than 0"):
        Length(**wrong)


# --- What is encoded once ---------------------------------------------------------------------------------------------


class Plain:
    """Reads an item as its number."""

    def read(self, items: list[Item]) -> tuple[np.ndarray, ...]:
        numbers = np.array([int(item.pixels) for item in items], np.float16)
        return tuple(numbers.reshape(-1, *[1] * k) for k in range(len(fields(Encoded))))


def share(folder: Path) -> None:
    """Worker of several processes that need the same rows, fewer and more than a chunk."""
    for count in (CHUNK // 2, 3 * CHUNK + 5):
        encoded = encode_all(count, lambda row: Item(np.array(row), []), Plain(), folder / f"some-{count}.npy")
        assert encoded.text_vectors.flatten().tolist() == list(range(count))


def test_two_processes_share_an_encoding(tmp_path: Path) -> None:
    in_two_processes(share, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


# --- Where bf16 is emulated -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("native", "answer"), [(torch.float32, "no"), (torch.bfloat16, "bf16")])
def test_training_is_at_the_precision_that_the_machine_is_fast_in(
    native: torch.dtype, answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "native_dtype", lambda: native)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    options = TaskOptions("tiny", seed=0, world=fixture_world(), batch_size=lambda _: 2)
    run = Trainer(Recipe(AutoencoderTask), options, tmp_path, Length(steps=1))
    assert run.accelerator.mixed_precision == answer
