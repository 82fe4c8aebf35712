"""Splits by hash: stable, disjoint, without near copies across the border; and what steps draw of them."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
from fixture_world import DRAWINGS, FAMILIES, fixture_world

from models.data.pixels import thumbs
from models.data.world import SPLITS, Sampler, World, assign, merge_lookalikes, near_pairs, train_exceptions

CELLS = [(f"concept-{i}", family) for i in range(400) for family in ("noto", "twemoji", "fluent")]


def test_a_cell_moves_only_if_its_own_name_changes():
    table = assign(CELLS)
    assert assign(reversed(CELLS)) == table
    more = assign([*CELLS, *((f"later-{i}", "noto") for i in range(50))])
    assert all(more[cell] == split for cell, split in table.items())


def test_a_family_that_comes_later_sends_nothing_that_was_trained_on_to_a_test(monkeypatch):
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


def test_held_out_cells_leave_their_concept_in_train_and_held_out_concepts_leave_nothing():
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


def test_kin_joins_copies_within_a_family_only():
    drawn = np.random.default_rng(0).uniform(0, 255, (4, 1024)).astype(np.float32)
    drawn[1] = drawn[0] + 1  # Norway and Bouvet Island, in one family
    drawn[3] = drawn[2]  # the same, but two families
    roots = merge_lookalikes(["norway", "bouvet", "sun", "star"], ["noto", "noto", "noto", "twemoji"], drawn)
    assert roots["norway"] == roots["bouvet"]
    assert roots["sun"] != roots["star"]


def test_a_test_split_must_be_asked_for():
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
def test_no_held_out_picture_has_a_near_copy_in_train():
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


# --- The world of the tests -------------------------------------------------------------------------------------------


def test_every_split_holds_pictures() -> None:
    world = fixture_world()
    assert all(world.split(name, allow_test=True) for name in SPLITS)
    assert len(world.pictures) == len(DRAWINGS) * len(FAMILIES) == 48


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
    found = np.array([counts[picture.id] for picture in sampler.pictures])
    assert np.abs(found - expected).max() < 5 * np.sqrt(expected.max())


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


def test_nothing_to_draw_from_is_an_error() -> None:
    with pytest.raises(ValueError, match="no pictures"):
        Sampler([])
