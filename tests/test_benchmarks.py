"""Each benchmark runs in its shortest form and prints its figures."""

import json
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from tiny_parts import save_tiny_parts, save_tiny_video

FOLDER = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., str]]:
    """Runs a file of `benchmarks/` in this process -> what it prints."""
    monkeypatch.syspath_prepend(FOLDER)
    threads = torch.get_num_threads()

    def run(name: str, *arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        try:
            runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
        except SystemExit as end:
            assert not end.code
        return capsys.readouterr().out

    yield run
    torch.set_num_threads(threads)
    for name in [path.stem for path in FOLDER.glob("*.py")]:
        sys.modules.pop(name, None)


def test_every_benchmark_is_run_here() -> None:
    files = {path.stem for path in FOLDER.glob("*.py")} - {"timing"}
    assert files == {"start", "picture", "clip", "memory", "pipelines", "search", "pixels", "reading", "adapter"}


def test_a_start_is_measured_against_the_import_of_torch(benchmark: Callable[..., str]) -> None:
    figures = json.loads(benchmark("start", "--model", "fake", "--repeats", 1, "--json"))
    assert figures["processor time of a picture over import torch"] > 0
    assert figures["own modules imported for a picture"] > 1


@pytest.mark.parametrize(("name", "options"), [("picture", ["--many", 2]), ("clip", ["--frames", "8"])])
def test_seconds_of_pictures_and_clips(
    name: str, options: list[object], benchmark: Callable[..., str], tmp_path: Path
) -> None:
    save_tiny_video(save_tiny_parts(tmp_path))
    figures = json.loads(benchmark(name, "--weights", tmp_path, "--repeats", 1, *options, "--json"))
    if name == "picture":
        assert figures["seconds"].keys() == {"1", "2"}
    else:
        assert figures["picture, 8 frames"]["seconds"] >= figures["picture, 8 frames"]["preview"] > 0


def test_pipeline_benchmarks(benchmark: Callable[..., str], pipelines: Callable[[str], Path]) -> None:
    folder = pipelines("sd")
    (row,) = json.loads(benchmark("memory", "--folder", folder, "--size", 64, "--memory", "high", "--json"))
    assert row["measured"] > 0 and row["estimated"] > 0
    rows = json.loads(benchmark("pipelines", folder, "--steps", 2, "--size", "64", "--repeats", 1, "--json"))
    assert all(bare > 0 and ours > 0 for bare, ours, _ in rows.values()) and len(rows) == 4


def test_reading_is_measured_beside_embedding(benchmark: Callable[..., str]) -> None:
    figures = json.loads(benchmark("reading", "--repeats", 1, "--json"))
    assert figures["a prompt read, ms"] > 0 and figures["a text embedded, ms"] > 0


def test_a_swap_of_adapters_is_measured_beside_copies(benchmark: Callable[..., str]) -> None:
    assert len(json.loads(benchmark("adapter", "--repeats", 1, "--json"))) == 3


def test_a_search_is_measured_beside_a_sort(benchmark: Callable[..., str]) -> None:
    assert len(json.loads(benchmark("search", "--rows", 1000, "--repeats", 1, "--json"))) == 4


def test_equal_pixels_are_equal_and_others_are_named(benchmark: Callable[..., str], tmp_path: Path) -> None:
    file, options = tmp_path / "hashes.json", ("--first", 1, "--model", "fake")
    assert "2 pictures recorded" in benchmark("pixels", "record", file, *options)
    assert "0 of 2 pictures differ" in benchmark("pixels", "compare", file, *options)
    recorded = json.loads(file.read_text())
    changed = min(recorded)
    file.write_text(json.dumps(recorded | {changed: "0"}))
    with pytest.raises(AssertionError):
        benchmark("pixels", "compare", file, *options)
