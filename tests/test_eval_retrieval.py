"""Recall with ties and several right answers, against a slow simulation; intervals; chance."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.neighbours import average_precision, cosine, expected_recall, hubness, nearest, places, preferred, same
from eval.rows import bootstrap, wilson
from eval.statistics import coverage


def shuffled_recall(scores: np.ndarray, right: np.ndarray, k: int, repeats: int = 4000) -> float:
    """The slow reference: sort with random keys among equals, many times."""
    rng = np.random.default_rng(0)
    hits = [right[np.lexsort((rng.random(len(scores)), -scores))[:k]].any() for _ in range(repeats)]
    return float(np.mean(hits))


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.integers(1, 6))
def test_recall_with_ties_is_that_of_a_random_order_among_equals(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 3, 8).astype(float)
    right = rng.random(8) < 0.3
    right[rng.integers(8)] = True
    found = places(scores[None], right[None]).recall(k)[0]
    assert found == pytest.approx(shuffled_recall(scores, right, k), abs=0.04)


@pytest.mark.parametrize("vectors", [np.zeros((40, 8)), np.ones((40, 8))])
def test_constant_embeddings_get_exactly_chance(vectors: np.ndarray) -> None:
    right = same(range(40), range(40))
    found = places(cosine(vectors, vectors), right)
    assert found.recall(1).mean() == pytest.approx(1 / 40) and found.recall(10).mean() == pytest.approx(10 / 40)
    assert (found.rank() == 20.5).all()  # the mid-rank


def nudged(vectors: np.ndarray, seed: int) -> np.ndarray:
    """Each number one unit in the last place up or down, as another kernel or another batch may leave it."""
    up = np.random.default_rng(seed).random(vectors.shape) < 0.5
    return np.nextafter(vectors.astype(np.float32), np.where(up, np.inf, -np.inf).astype(np.float32))


@pytest.mark.parametrize("seed", range(3))
def test_rounding_decides_nothing_among_equal_candidates(seed: int) -> None:
    queries, gallery = (nudged(np.tile(row, (40, 1)), seed) for row in (np.arange(1.0, 9), np.full(8, 8**-0.5)))
    scores = cosine(queries, gallery)
    assert len(np.unique(scores)) > 100, "they differ in their last bits"
    right = same(range(40), range(40))
    among = places(scores, right)
    assert (among.recall(10) == 10 / 40).all() and (among.rank() == 20.5).all()
    assert average_precision(scores, right) == pytest.approx(1 / 40)
    assert hubness(scores) == pytest.approx((0, 10))
    assert (preferred(scores[0], scores[1]) == 0.5).all()
    assert (nearest(queries, gallery, 3) == [0, 1, 2]).all()


@pytest.mark.parametrize("seed", range(3))
def test_rounding_does_not_move_a_sample_across_the_border_of_a_ball(seed: int) -> None:
    """Corners of a grid, each of which has others at the very distance of its fifth neighbour."""
    corners = np.stack(np.meshgrid(*[[0.3, 0.7]] * 6), -1).reshape(-1, 6)
    exact = coverage(corners, corners)
    moved = coverage(nudged(corners, seed), nudged(corners, seed + 10))
    assert (exact.density == 7 / 5).all()
    for name in ("precision", "recall", "density", "coverage"):
        assert (getattr(moved, name) == getattr(exact, name)).all(), name


def test_perfect_and_reversed_orders() -> None:
    scores = np.array([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
    right = np.array([[True, False, False], [False, False, True]])
    found = places(scores, right)
    assert found.recall(1).tolist() == [1, 0] and found.recall(3).tolist() == [1, 1] and found.rank().tolist() == [1, 3]


def test_any_of_several_right_answers_counts() -> None:
    concepts = ["cat", "cat", "dog"]
    right = same(["cat", "dog"], concepts)
    assert right.tolist() == [[True, True, False], [False, False, True]]
    assert places(np.array([[0.1, 0.9, 0.5], [0.1, 0.9, 0.5]]), right).recall(1).tolist() == [1, 0]


def test_what_has_no_answer_is_refused() -> None:
    with pytest.raises(ValueError, match="query 1"):
        places(np.zeros((2, 2)), np.array([[True, False], [False, False]]))
    with pytest.raises(ValueError, match="finite"):
        places(np.array([[np.nan, 0.0]]), np.array([[True, False]]))


def test_chance_is_a_random_orders_recall() -> None:
    right = same([0, 1, 2], [0, 0, 0, 1, 1, 2])
    constant = places(np.zeros((3, 6)), right)
    for k in (1, 2, 5, 6, 10):
        assert expected_recall(right, k) == pytest.approx(constant.recall(k).mean())


def test_wilson_interval() -> None:
    low, high = wilson(8, 10)
    assert (low, high) == pytest.approx((0.4902, 0.9433), abs=1e-3)  # a textbook case
    assert wilson(0, 10)[0] == 0 and wilson(10, 10)[1] == pytest.approx(1) and wilson(0, 0) == (0, 1)


def test_bootstrap_brackets_the_mean_and_is_seeded() -> None:
    values = np.random.default_rng(0).random(500)
    low, high = bootstrap(values)
    assert low < values.mean() < high and high - low == pytest.approx(4 * values.std() / 500**0.5, rel=0.1)
    assert bootstrap(values) == (low, high)


def test_a_hub_is_seen() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random((100, 100))
    fair, _ = hubness(scores)
    scores[:, 7] = 2.0
    skewed, most = hubness(scores)
    assert most == 100 and skewed > fair + 1
