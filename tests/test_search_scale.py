"""Laws of search in many vectors and in odd ones."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Said
from test_page_search import fill, place

from models.messages import Refused
from studio import Studio
from studio.events import Vector
from studio.media import as_bytes
from studio.requests import make_request
from studio.search import Query, best


@pytest.mark.parametrize("count", [1, 7, 52, 400, 1000])
def test_the_best_are_those_of_a_full_sort(count: int) -> None:
    chance = np.random.default_rng(count)
    scores = chance.integers(0, 40, 400).astype(np.float32)  # with many equals
    assert best(scores, count).tolist() == np.argsort(-scores, kind="stable")[:count].tolist()


def test_vectors_without_numbers_harm_no_search(tmp_path: Path) -> None:
    with Studio(tmp_path) as studio:
        made = fill(studio.gallery)
        with studio.gallery.database.writing() as connection:
            broken = as_bytes(np.full(128, np.nan, np.float32))
            connection.execute("UPDATE vectors SET vector = ? WHERE picture = 1", (broken,))
        hits = studio.store.search("", np.array(place("a cat"), np.float32), "fake")
        assert len(hits) == len(made) - 1 and all(np.isfinite(hit.score) for hit in hits)
    asked = Query("a cat", "", "fake", (1.0,), make_request("embed", texts=("a cat",)))
    with pytest.raises(Refused, match="without numbers"):
        asked.vector([Vector("text", "a cat", (float("nan"),) * 128)])


def test_vectors_of_another_model_are_said_and_looked_at_anew(studio: Callable[..., Said], tmp_path: Path) -> None:
    home = tmp_path / "home"
    with Studio(home) as opened:
        fill(opened.gallery)
        opened.gallery.database.write("UPDATE vectors SET space = 'old'")
    said = studio("search", "a cat", "--model", "fake", "--json")
    assert "4 artifacts have vectors of another model" in said.err and "studio index" in said.err
    assert studio("index", "--model", "fake", "--json").json == [{"folder": "gallery", "looked_at": 4, "failed": 0}]
    assert "another model" not in studio("search", "a cat", "--model", "fake", "--json").err
    assert studio("index", "--model", "fake", "--json").json[0]["looked_at"] == 0
