"""Splits by hash: stable, disjoint by concept x family, and without near copies across the border."""

import numpy as np
import pytest
from fixture_world import fixture_world

from models.data.splits import SPLITS, assign, kept_in_train, merge_lookalikes, near_pairs
from models.data.world import World

CELLS = [(f"concept-{i}", family) for i in range(400) for family in ("noto", "twemoji", "fluent")]


def test_a_cell_moves_only_if_its_own_name_changes():
    table = assign(CELLS)
    assert assign(reversed(CELLS)) == table
    more = assign([*CELLS, *((f"later-{i}", "noto") for i in range(50))])
    assert all(more[cell] == split for cell, split in table.items())


def test_a_family_that_comes_later_sends_nothing_that_was_trained_on_to_a_test(monkeypatch):
    later = [*CELLS, *((concept, "later") for concept in {concept for concept, _ in CELLS})]
    monkeypatch.setattr("models.data.splits.kept_in_train", frozenset)
    table = assign(CELLS)
    more = assign(later)
    moved = {cell for cell, split in table.items() if more[cell] != split}
    assert moved and {table[cell] for cell in moved} == {"train"}
    monkeypatch.setattr("models.data.splits.kept_in_train", lambda: frozenset(moved))
    more = assign(later)
    assert all(more[cell] == split for cell, split in table.items())


@pytest.mark.world
def test_the_cells_that_are_kept_in_train_are_listed():
    world = _world()
    listed = {concept for concept, _ in kept_in_train()}
    assert listed <= {picture.concept for picture in world.pictures}
    trained = {(p.concept, p.family) for p in world.pictures if p.split == "train"}
    assert kept_in_train() <= trained


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
    thumbs = np.random.default_rng(0).uniform(0, 255, (4, 1024)).astype(np.float32)
    thumbs[1] = thumbs[0] + 1  # Norway and Bouvet Island, in one family
    thumbs[3] = thumbs[2]  # the same, but two families
    roots = merge_lookalikes(["norway", "bouvet", "sun", "star"], ["noto", "noto", "noto", "twemoji"], thumbs)
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
    thumbs = np.stack([_thumb(world.pixels[p.index]) for p in world.pictures])
    leaks = []
    for family in sorted({p.family for p in world.pictures}):
        rows = [p for p in world.pictures if p.family == family]
        for a, b in near_pairs(thumbs[[p.index for p in rows]], limit=3.0):
            if (rows[a].split == "train") != (rows[b].split == "train"):
                leaks.append((rows[a].id, rows[b].id))
    assert not leaks


def _world() -> World:
    try:
        return World.load()
    except FileNotFoundError as error:
        pytest.skip(str(error))


def _thumb(pixels: np.ndarray) -> np.ndarray:
    return pixels.reshape(16, 8, 16, 8, 4).mean((1, 3), dtype=np.float32).ravel()
