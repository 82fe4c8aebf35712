"""Laws of features, heads and necks: a face has eyes and a mouth without its skin, a thing is where it has room."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from models.compose.collage import ROUND, WIDTHS, collage, features, head, is_dark, neck, on_dark, worn
from models.compose.masks import middle
from models.prompts.layout import FEATURES, MIDDLE, PAIR, WHOLE
from models.prompts.parsed import Box, Layout

SKIN, INK = (255, 200, 60, 255), (60, 30, 20, 255)


def picture(*shapes: tuple[str, tuple[int, ...], tuple[int, int, int, int]]) -> np.ndarray:
    image = Image.new("RGBA", (128, 128))
    for kind, where, colour in shapes:
        getattr(ImageDraw.Draw(image), kind)(where, fill=colour)
    return np.array(image)


EYES = (("ellipse", (40, 40, 52, 56), INK), ("ellipse", (76, 40, 88, 56), INK))
MOUTH = ("rectangle", (44, 76, 84, 84), INK)
FACE = picture(("ellipse", (4, 4, 123, 123), SKIN), *EYES, MOUTH)


def test_what_is_cut_out_is_what_is_not_skin() -> None:
    cut = features(FACE)
    assert cut.shape == (84 + 1 - 40, 88 + 1 - 40, 4), "from the top of the eyes to the bottom of the mouth"
    assert cut[8, 6].tolist() == [*INK] and cut[40, 20].tolist() == [*INK]
    assert not cut[8, 24].any() and not cut[25].any(), "between the eyes, and between them and the mouth"
    assert (cut[..., :3] <= cut[..., 3:]).all()


def test_the_rim_of_a_face_is_no_feature() -> None:
    rimmed = picture(
        ("ellipse", (4, 4, 123, 123), (200, 120, 0, 255)), ("ellipse", (8, 8, 119, 119), SKIN), *EYES, MOUTH
    )
    assert np.array_equal(features(rimmed), features(FACE))


def test_the_skin_is_that_of_the_face_however_small_that_is() -> None:
    small = np.zeros_like(FACE)
    small[40:104, 40:104] = np.array(Image.fromarray(FACE).resize((64, 64), Image.Resampling.NEAREST))
    cut = features(small)
    assert abs(cut.shape[0] - 22) <= 1 and abs(cut.shape[1] - 24) <= 1 and not cut[12].any()


@pytest.mark.parametrize(
    "nothing", [np.zeros((128, 128, 4), np.uint8), picture(("ellipse", (4, 4, 123, 123), SKIN))], ids=["empty", "bare"]
)
def test_of_nothing_there_is_nothing(nothing: np.ndarray) -> None:
    assert features(nothing).size == 0
    thing = picture(("rectangle", (20, 20, 100, 100), (0, 160, 0, 255)))
    layout = Layout(("thing", "face"), (WHOLE, FEATURES))
    bare = collage(Layout(("thing",), (WHOLE,)), iter([thing]))
    assert np.array_equal(collage(layout, iter([thing, nothing])), bare)


@pytest.mark.parametrize(
    ("shapes", "x", "y", "radius"),
    [
        ((("ellipse", (20, 40, 80, 100)),), 50, 70, 30),
        ((("rectangle", (10, 50, 120, 70)),), 65, 60, 10.5),  # of a long thing, the middle of its length
        ((("rectangle", (60, 10, 66, 120)), ("rectangle", (10, 60, 120, 66))), 64, 64, 27),  # no room anywhere
        ((("ellipse", (10, 60, 70, 120)), ("rectangle", (38, 4, 42, 60))), 40, 90, 30),  # a stalk has no room
    ],
)
def test_the_middle_is_where_most_room_is(shapes: tuple, x: float, y: float, radius: float) -> None:
    alpha = picture(*((kind, where, INK) for kind, where in shapes))[..., 3]
    assert middle(alpha) == pytest.approx((x, y, radius), abs=3)
    assert middle(np.zeros((128, 128), np.uint8)) is None


def test_eyes_and_mouth_lie_in_the_middle_of_the_thing_and_nowhere_else() -> None:
    thing = picture(("ellipse", (4, 44, 74, 114), (0, 160, 0, 255)))
    laid = collage(Layout(("thing", "face"), (WHOLE, FEATURES)), iter([thing, FACE]))
    bare = collage(Layout(("thing",), (WHOLE,)), iter([thing]))
    rows, columns = np.nonzero((laid != bare).any(-1))
    assert np.mean([rows.min(), rows.max()]) == pytest.approx(64, abs=3)
    assert np.mean([columns.min(), columns.max()]) == pytest.approx(64, abs=3)
    assert 60 < np.ptp(columns) < 100 and np.array_equal(laid[..., 3], bare[..., 3])


def test_another_drawing_lies_there_whole() -> None:
    thing = picture(("ellipse", (4, 44, 74, 114), (0, 160, 0, 255)))
    laid = collage(Layout(("thing", "face"), (WHOLE, MIDDLE)), iter([thing, FACE]))
    skin = (laid == SKIN).all(-1)
    rows, columns = np.nonzero(skin)
    assert np.mean(rows) == pytest.approx(64, abs=6) and np.mean(columns) == pytest.approx(64, abs=3)
    assert 50 < np.ptp(columns) < 100


def test_on_what_is_black_they_are_light() -> None:
    black = picture(("ellipse", (4, 4, 123, 123), (20, 20, 24, 255)))
    assert is_dark(black, 64, 64, 40) and not is_dark(FACE, 64, 64, 40)
    light = on_dark(features(FACE))
    assert light[8, 6, :3].min() > 200 and np.array_equal(light[..., 3], features(FACE)[..., 3])
    laid = collage(Layout(("thing", "face"), (WHOLE, FEATURES)), iter([black, FACE]))
    assert laid[..., :3].max() > 200


# --- Necks ------------------------------------------------------------------------------------------------------------


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


# --- Heads ------------------------------------------------------------------------------------------------------------


SIDE = 128
HAT = Box(38, 0, 52, 42, z=1, align=1, anchor="head")


def shape(*drawn: tuple[str, tuple[int, ...]], side: int = SIDE) -> np.ndarray:
    """Alpha (side, side) of ellipses, rectangles and polygons on a board of SIDE x SIDE."""
    board = Image.new("L", (SIDE, SIDE))
    for kind, where in drawn:
        getattr(ImageDraw.Draw(board), kind)(where, fill=255)
    return np.asarray(board.resize((side, side)))


FACED = ("ellipse", (24, 34, 104, 114))
EARS = (("polygon", (26, 30, 56, 44, 28, 70)), ("polygon", (102, 30, 72, 44, 100, 70)))
RABBIT = (("rectangle", (44, 30, 58, 80)), ("rectangle", (70, 30, 84, 80)), ("ellipse", (34, 70, 94, 124)))
BACK = ("rectangle", (24, 76, 104, 104))
NECK, TAIL = ("ellipse", (10, 36, 44, 84)), ("rectangle", (104, 36, 110, 84))


@pytest.mark.parametrize("side", [64, 128])
@pytest.mark.parametrize(
    ("drawn", "middle"),
    [
        ((FACED,), 64),
        ((FACED, *EARS), 64),
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
    for drawn in ((FACED,), (BACK, NECK), (("rectangle", (0, 40, 127, 127)),)):
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
