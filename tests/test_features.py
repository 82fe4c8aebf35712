"""Laws of features: of a face eyes and mouth are cut out without its skin, and lie where a thing has most room."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from models.compose.anchors import features, is_dark, middle, on_dark
from models.compose.collage import collage
from models.prompts.boxes import FEATURES, MIDDLE, WHOLE
from models.prompts.parsed import Layout

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
