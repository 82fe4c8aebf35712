"""A generator that grew computes what it did before, its fast variant too, and every new block can learn."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from tiny_parts import give_variant, save_tiny_parts
from torch import Tensor

from models.data.fixture import fixture_world
from models.dit import DiT
from models.lora import load_fast
from models.train.grow import INTO_STREAM, grow
from models.train.image import ImageTask
from models.train.loop import Length, Recipe, TaskOptions, Trainer
from models.weights import MADE_WITH, WeightsError, load_part, part_digests, save_part


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a release whose generator knows what it was trained with, and has a fast variant."""
    root = save_tiny_parts(tmp_path_factory.mktemp("parts"))
    save_part(load_part(DiT, "dit", root), "dit", root, part_digests(("autoencoder", "space"), root))
    give_variant(root, 0.01)
    return root


@pytest.fixture(scope="module")
def grown(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("grown")
    assert grow(parts, 8, out) == ["dit", "fast"]
    return out


def answer(dit: DiT, weakened: bool = False) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    x, draft = torch.randn(2, 2, 8, 16, 16, generator=generator)
    states = torch.randn(2, 5, dit.config.context, generator=generator)
    times, mask = torch.tensor([0.2, 0.8]), torch.ones(2, 5, dtype=torch.bool)
    return dit(x, times, states, mask, torch.ones(2, 128), draft, mask[:, 0] if weakened else None)


def test_a_grown_generator_computes_the_same(parts: Path, grown: Path) -> None:
    before, after = load_part(DiT, "dit", parts), load_part(DiT, "dit", grown)
    assert (before.config.depth, after.config.depth) == (4, 8)
    assert torch.equal(answer(before), answer(after))


def test_so_does_its_fast_variant(parts: Path, grown: Path) -> None:
    dit = load_part(DiT, "dit", parts)
    before, after = load_fast(dit, parts), load_fast(load_part(DiT, "dit", grown), grown)
    assert before is not None and after is not None
    assert torch.equal(answer(before), answer(after))
    assert not torch.equal(answer(before), answer(dit))


def test_weights_that_do_not_fit_are_refused_before_minutes_go_into_encoding(
    parts: Path, grown: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.train.image.encode_all", lambda *_: pytest.fail("encoded for nothing"))
    with pytest.raises(ValueError, match="does not fit the model: blocks"):
        _trainer(parts, tmp_path).start_from(grown / "dit")


def _trainer(parts: Path, out: Path) -> Trainer:
    recipe = Recipe(ImageTask, batch_size=lambda _: 4)
    options = TaskOptions("tiny", 0, fixture_world(), recipe.batch_size, parts)
    return Trainer(recipe, options, out, Length(steps=1), precision="no")


def test_a_generator_of_other_parts_is_not_begun_from(parts: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(parts / "dit", tmp_path / "dit")
    (folder / MADE_WITH).write_text(json.dumps({"autoencoder": "another"}))
    with pytest.raises(WeightsError, match="another part 'autoencoder'"):
        _trainer(parts, tmp_path / "run").start_from(folder)


def test_ten_and_twelve_blocks_are_weakened_alike(tmp_path: Path) -> None:
    torch.manual_seed(0)
    dit = DiT(width=32, heads=2, context=32, depth=10)
    for parameter in dit.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    save_part(dit, "dit", tmp_path / "ten", {"space": "any"})
    assert grow(tmp_path / "ten", 12, tmp_path / "twelve") == ["dit"]
    before, after = (load_part(DiT, "dit", tmp_path / name) for name in ("ten", "twelve"))
    assert torch.equal(answer(before, weakened=True), answer(after, weakened=True))
    assert not torch.equal(answer(before, weakened=True), answer(before))


def test_new_blocks_learn_from_the_first_step(grown: Path) -> None:
    dit = load_part(DiT, "dit", grown).requires_grad_(True)
    answer(dit).square().mean().backward()
    new = [f"blocks.{number}.{name}" for number in range(2, 6) for name in INTO_STREAM]
    gradients = {name: parameter.grad for name, parameter in dit.named_parameters() if name in new}
    assert len(gradients) == 14  # four blocks, of which two have a long skip
    assert all(gradient is not None and gradient.any() for gradient in gradients.values())


@pytest.mark.parametrize("depth", [3, 4, 5])
def test_a_depth_that_does_not_fit_is_refused(parts: Path, tmp_path: Path, depth: int) -> None:
    with pytest.raises(ValueError, match=f"--depth {depth} for a generator of 4 blocks; give an even number above"):
        grow(parts, depth, tmp_path / "out")
    assert not (tmp_path / "out").exists()
