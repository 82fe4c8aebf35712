"""The page of figures: one file, every plot with words of its own, and what is drawn follows from the figures."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval import __main__ as command
from eval.charts import bar, curves, difference, strips
from eval.report import as_html, as_json, compared, joined
from eval.rows import Row
from eval.table import rows_of

TRAINED = [
    *({"step": n, "seconds": n, "samples": n, "progress": 0.0, "loss": 1.0 / n} for n in range(1, 1001)),
    {"step": 1000, "seconds": 1, "samples": 1, "evaluation": {"fd": 20.0, "note": "words"}},
]


def document(*rows: Row) -> dict[str, Any]:
    return {"title": "run", **rows_of({"g": {"rows": rows}}), "stamps": {"date": "2026-12-01"}}


def row(value: float, interval: tuple[float, float] | None = None, **fields: Any) -> dict[str, Any]:
    return document(Row("r", value, 8, interval=interval, **fields))["rows"][0]


class Page(HTMLParser):
    """Tags of a page, the ids that are there, and those that are referred to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [own for name, own in self.tags if name == tag]


@pytest.fixture
def page(tmp_path: Path) -> Page:
    run = tmp_path / "image-tiny" / "stats.jsonl"
    run.parent.mkdir()
    run.write_text("\n".join(map(json.dumps, TRAINED)))
    pictures = np.full((9, 8, 8, 4), 255, np.uint8)
    made = document(
        Row("b", 0.5, 8), Row("a & b", 1.5, 8, interval=(1, 2), goal=2.0, shown=strips(np.arange(9.0), pictures))
    )
    other = document(Row("a & b", 3.0, 8, interval=(2.5, 3.5)))
    return Page(as_html(compared(made, other) | {"curves": joined([run])["curves"]}))


def test_every_plot_has_a_title_and_a_description_and_the_page_needs_no_other_file(page: Page) -> None:
    ids = [own["id"] for _, own in page.tags if "id" in own]
    assert len(ids) == len(set(ids))
    plots = [own for own in page.all("svg") if own.get("aria-hidden") != "true"]
    assert len(plots) == 2 + 2, "a bar a row, two quantities of the training"
    for own in plots:
        assert own["role"] == "img" and {own["aria-labelledby"], own["aria-describedby"]} <= set(ids)
    assert all(own["src"].startswith("data:image/") and own["alt"] for own in page.all("img")) and page.all("img")
    assert not page.all("script") and not page.all("link")


def test_nothing_is_drawn_outside_of_its_line() -> None:
    drawn = bar(row(2.0, (-1.0, 3.0), against=(("chance", 8.0), ("the other run", 900.0)), goal=5.0))
    assert drawn["spans"]["own"] == [0, pytest.approx(44.44)] and drawn["against"] == [("chance", 100)]
    assert drawn["value"] < drawn["goal"] < 100, "and the other run is drawn in another way"


def test_a_curve_keeps_its_ends_and_counters_are_none() -> None:
    evaluated, loss = curves(TRAINED)
    assert (evaluated["name"], loss["name"]) == ("fd, evaluated", "loss")
    points = loss["points"].split()
    assert points[0] == "0.0,0.0" and points[-1].startswith("100.0,100") and len(points) <= 201


@pytest.mark.parametrize(
    ("other", "apart"), [((2.1, 3.0), True), ((0.0, 0.9), True), ((1.9, 3.0), False), (None, None)]
)
def test_two_runs_differ_where_their_intervals_part(other: tuple[float, float] | None, apart: bool | None) -> None:
    found = difference(row(1.5, (1.0, 2.0)), row(2.5, other))
    assert found["difference"] == -1.0 and found["apart"] is apart


def test_pictures_are_shown_from_the_best_to_the_worst_and_answers_have_no_median() -> None:
    pictures = np.zeros((20, 8, 8, 4), np.uint8)
    values = np.random.default_rng(0).permutation(20).astype(float)
    best, median, worst = strips(values, pictures)
    assert best.values == (19, 18, 17, 16, 15, 14) and worst.values == (0, 1, 2, 3, 4, 5)
    assert median.values == (12, 11, 10, 9, 8, 7)
    assert strips(values, pictures, lower_is_better=True)[0].values == worst.values
    assert [one.name for one in strips(values > 5, pictures)] == ["best", "worst"]
    assert [one.name for one in strips(values > -1, pictures)] == ["best"]


def test_pictures_are_on_the_page_and_not_in_the_json() -> None:
    made = document(Row("r", 1.0, 9, shown=strips(np.arange(9.0), np.zeros((9, 8, 8, 4), np.uint8))))
    assert "data:image/webp" in as_html(made) and "data:" not in as_json(made)


def test_the_page_of_what_was_measured_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two, run, out = (tmp_path / name for name in ("one.json", "two.json", "stats.jsonl", "page.html"))
    one.write_text(as_json(document(Row("r", 1.5, 8, interval=(1, 2)))))
    two.write_text(as_json({"runs": [document(Row("r", 3.0, 8, interval=(2.5, 3.5)))]}))
    run.write_text("\n".join(map(json.dumps, TRAINED)))
    files = [str(one), str(run), "--compare", str(two)]
    assert command.main(["page", *files, "--html", str(out), "--json"]) == 0
    assert "part" in out.read_text() and "-1.500" in out.read_text() and "loss" in out.read_text()
    assert json.loads(capsys.readouterr().out)["rows"][0]["other"]["apart"] is True
    one.write_text("[]")
    assert command.main(["page", str(one)]) == 2
    captured = capsys.readouterr()
    assert str(one) in captured.err and captured.err.count("\n") == 1 and not captured.out
