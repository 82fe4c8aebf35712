"""Folders of the user's own: looked at once, looked at again where something changed, and searched like the gallery."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Said
from PIL import Image

from studio import Refused, Studio
from studio.folders import Folders


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


def test_the_commands(studio: Callable[..., Said], pictures: Path) -> None:
    said = studio("index", pictures, "--model", "fake", "--json")
    assert said.json == [{"folder": str(pictures), "looked_at": 3, "failed": 0}]
    said = studio("search", "frog", "--folder", pictures, "--model", "fake", "--json", "--k", 2)
    assert Path(said.json[0]["path"]).name == "green frog.png" and len(said.json) == 2
    (pictures / "broken.png").write_bytes(b"no picture at all")
    said = studio("index", pictures, "--model", "fake")
    assert said.code == 1 and "broken.png" in said.err and "Traceback" not in said.err
