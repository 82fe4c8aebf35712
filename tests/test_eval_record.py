"""The figures that are shown: pages, JSON and the weights that ship agree; a run replaces its own rows alone."""

import copy
import json
from pathlib import Path

import pytest
from tiny_parts import save_tiny_parts

from eval import record
from eval.record import FIGURES, Figures
from eval.report import Document
from models.weights import listed_parts, part_digests


def row(name: str, value: float, *parts: str) -> Document:
    beside = {"against": [["chance", 0.5]], "interval": None, "goal": 0.9, "lower_is_better": False, "met": False}
    return {"group": "image", "name": name, "value": value, "unit": "", "n": 4, "note": "", "parts": parts, **beside}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A checkout with tiny weights, a card and a page."""
    save_tiny_parts(tmp_path / "assets" / "weights")
    for name, asked in {"README.md": "all", "assets/weights/dit/README.md": "image"}.items():
        (tmp_path / name).write_text(f'before\n[//]: # "figures: {asked}"\n[//]: # "end"\nafter\n', encoding="utf-8")
    (tmp_path / "docs").mkdir()
    return tmp_path


def document(home: Path, *rows: Document) -> Document:
    weights = home / "assets" / "weights"
    stamps = {"size": {"name": "quick"}, "seconds": {"image": 1.0}, "commit": "abcdef01", "date": "2026-01-01"}
    digests = part_digests(tuple(listed_parts(weights)), weights)
    return {"rows": list(rows), "missing": {}, "weights": digests, "stamps": stamps}


def test_pages_and_cards_are_as_the_figures_and_the_weights_that_ship() -> None:
    """Red where weights ship, or figures are edited, and nobody ran `python -m eval report`."""
    assert record.main(["--check"]) == 0


def test_a_row_says_which_of_its_weights_are_older(home: Path) -> None:
    figures = Figures.load(home)
    figures.add(document(home, row("both", 0.25, "dit", "space"), row("space alone", 0.5, "space")))
    figures.write(home)
    page, card = ((home / name).read_text() for name in ("README.md", "assets/weights/dit/README.md"))
    assert "| both | 0.250 |  | 4 | ✗ at least 0.900 | chance 0.500 |  |" in page and "2026-01-01, abcdef0" in page
    assert "both" in card and "space alone" not in card, "a card shows what its part has a share in"
    assert page.startswith("before\n") and page.endswith('[//]: # "end"\nafter\n')
    manifest = home / "assets" / "weights" / "manifest.json"
    listed = json.loads(manifest.read_text())
    listed["dit"]["config.json"] = "0" * 64
    manifest.write_text(json.dumps(listed))
    stale = Figures.load(home).pages(home)[home / "README.md"]
    assert (
        "| chance 0.500 | `dit` |" in stale
        and "| space alone | 0.500 |  | 4 | ✗ at least 0.900 | chance 0.500 |  |" in stale
    )
    assert Figures.load(home).find("image", "both")[1] == ["dit"]


def test_a_run_replaces_that_measure_at_that_size_alone(home: Path) -> None:
    figures, first = Figures.load(home), document(home, row("one", 0.1, "dit"))
    wide = copy.deepcopy(first)
    wide["stamps"]["size"]["name"], wide["rows"][0]["value"] = "standard", 0.2
    for each in (first, wide):
        figures.add(each)
    assert figures.find("image", "one")[0]["value"] == 0.2, "the larger run first"
    again = document(home, row("one", 0.3, "dit"))
    figures.add(again | {"missing": {"image": "no weights"}})
    assert [run["rows"][0]["value"] for run in figures.runs] == [0.2, 0.1], "what lacked something is not kept"
    figures.add(again)
    figures.write(home)
    assert [run["rows"][0]["value"] for run in json.loads((home / FIGURES).read_text())["runs"]] == [0.2, 0.3]
    figures.runs[0]["weights"]["dit"] = "older"
    assert figures.find("image", "one")[0]["value"] == 0.3, "what ships goes before what is large"
    with pytest.raises(ValueError, match="python -m eval image --record"):
        figures.find("image", "two")
