"""Laws of pictures on things: a heart lies on the envelope that comes with it, and beside what has no room for it."""

import numpy as np
from bags import no_far_names, parser_of  # noqa: F401 - a fixture

from models.compose.collage import collage
from models.prompts.boxes import ON_IT, PAIR
from models.prompts.parsed import Layout


def test_on_what_has_no_room_of_its_own_it_is_laid_as_it_was() -> None:
    found = parser_of("prints").parse("a wrench with a red heart on it").layout
    assert found and found.boxes == ON_IT


def test_a_picture_lies_within_what_it_is_on() -> None:
    """Where there is most room for it, and nothing of the thing's outline is hidden."""
    shirt, heart = np.zeros((128, 128, 4), np.uint8), np.zeros((128, 128, 4), np.uint8)
    shirt[20:110, 30:100] = (0, 0, 255, 255)
    heart[40:80, 40:80] = (255, 0, 0, 255)
    made = collage(Layout(("t-shirt", "red heart"), PAIR["printed on"]), iter([shirt, heart]))
    red = (made[..., 0] > 128) & (made[..., 2] < 128)
    seen = made[..., 3] > 128
    assert 0.1 < red.sum() / seen.sum() < 0.6
    rows, columns = np.nonzero(red)
    edges = np.nonzero(seen.any(1))[0], np.nonzero(seen.any(0))[0]
    for inner, outer in zip((rows, columns), edges, strict=True):
        assert outer.min() + 4 < inner.min() and inner.max() < outer.max() - 4
        assert abs(inner.mean() - outer.mean()) < 12
