"""Laws of skin tones: a prompt says which, only yellow skin is painted, and darker tones are darker."""

import numpy as np
import pytest
from prompt_kit import shipped

from models.data.colours import oklab
from models.data.grammar import SKIN_EN, SKIN_ZH
from models.references.drawing import HAIR, TONES, toned
from models.references.store import SIDE, ReferenceStore

YELLOW, BLUE, BLACK = (255, 204, 77, 255), (60, 90, 220, 255), (20, 20, 20, 255)
GOLDEN = (255, 150, 20, 255)


def face(skin: tuple[int, ...] = YELLOW) -> np.ndarray:
    """A square of skin with a black eye, on a blue shirt."""
    drawing = np.zeros((SIDE, SIDE, 4), np.uint8)
    drawing[4:30, 8:40], drawing[30:44, 8:40], drawing[10:14, 14:18] = skin, BLUE, BLACK
    drawing[4, 8:40] = [level // 2 for level in skin]  # an edge
    return drawing


@pytest.mark.parametrize("tone", TONES)
def test_every_wording_of_captions_is_understood(tone: str) -> None:
    for name, wording in (
        ("waving hand", ", " + SKIN_EN[0]),
        ("waving hand", ", " + SKIN_EN[1]),
        ("waving hand", " " + SKIN_EN[2]),
        ("挥手", "，" + SKIN_ZH[tone]),
    ):
        (entity,) = shipped().parse(name + wording.format(tone)).entities
        assert (entity.name, entity.skin) == (name, tone)


def test_skin_alone_is_painted_and_the_darker_tone_is_darker() -> None:
    before = face()
    skin = (before == YELLOW).all(-1)
    painted = {tone: toned(before, tone) for tone in TONES}
    lightness = [float(oklab(one[skin][:, :3]).mean(0)[0]) for one in painted.values()]
    assert lightness == sorted(lightness, reverse=True) and lightness[0] - lightness[-1] > 0.3
    for tone, one in painted.items():
        assert np.abs(one[skin][:, :3].astype(int) - TONES[tone]).max() <= 2
        rest = ~skin & ~(before[..., 3] == 127)
        assert np.array_equal(one[rest], before[rest]) and np.array_equal(one[..., 3], before[..., 3])
        assert (one[..., :3] <= one[..., 3:]).all() and not np.array_equal(one[4], before[4]), "edges too"
    assert np.array_equal(before, face()), "the drawing itself stays"


@pytest.mark.parametrize("tone", TONES)
def test_golden_hair_is_no_skin_and_is_darker_with_darker_skin(tone: str) -> None:
    blond = face()
    blond[4:12, 8:40] = GOLDEN
    hair, skin = (blond == GOLDEN).all(-1), (blond == YELLOW).all(-1)
    painted = toned(blond, tone).astype(int)
    assert np.abs(painted[skin][:, :3] - TONES[tone]).max() <= 2
    assert np.abs(painted[hair] - [*HAIR.get(tone, GOLDEN[:3]), 255]).max() <= 2


def test_the_shades_of_one_skin_are_all_skin() -> None:
    """From its light to its shadow, as glossy sets draw it: as far apart as hair and skin are, with nothing missing."""
    shaded, shadow = face(), np.array([255, 176, 46])
    for row, level in zip(shaded[4:30], np.linspace(0, 1, 26), strict=True):
        row[8:40, :3] = np.array(YELLOW[:3]) + level * (shadow - YELLOW[:3])
    painted = toned(shaded, "dark")[15:30, 8:40, :3]
    assert oklab(painted)[..., 0].min() > oklab(np.array(HAIR["dark"], np.uint8))[0] + 0.1
    assert np.abs(painted.astype(int) - TONES["dark"]).max() < 60


@pytest.mark.parametrize("skin", [BLUE, BLACK, (255, 211, 182, 255), (255, 0, 0, 255)])
def test_where_there_is_no_yellow_skin_nothing_is_painted(skin: tuple[int, ...]) -> None:
    assert np.array_equal(toned(face(skin), "dark"), face(skin))
    assert not toned(np.zeros((4, 4, 4), np.uint8), "dark").any()


def test_neither_cream_nor_a_speck_of_yellow_is_skin() -> None:
    drawing, speck = face(), face(BLUE)
    drawing[20:26, 12:36], speck[20, 12:36] = (255, 247, 228, 255), YELLOW
    assert np.array_equal(toned(drawing, "dark")[20:26, 12:36], drawing[20:26, 12:36])
    assert np.array_equal(toned(speck, "dark"), speck)


def test_a_thing_is_drawn_from_its_drawing_in_the_tone() -> None:
    store = ReferenceStore(face()[None])
    own, dark = (store.drawing(store.retrieve(0, paint=paint)) for paint in ("", "dark"))
    assert np.abs(dark[40, 60].astype(int) - [*TONES["dark"], 255]).max() <= 2 and tuple(own[40, 60]) == YELLOW
    assert np.array_equal(dark[100, 60], own[100, 60])
