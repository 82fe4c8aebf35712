"""Laws of what hands have in common: what agrees is kept as it is, what is turned is turned back, the odd one goes."""

import numpy as np
import pytest

from models.data.fixture import fixture_world
from models.references.neighbours import COARSE, mean_drawing, typical

SIDE = 64


def arrow(left: int = 8, top: int = 16, size: int = 40, shade: int = 200) -> np.ndarray:
    """A wedge that is high at its left: it is no mirror image of itself."""
    drawing = np.zeros((SIDE, SIDE, 4), np.uint8)
    rows, columns = np.mgrid[:size, :size]
    wedge = rows + columns < size
    drawing[top : top + size, left : left + size][wedge] = (shade, 30, 30, 255)
    return drawing


def disc(radius: int = 20) -> np.ndarray:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    drawing = np.zeros((SIDE, SIDE, 4), np.uint8)
    drawing[(rows - 32) ** 2 + (columns - 32) ** 2 < radius**2] = (20, 40, 220, 255)
    return drawing


def mirrored(drawing: np.ndarray) -> np.ndarray:
    return drawing[:, ::-1].copy()


def far(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


def test_of_the_same_drawings_it_is_that_drawing() -> None:
    assert far(mean_drawing(np.stack([arrow()] * 3)), arrow()) < 1
    assert np.array_equal(mean_drawing(arrow()[None]), arrow())


def test_a_mirror_image_is_turned_back() -> None:
    """The mean as it is would be a tent."""
    plain = np.mean([arrow(), mirrored(arrow()), arrow()], 0)
    found = mean_drawing(np.stack([arrow(), mirrored(arrow()), arrow()]))
    middle = np.mean([arrow(), mirrored(arrow())], 0)  # where it stands is the mean of where they stood
    assert min(far(found, np.roll(arrow(), shift, 1)) for shift in range(12)) < 1
    assert far(plain, arrow()) > 10 and far(found, middle) > 10
    both = mean_drawing(np.stack([arrow(shade=200), mirrored(arrow(shade=100))]))
    assert np.median(both[both[..., 3] == 255][:, 0]) == 150, "it has its say"


def test_what_looks_the_same_in_a_mirror_stays_as_it_is() -> None:
    assert far(mean_drawing(np.stack([disc(), mirrored(disc())])), disc()) < 2, "it stands in the middle of a pixel"


def test_drawings_are_brought_to_one_box_and_neither_place_nor_size_makes_another_thing() -> None:
    found = mean_drawing(np.stack([arrow(4, 4, 40), arrow(20, 20, 40), arrow(12, 12, 40)]))
    assert far(found, arrow(12, 12, 40)) < 1
    large, small = arrow(2, 2, 60), arrow(12, 12, 40)
    edges = mean_drawing(np.stack([large, small]))[..., 3]
    assert ((edges > 8) & (edges < 247)).mean() < 0.06, "no second outline stands within the first"


def test_the_odd_one_is_left_out() -> None:
    found = mean_drawing(np.stack([disc(), arrow(), arrow(shade=190)]))
    assert not found[..., 2].max() > 60, "nothing of the blue disc"
    assert far(found, arrow(shade=195)) < 1.5


def test_the_most_typical_agrees_most_with_the_others_and_is_the_first() -> None:
    shades = np.stack([arrow(shade=shade) for shade in (120, 230, 190)])
    common = mean_drawing(shades)
    assert typical(shades) == [2, 1], "the middle one; what disagrees with it has no say"
    assert np.unique(common[common[..., 3] == 255][:, 0]).tolist() == [210], "the mean of two that agree"
    assert [typical(pair)[0] for pair in (shades[:2], shades[1::-1])] == [0, 0], "of two the first"
    assert typical(arrow()[None]) == [0]
    assert typical(np.stack([arrow(shade=shade) for shade in (230, 190, 210)])) == [2, 0, 1], "the others in order"
    assert sorted(typical(np.stack([disc(), arrow(), arrow(shade=190)]))) == [1, 2], "the odd one out"


def test_of_two_that_have_nothing_in_common_the_first_is_taken() -> None:
    bars = [np.zeros((SIDE, SIDE, 4), np.uint8) for _ in range(2)]
    bars[0][30:34, :] = (255, 255, 255, 255)
    bars[1][:, 30:34] = (10, 10, 10, 255)
    for first, second in (bars, bars[::-1]):
        assert np.array_equal(mean_drawing(np.stack([first, second])), first)


def test_proportions_are_kept_where_the_boxes_differ_much() -> None:
    wide, square = np.zeros((SIDE, SIDE, 4), np.uint8), np.zeros((SIDE, SIDE, 4), np.uint8)
    wide[24:40, 4:60], square[4:60, 4:60] = (90, 90, 90, 255), (90, 90, 90, 255)
    found = mean_drawing(np.stack([wide, square, wide]))
    assert (found[..., 3] > 128).any(1).sum() <= 40
    assert found[40, 6, 3] == pytest.approx(170, abs=3), "the square is no wider than it is high"


def test_nothing_is_of_nothing() -> None:
    empty = np.zeros((2, SIDE, SIDE, 4), np.uint8)
    assert np.array_equal(mean_drawing(empty), empty[0]) and typical(empty) == [0]
    assert np.array_equal(mean_drawing(np.stack([empty[0], arrow()])), arrow()), "an empty drawing has no say"


@pytest.mark.parametrize("count", [1, 2, 5])
def test_it_is_a_picture_of_their_size_and_no_brighter_than_its_alpha(count: int) -> None:
    world = fixture_world()
    drawings = world.pixels[np.linspace(0, len(world.pixels) - 1, count).astype(int)]
    found = mean_drawing(drawings)
    assert found.shape == drawings.shape[1:] and found.dtype == np.uint8
    assert (found[..., :3] <= found[..., 3:]).all()
    assert drawings.shape[1] > COARSE
