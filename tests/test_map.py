"""Laws of the map: it keeps distances of a plane, is the same each time, and survives odd collections; and a lasso."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_page_search import fill

from studio import Studio
from studio.home import Home
from studio.map import Map, projected


def test_a_plane_is_shown_as_it_is() -> None:
    chance = np.random.default_rng(0)
    flat = chance.normal(size=(50, 2)) * [5, 2]
    basis, _ = np.linalg.qr(chance.normal(size=(128, 2)))
    shown = projected((flat @ basis.T).astype(np.float32))
    assert shown.min() == 0 and shown.max() == 1
    centred = flat - flat.mean(0)
    for axis, direction in enumerate(np.linalg.svd(centred)[2]):
        assert abs(np.corrcoef(shown[:, axis], centred @ direction)[0, 1]) > 0.999


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_and_equal_ones_lie_somewhere(count: int) -> None:
    shown = projected(np.ones((count, 128), np.float32))
    assert shown.shape == (count, 2) and (shown == 0.5).all()


def test_it_is_drawn_once_for_one_collection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Studio(tmp_path) as studio:
        made, drawn = fill(studio.gallery), Map(studio.gallery, studio.store.search)
        first = drawn.points("fake")
        assert {one.picture.sha256 for one in first} == set(made.values())
        monkeypatch.setattr("studio.map.projected", lambda _: pytest.fail("it was drawn before"))
        assert drawn.points("fake") == first


def test_a_lasso_puts_what_is_inside_on_a_board(visit: Callable[..., Any], home: Path) -> None:
    made = fill(Home(home).gallery)
    page = visit("Search")
    page.click("#map [data-act=map]")
    page.wait_for_selector("#map .plane canvas")
    page.click("#map [data-act=lasso]")
    page.locator("#map canvas").scroll_into_view_if_needed()
    box = page.locator("#map canvas").bounding_box()
    left, top, right, bottom = 8, 8, box["width"] - 8, box["height"] - 8  # the corners are round
    corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    for n, (x, y) in enumerate(corners):
        page.mouse.move(box["x"] + x, box["y"] + y)
        if n == 0:
            page.mouse.down()
    page.mouse.up()
    page.fill("#map [name=board]", "all")
    page.click("#map [data-act=board]")
    said = "document.querySelector('#map [role=status]').textContent"
    page.wait_for_function(f"() => {said}.startsWith('Put on the board: 4')")
    assert Home(home).gallery.labels("board") == {"all": len(made)}
