import dataclasses

import pytest
from fixture_world import fixture_world

from models.data.grammar import size
from models.data.motion import MOTIONS, SPEEDS, Move, draw_move, motion_caption
from models.data.scenes import make_scene

WORLD = fixture_world()


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


def test_rows_differ_in_law_and_in_words() -> None:
    laws = [tuple(v for k, v in dataclasses.asdict(row).items() if k not in ("en", "zh")) for row in MOTIONS.values()]
    forms = [pair for row in MOTIONS.values() for pair in row.en]
    assert len(set(laws)) == len(laws)
    assert len(set(forms)) == len(forms)


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


def test_every_motion_speed_and_loop_is_drawn() -> None:
    moves = [draw_move(seed) for seed in range(1500)]
    assert {move.motion for move in moves} == set(MOTIONS)
    assert {move.speed for move in moves} == set(SPEEDS)
    assert all(MOTIONS[move.motion].loops for move in moves if move.loop)


def test_unknown_motion_is_named() -> None:
    with pytest.raises(ValueError, match="unknown motion 'somersault'"):
        motion_caption(WORLD.pictures[0], 0, "en", Move("somersault"))
