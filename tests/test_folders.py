"""Search in the user's folders, and in many vectors."""

import os
from pathlib import Path

import numpy as np
import pytest
from conftest import Command
from PIL import Image
from test_page_search import fill, place

from studio import Refused, Studio
from studio.events import Vector
from studio.folders import Folders
from studio.media import as_bytes
from studio.requests import make_request
from studio.search import best, query_vector


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "deep").mkdir(parents=True)
    for number, name in enumerate(("red fox", "blue whale", "deep/green frog")):
        Image.new("RGBA", (20, 20), ("red", "blue", "green")[number]).save(folder / f"{name}.png")
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_a_folder_is_looked_at_once_and_again_where_it_changed(tiny_studio: Studio, pictures: Path) -> None:
    folders = Folders(tiny_studio, "fake")
    assert [(step.done, step.total) for step in folders.index(pictures)] == [(0, 3), (3, 3)]
    assert [step.total for step in folders.index(pictures)] == [0]
    Image.new("RGBA", (20, 20), "white").save(pictures / "blue whale.png")
    os.utime(pictures / "blue whale.png", ns=(1, 1))
    (pictures / "red fox.png").unlink()
    (pictures / "broken.png").write_bytes(b"no picture at all")
    steps = list(folders.index(pictures))
    assert len(folders._rows(pictures)) == 2, "what is gone is forgotten"
    assert steps[-1].done == steps[-1].total == 2
    assert ["broken.png" in step.problem for step in steps if step.problem] == [True]
    assert {found.path.name for found in folders.search(pictures, "frog")} == {"green frog.png", "blue whale.png"}
    with pytest.raises(Refused, match="is not a folder"):
        list(folders.index(pictures / "nowhere"))


def test_names_go_before_meaning_and_meaning_is_the_models(tiny_studio: Studio, pictures: Path) -> None:
    folders = Folders(tiny_studio)
    list(folders.index(pictures))
    assert folders.search(pictures, "whale", k=1)[0].path.name == "blue whale.png"
    assert [found.path.name for found in folders.search(pictures / "deep", "whale")] == ["green frog.png"]
    assert "blue whale.png" not in [found.path.name for found in folders.search(pictures, "a", without="whale")]
    red = pictures / "red fox.png"
    like = folders.search(pictures, like=red)
    assert like[0].path == red.resolve() and like[0].score == pytest.approx(1, abs=2e-3)
    places = folders._studio.embed(["sunset"], [red])
    cosine = float(np.dot(places[0].vector, places[1].vector))
    by_name = {found.path.name: found.score for found in folders.search(pictures, "sunset")}
    assert by_name["red fox.png"] == pytest.approx(cosine, abs=2e-3)


def test_the_commands(studio: Command, pictures: Path) -> None:
    result = studio("index", pictures, "--model", "fake", "--json")
    assert result.json == [{"folder": str(pictures), "looked_at": 3, "failed": 0}]
    result = studio("search", "frog", "--folder", pictures, "--model", "fake", "--json", "--k", 2)
    assert Path(result.json[0]["path"]).name == "green frog.png" and len(result.json) == 2
    (pictures / "broken.png").write_bytes(b"no picture at all")
    result = studio("index", pictures, "--model", "fake")
    assert result.code == 1 and "broken.png" in result.err and "Traceback" not in result.err


# --- Many vectors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 7, 52, 400, 1000])
def test_the_best_are_those_of_a_full_sort(count: int) -> None:
    chance = np.random.default_rng(count)
    scores = chance.integers(0, 40, 400).astype(np.float32)  # with many equals
    assert best(scores, count).tolist() == np.argsort(-scores, kind="stable")[:count].tolist()


def test_vectors_without_numbers_harm_no_search(tmp_path: Path) -> None:
    with Studio(tmp_path) as studio:
        results = fill(studio.gallery)
        with studio.gallery.database.writing() as connection:
            broken = as_bytes(np.full(128, np.nan, np.float32))
            connection.execute("UPDATE vectors SET vector = ? WHERE artifact = 1", (broken,))
        hits = studio.store.search("", np.array(place("a cat"), np.float32), "fake")
        assert len(hits) == len(results) - 1 and all(np.isfinite(hit.score) for hit in hits)
    with pytest.raises(Refused, match="without numbers"):
        query_vector(make_request("search", words="a cat"), lambda _: [Vector("text", "a cat", (float("nan"),) * 128)])


def test_vectors_of_another_model_are_reported_and_recomputed(studio: Command, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with Studio(home) as opened:
        fill(opened.gallery)
        opened.gallery.database.write("UPDATE vectors SET space = 'old'")
    result = studio("search", "a cat", "--model", "fake", "--json")
    assert "4 artifacts have vectors of another model" in result.err and "studio index" in result.err
    assert studio("index", "--model", "fake", "--json").json == [{"folder": "gallery", "looked_at": 4, "failed": 0}]
    assert "another model" not in studio("search", "a cat", "--model", "fake", "--json").err
    assert studio("index", "--model", "fake", "--json").json[0]["looked_at"] == 0
