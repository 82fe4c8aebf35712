"""Laws of clips and of their captions: pure by seed, loops close, directions are what they say."""

import numpy as np
import pytest
from fixture_world import fixture_world
from picture_kit import as_file

from models.data.clips import (
    FRAMES,
    MOTIONS,
    POSE,
    REST,
    SPEEDS,
    Clip,
    Move,
    Track,
    direction_of,
    eased,
    linear_map,
    make_clip,
    motion_caption,
    motion_split,
    pose,
)
from models.data.extra_sets import AnimatedSet, animated_caption, resampled
from models.data.grammar import size
from models.data.scenes import Background, make_scene

WORLD = fixture_world()
CLIPS = [make_clip(WORLD, seed) for seed in range(60)]


def moving(motion: str, loop: bool = False, side: int = 64, **settings: object) -> Clip:
    """A star in the middle, doing that."""
    star = next(p for p in WORLD.pictures if p.split == "train")
    return Clip(0, "train", (Track(star.index, side, 64.0, 64.0, Move(motion, loop=loop)),), loop=loop, **settings)  # type: ignore[arg-type]


def test_the_same_seed_gives_the_same_clip() -> None:
    for seed, clip in enumerate(CLIPS[:6]):
        again = make_clip(WORLD, seed)
        assert again == clip and np.array_equal(again.render(WORLD), clip.render(WORLD))
        assert again.caption(WORLD, 5) == clip.caption(WORLD, 5)
    assert len({clip.tracks for clip in CLIPS}) > 50


def test_frames_are_premultiplied_and_of_one_shape() -> None:
    for clip in CLIPS[:20]:
        frames = clip.render(WORLD)
        assert frames.shape == (FRAMES, 128, 128, 4) and frames.dtype == np.uint8
        assert (frames[..., :3] <= frames[..., 3:]).all()


def test_all_kinds_and_conditions_are_drawn() -> None:
    many = [make_clip(WORLD, seed) for seed in range(400)]
    assert {len(clip.tracks) for clip in many} >= {1, 2} and any(clip.scene for clip in many)
    moves = [track.move for clip in many for track in clip.tracks]
    assert {move.motion for move in moves} == set(MOTIONS) and {move.speed for move in moves} == set(SPEEDS)
    assert all(MOTIONS[move.motion].loops for move in moves if move.loop)
    assert len({clip.fps for clip in many}) == 4 and len({clip.ease for clip in many}) == 4
    assert {bool(clip.background.colours) for clip in many} == {True, False} == {clip.loop for clip in many}


@pytest.mark.parametrize("motion", [name for name, row in MOTIONS.items() if row.loops])
@pytest.mark.parametrize("speed", SPEEDS)
def test_a_loop_closes(motion: str, speed: str) -> None:
    move = Move(motion, speed, loop=True)  # type: ignore[arg-type]
    for seconds in (1.0, 2.0):
        first, last = pose(move, np.array([0.0, 1.0]), seconds)
        assert np.allclose(first[[0, 1, 5]], last[[0, 1, 5]], atol=1e-5)
        assert np.allclose(linear_map(first), linear_map(last), atol=1e-5)


@pytest.mark.parametrize("motion", [name for name in MOTIONS if direction_of(name)])
def test_the_centroid_goes_where_the_motion_says(motion: str) -> None:
    clip = moving(motion)
    alpha = clip.render(WORLD)[..., 3].astype(float)
    places = np.arange(128)
    seen = alpha.sum((1, 2)) > 0
    x = (alpha.sum(1) @ places)[seen] / alpha.sum((1, 2))[seen]
    y = (alpha.sum(2) @ places)[seen] / alpha.sum((1, 2))[seen]
    axis, sign = {"left": (x, -1), "right": (x, 1), "up": (y, -1), "down": (y, 1)}[str(clip.direction)]
    assert sign * (axis[-1] - axis[0]) > 5


def test_things_begin_as_they_are_at_rest() -> None:
    for clip in CLIPS[:30]:
        names = {track.move.motion for track in clip.tracks}
        assert clip.rest(WORLD).any()
        if "fade in" not in names:
            assert np.array_equal(clip.render(WORLD)[0], clip.rest(WORLD))


def test_strength_and_speed_scale_what_is_seen() -> None:
    times = np.linspace(0, 1, FRAMES)
    strong = pose(Move("slide left"), times, 2.0, strength=1.5)
    assert np.allclose(strong[:, 0], 1.5 * pose(Move("slide left"), times, 2.0)[:, 0])
    ways = {speed: abs(pose(Move("slide left", speed), times, 2.0)[5, 0]) for speed in SPEEDS}
    assert ways["slow"] < ways["normal"] < ways["fast"]
    for ease in ("even", "soft", "late", "early"):
        felt = eased(times, ease)  # type: ignore[arg-type]
        assert felt[0] == 0 and felt[-1] == 1 and (np.diff(felt) >= 0).all()


def test_training_never_shows_a_held_out_pair() -> None:
    def pairs(clip: Clip) -> set[str]:
        return {motion_split(WORLD.pictures[t.picture].concept, t.move.motion) for t in clip.tracks}

    assert all(pairs(clip) == {"train"} for clip in CLIPS)
    assert all(WORLD.pictures[track.picture].split == "train" for clip in CLIPS for track in clip.tracks)
    for split in ("val", "test"):
        assert all(split in pairs(make_clip(WORLD, seed, split)) for seed in range(20))
    shares = [motion_split(str(i), motion) for i in range(200) for motion in MOTIONS]
    assert shares.count("train") / len(shares) == pytest.approx(0.8, abs=0.03)


def test_owners_cover_what_moves() -> None:
    assert (moving("spin").owners(WORLD, 32) == 1).all()  # nothing is behind it
    grounded = moving("spin", background=Background(("blue",)))
    owners = grounded.owners(WORLD, 32)
    assert set(np.unique(owners)) == {0, 1} and not owners[0].any()
    two = next(
        clip for clip in (make_clip(WORLD, seed) for seed in range(200)) if len(clip.tracks) == 2 and not clip.scene
    )
    assert {1, 2} <= set(np.unique(two.owners(WORLD, 32)))


def test_given_poses_take_the_place_of_the_laws() -> None:
    clip = moving("slide left")
    still = clip.render(WORLD, poses=[np.tile(REST, (FRAMES, 1))])
    assert REST.shape == (POSE,) and (still == still[0]).all()
    assert np.array_equal(still[0], clip.rest(WORLD))


def test_an_animation_is_resampled_and_a_still_one_is_none() -> None:

    from PIL import Image

    frames = [Image.new("RGBA", (64, 64), (5 * i, 0, 0, 255)) for i in range(48)]
    for count, expected in ((48, FRAMES), (1, None)):
        how = {"save_all": True, "append_images": frames[1:count], "duration": 50, "lossless": True}
        read = resampled(as_file(frames[0], "WEBP", **how))
        assert (read and len(read[0])) == expected
    assert read is None


def test_the_animated_set_keeps_its_test_splits() -> None:
    pictures = tuple(p for p in WORLD.pictures if p.split in ("train", "cell"))
    animated = AnimatedSet(pictures, np.zeros((len(pictures), 1, 1, 1, 4), np.uint8), np.ones(len(pictures)))
    assert all(pictures[row].split == "train" for row in animated.rows("train"))
    with pytest.raises(PermissionError):
        animated.rows("cell")
    assert animated_caption(pictures[0], 1) == animated_caption(pictures[0], 1)


# --- Motions in words -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MOTIONS)
def test_each_row_says_and_does_something(name: str) -> None:
    row = MOTIONS[name]
    assert row.en and row.zh and row.cycles > 0
    assert any(row.move) or row.turn or row.scale or row.squash or row.flip or row.opacity
    # A motion that ends elsewhere than it began cannot run on from its last frame.
    assert row.loops == (row.curve != "ramp")
    english = motion_caption(WORLD.pictures[8], 0, "en", Move(name)).lower()
    chinese = motion_caption(WORLD.pictures[8], 0, "zh", Move(name))
    assert any(form in english for pair in row.en for form in pair)
    assert any(verb in chinese for verb in row.zh)


def test_directions_agree_with_their_words() -> None:
    for name, row in MOTIONS.items():
        for word, axis, sign in (("left", 0, -1), ("right", 0, 1), ("up", 1, -1), ("down", 1, 1)):
            if name.endswith(word):
                assert row.move[axis] * sign > 0
                assert row.move[1 - axis] == 0


@pytest.mark.parametrize("language", ["en", "zh"])
def test_captions_are_deterministic_short_and_name_speed_and_loop(language: str) -> None:
    things = [WORLD.pictures[0], make_scene(WORLD, 3)]
    for seed in range(200):
        for thing in things:
            text = motion_caption(thing, seed, language)
            assert text == motion_caption(thing, seed, language)
            assert size(text) <= 26
    looped = motion_caption(things[0], 1, language, Move("spin", "fast", loop=True)).lower()
    assert ("loop" in looped or "循环" in looped) and any(
        word in looped for word in ("fast", "quickly", "快速", "飞快")
    )
