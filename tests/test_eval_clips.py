"""Laws of the figures of clips: real clips have what they must have, controls lack it, and code finds the verb."""

from pathlib import Path

import numpy as np
import pytest
from eval_kit import SIZES, drawn_context
from fixture_world import fixture_world
from tiny_parts import save_tiny_parts, save_tiny_video

from eval import clips as seen
from eval.clips import DIRECTED, moments, motion_classifier, move_of, plain_clips, prompt_of, seam
from eval.context import Context
from eval.metrics import METRICS
from eval.metrics import clips as metric
from eval.rows import MissingError
from models.data.clips import Move, direction_seen

WORLD = fixture_world()


def test_real_and_warped_clips_go_where_the_words_say_and_controls_do_not() -> None:
    clips = list(plain_clips(WORLD, 8, "train", DIRECTED, 0))
    asked = [prompt_of(WORLD, clip, 0) for clip in clips]
    wanted = [clip.direction for clip in clips]
    assert [direction_seen(clip.render(WORLD)) for clip in clips] == wanted
    assert [direction_seen(made) for made in seen.warped(asked)] == wanted
    assert {direction_seen(made) for made in seen.still(asked)} == {""}


@pytest.mark.parametrize(
    ("text", "move"),
    [
        ("a cat slides to the left quickly", Move("slide left", "fast")),
        ("小猫慢慢地旋转", Move("spin", "slow")),
        ("a candle", None),
    ],
)
def test_code_finds_the_verb(text: str, move: Move | None) -> None:
    found = move_of(text)
    assert (found and found.motion) == (move and move.motion)


def test_loops_close_and_shuffled_frames_do_not() -> None:
    clips = [clip for clip in plain_clips(WORLD, 12, "train", ("pulse", "bounce", "swing"), 0) if clip.loop]
    real = np.stack([clip.render(WORLD) for clip in clips])
    assert np.median([seam(one) for one in real]) <= 1.1
    assert (seen.shuffled(real).sum(1) == real.sum(1)).all() and not np.array_equal(seen.shuffled(real), real)


def test_a_classifier_of_real_clips_tells_moving_from_still() -> None:
    kinds = ("spin", "slide left", "fade out", "pulse")
    clips = list(plain_clips(WORLD, 80, "train", kinds, 0))
    truth = np.arange(len(clips)) % len(kinds)
    numbers = np.stack([moments(clip.render(WORLD)) for clip in clips])
    tell = motion_classifier(numbers[:60], truth[:60], steps=150)
    assert (tell(numbers[60:]) == truth[60:]).mean() > 0.7
    still = np.stack([moments(one) for one in seen.still([prompt_of(WORLD, clip, 0) for clip in clips[60:]])])
    assert (tell(still) == truth[60:]).mean() < 0.5


def coarse(_: Context, pixels: np.ndarray) -> np.ndarray:
    """Features in place of the network's, which take seconds."""
    return pixels[:, 16::32, 16::32].reshape(len(pixels), -1).astype(float) + 1


def test_the_rows_of_a_tiny_generator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metric, "LEARNT", 2)
    monkeypatch.setattr(Context, "features", coarse)
    monkeypatch.setattr(metric, "KINDS", ("pulse", "slide left"))
    # The drawn world has no held-out pair of every motion.
    monkeypatch.setattr(metric, "plain_clips", lambda world, count, _, *rest: plain_clips(world, count, "train", *rest))
    root = save_tiny_parts(tmp_path / "parts")
    context = drawn_context(root, sizes=SIZES.__class__(**{**vars(SIZES), "clips": 2}))
    assert context.turn_to(METRICS["clips"].needs) is None
    assert context.generator.name == "sticker clips"
    with pytest.raises(MissingError, match="video"):
        list(METRICS["clips"].rows(context))
    save_tiny_video(root)
    monkeypatch.setattr(seen.ClipPipeline, "sampling", seen.ClipSampling(steps=1))
    again = drawn_context(root, sizes=context.sizes)
    again.world_features = coarse(again, WORLD.pixels)
    again.turn_to(METRICS["clips"].needs)
    rows = list(METRICS["clips"].rows(again))
    assert all(np.isfinite(row.value) for row in rows)
    named = {row.name.partition(",")[0]: dict(row.against) for row in rows}
    assert named["direction"]["real"] == 1 and named["direction"]["still"] == 0
