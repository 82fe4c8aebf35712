"""Features, distances, recall and the judge: closed forms, symmetry, ties, tolerance to rounding."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from fixture_world import fixture_world
from hypothesis import given, settings
from hypothesis import strategies as st

from eval import extractors as module
from eval.extractors import EffLite0, on_white, resize, stored_features
from eval.judge import Judge, read
from eval.rows import bootstrap, wilson
from eval.statistics import (
    FeatureStatistics,
    average_precision,
    cosine,
    coverage,
    expected_floor,
    expected_recall,
    frechet_distance,
    hubness,
    kernel_distance,
    nearest,
    places,
    preferred,
    same,
)


def gaussian(n: int, d: int, seed: int, shift: float = 0.0, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, scale, (n, d))


def exact(mean: np.ndarray, covariance: np.ndarray, n: int = 1000) -> FeatureStatistics:
    """Statistics whose mean and covariance are exactly these."""
    return FeatureStatistics(n, mean, covariance)


def test_zero_on_itself_and_symmetric() -> None:
    a, b = FeatureStatistics.of(gaussian(300, 16, 0)), FeatureStatistics.of(gaussian(200, 16, 1, 0.3, 2.0))
    assert abs(frechet_distance(a, a)) < 1e-9
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)
    assert frechet_distance(a, b) > 1


def test_closed_form_of_two_gaussians() -> None:
    """Diagonal covariances: |shift|^2 + sum (sqrt(l) - sqrt(m))^2, here also rotated."""
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    left, right = rng.uniform(0.1, 4, 6), rng.uniform(0.1, 4, 6)
    shift = rng.normal(size=6)
    a = exact(np.zeros(6), rotation @ np.diag(left) @ rotation.T)
    b = exact(shift, rotation @ np.diag(right) @ rotation.T)
    expected = shift @ shift + np.square(np.sqrt(left) - np.sqrt(right)).sum()
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_fewer_samples_than_features_stays_real_and_zero_on_itself() -> None:
    a = FeatureStatistics.of(gaussian(10, 64, 0))
    assert abs(frechet_distance(a, a)) < 1e-8


def test_the_covariance_is_unbiased() -> None:
    x = gaussian(100, 8, 0, 5.0)
    assert np.allclose(FeatureStatistics.of(x).covariance, np.cov(x.T))


def test_expected_floor_is_the_distance_of_two_equal_samples() -> None:
    scales = 1 / np.sqrt(np.arange(1, 33))
    pairs = [
        frechet_distance(*(FeatureStatistics.of(gaussian(400, 32, 2 * i + side) * scales) for side in (0, 1)))
        for i in range(8)
    ]
    assert expected_floor(exact(np.zeros(32), np.diag(scales**2)), 400, 400) == pytest.approx(np.mean(pairs), rel=0.1)


def test_incompatible_statistics_are_refused() -> None:
    with pytest.raises(ValueError, match="compare 3 and 4"):
        frechet_distance(FeatureStatistics.of(gaussian(9, 3, 0)), FeatureStatistics.of(gaussian(9, 4, 0)))
    with pytest.raises(ValueError, match="two samples"):
        FeatureStatistics.of(gaussian(1, 3, 0))
    with pytest.raises(ValueError, match="finite"):
        FeatureStatistics.of(np.array([[np.nan, 1.0]]))


def test_kernel_distance() -> None:
    a, b = gaussian(400, 8, 0), gaussian(400, 8, 1)
    mean, spread = kernel_distance(a, b, subsets=20, size=200)
    assert abs(mean) < spread  # unbiased: around zero for one distribution, either sign
    assert kernel_distance(a, b, 20, 200) == kernel_distance(a, b, 20, 200) != kernel_distance(a, b, 20, 200, seed=1)
    assert kernel_distance(a, b + 1.0, 20, 200)[0] > 10 * spread
    torch.manual_seed(0)
    before = torch.rand(1)
    torch.manual_seed(0)
    kernel_distance(a, b, 2, 50)
    assert torch.equal(torch.rand(1), before)  # the caller's generator is left alone


# --- Recall -----------------------------------------------------------------------------------------------------------


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
    result = places(scores[None], right[None]).recall(k)[0]
    assert result == pytest.approx(shuffled_recall(scores, right, k), abs=0.04)


@pytest.mark.parametrize("vectors", [np.zeros((40, 8)), np.ones((40, 8))])
def test_constant_embeddings_get_exactly_chance(vectors: np.ndarray) -> None:
    right = same(range(40), range(40))
    result = places(cosine(vectors, vectors), right)
    assert result.recall(1).mean() == pytest.approx(1 / 40) and result.recall(10).mean() == pytest.approx(10 / 40)
    assert (result.rank() == 20.5).all()  # the mid-rank


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
def test_rounding_does_not_change_coverage(seed: int) -> None:
    """Corners of a grid, each of which has others at the very distance of its fifth neighbour."""
    corners = np.stack(np.meshgrid(*[[0.3, 0.7]] * 6), -1).reshape(-1, 6)
    exact = coverage(corners, corners)
    moved = coverage(nudged(corners, seed), nudged(corners, seed + 10))
    assert (exact.density == 7 / 5).all()
    for name in ("precision", "recall", "density", "coverage"):
        assert (getattr(moved, name) == getattr(exact, name)).all(), name


def test_any_of_several_right_answers_counts() -> None:
    concepts = ["cat", "cat", "dog"]
    right = same(["cat", "dog"], concepts)
    assert right.tolist() == [[True, True, False], [False, False, True]]
    assert places(np.array([[0.1, 0.9, 0.5], [0.1, 0.9, 0.5]]), right).recall(1).tolist() == [1, 0]


def test_queries_without_answers_are_refused() -> None:
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


# --- Features ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """Five premultiplied pictures (5, 128, 128, 4), no two alike."""
    rng = np.random.default_rng(3)
    alpha = rng.integers(0, 256, (5, 8, 8, 1)).repeat(16, 1).repeat(16, 2)
    rgb = rng.integers(0, 256, (5, 8, 8, 3)).repeat(16, 1).repeat(16, 2) * alpha // 255
    return np.concatenate([rgb, alpha], -1).astype(np.uint8)


def nchw(pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pictures).permute(0, 3, 1, 2)


def test_on_white_equals_compositing_in_float(pictures: np.ndarray) -> None:
    x = nchw(pictures).double() / 255
    expected = x[:, :3] + (1 - x[:, 3:])
    assert torch.allclose(on_white(nchw(pictures)).double() / 255, expected, atol=1e-12)


@pytest.mark.parametrize("bad", [torch.zeros(1, 4, 8, 8), torch.zeros(4, 8, 8, dtype=torch.uint8)])
def test_other_inputs_are_refused(bad: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="uint8"):
        on_white(bad)


def test_resize_keeps_flat_colours_and_the_range() -> None:
    flat = torch.full((1, 3, 128, 128), 200, dtype=torch.uint8)
    assert torch.allclose(resize(flat), torch.tensor(200.0), atol=1e-3)
    edge = torch.zeros(1, 3, 128, 128, dtype=torch.uint8)
    edge[..., 64:] = 255
    assert resize(edge).min() >= 0 and resize(edge).max() <= 255  # bicubic overshoots without the clip


def test_altered_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WEIGHTS_SHA256", "0" * 64)
    with pytest.raises(ValueError, match="sha256"):
        EffLite0()


def test_stored_features_are_reused_by_content(pictures: np.ndarray, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 2)
    first = stored_features(pictures, tmp_path)
    assert len(list(tmp_path.glob("*.npy"))) == 3
    calls: list[int] = []
    fresh = module.features
    monkeypatch.setattr(module, "features", lambda images: (calls.append(len(images)), fresh(images))[1])
    assert np.array_equal(stored_features(pictures, tmp_path), first) and not calls
    changed = pictures.copy()
    changed[3, 0, 0, 3] ^= 1
    stored_features(changed, tmp_path)
    assert calls == [2]  # the block of the changed picture, and no other


# --- The judge --------------------------------------------------------------------------------------------------------


ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def judge() -> Judge:
    torch.manual_seed(0)
    return Judge(channels=(8, 16, 32), blocks=(1, 1), width=32, heads=2, rounds=1, buckets=512).eval()


def test_reading_knows_words_order_and_chinese():
    table = read(["a red cat", "a cat red", "红猫", ""], 4096)
    assert (table[:, :, 0] > 0).sum(1).tolist() == [3, 3, 2, 0]
    assert torch.equal(table[0, 1], table[1, 2])
    assert not torch.equal(table[0], table[1])


def test_order_of_words_matters(judge):
    """ "cat left of dog" and "dog left of cat" hold the same words."""
    places = judge.picture(torch.rand(1, 4, 128, 128))
    scores = [judge.fit(places, *judge.words(read([text], 512))) for text in ("cat left of dog", "dog left of cat")]
    assert abs(float((scores[0] - scores[1]).detach())) > 1e-5


def test_places_of_the_picture_matter(judge):
    pixels = np.zeros((2, 128, 128, 4), np.uint8)
    pixels[0, 10:50, 10:50] = pixels[1, 10:50, 78:118] = 255
    left, right = judge.scores(pixels, ["a cat left of a dog"] * 2)
    assert abs(left - right) > 1e-5


def test_scores_do_not_depend_on_the_batch(judge):
    pixels = fixture_world().pixels
    texts = ["a cat", "a much longer caption that fills some room", "two red stars"]
    together = judge.scores(pixels[:3], texts)
    alone = [judge.scores(pixels[i : i + 1], texts[i : i + 1])[0] for i in range(3)]
    assert np.allclose(together, alone, atol=1e-4)
    assert len(judge.scores(pixels[:40], ["a cat"] * 40)) == 40


def test_wrong_input_is_named(judge):
    with pytest.raises(ValueError, match="2 pictures and 1 captions"):
        judge.scores(fixture_world().pixels[:2], ["a cat"])
    with pytest.raises(ValueError, match="float64"):
        judge.scores(np.zeros((1, 128, 128, 4)), ["a cat"])


def test_the_judge_imports_no_evaluated_network():
    tree = ast.parse((ROOT / "eval/judge.py").read_text())
    modules = {f"{n.module}.{name.name}" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for name in n.names}
    modules |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    judged = r"models\.(space|vision|language|tokenizer|autoencoder)\b"
    assert modules and not [module for module in modules if re.match(judged, module)]
