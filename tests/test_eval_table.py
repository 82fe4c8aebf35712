"""The command and its table: one JSON, one sentence for what is missing, one for what is refused."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fixture_world import fixture_world
from rich.console import Console

from eval import __main__ as command
from eval import table
from eval.context import SIZES, Context
from eval.generator import Parts
from eval.metrics import METRICS, Metric
from eval.report import compared
from eval.rows import MissingError, Row
from eval.table import measure, print_table, report
from models.data.world import World


def good(context: Context) -> Iterator[Row]:
    yield Row("share", 0.75, 8, interval=(0.4, 0.9), against=(("chance", 0.5),), goal=0.7, note="in words")
    yield Row("distance", 12.5, 8, "dB", goal=10, lower_is_better=True)


def half(context: Context) -> Iterator[Row]:
    yield Row("first", 1.0, 1)
    raise MissingError("no weights in nowhere; train them")


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of two measures over the drawn world."""
    metrics = {"good": Metric(good), "half": Metric(half)}
    for module in (table, command):
        assert module.METRICS is METRICS
        monkeypatch.setattr(module, "METRICS", metrics)
    monkeypatch.setattr(World, "load", classmethod(lambda cls, folder=None: fixture_world()))


def test_a_row_knows_whether_its_goal_is_met() -> None:
    assert Row("n", 1.0, 1).met is None
    assert Row("n", 0.9, 1, goal=0.85).met and not Row("n", 0.8, 1, goal=0.85).met
    assert Row("n", 0.8, 1, goal=0.85, lower_is_better=True).met


def test_every_measure_runs_alone_and_says_what_it_lacks(tmp_path: Path) -> None:
    context = Context(fixture_world(), SIZES["quick"], Parts(tmp_path), quiet=True)
    context.wordnet = tmp_path
    for name in METRICS:
        if name not in ("controls", "ratings"):  # they need no weights
            group = measure(context, [name])[name]
            assert group["missing"] and "\n" not in group["missing"] and not group["rows"], name


@pytest.mark.usefixtures("two")
def test_json_holds_rows_stamps_and_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "table.json"
    assert command.main(["half", "--cache", str(tmp_path)]) == 1, "it was asked for by name"
    assert command.main(["--quick", "--json", str(path), "--cache", str(tmp_path)]) == 0
    document = json.loads(path.read_text())
    assert [row["name"] for row in document["rows"]] == ["share", "distance", "first"]
    assert [row["met"] for row in document["rows"]] == [True, False, None]
    assert document["missing"] == {"half": "no weights in nowhere; train them"}
    stamps = document["stamps"]
    assert stamps["size"]["name"] == "quick" and stamps["world"] == fixture_world().digest
    assert stamps["versions"]["torch"] and stamps["processor"] and set(stamps["seconds"]) == {"good", "half"}
    printed = capsys.readouterr().out
    assert "0.750 (0.400 to 0.900)" in printed and "chance 0.500" in printed and "at most 10.0" in printed
    assert "half: no weights in nowhere; train them" in printed


@pytest.mark.usefixtures("two")
def test_json_without_a_file_is_the_only_thing_on_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["good", "--cache", str(tmp_path), "--json"]) == 0
    captured = capsys.readouterr()
    assert len(json.loads(captured.out)["rows"]) == 2 and "share" in captured.err


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(
    ("words", "sentence"), [(["goood"], "did you mean 'good'"), (["xyz"], "there are good, half, all")]
)
def test_an_unknown_measure_is_refused(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(words) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err and not captured.out and len(captured.err.splitlines()) == 1


def test_without_pictures_the_build_command_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["controls", "--world", str(tmp_path)]) == 2
    assert "python -m models.data build" in capsys.readouterr().err


def test_an_error_of_ours_is_not_taken_for_something_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(context: Context) -> Iterator[Row]:
        raise ValueError("a mistake")
        yield

    monkeypatch.setitem(table.METRICS, "broken", Metric(broken))
    with pytest.raises(ValueError, match="a mistake"):
        measure(Context(fixture_world(), SIZES["quick"], Parts(tmp_path), quiet=True), ["broken"])


def test_text_in_brackets_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    row = Row("name [red]", 1.0, 1, note="[/bold]")
    print_table({"g": {"rows": [row], "missing": None, "seconds": 0.0}}, Console(width=200))
    assert "name [red]" in capsys.readouterr().out


def test_the_report_names_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = Context(fixture_world(), SIZES["quick"], Parts(tmp_path), quiet=True)
    monkeypatch.setattr(context.parts, "digests", lambda names: dict.fromkeys(names, "abc"))
    group = {"rows": [Row("n", 1.0, 1, parts=("dit", "space"))], "missing": None, "seconds": 0.0}
    assert report(context, {"g": group}, "quick")["weights"] == {"dit": "abc", "space": "abc"}


def test_another_run_stands_beside_this_one_where_it_has_the_row() -> None:
    row = {"group": "g", "value": 2.0, "interval": None, "against": [("chance", 0.5)]}
    rows = [row | {"name": name} for name in ("old", "new")]
    old, new = compared({"rows": rows}, {"rows": [{"group": "g", "name": "old", "value": 1.0}]})["rows"]
    assert old["against"] == [("chance", 0.5), ("the other run", 1.0)] and new["against"] == [("chance", 0.5)]
