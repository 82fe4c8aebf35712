"""Laws of drawing clips: the same seed gives the same clip, settings matter, motion is left out of the first frame."""

from pathlib import Path

import numpy as np
import pytest
from fixture_world import fixture_world
from tiny_parts import save_tiny_parts, save_tiny_video

from models.pipelines.video import ClipPipeline, ClipSampling, ClipStep, DrawnClip
from models.prompts.still import can_loop, named_motions, plain_motion, still_prompt

PICTURE = fixture_world().pixels[0]


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> ClipPipeline:
    root: Path = save_tiny_parts(tmp_path_factory.mktemp("parts"))
    save_tiny_video(root)
    return ClipPipeline.assemble(root)


def drawn(pipeline: ClipPipeline, seed: int = 3, **settings: object) -> DrawnClip:
    *_, clip = pipeline.steps("a star spins", seed, count=4, **settings)  # type: ignore[arg-type]
    assert isinstance(clip, DrawnClip)
    return clip


def test_the_same_seed_draws_the_same_clip(pipeline: ClipPipeline) -> None:
    once, again, other = drawn(pipeline), drawn(pipeline), drawn(pipeline, seed=4)
    assert once.frames.shape == (4, 128, 128, 4) and once.frames.dtype == np.uint8
    assert np.array_equal(once.frames, again.frames) and not np.array_equal(once.frames, other.frames)
    assert (once.frames[..., :3] <= once.frames[..., 3:]).all()


def test_settings_and_given_frames_matter(pipeline: ClipPipeline) -> None:
    plain = drawn(pipeline, picture=PICTURE)
    assert np.array_equal(plain.first, PICTURE)
    changes = ({"loop": True}, {"fps": 16.0}, {"strength": 1.5}, {"last": PICTURE[:, ::-1]})
    for change in (*changes, {"sampling": ClipSampling(drafted=False)}):
        assert not np.array_equal(drawn(pipeline, picture=PICTURE, **change).frames, plain.frames)


def test_only_a_drawn_picture_is_given_room(pipeline: ClipPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.pipelines.video.room", lambda _: (0.7, np.array([0.1, 0.2])))
    assert np.array_equal(drawn(pipeline, picture=PICTURE).first, PICTURE)
    smaller = drawn(pipeline, picture=PICTURE, room=True).first
    assert not np.array_equal(smaller, PICTURE) and not smaller[:25, :, 3].any() and not smaller[:, :12, 3].any()


def test_steps_are_reported_with_previews(pipeline: ClipPipeline) -> None:
    *steps, _ = pipeline.steps("a star spins", 1, picture=PICTURE, count=3, previews=True)
    assert [step.step for step in steps if isinstance(step, ClipStep)] == list(range(ClipSampling().steps + 1))
    assert all(
        isinstance(step, ClipStep) and step.preview is not None and step.preview.shape == (3, 64, 64, 4)
        for step in steps
    )


@pytest.mark.parametrize(
    ("text", "still"),
    [
        ("a cat spins fast, in a loop", "a cat"),
        ("A dog slides to the left, noto style", "A dog, noto style"),
        ("animated sticker of a red heart beating", "a red heart"),
        ("a spinning top", "a top"),
        ("小猫慢慢地跳跃，循环播放", "小猫"),
        ("旋转的星星", "星星"),
        ("a blue fish swims to the right", "a blue fish"),
        ("a bird flying in a circle", "a bird"),
        ("a flying saucer", "a flying saucer"),
        ("小鸟向上飞", "小鸟"),
        ("a candle", "a candle"),
        ("spins", "spins"),
    ],
)
def test_motion_is_left_out_of_the_first_frame(text: str, still: str) -> None:
    assert still_prompt(text) == still


def test_what_people_say_is_asked_in_the_words_of_captions() -> None:
    said = {"A rocket takes off": "A rocket slides up", "two fish swimming LEFT": "two fish sliding left"}
    said |= {
        "a bird flies in a circle": "a bird flies in a circle",
        "小鸟向上飞": "小鸟向上滑动",
        "a left shoe": "a left shoe",
    }
    assert {text: plain_motion(text) for text in said} == said
    assert named_motions("a rocket flies up") == ["slide up"] and not can_loop("a rocket flies up")


def test_what_leads_away_does_not_come_back() -> None:
    assert named_motions("A cat SLIDES TO THE LEFT and spins") == ["slide left", "spin"]
    said = {"a cat slides left": False, "小猫落下": False, "a cat slides left and spins": True, "a candle": True}
    assert {text: can_loop(text) for text in said} == said
