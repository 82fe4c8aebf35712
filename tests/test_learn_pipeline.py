"""LoRAs of diffusers' pipelines, learned from pictures: objective, training, and files that other programs read."""

import dataclasses
import functools
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from conftest import sentence_of
from pipeline_kit import draw
from test_learn import drawing
from tiny_parts import own_precision  # noqa: F401 - fixture
from tiny_pipelines import ROWS
from training_kit import are_equal, straight_and_resumed

from models.train.loop import Length
from models.train.pipeline import PipelineTask, pipeline_trainer
from models.train.style import Example, StyleTrainer, examples_world
from studio import learn
from studio.backends.diffusers import Diffusers
from studio.media import on_ground

pytestmark = pytest.mark.usefixtures("offline")
FAMILIES = ("sd", "sdxl", "sd3", "flux")
Pipelines = Callable[[str], Path]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """FLUX's own size is 1024 pixels whatever its network, and sheets take steps."""
    monkeypatch.setattr("models.train.pipeline.STEPS", 1)
    monkeypatch.setattr("models.train.pipeline.SHOWN", 1)
    begin = diffusers.FluxPipeline.__init__

    @functools.wraps(begin)
    def small(self: Any, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        self.default_sample_size = 4

    monkeypatch.setattr(diffusers.FluxPipeline, "__init__", small)


def trainer_of(folder: Path, out: Path, steps: int = 8) -> StyleTrainer:
    pipeline = diffusers.DiffusionPipeline.from_pretrained(folder)
    pictures = [on_ground(drawing(number)) for number in range(3)]
    world = examples_world([Example(f"{n}", np.zeros((128, 128, 4), np.uint8), f"a cat {n}") for n in range(3)])
    trainer = pipeline_trainer(world, pipeline, pictures, out, 1.0, 60.0, lambda **values: None)
    trainer.length = Length(steps=steps)
    return trainer


@pytest.mark.parametrize("family", [*FAMILIES, "v"])
def test_the_target_leads_back_to_the_picture(family: str, pipelines: Pipelines, tmp_path: Path) -> None:
    trainer = trainer_of(pipelines("sd" if family == "v" else family), tmp_path)
    task = trainer.task
    assert isinstance(task, PipelineTask)
    if family == "v":
        task.pipeline.scheduler.register_to_config(prediction_type="v_prediction")
    time = torch.tensor([0.7]) if task._ddpm is None else torch.tensor([700])
    row = task._noisy(1, time, torch.Generator().manual_seed(0))
    x, target = row["inputs"][task._sample], row["target"]
    if task._ddpm is None:
        clean = x - time * target
        assert float(row["inputs"]["timestep"]) == pytest.approx(0.7 if family == "flux" else 700)
    else:
        clean = diffusers.DDIMScheduler.from_config(task._ddpm.config, clip_sample=False)
        clean.set_timesteps(1000)
        clean = clean.step(target, 700, x).pred_original_sample
    torch.testing.assert_close(clean, task._latents[1], atol=1e-4, rtol=1e-4)


def test_training_lowers_the_loss_and_changes_no_weight_of_the_network(pipelines: Pipelines, tmp_path: Path) -> None:
    trainer = trainer_of(pipelines("sd"), tmp_path, 60)
    task: Any = trainer.task
    frozen = {name: p.clone() for name, p in task.network.named_parameters() if "lora" not in name}
    trainer.recipe = dataclasses.replace(trainer.recipe, lr=3e-3)
    before = task.evaluate(trainer.plain)["learned"]
    trainer.run()
    with trainer.averaged() as model:
        assert task.evaluate(model)["learned"] < before
    assert all(torch.equal(p, frozen[name]) for name, p in task.network.named_parameters() if name in frozen)


def test_resumed_equals_straight(pipelines: Pipelines, tmp_path: Path) -> None:
    def begin(out: Path) -> StyleTrainer:
        out.mkdir(exist_ok=True)
        torch.manual_seed(3)  # of A, which begins at random
        return trainer_of(pipelines("sd"), out)

    straight, resumed = straight_and_resumed(begin, tmp_path)
    assert are_equal(straight, resumed) and all(matrix.any() for matrix in resumed.plain.parameters())


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_learned_is_drawn_with_and_read_by_other_programs(
    family: str, pipelines: Pipelines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("STUDIO_HOME", str(home))
    files = [tmp_path / f"{number}.png" for number in range(5)]
    for number, file in enumerate(files):
        drawing(number).save(file)
        file.with_suffix(".txt").write_text("a cat\n")
    steps = list[str]()

    def stop(status: learn.Status) -> None:
        steps.append(status.state)
        if status.state == "training":
            os.kill(os.getpid(), signal.SIGINT)

    model = f"diffusers:{pipelines(family)}"
    plain = draw(Diffusers(str(pipelines(family))), prompt="a cat", steps=2, size=ROWS[family]["size"])[0]
    folder = learn.learn(home, "ink", learn.read_pictures(files), 60, stop, model=model)
    (adapter,) = learn.adapters(home)
    assert adapter.card["base_model"] == family and "training" in steps
    _strengthen(folder / "pytorch_lora_weights.safetensors")
    backend = Diffusers(str(pipelines(family)))
    assert np.array_equal(draw(backend, prompt="a cat", steps=2, size=ROWS[family]["size"])[0], plain), (
        "without its mark nothing changes"
    )
    inked = draw(backend, prompt="a cat <lora:ink>", steps=2, size=ROWS[family]["size"])[0]
    assert not np.array_equal(inked, plain)
    out = learn.export(home, "ink", tmp_path / "out")
    kohya = out / "ink.kohya.safetensors"
    assert kohya.is_file() == (family in ("sd", "sdxl"))
    for file in (out / "pytorch_lora_weights.safetensors", *([kohya] if kohya.is_file() else [])):
        other = diffusers.DiffusionPipeline.from_pretrained(pipelines(family))
        other.load_lora_weights(str(file.parent), weight_name=file.name)
        part = getattr(other, "unet", None) or other.transformer
        learned = [p for name, p in part.named_parameters() if "lora_B" in name]
        assert learned and all(matrix.any() for matrix in learned), file.name


def _strengthen(file: Path) -> None:
    """One step changes hardly a pixel: B of random numbers."""
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    noise = torch.Generator().manual_seed(0)
    tensors = {
        name: torch.randn(tensor.shape, generator=noise) if "lora_B" in name else tensor
        for name, tensor in load_file(file).items()
    }
    save_file(tensors, file, metadata)


def test_a_model_that_loads_no_lora_is_refused(pipelines: Pipelines, tmp_path: Path) -> None:
    pictures = [learn.Picture(tmp_path / "0.png", np.zeros((128, 128, 4), np.uint8), "a cat")]
    for model in ("fake", f"diffusers:{pipelines('pixart')}"):
        assert "can't learn from pictures" in sentence_of(
            lambda model=model: learn.learn(tmp_path, "ink", pictures, 1, model=model)
        )
