"""Laws of open_clip models: what is trained loads in open_clip by itself, any model embeds as our space does, and what
can't be loaded is refused."""

import copy
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from fixture_world import fixture_world
from tiny_parts import save_tiny_parts
from training_kit import are_equal, straight_and_resumed

from models.data.pixels import composite, to_tensor
from models.open_clip import OpenClip
from models.train.loop import Length, TaskOptions, Trainer
from models.train.open_clip import WHITE, OpenClipTask, normalised
from models.train.recipes import RECIPES
from models.weights import WeightsError

tiny_readers = pytest.importorskip("tiny_readers", exc_type=ImportError)
RECIPE = replace(RECIPES["open_clip"], batch_size=lambda _: 8, warmup=2)
TEXTS = ["a cat", "一只红色的猫", "star " * 60, "typed <eos> in a prompt"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_readers.save_open_clip(tmp_path_factory.mktemp("models") / "clip")


def test_vectors_of_any_size_are_of_unit_length_and_alone_as_in_company(folder: Path) -> None:
    model = OpenClip.load(str(folder))
    pictures = np.random.default_rng(0).integers(0, 256, (3, 50, 90, 4), np.uint8)
    pictures[..., :3] = np.minimum(pictures[..., :3], pictures[..., 3:])
    for vectors, alone in (
        (model.image(pictures), model.image(pictures[:1])),
        (model.text(TEXTS), model.text(TEXTS[:1])),
    ):
        assert torch.allclose(vectors.norm(dim=1), torch.ones(len(vectors)), atol=1e-5)
        assert torch.allclose(vectors[:1], alone, atol=1e-5)
    nothing, white = np.zeros((1, 128, 128, 4), np.uint8), np.full((1, 128, 128, 4), 255, np.uint8)
    assert torch.equal(model.image(nothing), model.image(white))


def test_what_can_not_be_loaded_is_refused_in_one_sentence(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "pickle").mkdir()
    (tmp_path / "pickle" / "open_clip_model.bin").write_bytes(b"")
    (tmp_path / "weights.pt").write_bytes(b"")
    (tmp_path / "cut").mkdir()
    for file in folder.iterdir():
        (tmp_path / "cut" / file.name).write_bytes(file.read_bytes()[:1000])
    for name, said in {
        str(tmp_path / "pickle"): "holds no safetensors",
        f"local-dir:{tmp_path / 'nowhere'}": "holds no safetensors",
        f"ViT-B-32:{tmp_path / 'weights.pt'}": "holds no safetensors",
        "open_clip:ViT-B-32": "would be random",
        "ViT-B-23:openai": "did you mean",
        str(tmp_path / "cut"): "does not load as an open_clip model",
        "ViT-B-32:nowhere": "does not load as an open_clip model",
    }.items():
        with pytest.raises(WeightsError, match=said) as refused:
            OpenClip.load(name)
        assert "\n" not in str(refused.value) and refused.value.text("zh") != str(refused.value), name


# --- Training ---------------------------------------------------------------------------------------------------------


def trainer(parts: Path, out: Path) -> Trainer:
    options = TaskOptions("tiny", 3, fixture_world(), RECIPE.batch_size, parts)
    return Trainer(RECIPE, options, out, Length(steps=4), precision="no")


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_parts(tmp_path_factory.mktemp("parts"))


@pytest.fixture(scope="module")
def trained(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    done = trainer(parts, tmp_path_factory.mktemp("run"))
    done.run()
    return done


def test_what_is_trained_loads_in_open_clip_and_in_eval_with_equal_features(trained: Trainer) -> None:
    import open_clip

    folder = trained.out / "export" / "open_clip"
    loaded = open_clip.create_model_and_transforms(f"local-dir:{folder}")[0].eval()
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(TEXTS)
    assert isinstance(trained.task, OpenClipTask) and torch.equal(tokens, trained.task.tokenizer(TEXTS))
    assert ((tokens == 2).sum(1) == 1).all() and (tokens[:, 0] == 1).all(), "one <eos>, at which the vector is taken"
    pictures = normalised(composite(to_tensor(fixture_world().pixels[:3]), WHITE))
    with trained.averaged() as averaged:
        model = copy.deepcopy(averaged).bfloat16().float()  # as it is stored
        images, texts = model.encode_image(pictures, normalize=True), model.encode_text(tokens, normalize=True)
        assert torch.equal(loaded.encode_image(pictures, normalize=True), images)
        assert torch.equal(loaded.encode_text(tokens, normalize=True), texts)
    embedder = OpenClip.load(f"open_clip:{folder}")
    assert torch.allclose(embedder.image(fixture_world().pixels[:3]), images, atol=1e-5)
    assert torch.allclose(embedder.text(TEXTS), texts, atol=1e-5)


def test_resumed_equals_straight(parts: Path, tmp_path: Path) -> None:
    assert are_equal(*straight_and_resumed(partial(trainer, parts), tmp_path))


def test_ranks_share_one_batch_and_captions_belong_to_their_pictures(trained: Trainer) -> None:
    whole, first, second = (trained.task.batch(2, rank, ranks, 0.9) for rank, ranks in ((0, 1), (0, 2), (1, 2)))
    assert torch.equal(whole["pictures"], torch.cat([first["pictures"], second["pictures"]]))
    languages = [part["tokens"].chunk(2) for part in (first, second)]
    assert torch.equal(whole["tokens"], torch.cat([*(part[0] for part in languages), *(part[1] for part in languages)]))


def test_training_lowers_the_loss_with_half_of_the_patches_until_the_last_stage(parts: Path, tmp_path: Path) -> None:
    task = trainer(parts, tmp_path).task
    optimizer, batch, losses = torch.optim.AdamW(task.model.parameters(), 3e-3), task.batch(0, 0, 1, 0.9), []
    for _ in range(25):
        optimizer.zero_grad()
        losses.append(task.loss(task.model, batch, 0.9)["loss"])
        losses[-1].backward()
        optimizer.step()
        task.after_step(task.model)
    assert losses[-1] < 0.8 * losses[0] and task.model.visual.patch_dropout.prob == 0
    task.loss(task.model, task.batch(0, 0, 1, 0.1), 0.1)
    assert task.model.visual.patch_dropout.prob == 0.5
