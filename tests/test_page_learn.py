"""The Learn tab: what it hands to `studio learn`, what it shows of trainings, and its sentences."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from page_kit import HOSTILE, client_of, stays_text, turn_to
from PIL import Image
from series_kit import spoken
from test_learn import drawing

from studio import learn, settings
from studio.page.context import PageContext
from studio.page.tabs.learn import LearnHandlers, router
from studio.studio import Studio


@pytest.fixture
def handlers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LearnHandlers:
    handlers = LearnHandlers(PageContext(Studio(tmp_path), "fake:0"))
    idle = [sys.executable, "-c", "import time; time.sleep(60)"]
    commands: list[list[str]] = []

    def run(run: learn.TrainingRun, *options: str) -> subprocess.Popen[bytes]:
        commands.append([str(run.uploads), run.name, *options])
        return subprocess.Popen(idle)

    monkeypatch.setattr(learn.TrainingRun, "process", run)
    monkeypatch.setattr(handlers, "commands", commands, raising=False)
    return handlers


def uploads(handlers: LearnHandlers, count: int = 5) -> list[str]:
    folder = settings.uploads(handlers.root)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        drawing(number).save(folder / f"{number}.png")
    return [str(folder / f"{number}.png") for number in range(count)]


def pressed(**data: str) -> gr.EventData:
    return SimpleNamespace(_data=data)  # type: ignore[return-value]


def test_a_training_gets_the_pictures_with_their_captions(handlers: LearnHandlers) -> None:
    files = uploads(handlers)
    lines = handlers.caption_lines(files)
    assert lines.splitlines()[0] == "0.png: "
    notice, shown, timer = handlers.begin(files, lines.replace("0.png: ", "0.png: a red cat"), "ink", 2)
    ((folder, word, *options),) = handlers.commands  # type: ignore[attr-defined]
    assert (word, options) == ("ink", ["--minutes", "2"])
    assert (Path(folder) / "0.txt").read_text() == "a red cat\n" and not (Path(folder) / "1.txt").exists()
    assert "being learned" in notice and timer["active"] and 'data-own="stop"' in shown
    run = learn.TrainingRun(handlers.root, "ink")
    assert run.status is not None and run.status.is_running and run.status.minutes == 2
    assert "being learned now" in handlers.begin(files, lines, "ink", 2)[0]
    os.kill(run.status.pid, 9)
    os.waitpid(run.status.pid, 0)
    assert 'data-own="resume"' in handlers.show()[0] and not handlers.show()[1]["active"]
    handlers.press(pressed(own="resume", run="ink"))
    assert len(handlers.commands) == 2  # type: ignore[attr-defined]
    status = run.status
    assert status is not None and status.is_running
    handlers.press(pressed(own="stop", run="ink"))
    os.waitpid(status.pid, 0)
    assert "removed" in handlers.press(pressed(own="remove", run="ink"))[0] and not run.folder.exists()


def test_what_will_not_do_is_said_and_nothing_begins(handlers: LearnHandlers) -> None:
    files = uploads(handlers)
    for given, word, sentence in [
        (files[:2], "ink", "too few"),
        (None, "ink", "too few"),
        (files, "a/b", "can&#39;t be the name"),
        ([*files, "/etc/passwd"], "ink", "uploaded"),
    ]:
        assert sentence in handlers.begin(given, "", word, 2)[0]
        assert sentence in handlers.describe(given, "", word)[1]
    assert not handlers.commands and not learn.runs(handlers.root)  # type: ignore[attr-defined]
    with spoken("zh"):
        assert "太少了" in handlers.begin(files[:2], "", "ink", 2)[0] and "还没有学过什么" in handlers.show()[0]


def test_preferences_go_on_without_pictures_and_are_used_again(handlers: LearnHandlers) -> None:
    run = learn.TrainingRun(handlers.root, "preferences")
    run.report(state="stopped", minutes=8.0)
    run.adapter.mkdir(parents=True)
    (run.adapter / learn.CARD).write_text("---\npictures: []\nbase_model: base\n---\n\ncard\n")
    shown = handlers.show()[0]
    assert "not in use" in shown and 'data-own="resume"' in shown and 'data-own="use"' in shown
    shown = handlers.press(pressed(own="use", run="preferences"))[1]
    assert "drawn with it" in shown and settings.chosen(handlers.root)["preferences"] == "base"
    handlers.press(pressed(own="resume", run="preferences"))
    assert handlers.commands[0][1:] == ["preferences", "--minutes", "8"]  # type: ignore[attr-defined]
    assert run.status is not None
    os.kill(run.status.pid, 9)
    assert "learned from ratings" in handlers.begin(uploads(handlers), "", "preferences", 2)[0]


def test_a_sheet_is_that_of_its_run_alone(handlers: LearnHandlers) -> None:
    run = learn.TrainingRun(handlers.root, "ink")
    run.report(state="failed", message=HOSTILE[0])
    Image.new("RGB", (8, 8)).save(run.folder / "sheet-0000001.png")
    client = client_of(router(handlers.context))
    assert client.get("/learn/ink/sheet.png").status_code == 200
    assert client.get("/learn/other/sheet.png").status_code == 404
    assert client.get("/learn/..%2Fink/sheet.png").status_code == 404
    assert stays_text(handlers.show()[0], HOSTILE[0])


def test_the_tab_says_what_is_missing(visit: Callable[..., Any], tmp_path: Path) -> None:
    page = visit()
    turn_to(page, "Learn")
    page.wait_for_selector("#learn-runs .empty")
    drawing(1).save(tmp_path / "cat.png")
    page.set_input_files("#learn-files input[type=file]", str(tmp_path / "cat.png"))
    page.wait_for_function("() => document.querySelector('#learn-captions textarea').value.startsWith('cat.png: ')")
    page.fill("#learn-word textarea, #learn-word input", "ink")
    page.click("#learn-begin")
    page.wait_for_selector("#learn-notice [role=alert]")
    assert "1 different pictures in 1 files are too few" in page.inner_text("#learn-notice")
