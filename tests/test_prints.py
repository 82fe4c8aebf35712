"""Laws of pictures on things: a heart lies on the envelope that comes with it, and beside what has no room for it."""

import numpy as np
import pytest
from bags import no_far_names, of_bags  # noqa: F401 - a fixture

from models.compose.collage import collage
from models.reading.layout import Layout, layout
from models.reading.naming import Known
from models.reading.places import ON_IT, TWO
from models.reading.wording import Wording

KNOWN = (
    Known({"en": ("envelope",), "zh": ("信封",)}, (), "objects", True),
    Known({"en": ("t-shirt",), "zh": ("T恤",)}, (), "objects", True),
    Known({"en": ("laptop",), "zh": ("笔记本电脑",)}, (), "objects", True),
    Known({"en": ("wrench",), "zh": ("扳手",)}, (), "objects", True),
    Known({"en": ("red heart",), "zh": ("红心",)}, (), "smileys-emotion", True),
    Known({"en": ("cat",), "zh": ("猫",)}, (), "animals-nature", True),
    Known({"en": ("crown",), "zh": ("皇冠",)}, (), "objects", True),
    Known({"en": ("castle",), "zh": ("城堡",)}, (), "travel-places", True),
    Known({"en": ("triangular flag",), "zh": ("三角旗",)}, (), "flags", False),
    Known({"en": ("balloon",), "zh": ("气球",)}, (), "activities", True),
    Known({"en": ("speech balloon",), "zh": ("话泡泡",)}, (), "smileys-emotion", True),
)


@pytest.fixture(scope="module")
def wording() -> Wording:
    return of_bags(KNOWN)


@pytest.mark.parametrize(
    ("prompt", "texts", "relation"),
    [
        ("an envelope with a red heart", ("envelope", "red heart"), "printed on"),
        ("an envelope with a red heart on it", ("envelope", "red heart"), "printed on"),
        ("a blue t-shirt with a cat", ("a blue t-shirt", "cat"), "printed on"),
        ("a speech bubble with a red heart", ("speech balloon", "red heart"), "printed on"),
        ("a laptop with a triangular flag", ("laptop", "triangular flag"), "printed on"),
        ("印着猫的T恤", ("t恤", "猫"), "printed on"),
        ("画着红心的气球", ("气球", "红心"), "printed on"),
        ("带红心的信封", ("信封", "红心"), "printed on"),
        ("a laptop with a cat", ("laptop", "cat"), "printed on"),
        ("a laptop with a wrench", ("laptop", "wrench"), "left of"),  # no picture
        ("a laptop and a cat", ("laptop", "cat"), "left of"),
        ("a cat on a laptop", ("cat", "laptop"), "on"),  # it sits there
        ("a wrench with a red heart", ("wrench", "red heart"), "left of"),
        ("a t-shirt with a crown", ("t-shirt", "crown"), "on the head"),  # what is worn is worn
        ("a cat with a red heart", ("cat", "red heart"), "in the hand"),
        ("a castle with a flag", ("castle", "triangular flag"), "on top"),
    ],
)
def test_where_a_picture_lies(wording: Wording, prompt: str, texts: tuple[str, ...], relation: str) -> None:
    assert layout(prompt, wording) == Layout(texts, TWO[relation])


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [("a cat on a t-shirt", ("cat", "t-shirt")), ("a red heart on a laptop", ("red heart", "laptop"))],
)
def test_said_the_other_way_round_it_lies_there_too(wording: Wording, prompt: str, texts: tuple[str, ...]) -> None:
    found = layout(prompt, wording)
    assert found == Layout(texts, TWO["printed on"][::-1])


def test_on_what_has_no_room_of_its_own_it_is_laid_as_it_was(wording: Wording) -> None:
    found = layout("a wrench with a red heart on it", wording)
    assert found and found.places == ON_IT


def test_a_picture_lies_within_what_it_is_on() -> None:
    """Where there is most room for it, and nothing of the thing's outline is hidden."""
    shirt, heart = np.zeros((128, 128, 4), np.uint8), np.zeros((128, 128, 4), np.uint8)
    shirt[20:110, 30:100] = (0, 0, 255, 255)
    heart[40:80, 40:80] = (255, 0, 0, 255)
    made = collage(Layout(("t-shirt", "red heart"), TWO["printed on"]), iter([shirt, heart]))
    red = (made[..., 0] > 128) & (made[..., 2] < 128)
    seen = made[..., 3] > 128
    assert 0.1 < red.sum() / seen.sum() < 0.6
    rows, columns = np.nonzero(red)
    edges = np.nonzero(seen.any(1))[0], np.nonzero(seen.any(0))[0]
    for inner, outer in zip((rows, columns), edges, strict=True):
        assert outer.min() + 4 < inner.min() and inner.max() < outer.max() - 4
        assert abs(inner.mean() - outer.mean()) < 12
