"""Where heads are: of drawings from the front and from the side, and of what has none."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from models.compose.accessories import WIDTHS, head, worn
from models.compose.collage import collage
from models.prompts.boxes import PAIR, Box
from models.prompts.parsed import Layout

SIDE = 128
HAT = Box(38, 0, 52, 42, z=1, align=1, anchor="head")


def shape(*drawn: tuple[str, tuple[int, ...]], side: int = SIDE) -> np.ndarray:
    """Alpha (side, side) of ellipses, rectangles and polygons on a board of SIDE x SIDE."""
    board = Image.new("L", (SIDE, SIDE))
    for kind, where in drawn:
        getattr(ImageDraw.Draw(board), kind)(where, fill=255)
    return np.asarray(board.resize((side, side)))


FACE = ("ellipse", (24, 34, 104, 114))
EARS = (("polygon", (26, 30, 56, 44, 28, 70)), ("polygon", (102, 30, 72, 44, 100, 70)))
RABBIT = (("rectangle", (44, 30, 58, 80)), ("rectangle", (70, 30, 84, 80)), ("ellipse", (34, 70, 94, 124)))
BACK = ("rectangle", (24, 76, 104, 104))
NECK, TAIL = ("ellipse", (10, 36, 44, 84)), ("rectangle", (104, 36, 110, 84))


@pytest.mark.parametrize("side", [64, 128])
@pytest.mark.parametrize(
    ("drawn", "middle"),
    [
        ((FACE,), 64),
        ((FACE, *EARS), 64),
        (RABBIT, 64),
        ((("ellipse", (14, 46, 114, 120)), ("ellipse", (10, 30, 36, 70)), ("ellipse", (92, 30, 118, 70))), 64),
        ((BACK, NECK), 27),
        ((BACK, NECK, TAIL), 27),
        ((BACK, NECK, ("rectangle", (104, 10, 110, 84))), 27),
        ((BACK, ("ellipse", (84, 36, 118, 84)), ("rectangle", (14, 36, 20, 84))), 101),
        ((BACK, NECK, ("rectangle", (96, 40, 112, 84))), 27),
    ],
)
def test_the_head_is_what_is_highest_and_no_tail(drawn: tuple[tuple, ...], middle: int, side: int) -> None:
    found = head(shape(*drawn, side=side))
    assert found is not None
    assert found[0] * SIDE == pytest.approx(middle, abs=5)
    assert 0.2 < found[1] < 0.5


def test_a_hat_sits_on_the_head_no_wider_than_it_should_be() -> None:
    for drawn in ((FACE,), (BACK, NECK), (("rectangle", (0, 40, 127, 127)),)):
        alpha = shape(*drawn)
        place = worn(HAT, alpha)
        assert WIDTHS[0] - 0.01 <= place.width / SIDE <= WIDTHS[1] + 0.01
        assert 0 <= place.left <= SIDE - place.width and place.top >= 0
        middle, top, _ = head(alpha) or (0, 0, 0)
        assert top * SIDE < place.top + place.height < top * SIDE + 14, "it touches, and does not hide the face"
        assert place.left + place.width / 2 == pytest.approx(middle * SIDE, abs=2)


def test_where_there_is_nothing_it_stays_in_its_box_and_what_is_thin_is_all_there_is() -> None:
    assert worn(HAT, np.zeros((SIDE, SIDE), np.uint8)) == HAT
    found = head(shape(("rectangle", (60, 20, 64, 120))))
    assert found is not None and found[0] * SIDE == pytest.approx(62.5, abs=2)


def test_a_head_at_the_very_top_leaves_room_for_some_of_the_hat() -> None:
    place = worn(HAT, shape(("rectangle", (0, 0, 127, 127))))
    assert place.top == 0 and place.height >= 1


def test_in_a_collage_it_is_the_wearer_s_head_and_not_the_ground_s() -> None:
    dog, hat = (np.zeros((SIDE, SIDE, 4), np.uint8) for _ in range(2))
    dog[..., 3] = shape(BACK, NECK)
    hat[20:100, 30:90] = (255, 0, 0, 255)
    for ground in ((), ("blue",)):
        made = collage(Layout(("dog", "hat"), PAIR["on the head"], ground), iter([dog, hat]))
        red = np.argwhere((made[..., 0] > 200) & (made[..., 2] < 50))
        assert red[:, 1].mean() < 48, "over the neck at the left, not in the middle"
        assert made[..., 3].max() == 255
