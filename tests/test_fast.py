"""The fast variant, its polishing and its requests: low-rank changes, training targets, drawing.

Byte equality holds for the kernels of a single process.
"""

import base64
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from conftest import Command
from fixture_world import fixture_world
from page_kit import Server
from PIL import Image
from queue_kit import picture
from safetensors.torch import load_file, save_file
from series_kit import idle_frame  # noqa: F401 - a fixture
from tiny_parts import give_variant, save_tiny_parts, short_runs  # noqa: F401 - a fixture
from torch import Tensor, nn
from waiting import TIMEOUT

from models.dit import DiT
from models.lora import FAST, FILE, RELEASE, attach, begin_from, changes, fold, load_fast, load_generator
from models.messages import Refused
from models.pipelines.image import Pictures
from models.pipelines.sticker import StickerPipeline
from models.sampling.condition import ComposedCondition, Condition
from models.sampling.guidance import Network
from models.sampling.loop import FAST_SAMPLING, REFINED_FROM, Sampling, Step, denoise, seeded_noise
from models.sampling.schedulers import DEFAULT_SCHEDULER, SCHEDULERS, build_scheduler, first_step, set_steps
from models.train.checkpoint import load_weights
from models.train.fast import (
    BLOCKS,
    STUDENT,
    TEACHER,
    ConditionalFrechet,
    FastTask,
    Gaussian,
    PolishTask,
    lite2,
    transport,
)
from models.train.image import NO_VECTOR, ReleaseTask
from models.train.loop import Length, Recipe, TaskOptions, Trainer
from models.weights import load_part, record_part, save_part
from studio.backends.base import run
from studio.backends.embedded import VARIANT, Embedded
from studio.backends.fake import Fake
from studio.capabilities import Capabilities
from studio.media import Artifact
from studio.metadata.files import read
from studio.metadata.restore import restore
from studio.page.context import PageContext
from studio.page.tabs.create import CreateHandlers
from studio.planner import job_id, resolve
from studio.requests import ImageRequest, make_request

RECIPE = Recipe(FastTask, batch_size=lambda _: 4, warmup=1, lr=1e-2)
RELEASE_RECIPE = replace(RECIPE, task=ReleaseTask)


@pytest.fixture(scope="module")
def trained(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short run."""
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


def test_a_run_starts_from_learned_changes_of_its_rank(parts: Path, tmp_path: Path) -> None:
    learned, begun = load_part(DiT, "dit", parts), load_part(DiT, "dit", parts)
    attach(learned, 4)
    for parameter in learned.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.1)
    wanted = {name: tensor.contiguous() for name, tensor in changes(learned).items() if not name.startswith("out.")}
    save_file(wanted, tmp_path / FILE)
    attach(begun, 4)
    load_weights(tmp_path, begun)
    assert all(torch.equal(changes(begun)[name], tensor) for name, tensor in wanted.items())
    assert not changes(begun)["out.lora_B.weight"].any(), "layers without learned changes begin as nothing"
    with pytest.raises(ValueError, match="learns no low-rank changes"):
        begin_from(load_part(DiT, "dit", parts), wanted)
    other = load_part(DiT, "dit", parts)
    attach(other, 2)
    with pytest.raises(ValueError, match="have rank 4, the network's have 2"):
        begin_from(other, wanted)


def test_the_teacher_walks_as_the_pipeline_draws(task: FastTask, parts: Path) -> None:
    """Its walks in sequence equal guided Euler steps from noise to picture."""
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


def test_warped_views_are_not_trained(task: FastTask) -> None:
    rows = task.draws(np.random.default_rng(0), 500).rows
    assert not task.encoded.warp.any()
    assert task.model.warp_in is None and not any("warp" in name for name in changes(task.model))
    assert len(set((rows // len(task.pictures)).tolist())) > 2, "views in other colours and scenes are drawn"


def test_the_teacher_walks_the_same_under_autocast(task: FastTask) -> None:
    """As in the evaluation of a checkpoint, with states in half precision."""
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

    def forward(self, x: torch.Tensor, t: torch.Tensor, warp: torch.Tensor, **conditions: torch.Tensor) -> torch.Tensor:
        return self.pace * (x - self.task.walked(x, t, 0.25, Condition(**conditions))) / 0.25


def test_a_student_equal_to_the_teacher_has_no_loss(task: FastTask) -> None:
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
    conditions = {name: value for name, value in batch.items() if name not in ("x", "t")}
    task.loss(task.model, batch, 0.1)
    assert torch.allclose(seen[0], task.reached(task.model, batch["x"], batch["t"], conditions), atol=1e-5)
    assert not torch.allclose(seen[0], batch["x"], atol=1e-2)


def test_the_student_trains_on_its_trajectory(task: FastTask) -> None:
    """Training starts from the noise of drawing, and each step is a step of drawing."""
    batch = task.batch(5, 0, 1, 0.1)
    bare = ~batch["reference"].flatten(1).any(1)
    assert bare.any() and not bare.all()
    assert batch["x"][bare].std() == pytest.approx(FAST_SAMPLING.temperature, abs=0.05)
    conditions = {name: value for name, value in batch.items() if name not in ("x", "t")}
    conditions["reference"] = torch.zeros_like(conditions["reference"])  # it is in the noise already
    wanted = Condition(*(conditions[name] for name in ("states", "mask", "vector", "reference")))
    sampling, scheduler = replace(FAST_SAMPLING, temperature=1.0), build_scheduler("euler")
    steps = denoise(task.model, batch["x"], ComposedCondition((wanted,), torch.ones(4, 1)), wanted, sampling, scheduler)
    with torch.no_grad():
        drawn = [batch["x"], *(step.latents for step in steps)]
    ends = task.reached(task.model, batch["x"], batch["t"], conditions)
    for row, time in enumerate(batch["t"].tolist()):
        assert torch.allclose(ends[row], drawn[round(4 - 4 * time)][row], atol=1e-4)


def test_an_exported_variant_draws_in_four_steps(parts: Path, trained: Path, tmp_path: Path) -> None:
    tensors = load_file(trained / "export" / FAST / FILE)
    assert all(tensor.dtype == torch.bfloat16 for tensor in tensors.values())
    assert any(tensor.any() for name, tensor in tensors.items() if "lora_B" in name)
    plain = StickerPipeline.assemble(parts, torch.float32)
    with pytest.raises(ValueError, match="no fast variant"):
        list(plain.steps(["a cat"], [1], FAST_SAMPLING))
    pipeline = StickerPipeline.assemble(parts, torch.float32)
    pipeline.fast = load_fast(pipeline.dit, beside(parts, trained, tmp_path / "beside"))
    fast, slow = (
        list(pipeline.steps(["a cat"], [1], sampling))
        for sampling in (FAST_SAMPLING, Sampling(4, 1.0, scheduler="euler", cooling=0.0))
    )
    assert len(fast) == 5 and not np.array_equal(fast[-1].pixels, slow[-1].pixels)
    assert np.array_equal(
        slow[-1].pixels, list(plain.steps(["a cat"], [1], Sampling(4, 1.0, scheduler="euler", cooling=0.0)))[-1].pixels
    )


def beside(parts: Path, trained: Path, out: Path) -> Path:
    """A copy of the parts with the run's changes among them."""
    shutil.copytree(parts, out, ignore=shutil.ignore_patterns("cache"))
    shutil.copytree(trained / "export" / FAST, out / FAST)
    record_part(FAST, out)
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
    (root / FAST).mkdir()
    save_file({"x.lora_A.weight": torch.ones(1, 2), "x.lora_B.weight": torch.ones(2, 1)}, root / FAST / FILE)
    record_part(FAST, root)
    with pytest.raises(ValueError, match="no layer 'x'"):
        load_fast(load_part(DiT, "dit", root), root)


def test_users_draw_with_the_release_and_the_table_without(parts: Path, tmp_path: Path) -> None:
    root, x = save_tiny_parts(tmp_path), inputs(load_part(DiT, "dit", parts))
    plain = load_generator(root)(*x)
    release, options = RELEASE_RECIPE, TaskOptions("tiny", 3, fixture_world(), RECIPE.batch_size, root, parts / "cache")
    run = Trainer(release, options, tmp_path / "run", Length(steps=3), precision="no")
    run.run()
    held_out = {picture.index for picture in fixture_world().pictures if picture.split != "train"}
    assert held_out <= {picture.index for picture in run.task.pictures}
    shutil.copytree(tmp_path / "run/export" / RELEASE, root / RELEASE)
    record_part(RELEASE, root)
    assert torch.equal(load_generator(root, split="train")(*x), plain)
    with run.averaged() as learned:
        target = learned(*x)
    change, rounding = (plain - target).abs().mean(), (load_generator(root)(*x) - target).abs().mean()
    assert change > 1e-4 and rounding < 0.05 * change  # the changes are stored in 8 bits
    (root / RELEASE / "made_with.json").write_text(json.dumps({"dit": "another"}))
    record_part(RELEASE, root)
    assert torch.equal(load_generator(root)(*x), plain), "changes of another generator are left out"


# --- Polishing --------------------------------------------------------------------------------------------------------


PICTURES, TOLD, FEATURES = 400, 3, 5
PLAIN = Sampling(guidance=1.0)
NOTHING = Condition(*[torch.empty(0)] * 4)


def pictures(shift: float, stretch: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Conditions of pictures, and features whose mean depends on them."""
    generator = torch.Generator().manual_seed(seed)
    conditions = torch.randn(PICTURES, TOLD, generator=generator)
    mixed = torch.randn(FEATURES, FEATURES, generator=torch.Generator().manual_seed(9))
    noise = torch.randn(PICTURES, FEATURES, generator=generator) @ (stretch * mixed + torch.eye(FEATURES))
    return conditions, noise + conditions @ (shift * torch.ones(TOLD, FEATURES))


def frechet(real: tuple[Tensor, Tensor], generated: tuple[Tensor, Tensor]) -> ConditionalFrechet:
    result = ConditionalFrechet(*real, size=FEATURES, recent=PICTURES)
    result.update(*generated)
    result.fit()
    return result


def test_equal_features_have_no_distance() -> None:
    real = pictures(1.0, 0.5)
    same = frechet(real, real)
    assert abs(same.distance) < 1e-3
    assert same.loss(*real) < 2e-3
    assert frechet(real, pictures(0.0, 0.1)).distance > 0.1


def test_optimal_transport_between_gaussians() -> None:
    generated, real = (Gaussian.of(*pictures(*args)) for args in ((0.2, 0.1), (1.0, 0.6)))
    transport_map, trace = transport(generated, real)
    assert torch.allclose(transport_map @ generated.covariance @ transport_map, real.covariance, rtol=0.02, atol=0.02)
    assert torch.allclose(transport_map, transport_map.T, atol=1e-4), "the optimal map between Gaussians is symmetric"
    assert trace > 0.1


def test_the_loss_of_all_pictures_has_the_gradient_of_the_distance() -> None:
    """By the envelope theorem the dependence of the fit on the features adds nothing."""
    real, (conditions, features) = pictures(1.0, 0.5), pictures(0.3, 0.2, seed=1)
    result = frechet(real, (conditions, features))
    y = features.clone().requires_grad_()
    result.loss(conditions, y).backward()
    by_loss, y = y.grad, features.clone().requires_grad_()
    seen = (y - result.centre) @ result.directions
    generated = Gaussian.of(conditions, seen)
    apart = (result.real.mean(conditions) - generated.mean(conditions)).square().sum(1).mean()
    ((apart + transport(generated, result.real)[1]) / result.variance).backward()
    assert by_loss is not None and y.grad is not None
    assert torch.nn.functional.cosine_similarity(by_loss.flatten(), y.grad.flatten(), dim=0) > 0.99
    assert by_loss.norm() == pytest.approx(float(y.grad.norm()), rel=0.05)


def test_old_features_are_dropped() -> None:
    conditions, features = pictures(1.0, 0.5)
    result = ConditionalFrechet(conditions, features, FEATURES, recent=100)
    for rows in torch.arange(PICTURES).split(40):
        result.update(conditions[rows], features[rows])
    assert len(result) == 80


def test_features_are_of_what_is_seen_on_white() -> None:
    extractor = lite2()
    clear = torch.zeros(1, 4, 128, 128)
    white = torch.ones(1, 4, 128, 128)
    assert all(torch.equal(a, b) for a, b in zip(extractor(clear), extractor(white), strict=True))
    picture = torch.rand(2, 4, 128, 128, requires_grad=True)
    seen = extractor(picture)
    assert len(seen) == 2 * len(BLOCKS) + 1 and seen[-1].shape == (2, 1280)
    torch.cat(seen, 1).sum().backward()
    assert picture.grad is not None and picture.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in extractor.parameters())


# --- Drawing ----------------------------------------------------------------------------------------------------------


def to(picture: Tensor, calls: list[float]) -> Network:
    """A network that knows the picture, and notes the noise levels it was asked at."""

    def network(x: Tensor, t: Tensor, *_: Tensor, **__: Tensor) -> Tensor:
        calls.append(float(t[0]))
        return (x - picture) / t.view(-1, 1, 1, 1)

    return network


def drawn(name: str, sampling: Sampling, start: Tensor | None = None) -> tuple[list[Step], list[float], list[float]]:
    """The steps, and the noise levels that the generator and the polisher were asked at."""
    mask, draft = torch.zeros(1, 1, dtype=torch.bool), torch.zeros(1, 8, 4, 4)
    conditions = Condition(torch.zeros(1, 1, 4), mask, torch.zeros(1, 128), draft)
    noise, query, polished = torch.ones(1, 8, 4, 4), list[float](), list[float]()
    networks = to(torch.zeros(1, 8, 4, 4), query), to(torch.full((1, 8, 4, 4), 0.5), polished)
    steps = denoise(
        networks[0],
        noise,
        ComposedCondition.of(conditions),
        conditions,
        sampling,
        build_scheduler(name),
        start,
        refiner=networks[1],
    )
    return list(steps), query, polished


@pytest.mark.parametrize("name", [name for name, row in SCHEDULERS.items() if row.keeps_changes])
@pytest.mark.parametrize("steps", [8, 16, 30])
def test_the_last_of_the_way_is_the_polishers(name: str, steps: int) -> None:
    done, query, polished = drawn(name, Sampling(steps, 1.0))
    assert min(query) >= polished[0] and 0.35 < polished[0] <= REFINED_FROM + 1e-6
    assert polished == pytest.approx([polished[0], polished[0] / 2])
    assert len(done) == done[0].count == len(query) + 2
    assert len(query) % build_scheduler(name).order == 0, "no step is left in its middle"
    assert torch.allclose(done[-1].latents, torch.full((1, 8, 4, 4), 0.5), atol=1e-4), (
        "it draws what the polisher knows"
    )


@pytest.mark.parametrize(
    ("name", "sampling", "start"),
    [
        ("dpm++", Sampling(16, 1.0, strength=0.7), torch.zeros(1, 8, 4, 4)),
        ("dpm++", Sampling(3, 1.0), None),
        ("dpm++", Sampling(16, 1.0, cooling=0.0), None),
        ("dpm++ sde", Sampling(16, 1.0), None),
        ("unipc", Sampling(16, 1.0), None),
    ],
    ids=["from a picture", "few steps", "not cooled", "stochastic", "corrected"],
)
def test_untrained_settings_are_not_polished(name: str, sampling: Sampling, start: Tensor | None) -> None:
    _, query, polished = drawn(name, sampling, start)
    assert not polished and min(query) < REFINED_FROM


def test_a_pipeline_with_a_fast_variant_polishes(polish_parts: Path) -> None:
    pipeline, pixels = StickerPipeline.assemble(polish_parts, torch.float32), list[np.ndarray]()
    for fast in (pipeline.fast, None):
        pipeline.fast = fast
        pixels += [e.pixels for e in pipeline.steps(["a red apple"], [1], Sampling(8)) if isinstance(e, Pictures)]
    assert not np.array_equal(*pixels)


# --- Training ---------------------------------------------------------------------------------------------------------


class Eyes(nn.Module):
    """Two sets of features: mean colours, and how much neighbours differ."""

    def forward(self, pictures: Tensor) -> list[Tensor]:
        return [pictures.mean((2, 3)), (pictures[..., 1:] - pictures[..., :-1]).abs().mean((2, 3))]


class Polish(PolishTask):
    """Without guidance, which makes an untrained generator diverge."""

    real, recent, led, share, size = 40, 32, 16, 0.5, 4
    extractor, taught = Eyes, PLAIN


POLISH_RECIPE = Recipe(Polish, batch_size=lambda _: 8, warmup=1, lr=3e-3, ema=0.5)


@pytest.fixture(scope="module")
def polish_parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = save_tiny_parts(tmp_path_factory.mktemp("parts"))
    give_variant(root, 0.01, FastTask.rank)
    return root


@pytest.fixture
def options(polish_parts: Path) -> TaskOptions:
    return TaskOptions("tiny", 3, fixture_world(), POLISH_RECIPE.batch_size, polish_parts, polish_parts / "cache")


def condition_of(rows: dict[str, Tensor]) -> Condition:
    """The condition without its reference, which is in the noise already."""
    bare = {**rows, "reference": torch.zeros_like(rows["reference"])}
    return Condition(*(bare[name].float() if name != "mask" else bare[name] for name in vars(NOTHING)))


def test_training_steps_equal_drawing_steps(options: TaskOptions) -> None:
    task = Polish(options)
    rows = task.batch(5, 0, 1, 0.0)[STUDENT]
    wanted, path = condition_of(rows), task.paths[STUDENT]
    sampling = FAST_SAMPLING.__class__(**{**vars(FAST_SAMPLING), "temperature": 1.0})
    with torch.no_grad():
        walked = task.stepped(task.model, rows["x"], [*path.first, *path.rest], vars(wanted))
        *_, drawn = denoise(
            task.model, rows["x"], ComposedCondition.of(wanted), wanted, sampling, build_scheduler("euler")
        )
    assert torch.allclose(walked, drawn.latents, atol=1e-4)


def test_polishing_continues_from_the_generator(options: TaskOptions) -> None:
    task = Polish(options)
    task.batch(5, 0, 1, 0.0)
    task.mirror = None  # it steers the first of the variant's steps too
    generator, variant, path = task.teacher.float(), task.before.float(), task.paths[TEACHER]
    wanted, noise = task.condition(task.teacher_samples[::4]), torch.randn(4, 8, 16, 16)
    wanted = Condition(wanted.states.float(), wanted.mask, wanted.vector, wanted.reference)
    nothing = Condition(*(torch.zeros_like(part) for part in vars(wanted).values()))
    with torch.no_grad():
        led = task.sampled_until_handover(wanted, noise)
        walked = task.stepped(variant, led, path.rest, vars(wanted))
        whole = generator, noise, ComposedCondition.of(wanted), nothing, PLAIN, build_scheduler(DEFAULT_SCHEDULER)
        *_, drawn = denoise(*whole, refiner=variant)
    assert path.rest == pytest.approx([REFINED_FROM, REFINED_FROM / 2])
    apart, done = ((x - drawn.latents).norm() / drawn.latents.norm() for x in (walked, led))
    assert apart < 0.05 < 0.1 < done, "the generator's plan comes to 0.4995, and the variant was taught at 0.5"


def test_polishing_starts_at_the_shipped_variant(options: TaskOptions) -> None:
    task = Polish(options)
    values = task.loss(task.model, task.batch(0, 0, 1, 0.0), 0.0)
    assert values["away"] < 5e-3 and values["tint"] < 1e-4, "bf16 and nothing else"
    values["loss"].backward()
    assert any(p.grad is not None and p.grad.any() for p in task.model.parameters())
    with torch.no_grad():
        for parameter in task.model.parameters():
            parameter += 0.02 * parameter.requires_grad
    batch = task.batch(1, 0, 1, 0.0)
    moved = task.loss(task.model, batch, 0.0)
    assert moved["away"] > 0.02
    with torch.no_grad():
        alone = [float(task.loss(task.model, {name: rows}, 0.0)["away"]) for name, rows in batch.items()]
    assert float(moved["away"].detach()) == pytest.approx(sum(alone) / 2, rel=1e-4), "half of them are of each path"
    task._steps = 0  # a step that fits the transports first
    with torch.autocast("cpu", torch.bfloat16):
        rounded = task.loss(task.model, task.batch(2, 0, 1, 0.0), 0.0)
    assert rounded["looks"].dtype == rounded["loss"].dtype == torch.float32, "moments are not rounded"
    assert moved["loss"] > moved["looks"] + 0.9 * task.near * moved["away"]


def test_a_run_draws_nearer_to_real_pictures_and_leaves_changes(options: TaskOptions, tmp_path: Path) -> None:
    run = Trainer(POLISH_RECIPE, options, tmp_path, Length(steps=24), precision="no")
    run.step(0.0)
    task = run.task
    assert isinstance(task, PolishTask)
    before = {name: path.unlike for name, path in task.paths.items()}
    assert before[STUDENT] != before[TEACHER], "each path is compared by itself"
    run.run()
    for name, unlike in before.items():
        assert task.paths[name].unlike < 0.9 * unlike, name
    learned = load_file(tmp_path / "export" / FAST / FILE)
    shipped = load_file((options.parts or Path()) / FAST / FILE)
    assert learned.keys() >= shipped.keys() - {"warp_in"}


def test_polishing_needs_a_variant(tmp_path: Path) -> None:
    root = save_tiny_parts(tmp_path)
    with pytest.raises(ValueError, match="train recipe fast first"):
        Polish(TaskOptions("tiny", 3, fixture_world(), POLISH_RECIPE.batch_size, root))


# --- Requests of fast pictures ----------------------------------------------------------------------------------------


CAN = Fake().capabilities()


def fast_request(**fields: object) -> ImageRequest:
    return resolve(make_request("image", **{"prompt": "a cat", "seed": 1, "scheduler": FAST, **fields}), CAN)


# --- What it means ----------------------------------------------------------------------------------------------------


def test_the_fast_sampler_fixes_steps_and_guidance() -> None:
    request = fast_request()
    assert (request.steps, request.guidance, request.scheduler) == (4, 1.0, FAST)
    assert resolve(request, CAN) == request == fast_request(steps=4, guidance=1.0)
    assert request.batch_key() != fast_request(scheduler="euler", steps=4, guidance=1.0).batch_key()


@pytest.mark.parametrize(
    ("fields", "sentence", "chinese"),
    [
        ({"steps": 16}, "fast draws with steps 4 only; leave steps out, or", "采样器 fast 的 steps 只能是 4"),
        ({"guidance": 3.5}, "fast draws with guidance 1 only; leave guidance out, or", "guidance 只能是 1"),
        ({"negative": "dog"}, "fast hears no negative prompt; leave it out, or draw without fast", "不看反向提示词"),
    ],
)
def test_refusals_of_the_fast_sampler(fields: dict[str, Any], sentence: str, chinese: str) -> None:
    with pytest.raises(Refused) as refusal:
        fast_request(**fields)
    assert str(refusal.value).startswith(sentence) and chinese in refusal.value.text("zh")


def test_strength_is_rounded_to_the_fast_steps(tmp_path: Path) -> None:
    Image.new("RGBA", (64, 64), "red").save(tmp_path / "red.png")
    image = {"path": str(tmp_path / "red.png")}
    for wanted, strength in ((0.1, 0.25), (0.3, 0.25), (0.5, 0.5), (0.6, 0.5), (0.7, 0.75), (0.95, 1.0), (1.0, 1.0)):
        request = fast_request(image=image, strength=wanted)
        assert request.strength == strength and resolve(request, CAN) == request
        scheduler = build_scheduler("euler")
        sigmas = set_steps(scheduler, FAST_SAMPLING.steps)
        assert sigmas[first_step(scheduler, wanted)] == strength, "what is said is what is done"
    assert fast_request(image=image, strength=0.0, size=512) == fast_request(
        image=image, strength=0.0, size=512, scheduler="heun"
    )


# --- Its settings, back from a file -----------------------------------------------------------------------------------


def without() -> Capabilities:
    return CAN.model_copy(update={"schedulers": ("euler", "heun"), "fixed": {}})


def record(**fields: object) -> dict[str, Any]:
    return {"request": fast_request(**fields).model_dump(mode="json", exclude_none=True), "seed": 5, "how": {}}


def test_fast_settings_are_restored() -> None:
    here, gone = restore(record(), CAN), restore(record(), without())
    assert {name: here.fields[name] for name in ("scheduler", "steps", "guidance")} == {
        "scheduler": FAST, "steps": 4, "guidance": 1.0,
    }  # fmt: skip
    assert not here.lost and not {"scheduler", "steps", "guidance"} & gone.fields.keys()
    assert tuple(map(str, gone.lost)) == ("Fake has no fast variant; leave fast out.",)
    assert "没有快速版本" in gone.lost[0].text("zh")
    theirs = {"program": "x", "prompt": "a", "steps": 8, "guidance": 1.5, "scheduler": "LCM"}
    taken = restore(theirs, CAN)
    assert taken.fields == {"prompt": "a", "scheduler": FAST} and len(tuple(map(str, taken.lost))) == 2
    assert restore(theirs, without()).fields == {"prompt": "a"}


def test_enlarged_pictures_restore_no_sampling_settings(tmp_path: Path) -> None:
    Image.new("RGBA", (64, 64), "red").save(tmp_path / "red.png")
    enlarged = record(prompt="", image={"path": str(tmp_path / "red.png")}, strength=0.0, size=512)
    assert not {"scheduler", "steps", "guidance"} & restore(enlarged, CAN, tmp_path).fields.keys()


# --- The models that ship ---------------------------------------------------------------------------------------------


def test_the_variant_is_available_where_it_ships(tmp_path: Path) -> None:
    parts = save_tiny_parts(tmp_path)
    assert VARIANT == FAST
    without = Embedded(str(parts))
    assert FAST not in without.capabilities().schedulers
    with pytest.raises(Refused, match="has no fast variant; leave fast out"):
        resolve(make_request("image", prompt="a cat", scheduler=FAST), without.capabilities())
    digest = without.digest()
    give_variant(parts, 0.05)
    backend = Embedded(str(parts))
    can = backend.capabilities()
    assert can.schedulers[-1] == FAST and can.schedulers[0] != FAST
    assert backend.digest() != digest, "it draws the last of every picture's way"
    request = resolve(make_request("image", prompt="a cat", seed=1, scheduler=FAST), can)
    (generated,) = (np.asarray(picture(event)) for event in run(backend, request) if isinstance(event, Artifact))
    pipeline = StickerPipeline.assemble(parts)
    *_, drawn = pipeline.steps(["a cat"], [1], FAST_SAMPLING)
    straight = Image.fromarray(drawn.pixels[0], "RGBa").convert("RGBA")  # type: ignore[union-attr]
    assert np.abs(generated.astype(int) - np.asarray(straight)).max() <= 1
    plain = resolve(make_request("image", prompt="a cat", seed=1, scheduler="euler", steps=4, guidance=1.0), can)
    (other,) = (np.asarray(picture(event)) for event in run(backend, plain) if isinstance(event, Artifact))
    assert not np.array_equal(generated, other)
    give_variant(parts, 0.06)
    later = Embedded(str(parts))
    again = resolve(make_request("image", prompt="a cat", seed=1, scheduler=FAST), later.capabilities())
    assert job_id(again, digest) != job_id(request, digest), "another variant draws another picture"
    with pytest.raises(Refused, match="the fast variant is another one since this was asked for"):
        list(run(later, request))


def test_a_variant_of_another_generator_is_ignored(tmp_path: Path) -> None:
    root = save_tiny_parts(tmp_path)
    give_variant(root, 0.05)
    assert FAST in Embedded(str(root)).capabilities().schedulers
    (root / FAST / "made_with.json").write_text(json.dumps({"dit": "another"}))
    record_part(FAST, root)
    backend = Embedded(str(root))
    assert FAST not in backend.capabilities().schedulers
    request = resolve(make_request("image", prompt="a cat", seed=1, steps=1), backend.capabilities())
    assert any(isinstance(event, Artifact) for event in run(backend, request))


# --- The doors --------------------------------------------------------------------------------------------------------


def test_the_command_has_a_flag_for_it(studio: Command, tmp_path: Path) -> None:
    output = studio("generate", "a cat", "--fast", "--seed", 3, "--model", "fake", "--out", tmp_path, "--json")
    assert output.code == 0
    result = read(Path(output.json[0]["path"]))["request"]
    assert (result["scheduler"], result["steps"], result["guidance"]) == (FAST, 4, 1.0)
    assert studio("generate", "a cat", "--scheduler", "fast", "--fast", "--model", "fake").code == 0
    both = studio("generate", "a cat", "--fast", "--scheduler", "heun", "--model", "fake")
    assert both.code == 2 and "--fast and --scheduler heun exclude each other" in both.err
    many = studio("generate", "a cat", "--fast", "--steps", 20, "--model", "fake")
    assert many.code == 2 and "leave steps out" in many.err


@pytest.mark.parametrize("name", ["Fast", "LCM"])
def test_a1111s_clients_choose_it_and_their_steps_are_left_out(server: Server, name: str) -> None:
    body = {"prompt": "a cat", "seed": 7, "steps": 20, "cfg_scale": 7, "negative_prompt": "dog", "sampler_name": name}
    with httpx.Client(base_url=f"{server.url}/sdapi/v1", timeout=TIMEOUT) as client:
        assert "Fast" in [row["name"] for row in client.get("/samplers").json()]
        answer = client.post("/txt2img", json=body).json()
    info = answer["info"]
    assert all(word in info for word in ("steps, cfg_scale, negative_prompt was left out", '"sampler_name": "Fast"'))
    picture = Image.open(io.BytesIO(base64.b64decode(answer["images"][0])))
    assert "Steps: 4, Sampler: fast" in picture.text["parameters"]  # type: ignore[attr-defined]


# --- The page ---------------------------------------------------------------------------------------------------------


def test_the_sliders_of_the_page_are_not_heard(context: PageContext) -> None:
    handlers = CreateHandlers(context)
    given = {"prompt": "a cat", "count": 1, "seed": "1", "steps": 16, "guidance": 4.0, "best_of": 1, "like": None}
    inputs = {"scheduler": FAST, "canvas": None, "first": None, "second": None, "between": 0.5, "expand": False}
    fields = handlers.fields({**given, **inputs, "strength": 0.6})
    assert "steps" not in fields and resolve(make_request(**fields), context.can).steps == 4
    assert handlers.fields({**given, **inputs, "strength": 0.6, "scheduler": "heun"})["steps"] == 16
    values = handlers.values({"scheduler": "heun", "steps": 4, "guidance": 1.0})
    *held, now = handlers.sampling("heun", values["sampled"])
    assert now == "heun" and all("value" not in one for one in held), "what came back with it stays"
    assert [one["value"] for one in handlers.sampling("heun", FAST)[:2]] == [16, 4]
