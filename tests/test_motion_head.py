"""Laws of a clip's vector, and of the training of the head that reads its motion, on `tiny` over the drawn fixture.

Pictures and vectors equal to the byte are so on the kernels of one process.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fixture_world import fixture_world
from safetensors.torch import load_file, save_file
from tiny_parts import awaken, save_tiny_parts

from models.assets import preset
from models.data.clips import make_clip
from models.pipelines.sticker import StickerPipeline
from models.prompts.still import named_motions
from models.space import CLIP_FRAMES, DIM, MOTION, Embedder, MotionHead, SemanticSpace
from models.train.loop import TaskOptions
from models.train.video import PAIRS, MotionTask, motion_item
from models.weights import WeightsError, load_part, part_digests, record_part, save_part, weights_digest


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The parts of a pipeline with a head that says something."""
    root = save_tiny_parts(tmp_path_factory.mktemp("parts"))
    torch.manual_seed(0)
    head = MotionHead(**preset(MOTION, "tiny"))
    awaken(head)
    save_part(head, MOTION, root, part_digests(("vision", "space"), root))
    return root


@pytest.fixture(scope="module")
def embedder(parts: Path) -> Embedder:
    return Embedder.load(parts)


def moved(frames: int = CLIP_FRAMES) -> np.ndarray:
    """A picture that wanders to the right."""
    picture = fixture_world().pixels[0]
    return np.stack([np.roll(picture, 3 * number, 1) for number in range(frames)])


def test_a_still_clip_is_its_picture_and_a_moving_one_has_an_order(embedder: Embedder) -> None:
    frames, picture = moved(), fixture_world().pixels[:1]
    still, there, back = embedder.clip([np.repeat(picture, 5, 0), frames, frames[::-1]])
    assert torch.allclose(still, embedder.image(picture)[0], atol=1e-3)
    assert torch.allclose(embedder.clip([picture]), embedder.image(picture), atol=1e-3)
    assert there.norm().item() == pytest.approx(1, abs=1e-5)
    assert (there - back).norm() > 1e-2
    assert torch.equal(embedder.clip([frames])[0], there)  # whatever else was asked


def test_so_many_frames_stand_for_a_longer_clip(embedder: Embedder) -> None:
    frames = moved(4 * CLIP_FRAMES)
    assert torch.equal(embedder.clip([frames]), embedder.clip([frames[::4]]))


def test_an_untrained_head_gives_the_mean_of_the_frames(parts: Path, embedder: Embedder) -> None:
    fresh = Embedder(
        embedder.tokenizer, embedder.language, embedder.vision, embedder.space, MotionHead(**preset(MOTION, "tiny"))
    )
    without = Embedder(embedder.tokenizer, embedder.language, embedder.vision, embedder.space)
    mean = F.normalize(embedder.image(moved()).mean(0), dim=0)
    for one in (fresh, without):
        assert torch.allclose(one.clip([moved()])[0], mean, atol=1e-5)


def test_a_pipeline_reads_clips_as_its_parts_do(parts: Path, embedder: Embedder, tmp_path: Path) -> None:
    pipeline = StickerPipeline.assemble(parts)
    pipeline.save_pretrained(tmp_path / "saved")
    for made in (pipeline, StickerPipeline.from_pretrained(tmp_path / "saved")):
        assert torch.allclose(made.embedder.clip([moved()]), embedder.clip([moved()]), atol=1e-5)


# --- Its part ---------------------------------------------------------------------------------------------------------


def test_one_that_was_made_with_another_space_is_left_out(parts: Path, tmp_path: Path) -> None:
    other = save_tiny_parts(tmp_path)
    save_part(MotionHead(**preset(MOTION, "tiny")), MOTION, other, {"space": "another"})
    assert Embedder.load(other).motion is None
    with pytest.raises(WeightsError, match="space"):
        load_part(MotionHead, MOTION, other)
    assert Embedder.load(parts).motion is not None


def test_a_space_with_an_idle_layer_for_clips_loads_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the shipped one, whose digest names all vectors that were ever made in it."""
    torch.manual_seed(0)
    space = SemanticSpace(**preset("space", "tiny"))
    folder = save_part(space, "space", tmp_path)
    tensors, config = folder / "diffusion_pytorch_model.safetensors", folder / "config.json"
    save_file({**load_file(tensors), "motion.down.weight": torch.zeros(DIM, 32)}, tensors)
    config.write_text(json.dumps({**json.loads(config.read_text()), "hidden": 32}))
    record_part("space", tmp_path)
    digest = weights_digest(("space",), tmp_path)
    loaded = load_part(SemanticSpace, "space", tmp_path)
    tokens = torch.randn(2, 64, 32)
    assert torch.allclose(loaded.image(tokens), space.bfloat16().float().image(tokens))
    assert weights_digest(("space",), tmp_path) == digest
    assert "hidden" not in capsys.readouterr().err


# --- Training ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory, parts: Path) -> TaskOptions:
    cache = tmp_path_factory.mktemp("cache")
    return TaskOptions("tiny", 0, fixture_world(), lambda _: 16, parts, cache)


def small(options: TaskOptions) -> MotionTask:
    return MotionTask(options, clips=24, held=6)


def test_what_moves_alike_is_said_of_other_things(options: TaskOptions) -> None:
    world = options.world
    clips = [make_clip(world, seed) for seed in range(20)]
    two = next(clip for clip in clips if len(clip.tracks) == 2 and not clip.scene)
    for one in (clip for clip in clips if len(clip.tracks) == 1 and not clip.scene):
        own, *others = motion_item(world, one).pairs
        assert own[0] is None and len(others) == PAIRS - 1
        for picture, caption in others:
            assert picture is not None and one.tracks[0].move.motion in named_motions(caption)
    assert all(picture is None for picture, _ in motion_item(world, two).pairs)


def test_rows_are_read_once_and_training_lowers_the_loss(options: TaskOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    task = small(options)
    monkeypatch.setattr(MotionTask, "_encoded", None)  # a second task finds them
    again = small(options)
    assert torch.equal(task.train.places, again.train.places)
    assert torch.equal(task.components, again.components)
    batch = task.batch(0, 0, 1, 0.0)
    assert all(torch.equal(value, again.batch(0, 0, 1, 0.0)[name]) for name, value in batch.items())
    optimizer = torch.optim.AdamW([p for p in task.model.parameters() if p.requires_grad], 1e-2)
    losses = []
    for _ in range(30):
        losses.append(task.loss(task.model, batch, 0.0)["loss"])
        losses[-1].backward()
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < 0.9 * losses[0]
    assert torch.equal(task.components, again.components)  # frozen


def test_what_is_exported_opens_and_fresh_it_is_the_mean(options: TaskOptions, tmp_path: Path) -> None:
    task = small(options)
    figures = task.evaluate(task.model.eval())
    assert figures["words_to_clips_r10"] == figures["words_to_clips_r10_mean"]
    assert figures["away"] == pytest.approx(0, abs=1e-5)
    task.export(task.model, tmp_path)
    head = load_part(MotionHead, MOTION, tmp_path)
    assert torch.equal(head.components.weight, task.components.bfloat16().float())
