"""Laws of open_clip models: what is trained loads in open_clip by itself, and any of them embeds as our space does.

Pictures and vectors equal to the byte are so on the kernels of one process.
"""

import copy
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from fixture_world import fixture_world
from tiny_parts import save_tiny_parts
from training_kit import are_equal, straight_and_resumed

from models.data.pixels import composite, to_tensor
from models.open_clip import PART, TRUNK, OpenClip, TrunkEmbedder, any_embedder, heads
from models.open_clip import TRUNK_PART as HEADS
from models.train.loop import Length, Recipe, TaskOptions, Trainer
from models.train.open_clip import WHITE, OpenClipTask, TrunkSpaceTask, configuration
from models.weights import WeightsError, listed_parts, record_part

open_clip = pytest.importorskip("open_clip")
RECIPE = Recipe(OpenClipTask, batch_size=lambda _: 8, warmup=2)
TEXTS = ["a cat", "一只红色的猫", "star " * 60, "typed <eos> in a prompt"]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.train.contrastive.SCENES", 4)
        yield save_tiny_parts(tmp_path_factory.mktemp("parts"))


def options(parts: Path) -> TaskOptions:
    return TaskOptions("tiny", 3, fixture_world(), RECIPE.batch_size, parts)


def trainer(parts: Path, out: Path) -> Trainer:
    return Trainer(RECIPE, options(parts), out, Length(steps=4), precision="no")


@pytest.fixture(scope="module")
def trained(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    """Four steps, exported."""
    done = trainer(parts, tmp_path_factory.mktemp("run") / "straight")
    done.run()
    return done


@pytest.fixture(scope="module")
def folder(trained: Trainer) -> Path:
    return trained.out / "export" / PART


def test_what_is_saved_loads_in_open_clip_with_equal_features(trained: Trainer, folder: Path) -> None:
    loaded = open_clip.create_model_and_transforms(f"local-dir:{folder}")[0]
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(TEXTS)
    assert torch.equal(tokens, trained.task.tokenizer(TEXTS)), "each ends in the one token that its vector is taken at"
    assert ((tokens == 2).sum(1) == 1).all() and (tokens[:, 0] == 1).all()
    pixels = to_tensor(fixture_world().pixels[:3])
    with trained.averaged() as averaged, torch.no_grad():
        model = copy.deepcopy(averaged).bfloat16().float()  # as it is stored
        ready = trained.task.normalised(composite(pixels, WHITE))
        expected, of_texts = model.encode_image(ready, normalize=True), model.encode_text(tokens, normalize=True)
        assert torch.equal(loaded.eval().encode_text(tokens, normalize=True), of_texts)
        assert torch.equal(loaded.encode_image(ready, normalize=True), expected)
    found = OpenClip.load(f"open_clip:{folder}")
    assert torch.allclose(found.image(fixture_world().pixels[:3]), expected, atol=1e-5), "pictures as in training"
    assert torch.allclose(found.text(TEXTS), of_texts, atol=1e-5)
    assert listed_parts(folder.parent).keys() == {PART}


def test_resumed_equals_straight(parts: Path, tmp_path: Path) -> None:
    assert are_equal(*straight_and_resumed(partial(trainer, parts), tmp_path))


def test_ranks_share_one_batch_and_captions_belong_to_their_pictures(trained: Trainer) -> None:
    task = trained.task
    whole, first, second = (task.batch(2, rank, ranks, 0.9) for rank, ranks in ((0, 1), (0, 2), (1, 2)))
    assert torch.equal(whole["pictures"], torch.cat([first["pictures"], second["pictures"]]))
    languages = [part["tokens"].chunk(2) for part in (first, second)]
    assert torch.equal(whole["tokens"], torch.cat([*(part[0] for part in languages), *(part[1] for part in languages)]))


@pytest.mark.parametrize("sigmoid", [False, True])
def test_training_lowers_the_loss_of_clip_and_of_siglip(
    parts: Path, sigmoid: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configuration("tiny")
    if sigmoid:
        config["model_cfg"] |= {"init_logit_bias": -10.0, "init_logit_scale": 2.3}
    monkeypatch.setattr("models.train.open_clip.configuration", lambda name: config)
    torch.manual_seed(0)
    task = OpenClipTask(options(parts))
    assert (type(task.criterion).__name__ == "SigLipLoss") is sigmoid
    optimizer, batch, losses = torch.optim.AdamW(task.model.parameters(), 3e-3), task.batch(0, 0, 1, 0.9), []
    for _ in range(25):
        optimizer.zero_grad()
        losses.append(task.loss(task.model, batch, 0.9)["loss"])
        losses[-1].backward()
        optimizer.step()
        task.after_step(task.model)
    assert losses[-1] < 0.8 * losses[0]
    task.loss(task.model, batch, 0.1)
    assert task.model.visual.patch_dropout.prob == 0.5, "half of the patches, until the last stage"


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
    with pytest.raises(ValueError, match="no preset 'huge'; there are sticker, tiny"):
        configuration("huge")


# --- Our heads over a trunk -------------------------------------------------------------------------------------------


def over(folder: Path | str, cache: Path | None = None) -> TrunkSpaceTask:
    torch.manual_seed(0)
    chosen = TaskOptions("tiny", 3, fixture_world(), RECIPE.batch_size, cache=cache, trunk=str(folder))
    return TrunkSpaceTask(chosen, units=20)


def test_heads_over_a_trunk_learn_from_vectors_that_are_encoded_once(folder: Path, tmp_path: Path) -> None:
    task = over(folder, tmp_path)
    assert task.rows["picture"].shape == task.rows["chinese"].shape == (40, 128)
    again = TaskOptions("tiny", 3, fixture_world(), RECIPE.batch_size, cache=tmp_path, trunk=str(folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrunkSpaceTask, "_encoded", None)
        assert all(torch.equal(own, task.rows[name]) for name, own in TrunkSpaceTask(again, units=20).rows.items())
    batch = task.batch(1, 0, 1, 0.0)
    halves = [task.batch(1, rank, 2, 0.0) for rank in (0, 1)]
    assert sorted(batch["picture"].sum(1).tolist()) == sorted(torch.cat([h["picture"] for h in halves]).sum(1).tolist())
    optimizer, losses = torch.optim.AdamW(task.model.parameters(), 3e-3), []
    for _ in range(30):
        optimizer.zero_grad()
        losses.append(task.loss(task.model, batch, 0.0)["loss"])
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.7 * losses[0]


def test_heads_are_a_part_that_embeds_as_in_training_and_knows_its_trunk(folder: Path, tmp_path: Path) -> None:
    task = over(folder)
    with torch.no_grad():
        figures = task.evaluate(task.model.eval())
    assert {"text_to_image_r10_en", "trunk_text_to_image_r10_en"} <= figures.keys()
    task.export(task.model, tmp_path)
    embedder = any_embedder(str(tmp_path / HEADS))
    assert isinstance(embedder, TrunkEmbedder) and isinstance(any_embedder(str(folder)), OpenClip)
    texts, pictures = embedder.text(TEXTS), embedder.image(fixture_world().pixels[:2])
    expected = heads(task.model.bfloat16().float().space, texts=task.trunk.text(TEXTS))
    assert torch.allclose(texts, expected, atol=1e-4) and pictures.shape == (2, 128)
    assert torch.allclose(pictures.norm(dim=1), torch.ones(2), atol=1e-5)
    said = json.loads((tmp_path / HEADS / TRUNK).read_text())
    (tmp_path / HEADS / TRUNK).write_text(json.dumps(said | {"probe": said["probe"][::-1]}))
    record_part(HEADS, tmp_path)
    with pytest.raises(WeightsError, match="trained over another"):
        any_embedder(str(tmp_path / HEADS))


def test_without_a_trunk_the_recipe_says_what_it_needs() -> None:
    with pytest.raises(ValueError, match="give --trunk"):
        over("")
