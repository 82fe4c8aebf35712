"""Views of a picture show what the picture shows."""

from dataclasses import replace

import numpy as np
import pytest
from fixture_world import fixture_world

from models.data.scenes import paints_of
from models.data.variety import (
    AS_IT_IS,
    MIRRORED,
    SMALL_SHARE,
    SMALL_SIDES,
    VIEWS,
    WARP_UNIT,
    WARPED,
    can_be_mirrored,
    likewise,
    mirrored,
    staged,
    view,
    warped,
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


def test_what_is_warped_is_all_there_and_premultiplied(world: World) -> None:
    for picture in world.pictures:
        pixels = np.asarray(world.pixels[picture.index])
        for seed in range(10):
            shown, warp = warped(pixels, picture, seed)
            grown = np.linalg.det(map_of(warp)[:, :2])
            assert shown[..., 3].sum() == pytest.approx(grown * pixels[..., 3].sum(), rel=0.03)
            assert (shown[..., :3] <= shown[..., 3:]).all()


def test_a_warp_tells_where_each_point_went(world: World) -> None:
    y, x = np.mgrid[:128, :128]
    for seed in range(20):
        px, py = np.random.default_rng(seed).uniform(20, 108, 2)
        dot = np.exp(-((x + 0.5 - px) ** 2 + (y + 0.5 - py) ** 2) / 18)[..., None].repeat(4, 2)
        frame = (255 * dot).astype(np.uint8)
        frame[[0, -1, 0, -1], [0, -1, -1, 0], 3] = 1  # it is the whole picture that is kept inside
        shown, warp = warped(frame, world.pictures[0], seed)
        weight = shown[..., 0] / shown[..., 0].sum()
        found = (weight * (x + 0.5)).sum() - 64, (weight * (y + 0.5)).sum() - 64
        assert found == pytest.approx(map_of(warp) @ [px - 64, py - 64, 64], abs=0.3)


def test_another_picture_is_moved_likewise(world: World) -> None:
    for picture in world.pictures:
        pixels = np.asarray(world.pixels[picture.index])
        for number in range(VIEWS):
            shown, warp = view(pixels, picture, number)
            apart = np.abs(likewise(pixels, warp).astype(int) - shown)
            assert apart.max() <= 2 and apart.mean() < 0.01, "what is told of a warp is rounded"


def map_of(warp: np.ndarray) -> np.ndarray:
    """(2, 3): what `warp` tells, as a map of pixels from the middle; the shift in halves of a side."""
    return warp.reshape(2, 3) * WARP_UNIT + np.eye(2, 3)


def test_views_are_the_same_every_time_and_the_first_is_the_picture(world: World) -> None:
    for picture in world.pictures:
        pixels = np.asarray(world.pixels[picture.index])
        views = [view(pixels, picture, number) for number in range(VIEWS)]
        assert np.array_equal(views[AS_IT_IS][0], pixels)
        assert np.array_equal(views[MIRRORED][0], mirrored(pixels) if can_be_mirrored(picture) else pixels)
        assert [bool(warp[1:].any()) for _, warp in views] == [False, False, True, True]
        assert [warp[0] for _, warp in views[:2]] == [0, can_be_mirrored(picture)]
        for number, one in enumerate(views):
            assert all(np.array_equal(a, b) for a, b in zip(one, view(pixels, picture, number), strict=True))
        assert not np.array_equal(views[WARPED][1], view(pixels, picture, WARPED, 1)[1])


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
