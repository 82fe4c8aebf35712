"""Polishing: the Frechet loss is the distance's own gradient, and what learns by it is what draws."""

from pathlib import Path

import numpy as np
import pytest
import torch
from fixture_world import fixture_world
from safetensors.torch import load_file
from tiny_parts import give_variant, save_tiny_parts, short_runs  # noqa: F401 - a fixture
from torch import Tensor, nn

from models.lora import FILE, PART
from models.pipelines.image import Pictures
from models.pipelines.sticker import StickerPipeline
from models.sampling.condition import ComposedCondition, Condition
from models.sampling.guidance import REFINER, Network
from models.sampling.loop import FAST_SAMPLING, REFINED_FROM, Sampling, Step, denoise
from models.sampling.schedulers import DEFAULT_SCHEDULER, SCHEDULERS, build_scheduler
from models.train.fast import BLOCKS, STUDENT, TEACHER, ConditionalFrechet, Gaussian, PolishTask, lite2, transport
from models.train.loop import Length, Recipe, TaskOptions, Trainer

PICTURES, TOLD, FEATURES = 400, 3, 5
PLAIN = Sampling(guidance=1.0)
NOTHING = Condition(*[torch.empty(0)] * 4)


def pictures(shift: float, stretch: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """What pictures were told, and features whose mean depends on it."""
    generator = torch.Generator().manual_seed(seed)
    told = torch.randn(PICTURES, TOLD, generator=generator)
    mixed = torch.randn(FEATURES, FEATURES, generator=torch.Generator().manual_seed(9))
    noise = torch.randn(PICTURES, FEATURES, generator=generator) @ (stretch * mixed + torch.eye(FEATURES))
    return told, noise + told @ (shift * torch.ones(TOLD, FEATURES))


def frechet(real: tuple[Tensor, Tensor], made: tuple[Tensor, Tensor]) -> ConditionalFrechet:
    found = ConditionalFrechet(*real, size=FEATURES, recent=PICTURES)
    found.update(*made)
    found.fit()
    return found


def test_what_is_alike_is_no_distance_away() -> None:
    real = pictures(1.0, 0.5)
    same = frechet(real, real)
    assert abs(same.distance) < 1e-3
    assert same.loss(*real) < 2e-3
    assert frechet(real, pictures(0.0, 0.1)).distance > 0.1


def test_the_transport_carries_one_spread_to_the_other() -> None:
    made, real = (Gaussian.of(*pictures(*args)) for args in ((0.2, 0.1), (1.0, 0.6)))
    transport_map, trace = transport(made, real)
    assert torch.allclose(transport_map @ made.covariance @ transport_map, real.covariance, rtol=0.02, atol=0.02)
    assert torch.allclose(transport_map, transport_map.T, atol=1e-4), "the optimal map between Gaussians is symmetric"
    assert trace > 0.1


def test_the_loss_of_all_pictures_has_the_gradient_of_the_distance() -> None:
    """The envelope: that the fit depends on the features too adds nothing."""
    real, (told, features) = pictures(1.0, 0.5), pictures(0.3, 0.2, seed=1)
    found = frechet(real, (told, features))
    y = features.clone().requires_grad_()
    found.loss(told, y).backward()
    by_loss, y = y.grad, features.clone().requires_grad_()
    seen = (y - found.centre) @ found.directions
    made = Gaussian.of(told, seen)
    apart = (found.real.mean(told) - made.mean(told)).square().sum(1).mean()
    ((apart + transport(made, found.real)[1]) / found.variance).backward()
    assert by_loss is not None and y.grad is not None
    assert torch.nn.functional.cosine_similarity(by_loss.flatten(), y.grad.flatten(), dim=0) > 0.99
    assert by_loss.norm() == pytest.approx(float(y.grad.norm()), rel=0.05)


def test_what_was_drawn_long_ago_is_forgotten() -> None:
    told, features = pictures(1.0, 0.5)
    found = ConditionalFrechet(told, features, FEATURES, recent=100)
    for rows in torch.arange(PICTURES).split(40):
        found.update(told[rows], features[rows])
    assert len(found) == 80


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
    told = Condition(torch.zeros(1, 1, 4), mask, torch.zeros(1, 128), draft)
    noise, asked, polished = torch.ones(1, 8, 4, 4), list[float](), list[float]()
    networks = to(torch.zeros(1, 8, 4, 4), asked), to(torch.full((1, 8, 4, 4), 0.5), polished)
    steps = denoise(
        networks[0],
        noise,
        ComposedCondition.of(told),
        told,
        sampling,
        build_scheduler(name),
        start,
        refiner=networks[1],
    )
    return list(steps), asked, polished


@pytest.mark.parametrize("name", [name for name, row in SCHEDULERS.items() if row.keeps_changes])
@pytest.mark.parametrize("steps", [8, 16, 30])
def test_the_last_of_the_way_is_the_polishers(name: str, steps: int) -> None:
    done, asked, polished = drawn(name, Sampling(steps, 1.0))
    assert min(asked) >= polished[0] and 0.35 < polished[0] <= REFINED_FROM + 1e-6
    assert polished == pytest.approx([polished[0], polished[0] / 2])
    assert len(done) == done[0].count == len(asked) + 2
    assert len(asked) % build_scheduler(name).order == 0, "no step is left in its middle"
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
def test_what_the_polisher_was_not_taught_stays_the_generators(
    name: str, sampling: Sampling, start: Tensor | None
) -> None:
    _, asked, polished = drawn(name, sampling, start)
    assert not polished and min(asked) < REFINED_FROM


def test_a_pipeline_polishes_unless_it_is_told_not_to(parts: Path) -> None:
    pipeline = StickerPipeline.assemble(parts, torch.float32)
    usual, plain = Sampling(8), Sampling(8, hooks=Sampling.hooks - {REFINER})
    pixels = list[np.ndarray]()
    for sampling in (usual, plain):
        pixels += [e.pixels for e in pipeline.steps(["a red apple"], [1], sampling) if isinstance(e, Pictures)]
    assert not np.array_equal(pixels[0], pixels[1])
    pipeline.fast = None
    (bare,) = (e.pixels for e in pipeline.steps(["a red apple"], [1], usual) if isinstance(e, Pictures))
    assert np.array_equal(bare, pixels[1])


# --- Training ---------------------------------------------------------------------------------------------------------


class Eyes(nn.Module):
    """Two sets of features: mean colours, and how much neighbours differ."""

    def forward(self, pictures: Tensor) -> list[Tensor]:
        return [pictures.mean((2, 3)), (pictures[..., 1:] - pictures[..., :-1]).abs().mean((2, 3))]


class Polish(PolishTask):
    """Led without guidance, which drives a generator that knows nothing out of all bounds."""

    real, recent, led, share, size = 40, 32, 16, 0.5, 4
    extractor, taught = Eyes, PLAIN


RECIPE = Recipe(Polish, batch_size=lambda _: 8, warmup=1, lr=3e-3, ema=0.5)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = save_tiny_parts(tmp_path_factory.mktemp("parts"))
    give_variant(root, 0.01)
    return root


@pytest.fixture
def options(parts: Path) -> TaskOptions:
    return TaskOptions("tiny", 3, fixture_world(), RECIPE.batch_size, parts, parts / "cache")


def told(rows: dict[str, Tensor]) -> Condition:
    """What is laid under the noise is under it already."""
    bare = {**rows, "reference": torch.zeros_like(rows["reference"])}
    return Condition(*(bare[name].float() if name != "mask" else bare[name] for name in vars(NOTHING)))


def test_what_it_learns_from_is_what_is_drawn(options: TaskOptions) -> None:
    task = Polish(options)
    rows = task.batch(5, 0, 1, 0.0)[STUDENT]
    wanted, path = told(rows), task.paths[STUDENT]
    sampling = FAST_SAMPLING.__class__(**{**vars(FAST_SAMPLING), "temperature": 1.0})
    with torch.no_grad():
        walked = task.stepped(task.model, rows["x"], [*path.first, *path.rest], vars(wanted))
        *_, drawn = denoise(
            task.model, rows["x"], ComposedCondition.of(wanted), wanted, sampling, build_scheduler("euler")
        )
    assert torch.allclose(walked, drawn.latents, atol=1e-4)


def test_it_goes_on_where_the_generator_has_led(options: TaskOptions) -> None:
    """As a pipeline draws: led by the generator, and then by the variant."""
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


def test_it_begins_as_what_ships_and_is_pulled_back_to_it(options: TaskOptions) -> None:
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
    run = Trainer(RECIPE, options, tmp_path, Length(steps=24), precision="no")
    run.step(0.0)
    task = run.task
    assert isinstance(task, PolishTask)
    before = {name: path.unlike for name, path in task.paths.items()}
    assert before[STUDENT] != before[TEACHER], "each path is compared by itself"
    run.run()
    for name, unlike in before.items():
        assert task.paths[name].unlike < 0.9 * unlike, name
    learned = load_file(tmp_path / "export" / PART / FILE)
    shipped = load_file((options.parts or Path()) / PART / FILE)
    assert learned.keys() >= shipped.keys() - {"warp_in"}


def test_without_a_variant_there_is_nothing_to_polish(tmp_path: Path) -> None:
    root = save_tiny_parts(tmp_path)
    with pytest.raises(ValueError, match="train recipe fast first"):
        Polish(TaskOptions("tiny", 3, fixture_world(), RECIPE.batch_size, root))
