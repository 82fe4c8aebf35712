"""Laws of the perceptual distance, of the network's training and of the generator's under it."""

from pathlib import Path

import pytest
import torch
from tiny_parts import save_tiny_parts

from models.data.fixture import fixture_world
from models.dit import DiT
from models.perceptual import Perceptual
from models.presets import preset
from models.train.image import ImageTask
from models.train.loop import Length, Recipe, TaskOptions, Trainer
from models.train.perceptual import PerceptualTask
from models.train.sharpen import SharpenTask
from models.weights import load_part


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_parts(tmp_path_factory.mktemp("parts"))


@pytest.fixture(scope="module")
def options(parts: Path) -> TaskOptions:
    return TaskOptions("tiny", 3, fixture_world(), lambda _: 8, parts, parts / "cache")


@pytest.fixture(scope="module")
def trained(options: TaskOptions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the network's own recipe exports to."""
    out = tmp_path_factory.mktemp("perceptual")
    recipe = Recipe(PerceptualTask, batch_size=options.batch_size, warmup=2, channels_last=True)
    Trainer(recipe, options, out, Length(steps=3), precision="no").run()
    return out / "export"


@pytest.fixture(scope="module")
def task(options: TaskOptions, trained: Path) -> SharpenTask:
    return SharpenTask(options, perceptual=trained)


def network() -> Perceptual:
    torch.manual_seed(0)
    return Perceptual(**preset("perceptual", "tiny"), concepts=5, styles=3, colours=4).eval()


def test_the_distance_is_zero_on_itself_and_grows_with_noise() -> None:
    net, latents, noise = network(), torch.randn(6, 8, 16, 16), torch.randn(6, 8, 16, 16)
    assert net.distance(latents, latents).abs().max() == 0
    near, far = (net.distance(latents + by * noise, latents) for by in (0.1, 0.5))
    assert (near > 0).all() and (near < far).all() and (far < 12).all()


def test_only_the_answer_gets_a_gradient() -> None:
    answer, wanted = (torch.randn(2, 8, 16, 16, requires_grad=True) for _ in range(2))
    network().distance(answer, wanted).sum().backward()
    assert answer.grad is not None and answer.grad.abs().sum() > 0 and wanted.grad is None


def test_what_its_recipe_exports_is_what_it_trained(trained: Path, options: TaskOptions) -> None:
    net = load_part(Perceptual, "perceptual", trained)
    concept, style, colour = net(torch.randn(2, 8, 16, 16))
    world = PerceptualTask(options)
    assert concept.shape == (2, len(world.concepts)) and style.shape == (2, len(world.styles)) and len(colour) == 2


def test_ranks_share_one_batch_and_labels_go_with_their_latents(options: TaskOptions) -> None:
    task = PerceptualTask(options)
    whole, parts = task.batch(4, 0, 1, 0.0), [task.batch(4, rank, 2, 0.0) for rank in range(2)]
    for name, values in whole.items():
        assert torch.equal(values[0::2], parts[0][name]) and torch.equal(values[1::2], parts[1][name])
    held = task.evaluate(task.model.eval())
    assert set(held) == {"concept", "concept_in_5", "style"} and held["concept"] <= held["concept_in_5"]


def test_the_right_answer_looks_right_and_a_wrong_one_does_not(task: SharpenTask) -> None:
    batch = task.batch(0, 0, 1, 0.1)
    assert task._looks(batch["target"], batch) < 1e-6
    assert task._looks(torch.zeros_like(batch["target"]), batch) > 1e-3


def test_above_the_gate_looks_do_not_count(task: SharpenTask) -> None:
    batch = task.batch(0, 0, 1, 0.1)
    noisy = {**batch, "t": torch.full_like(batch["t"], 0.9)}
    assert task._looks(torch.zeros_like(batch["target"]), noisy) == 0


def test_the_loss_is_the_flows_and_the_weighted_looks(task: SharpenTask, options: TaskOptions) -> None:
    batch, plain = task.batch(0, 0, 1, 0.1), ImageTask(options)
    torch.manual_seed(1)
    torch.nn.init.normal_(task.model.out.weight)
    told = task.loss(task.model.train(), batch, 0.1)
    assert torch.allclose(told["loss"], told["flow"] + task.weight * told["perceptual"])
    assert torch.equal(told["flow"], plain.loss(task.model, batch, 0.1)["loss"])
    assert task.loss(task.model.eval(), batch, 0.1).keys() == {"loss"}, "figures must compare with other recipes'"


def test_a_generator_trains_under_it(options: TaskOptions, trained: Path, tmp_path: Path) -> None:
    recipe = Recipe(lambda o: SharpenTask(o, perceptual=trained), batch_size=options.batch_size, warmup=2, muon=True)
    trainer = Trainer(recipe, options, tmp_path, Length(steps=2), precision="no")
    trainer.run()
    assert trainer.state.step == 2 and load_part(DiT, "dit", tmp_path / "export")


def test_without_the_network_it_says_how_to_get_one(options: TaskOptions, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"python -m models\.train perceptual"):
        SharpenTask(options, perceptual=tmp_path)
