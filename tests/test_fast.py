"""The fast variant: what low-rank changes are, what they are taught, and that four steps of it are drawn by it."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fixture_world import fixture_world
from safetensors.torch import load_file, save_file
from tiny_parts import save_tiny_parts, short_runs  # noqa: F401 - a fixture

from models.dit import DiT
from models.lora import FILE, PART, attach, begin_from, changes, fold, load_fast
from models.pipelines.image import Pictures
from models.pipelines.sticker import StickerPipeline
from models.sampling.condition import ComposedCondition, Condition
from models.sampling.guidance import REFINER
from models.sampling.loop import FAST_SAMPLING, Sampling, denoise, seeded_noise
from models.sampling.schedulers import build_scheduler
from models.train.checkpoint import load_weights
from models.train.fast import FastTask
from models.train.image import NO_VECTOR
from models.train.loop import Length, Recipe, TaskOptions, Trainer
from models.weights import load_part, record_part, save_part

RECIPE = Recipe(FastTask, batch_size=lambda _: 4, warmup=1, lr=1e-2)


@pytest.fixture(scope="module")
def trained(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of a few steps."""
    options = TaskOptions("tiny", 3, fixture_world(), RECIPE.batch_size, parts, parts / "cache")
    run = Trainer(RECIPE, options, tmp_path_factory.mktemp("run"), Length(steps=3), precision="no")
    run.run()
    return run.out


@pytest.fixture
def task(parts: Path) -> FastTask:
    return FastTask(TaskOptions("tiny", 3, fixture_world(), RECIPE.batch_size, parts, parts / "cache"))


def inputs(dit: DiT, count: int = 2) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, 8, 16, 16, generator=generator)
    states = torch.randn(count, 5, dit.config.context, generator=generator)
    return x, torch.full((count,), 0.5), states, torch.ones(count, 5, dtype=torch.bool), torch.ones(count, 128)


def test_changes_begin_as_nothing_and_folded_ones_draw_the_same(parts: Path) -> None:
    plain, changed = load_part(DiT, "dit", parts), load_part(DiT, "dit", parts)
    attach(changed, 4)
    assert torch.equal(changed(*inputs(plain)), plain(*inputs(plain)))
    learned = {name for name, parameter in changed.named_parameters() if parameter.requires_grad}
    assert learned and all(name.endswith((".down", ".up")) for name in learned)
    for name, parameter in changed.named_parameters():
        if name.endswith(".up"):
            torch.nn.init.normal_(parameter, std=0.1)
    assert not torch.allclose(changed(*inputs(plain)), plain(*inputs(plain)), atol=1e-3)
    fold(plain, changes(changed))
    assert torch.allclose(changed(*inputs(plain)), plain(*inputs(plain)), atol=1e-4)


def test_changes_of_another_network_are_refused(parts: Path) -> None:
    dit = load_part(DiT, "dit", parts)
    with pytest.raises(ValueError, match=r"no layer 'blocks.9.mlp.down' of 3 x 5"):
        fold(
            dit,
            {"blocks.9.mlp.down.lora_A.weight": torch.ones(1, 5), "blocks.9.mlp.down.lora_B.weight": torch.ones(3, 1)},
        )


def product(tensors: dict[str, torch.Tensor], layer: str) -> torch.Tensor:
    return tensors[f"{layer}.lora_B.weight"].float() @ tensors[f"{layer}.lora_A.weight"].float()


@pytest.mark.parametrize("rank", [2, 4, 8])
def test_a_start_from_learned_changes_is_the_nearest_of_its_rank(parts: Path, tmp_path: Path, rank: int) -> None:
    learned, begun = load_part(DiT, "dit", parts), load_part(DiT, "dit", parts)
    attach(learned, 4)
    for parameter in learned.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.1)
    wanted = {name: tensor.contiguous() for name, tensor in changes(learned).items() if not name.startswith("out.")}
    save_file(wanted, tmp_path / FILE)
    attach(begun, rank)
    load_weights(tmp_path, begun)
    layer = "blocks.1.mlp.down"
    values = torch.linalg.svdvals(product(wanted, layer))
    left = torch.linalg.matrix_norm(product(wanted, layer) - product(changes(begun), layer))
    assert torch.allclose(left, values[rank:].norm(), atol=1e-5)
    assert not changes(begun)["out.lora_B.weight"].any(), "what nothing is known of begins as nothing"
    assert changes(begun)[f"{layer}.lora_A.weight"].any(1).all(), "no rank is dead"
    with pytest.raises(ValueError, match="learns no low-rank changes"):
        begin_from(load_part(DiT, "dit", parts), wanted)


def test_the_teacher_walks_as_the_pipeline_draws(task: FastTask, parts: Path) -> None:
    """All its walks, one after the other, are Euler's steps with guidance from noise to picture."""
    pipeline = StickerPipeline.assemble(parts, torch.float32)
    task.teacher, steps = pipeline.dit, task.walk * FAST_SAMPLING.steps
    sampling = Sampling(steps, task.taught.guidance, scheduler="euler", temperature=1.0)
    (drawn,) = (e for e in pipeline.steps(["a red heart"], [7], sampling) if isinstance(e, Pictures))
    config = pipeline.dit.config
    x = seeded_noise([7], (config.channels, config.size, config.size))()
    condition = pipeline.encode_condition(["a red heart"])
    for sigma in task.sigmas.tolist():
        x = task.walked(x, torch.tensor([sigma]), 1 / FAST_SAMPLING.steps, condition)
    assert torch.allclose(x, drawn.latents, rtol=1e-4, atol=1e-3)


def test_what_is_warped_is_not_taught(task: FastTask) -> None:
    rows = task.draws(np.random.default_rng(0), 500).rows
    assert not task.encoded.warp.any()
    assert task.model.warp_in is None and not any("warp" in name for name in changes(task.model))
    assert len(set((rows // len(task.pictures)).tolist())) > 2, "views in other colours and scenes are drawn"


def test_the_teacher_walks_the_same_under_autocast(task: FastTask) -> None:
    """A checkpoint is evaluated under it, and the states are in half precision."""
    batch = task.batch(5, 0, 1, 0.1)
    condition = task.condition(task.draws(np.random.default_rng((3, 5)), 4))
    assert condition.states.dtype == torch.float16
    plain = task.walked(batch["x"], batch["t"], 0.25, condition)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(task.walked(batch["x"], batch["t"], 0.25, condition), plain)


class Follower(torch.nn.Module):
    """A student that answers what the teacher's walk does, times `pace`."""

    def __init__(self, task: FastTask, pace: float = 1.0) -> None:
        super().__init__()
        self.task, self.pace = task, pace

    def forward(self, x: torch.Tensor, t: torch.Tensor, warp: torch.Tensor, **told: torch.Tensor) -> torch.Tensor:
        return self.pace * (x - self.task.walked(x, t, 0.25, Condition(**told))) / 0.25


def test_a_student_that_answers_as_the_teacher_walks_has_nothing_to_learn(task: FastTask) -> None:
    batch = task.batch(5, 0, 1, 0.1)
    assert sorted(batch["t"].tolist()) == [0.25, 0.5, 0.75, 1.0]
    assert task.loss(Follower(task), batch, 0.1)["loss"] < 1e-8
    assert task.loss(Follower(task, 0.5), batch, 0.1)["loss"] > 1e-3
    draws = task.draws(np.random.default_rng(0), 500)
    assert not (~draws.text & (draws.vector == NO_VECTOR)).any(), "nobody asks for nothing"


def test_the_teacher_goes_on_from_where_the_student_came_to(task: FastTask, monkeypatch: pytest.MonkeyPatch) -> None:
    batch, seen = task.batch(5, 0, 1, 0.1), []
    walked = task.walked
    monkeypatch.setattr(task, "walked", lambda x, *rest: (seen.append(x), walked(x, *rest))[1])
    told = {name: value for name, value in batch.items() if name not in ("x", "t")}
    task.loss(task.model, batch, 0.1)
    assert torch.allclose(seen[0], task.reached(task.model, batch["x"], batch["t"], told), atol=1e-5)
    assert not torch.allclose(seen[0], batch["x"], atol=1e-2)


def test_a_student_is_taught_from_where_its_own_steps_lead(task: FastTask) -> None:
    """What it begins with is what a picture is drawn from, and each of its steps is one of the drawing's."""
    batch = task.batch(5, 0, 1, 0.1)
    bare = ~batch["reference"].flatten(1).any(1)
    assert bare.any() and not bare.all()
    assert batch["x"][bare].std() == pytest.approx(FAST_SAMPLING.temperature, abs=0.05)
    told = {name: value for name, value in batch.items() if name not in ("x", "t")}
    told["reference"] = torch.zeros_like(told["reference"])  # it is in the noise already
    wanted = Condition(*(told[name] for name in ("states", "mask", "vector", "reference")))
    sampling, scheduler = replace(FAST_SAMPLING, temperature=1.0), build_scheduler("euler")
    steps = denoise(task.model, batch["x"], ComposedCondition((wanted,), torch.ones(4, 1)), wanted, sampling, scheduler)
    with torch.no_grad():
        drawn = [batch["x"], *(step.latents for step in steps)]
    ends = task.reached(task.model, batch["x"], batch["t"], told)
    for row, time in enumerate(batch["t"].tolist()):
        assert torch.allclose(ends[row], drawn[round(4 - 4 * time)][row], atol=1e-4)


def test_what_a_run_leaves_draws_in_four_steps(parts: Path, trained: Path, tmp_path: Path) -> None:
    tensors = load_file(trained / "export" / PART / FILE)
    assert all(tensor.dtype == torch.bfloat16 for tensor in tensors.values())
    assert any(tensor.any() for name, tensor in tensors.items() if "lora_B" in name)
    plain = StickerPipeline.assemble(parts, torch.float32)
    with pytest.raises(ValueError, match="no fast variant"):
        list(plain.steps(["a cat"], [1], FAST_SAMPLING))
    pipeline = StickerPipeline.assemble(parts, torch.float32)
    pipeline.fast = load_fast(pipeline.dit, beside(parts, trained, tmp_path / "beside"))
    fast, slow = (
        list(pipeline.steps(["a cat"], [1], sampling))
        for sampling in (FAST_SAMPLING, Sampling(4, 1.0, scheduler="euler", hooks=Sampling.hooks - {REFINER}))
    )
    assert len(fast) == 5 and not np.array_equal(fast[-1].pixels, slow[-1].pixels)
    assert np.array_equal(
        slow[-1].pixels, list(plain.steps(["a cat"], [1], Sampling(4, 1.0, scheduler="euler")))[-1].pixels
    )


def beside(parts: Path, trained: Path, out: Path) -> Path:
    """A copy of the parts with the run's changes among them."""
    shutil.copytree(parts, out, ignore=shutil.ignore_patterns("cache"))
    shutil.copytree(trained / "export" / PART, out / PART)
    record_part(PART, out)
    return out


def test_changes_of_another_generator_do_not_load(parts: Path, trained: Path, tmp_path: Path) -> None:
    other = save_tiny_parts(tmp_path / "other")
    dit = load_part(DiT, "dit", other)
    dit.out.weight.data += 1
    save_part(dit, "dit", other)
    assert load_fast(dit, other) is None
    assert load_fast(dit, beside(other, trained, tmp_path / "of another")) is None, "it is in nobody's way"
    assert load_fast(load_part(DiT, "dit", parts), beside(parts, trained, tmp_path / "own")) is not None


def test_a_file_of_other_names_is_refused(parts: Path, tmp_path: Path) -> None:
    root = save_tiny_parts(tmp_path)
    (root / PART).mkdir()
    save_file({"x.lora_A.weight": torch.ones(1, 2), "x.lora_B.weight": torch.ones(2, 1)}, root / PART / FILE)
    record_part(PART, root)
    with pytest.raises(ValueError, match="no layer 'x'"):
        load_fast(load_part(DiT, "dit", root), root)
