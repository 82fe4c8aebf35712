"""Views of a picture show what the picture shows."""

from dataclasses import replace

import numpy as np
import pytest

from models.data.combinations import paints_of
from models.data.fixture import fixture_world
from models.data.variety import (
    LEAST_SIZE,
    SMALL_SHARE,
    SMALL_SIDES,
    VIEWS,
    can_be_mirrored,
    mirrored,
    moved,
    staged,
    view,
)
from models.data.world import Picture, World


@pytest.fixture(scope="module")
def world() -> World:
    return fixture_world()


def named(world: World, name: str, group: str = "objects") -> Picture:
    return replace(world.pictures[0], names={"en": name}, group=group)


@pytest.mark.parametrize(
    "name", ["left-facing fist", "nine-thirty", "last quarter moon face", "open mailbox with flag"]
)
def test_what_a_mirror_would_make_a_lie_is_not_mirrored(world: World, name: str) -> None:
    assert not can_be_mirrored(named(world, name))
    assert can_be_mirrored(named(world, "elephant"))


@pytest.mark.parametrize("group", ["symbols", "flags", ""])
def test_signs_and_what_nobody_explains_are_not_mirrored(world: World, group: str) -> None:
    assert not can_be_mirrored(named(world, "elephant", group))


def test_a_mirror_twice_is_none(world: World) -> None:
    pixels = np.asarray(world.pixels[0])
    assert np.array_equal(mirrored(mirrored(pixels)), pixels)


def test_what_is_moved_is_all_there_and_premultiplied(world: World) -> None:
    full = np.full((128, 128, 4), 255, np.uint8)
    for seed in range(20):
        small = moved(full, world.pictures[0], seed)
        rows, columns = (np.flatnonzero(small[..., 3].max(axis)) for axis in (1, 0))
        side = rows[-1] - rows[0] + 1
        assert LEAST_SIZE * 128 - 1 <= side <= 128 and columns[-1] - columns[0] + 1 == side
        assert (small[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] == 255).all()
    for picture in world.pictures:
        other = moved(np.asarray(world.pixels[picture.index]), picture, 2)
        assert (other[..., :3] <= other[..., 3:]).all()


def test_views_are_the_same_every_time_and_the_first_is_the_picture(world: World) -> None:
    for picture in world.pictures:
        pixels = np.asarray(world.pixels[picture.index])
        views = [view(pixels, picture, number) for number in range(VIEWS)]
        assert np.array_equal(views[0], pixels)
        assert all(np.array_equal(one, view(pixels, picture, number)) for number, one in enumerate(views))
        assert np.array_equal(views[1], mirrored(pixels) if can_be_mirrored(picture) else pixels)


def test_moved_views_are_mirrored_in_half_of_the_pictures(world: World) -> None:
    pixels = np.asarray(world.pixels[0])
    pictures = [replace(world.pictures[0], id=f"noto/{i}", names={"en": "cat"}, group="objects") for i in range(200)]
    turned = sum(np.array_equal(view(pixels, p, 2), moved(mirrored(pixels), p, 2)) for p in pictures)
    assert 70 < turned < 130


def test_what_is_staged_is_large_and_painted_or_small_and_said_to_be_so(world: World) -> None:
    scenes = [(picture, scene) for picture in world.pictures for seed in range(8) if (scene := staged(picture, seed))]
    small = [(picture, scene) for picture, scene in scenes if scene.objects[0].size == "small"]
    assert len(small) / len(scenes) == pytest.approx(SMALL_SHARE, abs=0.1)
    for picture, scene in scenes:
        shown, alpha = scene.objects[0], scene.render(world)[..., 3]
        word = shown.size or shown.colour
        assert word and all(word in scene.caption(seed, "en", grounded=True) for seed in range(4))
        if shown.size:
            left, top, side, _ = shown.box
            assert shown.colour is None and SMALL_SIDES[0] <= side <= SMALL_SIDES[1]
            alpha = alpha.copy()
            alpha[top : top + side, left : left + side] = 0
            assert not alpha.any(), "nothing is cut off or outside its box"
        else:
            assert shown.colour in paints_of(picture.concept, "train"), (
                "what is held out of scenes is held out of views"
            )
            assert np.array_equal(alpha, np.asarray(world.pixels[picture.index])[..., 3])


def test_a_seed_stages_alike_every_time_and_another_differently(world: World) -> None:
    pictures = [picture for picture in world.pictures if staged(picture)]
    assert all(staged(picture, 5) == staged(picture, 5) for picture in pictures)
    assert any(staged(picture, 5) != staged(picture, 6) for picture in pictures)


def test_people_and_signs_are_not_staged(world: World) -> None:
    assert staged(named(world, "red flag", "flags")) is None
    assert staged(replace(world.pictures[0], skin="dark", group="people-body")) is None
