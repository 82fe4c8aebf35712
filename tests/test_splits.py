"""Splits by hash, sampling, and views of pictures."""

import dataclasses
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from fixture_world import fixture_world

from models.data.pixels import thumbs
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
from models.data.world import SPLITS, Picture, Sampler, World, assign, merge_lookalikes, near_pairs, train_exceptions

CELLS = [(f"concept-{i}", family) for i in range(400) for family in ("noto", "twemoji", "fluent")]


def test_splits_depend_on_the_name_of_the_cell_alone():
    table = assign(CELLS)
    assert assign(reversed(CELLS)) == table
    more = assign([*CELLS, *((f"later-{i}", "noto") for i in range(50))])
    assert all(more[cell] == split for cell, split in table.items())


def test_a_new_family_moves_no_trained_cell_to_a_test(monkeypatch):
    later = [*CELLS, *((concept, "later") for concept in {concept for concept, _ in CELLS})]
    monkeypatch.setattr("models.data.world.train_exceptions", frozenset)
    table = assign(CELLS)
    more = assign(later)
    moved = {cell for cell, split in table.items() if more[cell] != split}
    assert moved and {table[cell] for cell in moved} == {"train"}
    monkeypatch.setattr("models.data.world.train_exceptions", lambda: frozenset(moved))
    more = assign(later)
    assert all(more[cell] == split for cell, split in table.items())


@pytest.mark.world
def test_train_exceptions_are_in_train():
    world = _world()
    listed = {concept for concept, _ in train_exceptions()}
    assert listed <= {picture.concept for picture in world.pictures}
    trained = {(p.concept, p.family) for p in world.pictures if p.split == "train"}
    assert train_exceptions() <= trained


def test_held_out_cells_and_concepts():
    table = assign(CELLS)
    assert set(table.values()) == set(SPLITS)
    for concept in {concept for concept, _ in CELLS}:
        splits = {table[concept, family] for family in ("noto", "twemoji", "fluent")}
        assert splits == {"concept"} or "train" in splits


def test_shares_are_near_what_they_say():
    table = assign([(f"c{i}", f) for i in range(3000) for f in "abcdef"])
    share = {split: np.mean([s == split for s in table.values()]) for split in SPLITS}
    assert share["concept"] == pytest.approx(0.03, abs=0.01)
    assert share["cell"] == pytest.approx(0.17, abs=0.02)
    assert share["val"] == pytest.approx(0.04, abs=0.01)


def test_lookalikes_are_merged_within_a_family():
    drawn = np.random.default_rng(0).uniform(0, 255, (4, 1024)).astype(np.float32)
    drawn[1] = drawn[0] + 1  # Norway and Bouvet Island, in one family
    drawn[3] = drawn[2]  # the same, but two families
    roots = merge_lookalikes(["norway", "bouvet", "sun", "star"], ["noto", "noto", "noto", "twemoji"], drawn)
    assert roots["norway"] == roots["bouvet"]
    assert roots["sun"] != roots["star"]


def test_a_test_split_needs_permission():
    world = fixture_world()
    with pytest.raises(PermissionError, match="allow_test"):
        world.split("cell")
    assert world.split("cell", allow_test=True)
    with pytest.raises(ValueError, match="unknown split"):
        world.split("tset")


def test_a_missing_world_names_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"models\.data build"):
        World.load(tmp_path)


@pytest.mark.world
def test_splits_share_no_near_copies():
    """The leak audit: no pair of pictures of one family, one in train and one not, is as near as a copy."""
    world = _world()
    small = thumbs(world.pixels)
    leaks = []
    for family in sorted({p.family for p in world.pictures}):
        rows = [p for p in world.pictures if p.family == family]
        for a, b in near_pairs(small[[p.index for p in rows]], limit=3.0):
            if (rows[a].split == "train") != (rows[b].split == "train"):
                leaks.append((rows[a].id, rows[b].id))
    assert not leaks


def _world() -> World:
    try:
        return World.load()
    except FileNotFoundError as error:
        pytest.skip(str(error))


# --- Sampling ---------------------------------------------------------------------------------------------------------


def variants(count: int) -> list:
    """One star, and `count` variants of one heart in the same style."""
    star, heart = (next(p for p in fixture_world().pictures if p.concept == name) for name in ("star", "heart"))
    return [star, *(dataclasses.replace(heart, id=f"heart/{i}", skin="dark") for i in range(count))]


def test_weight_is_count_to_the_minus_three_quarters() -> None:
    sampler = Sampler(variants(16))
    assert sampler.weights.sum() == pytest.approx(1)
    assert sampler.weights[1] / sampler.weights[0] == pytest.approx(16**-0.75)
    # All 16 variants together weigh twice a single picture, not sixteen times.
    assert sampler.weights[1:].sum() / sampler.weights[0] == pytest.approx(2)


def test_draws_follow_the_weights() -> None:
    sampler = Sampler(variants(16))
    counts = Counter(picture.id for picture in sampler.draw(np.random.default_rng(0), 30_000))
    expected = sampler.weights * 30_000
    result = np.array([counts[picture.id] for picture in sampler.pictures])
    assert np.abs(result - expected).max() < 5 * np.sqrt(expected.max())


def test_a_group_s_weight_multiplies_that_of_its_pictures() -> None:
    pictures = fixture_world().split("train")
    group = pictures[0].group
    weights = Sampler(pictures, {group: 3.0}).weights
    ours, others = (
        [w for w, p in zip(weights, pictures, strict=True) if (p.group == group) is own] for own in (True, False)
    )
    assert others and np.allclose(np.array(ours)[:, None], 3 * np.array(others))


def test_same_generator_same_draw() -> None:
    sampler = Sampler(fixture_world().split("train"))
    draws = [[p.id for p in sampler.draw(np.random.default_rng(7), 50)] for _ in range(2)]
    assert draws[0] == draws[1]


def test_a_sampler_needs_pictures() -> None:
    with pytest.raises(ValueError, match="no pictures"):
        Sampler([])


# --- Views of pictures ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world() -> World:
    return fixture_world()


def named(world: World, name: str, group: str = "objects") -> Picture:
    return replace(world.pictures[0], names={"en": name}, group=group)


@pytest.mark.parametrize(
    "name", ["left-facing fist", "nine-thirty", "last quarter moon face", "open mailbox with flag"]
)
def test_pictures_with_a_direction_are_not_mirrored(world: World, name: str) -> None:
    assert not can_be_mirrored(named(world, name))
    assert can_be_mirrored(named(world, "elephant"))


@pytest.mark.parametrize("group", ["symbols", "flags", ""])
def test_signs_and_what_nobody_explains_are_not_mirrored(world: World, group: str) -> None:
    assert not can_be_mirrored(named(world, "elephant", group))


def test_warped_pictures_are_complete(world: World) -> None:
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
        result = (weight * (x + 0.5)).sum() - 64, (weight * (y + 0.5)).sum() - 64
        assert result == pytest.approx(map_of(warp) @ [px - 64, py - 64, 64], abs=0.3)


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


def test_views_are_deterministic(world: World) -> None:
    for picture in world.pictures:
        pixels = np.asarray(world.pixels[picture.index])
        views = [view(pixels, picture, number) for number in range(VIEWS)]
        assert np.array_equal(views[AS_IT_IS][0], pixels)
        assert np.array_equal(views[MIRRORED][0], mirrored(pixels) if can_be_mirrored(picture) else pixels)
        assert [bool(warp[1:].any()) for _, warp in views] == [False, False, True, True]
        assert [warp[0] for _, warp in views[:2]] == [0, can_be_mirrored(picture)]
        for number, item in enumerate(views):
            assert all(np.array_equal(a, b) for a, b in zip(item, view(pixels, picture, number), strict=True))
        assert not np.array_equal(views[WARPED][1], view(pixels, picture, WARPED, 1)[1])


def test_staged_pictures_are_painted_or_small(world: World) -> None:
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
