"""Where necks are: below heads from the front and from the side, of who has one and of who has none."""

import numpy as np
import pytest
from test_worn import SIDE, shape

from models.compose.accessories import ROUND, neck, worn
from models.compose.collage import collage
from models.prompts.boxes import PAIR
from models.prompts.parsed import Layout

WEARER, SCARF = PAIR["round the neck"]
SNOWMAN = (("rectangle", (52, 4, 76, 22)), ("ellipse", (42, 16, 86, 60)), ("ellipse", (30, 56, 98, 124)))
GIRAFFE = (("ellipse", (8, 6, 44, 26)), ("rectangle", (26, 10, 40, 76)), ("ellipse", (26, 60, 110, 96)))
EGG = (("ellipse", (30, 4, 98, 124)),)


@pytest.mark.parametrize("side", [64, 128])
@pytest.mark.parametrize(
    ("drawn", "middle", "row", "width"),
    [(SNOWMAN, 64, 58, 22), (GIRAFFE, 33, 50, 15), (EGG, 64, 54, 66)],
)
def test_it_is_where_the_body_is_narrow_below_the_head(
    drawn: tuple[tuple, ...], middle: int, row: int, width: int, side: int
) -> None:
    found = neck(shape(*drawn, side=side))
    assert found is not None
    assert found[0] * SIDE == pytest.approx(middle, abs=4)
    assert found[1] * SIDE == pytest.approx(row, abs=24 if drawn is GIRAFFE else 7)
    assert found[2] * SIDE == pytest.approx(width, abs=9)


@pytest.mark.parametrize("drawn", [SNOWMAN, GIRAFFE, EGG, (("rectangle", (0, 0, 127, 127)),)])
def test_what_is_worn_round_it_keeps_its_proportions_and_lies_over_it(drawn: tuple[tuple, ...]) -> None:
    alpha = shape(*drawn)
    place, (middle, row, _) = worn(SCARF, alpha), neck(alpha) or (0, 0, 0)
    assert ROUND[0] - 0.01 <= place.width / SIDE <= ROUND[1] + 0.01
    assert place.height / place.width == pytest.approx(SCARF.height / SCARF.width, abs=0.05)
    assert 0 <= place.left <= SIDE - place.width
    assert place.top <= row * SIDE < place.top + place.height
    assert place.left + place.width / 2 == pytest.approx(middle * SIDE, abs=2)


def test_over_nothing_it_stays_in_its_box() -> None:
    assert worn(SCARF, np.zeros((SIDE, SIDE), np.uint8)) == SCARF


def test_in_a_collage_it_moves_with_the_wearer() -> None:
    scarf = np.zeros((SIDE, SIDE, 4), np.uint8)
    scarf[20:108, 20:108] = (255, 0, 0, 255)
    laid = []
    for drawn in (GIRAFFE, tuple((kind, (127 - x1, y0, 127 - x0, y1)) for kind, (x0, y0, x1, y1) in GIRAFFE)):
        wearer = np.zeros((SIDE, SIDE, 4), np.uint8)
        wearer[..., 1] = wearer[..., 3] = shape(*drawn)
        layout = Layout(("a giraffe", "a scarf"), (WEARER, SCARF))
        laid.append(np.argwhere(collage(layout, iter([wearer, scarf]))[..., 0] > 128)[:, 1].mean())
    assert laid[0] < SIDE / 2 - 15 and laid[1] > SIDE / 2 + 15
