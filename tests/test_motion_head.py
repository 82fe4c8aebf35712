"""Laws of a clip's vector, and of the training of the head that reads its motion, on `tiny` over the drawn fixture."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tiny_parts import awaken, save_tiny_parts

from fixture_world import fixture_world
from models.pipelines.image import StickerPipeline
from models.presets import preset
from models.space import DIM, FRAMES, MOTION, Embedder, MotionHead, SemanticSpace
from models.train.loop import Length, TaskOptions, Trainer
from models.train.motion import PAIRS, MotionTask, item_of, recall
from models.train.recipes import RECIPES
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


def moved(frames: int = FRAMES) -> np.ndarray:
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
    frames = moved(4 * FRAMES)
    assert torch.equal(embedder.clip([frames]), embedder.clip([frames[::4]]))


def test_an_untrained_head_gives_the_mean_of_the_frames(parts: Path, embedder: Embedder) -> None:
    fresh = Embedder(
        embedder.tokenizer, embedder.language, embedder.vision, embedder.space, MotionHead(**preset(MOTION, "tiny"))
    )
    without = Embedder(embedder.tokenizer, embedder.language, embedder.vision, embedder.space)
    mean = F.normalize(embedder.image(moved()).mean(0), dim=0)
    for one in (fresh, without):
        assert torch.allclose(one.clip([moved()])[0], mean, atol=1e-5)


def test_a_pipeline_reads_clips_as_its_parts_do_and_goes_without_the_head(
    parts: Path, embedder: Embedder, tmp_path: Path
) -> None:
    pipeline = StickerPipeline.assemble(parts)
    pipeline.save_pretrained(tmp_path / "saved")
    for made in (pipeline, StickerPipeline.from_pretrained(tmp_path / "saved")):
        assert torch.equal(made.embedder.clip([moved()]), embedder.clip([moved()]))
