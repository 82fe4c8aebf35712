"""The evaluation table: any generator, the command, JSON, recorded figures and pages."""

import copy
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eval_kit import drawn_context, save_tiny_judge
from fixture_world import fixture_world
from rich.console import Console
from tiny_parts import save_tiny_parts

from eval import __main__ as command
from eval import report
from eval.context import Context
from eval.generator import LACKS, Generator, Media, Parts, StickerGenerator, lacks
from eval.metrics import METRICS, Metric
from eval.report import FIGURES, Document, Figures, measure, print_table, table_document
from eval.rows import SEED, SIZES, MissingError, Row
from models.data.world import World
from models.weights import listed_parts, part_digests


class Discs:
    """Draws one disc a prompt, whose colour the prompt decides and whose place the seed does."""

    name, abilities, parts = "discs", frozenset[str](), ()
    media: Media = "image"

    def __init__(self) -> None:
        self.calls: list[tuple[int, dict[str, Any]]] = []

    def settings(self, **options: Any) -> str:
        return "one disc"

    def digest(self) -> str:
        return "discs 1"

    def generate(self, prompts: Sequence[str], seeds: Sequence[int], **options: Any) -> Any:
        self.calls.append((len(prompts), options))
        return np.stack([self.disc(prompt, seed) for prompt, seed in zip(prompts, seeds, strict=True)])

    @staticmethod
    def disc(prompt: str, seed: int) -> np.ndarray:
        y, x = np.indices((128, 128)) - 50 - seed % 20
        colour = [*hashlib.sha256(prompt.encode()).digest()[:3], 255]
        return np.where((x**2 + y**2 < 900)[..., None], colour, 0).astype(np.uint8)


class Clips(Discs):
    """Moves the disc for eight frames."""

    name, media = "moving discs", "clip"

    def generate(self, prompts: Sequence[str], seeds: Sequence[int], **options: Any) -> Any:
        return np.stack([super(Clips, self).generate(prompts, [s + t for s in seeds]) for t in range(8)], 1)


class Captions(Discs):
    name, media = "caption of discs", "caption"

    def generate(self, prompts: Sequence[Any], seeds: Sequence[int], **options: Any) -> Any:
        return ["a disc"] * len(prompts)


NAMES = [name for name, one in METRICS.items() if name != "ratings" and not one.final]  # which people give


def context(generator: Generator, root: Path, cache: Path | None = None) -> Context:
    return drawn_context(root, cache, generator)


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a judge only."""
    root = tmp_path_factory.mktemp("judge")
    save_tiny_judge(root)
    return root


def test_any_generator_goes_through_the_whole_table(judged: Path, tmp_path: Path) -> None:
    this = context(discs := Discs(), judged, tmp_path)
    groups = measure(this, NAMES)
    applied = {name for name, group in groups.items() if not group["inapplicable"]}
    assert applied == {"image", "plain", "seen", "unseen", "scenes", "controls"}
    assert all(groups[name]["rows"] for name in applied)
    assert groups["fast"]["inapplicable"] == "does not apply: discs has no fast variant"
    assert groups["retrieval"]["inapplicable"] == "does not apply: discs does not embed text and pictures"
    assert not any(group["rows"] for name, group in groups.items() if name not in applied)
    assert all(not options for _, options in discs.calls), "no option without an ability"
    rows = groups["image"]["rows"]
    assert rows[0].seeds == f"noise {SEED}, {SEED + 1}, ...; one disc"
    assert rows[0].parts == () and rows[0].goal is not None
    assert [name for name, _ in groups["plain"]["rows"][0].against] == ["real held-out"], "no drafts to compare with"
    document = table_document(this, groups, "quick")
    assert json.loads(json.dumps(document))["stamps"]["generators"] == {"discs": "one disc"}
    assert document["inapplicable"]["blends"] == "does not apply: discs does not blend two prompts"
    assert document["weights"].keys() == {"judge"}


@pytest.mark.parametrize("make", [Clips, Captions])
def test_clip_and_caption_generators_draw_no_pictures(make: type[Discs], judged: Path) -> None:
    this = context(results := make(), judged)
    groups = measure(this, NAMES)
    measured = {name for name, group in groups.items() if not group["inapplicable"]}
    assert measured == {"controls", "clips" if make is Clips else "captions"}
    assert make is Captions or not results.calls  # the drawn world is too small for held-out clips
    media = this.generate(["a cat", "a dog"]) if make is Clips else results.generate(["a cat"], [0])
    assert len(media) == (2 if make is Clips else 1) and np.shape(media)[1:] in ((8, 128, 128, 4), ())


def test_the_sticker_pipeline_is_a_generator(tmp_path: Path) -> None:
    this: Generator = StickerGenerator(Parts(save_tiny_parts(tmp_path)))
    results = this.generate(["a cat", "a dog"], [1, 2])
    assert results.shape == (2, 128, 128, 4) and results.dtype == np.uint8 and this.media == "image"
    assert this.digest() == StickerGenerator(Parts(tmp_path)).digest() and this.settings() == "16 steps, guidance 4.0"
    blended = this.generate([("cat", "dog")], [1])
    assert blended.shape == (1, 128, 128, 4)


def test_every_need_has_a_sentence() -> None:
    assert {need for metric in METRICS.values() for need in metric.needs} <= LACKS.keys()
    assert all(lacks(Discs(), [need]) for need in LACKS if need != "image") and lacks(Discs(), ["image"]) is None


# --- The command and its table ----------------------------------------------------------------------------------------


# --- The command ------------------------------------------------------------------------------------------------------


def good(context: Context) -> Iterator[Row]:
    yield Row("share", 0.75, 8, interval=(0.4, 0.9), against=(("chance", 0.5),), goal=0.7, note="in words")
    yield Row("distance", 12.5, 8, "dB", goal=10, lower_is_better=True)


def half(context: Context) -> Iterator[Row]:
    yield Row("first", 1.0, 1)
    raise MissingError("no weights in nowhere; train them")


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of two measures over the drawn world."""
    monkeypatch.setattr("eval.rows.good", good, raising=False)
    monkeypatch.setattr("eval.rows.half", half, raising=False)
    metrics = {name: Metric(f"eval.rows:{name}") for name in ("good", "half")}
    for module in (report, command):
        assert module.METRICS is METRICS
        monkeypatch.setattr(module, "METRICS", metrics)
    monkeypatch.setattr(World, "load", classmethod(lambda cls, folder=None: fixture_world()))


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


def test_a_missing_world_names_the_build_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["controls", "--world", str(tmp_path)]) == 2
    assert "python -m models.data build" in capsys.readouterr().err


def test_an_error_of_ours_is_not_taken_for_something_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(context: Context) -> Iterator[Row]:
        raise ValueError("a mistake")
        yield

    monkeypatch.setattr("eval.rows.broken", broken, raising=False)
    monkeypatch.setitem(METRICS, "broken", Metric("eval.rows:broken"))
    with pytest.raises(ValueError, match="a mistake"):
        measure(Context(fixture_world(), SIZES["quick"], Parts(tmp_path), quiet=True), ["broken"])


def test_text_in_brackets_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    row = Row("name [red]", 1.0, 1, note="[/bold]")
    print_table({"g": {"rows": [row], "missing": None, "seconds": 0.0}}, Console(width=200))
    assert "name [red]" in capsys.readouterr().out


def test_help_and_refusals_load_no_network() -> None:
    code = "import sys\nfrom eval.__main__ import main\nassert main(['xyz']) == 2\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


# --- Recorded figures -------------------------------------------------------------------------------------------------


def row(name: str, value: float, *parts: str) -> Document:
    beside = {"against": [["chance", 0.5]], "interval": None, "goal": 0.9, "lower_is_better": False, "met": False}
    return {"group": "image", "name": name, "value": value, "unit": "", "n": 4, "note": "", "parts": parts, **beside}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A checkout with tiny weights, a card and a page."""
    save_tiny_parts(tmp_path / "assets" / "weights")
    for name, requests in {"README.md": "all", "assets/weights/dit/README.md": "image"}.items():
        (tmp_path / name).write_text(f'before\n[//]: # "figures: {requests}"\n[//]: # "end"\nafter\n', encoding="utf-8")
    (tmp_path / "docs").mkdir()
    return tmp_path


def document(home: Path, *rows: Document) -> Document:
    weights = home / "assets" / "weights"
    stamps = {"size": {"name": "quick"}, "seconds": {"image": 1.0}, "commit": "abcdef01", "date": "2026-01-01"}
    digests = part_digests(tuple(listed_parts(weights)), weights)
    return {"rows": list(rows), "missing": {}, "weights": digests, "stamps": stamps}


def test_pages_match_figures_and_weights() -> None:
    """Fails where weights or figures changed and `python -m eval report` was not run."""
    assert report.main(["--check"]) == 0


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
