import dataclasses
from collections import Counter

import numpy as np
import pytest
from fixture_world import fixture_world

from models.data.sampling import Sampler


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


def test_styles_and_concepts_are_cells_of_their_own() -> None:
    pictures = fixture_world().split("train")
    assert np.allclose(Sampler(pictures).weights, 1 / len(pictures))  # every cell holds one picture


def test_same_generator_same_draw() -> None:
    sampler = Sampler(fixture_world().split("train"))
    draws = [[p.id for p in sampler.draw(np.random.default_rng(7), 50)] for _ in range(2)]
    assert draws[0] == draws[1]


def test_nothing_to_draw_from_is_an_error() -> None:
    with pytest.raises(ValueError, match="no pictures"):
        Sampler([])
