"""Laws of morphing: of one drawing it is that one, of two it lies between them, and its lines stay lines."""

import cv2
import numpy as np
import pytest
from PIL import Image

from models.references.drawing import morphed
from models.references.store import ReferenceStore

RED, BLUE = (220, 40, 40), (40, 40, 220)


def bottle(neck: int, colour: tuple[int, int, int] = RED) -> np.ndarray:
    """A body, and on it a neck of some width: shapes that one box does not make equal."""
    drawing = np.zeros((128, 128, 4), np.uint8)
    drawing[60:120, 24:104] = drawing[8:60, 64 - neck : 64 + neck] = (*colour, 255)
    drawing[80:100, 40:88] = (250, 250, 250, 255)
    return drawing


def neck(drawing: np.ndarray) -> int:
    return int((drawing[30, :, 3] > 127).sum())


def test_of_one_or_of_those_that_have_nothing_in_common_it_is_the_first() -> None:
    lines = np.zeros((128, 128, 4), np.uint8)
    lines[:, 10:14] = 255
    for others, shares in (([], [1.0]), ([lines], [0.5, 0.5])):
        found, rows = morphed(np.stack([bottle(10), *others]), shares)
        assert np.array_equal(found, bottle(10)) and rows == (0,)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_it_lies_between_two_and_has_no_ghosts(share: float) -> None:
    found, rows = morphed(np.stack([bottle(14), bottle(22)]), [1 - share, share])
    assert set(rows) == {0, 1}
    assert abs(neck(found) - (28 + 16 * share)) <= 4
    assert ((found[..., 3] > 40) & (found[..., 3] < 215)).mean() < 0.03, "half transparent is what only one of them has"
    assert (found[..., :3].astype(int) <= found[..., 3:].astype(int) + 1).all()
    mean = (bottle(14).astype(float) + bottle(22)) / 2
    assert ((mean[..., 3] > 40) & (mean[..., 3] < 215)).mean() > 0.04


def test_the_look_is_the_first_one_s_where_it_is_kept() -> None:
    drawings = np.stack([bottle(14, RED), bottle(22, BLUE)])
    kept, mixed = (morphed(drawings, [0.5, 0.5], keeps_look=kept)[0] for kept in (True, False))
    assert abs(neck(kept) - neck(mixed)) <= 2 and neck(kept) > 30
    assert np.allclose(kept[110, 30, :3], RED, atol=2) and np.allclose(mixed[110, 30, :3], (130, 40, 130), atol=2)


def test_it_is_turned_as_the_others_are_and_the_same_on_any_number_of_threads() -> None:
    tilted = np.array(Image.fromarray(bottle(12)).rotate(15))
    drawings = np.stack([tilted, tilted[:, ::-1], bottle(16)])
    found, _ = morphed(drawings, [0.4, 0.4, 0.2])
    assert np.array_equal(found, morphed(drawings, [4, 4, 2])[0]) and cv2.getNumThreads() == 1


def test_a_drawing_without_a_share_is_no_source() -> None:
    lines = np.zeros((128, 128, 4), np.uint8)
    lines[:, 10:14] = 255
    store = ReferenceStore(np.stack([bottle(14), lines, bottle(22)])[:, ::2, ::2], [[0, 1, 2]])
    found = [store.retrieve(0, seed) for seed in range(3)]
    assert {one.rows[0] for one in found} == {0, 1, 2} and all(len(one.rows) == 3 for one in found)
    for one in found:
        assert set(store.drawn_from(one)) == ({1} if one.rows[0] == 1 else {0, 2})
