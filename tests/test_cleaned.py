"""Text from outside is cleaned at the one place where it enters or leaves; what never ends is not waited for."""

import os
import re
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Said, refusal
from queue_kit import Entry, keep
from test_gallery import png
from tiny_files import write

from studio import cli
from studio.annotations import Annotations, beside, read_annotations
from studio.batch import sources
from studio.clips import picture_of
from studio.gallery import Gallery
from studio.home import Home
from studio.metadata.readers import parse_parameters
from studio.wildcards import Wildcards

HOSTILE = "a\x1b[31m\x9b31m\u202e\x07"
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]")


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_names_of_files_do_nothing_to_the_terminal(studio: Callable[..., Said], tmp_path: Path, flags: tuple) -> None:
    picture, prompts = tmp_path / f"{HOSTILE}.png", tmp_path / f"{HOSTILE}.txt"
    write(picture)
    prompts.write_text("a cat\n--w 1\n")
    gone, out = tmp_path / f"{HOSTILE}-gone.png", tmp_path / HOSTILE
    commands = [("strip", picture), ("strip", gone, picture), ("strip", picture, "--out", out), ("info", picture)]
    commands += [("batch", prompts, "--model", "fake", "--out", out), ("batch", gone, "--model", "fake")]
    commands += [("batch", prompts, "--model", "fake", "--dry-run"), ("queue", "--home", out)]
    for command in commands:
        said = studio(*command, *flags)
        assert not CONTROLS.search(said.out + said.err), (command, said)


def test_what_is_noted_is_clean(tmp_path: Path) -> None:
    gallery: Gallery = Home(tmp_path).gallery
    path = keep(gallery, png(), Entry(job="a", position=0, seed=1, prompt="a cat"))
    gallery.mark([path.stem], note=f"{HOSTILE}\nsecond line", tags=(HOSTILE,))
    gallery.label([path.stem], "boards", HOSTILE)
    kept = gallery.get(path.stem)
    assert kept.note == "a[31m31m\nsecond line" and kept.tags == kept.boards == ("a[31m31m",)
    beside(path).write_text('{"note": "a\\u001b[31m", "tags": ["\\u202eb"]}')
    assert read_annotations(path) == Annotations(note="a[31m", tags=("b",))


def test_a_home_is_for_its_owner_alone(tmp_path: Path) -> None:
    assert stat.S_IMODE(Home(tmp_path / "home").root.stat().st_mode) == 0o700


def test_a_pipe_that_nobody_writes_into_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("lines.txt", "a.png"):
        os.mkfifo(tmp_path / name)
    monkeypatch.setattr(sources, "PIPE_SECONDS", 0.1)

    def batch() -> None:
        with sources.opened([str(tmp_path / "lines.txt")]):
            pass

    assert "nothing comes" in refusal(batch)
    assert "is no file" in refusal(lambda: Wildcards(tmp_path).entries("lines"))
    assert refusal(lambda: picture_of(tmp_path / "a.png"))


@pytest.mark.parametrize("piece", ['ab: "\\\\",', "ab", 'ab: "', "a a: ", "\\"])
def test_settings_of_any_length_are_read_in_a_moment(piece: str) -> None:
    began = time.process_time()
    parse_parameters("a cat\n" + piece * (2**18 // len(piece)))
    assert time.process_time() - began < 0.2


def test_a_home_that_can_not_be_rebuilt_is_one_sentence(
    studio: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("studio.cli.home.FileLock", read_only)
    said = studio("rebuild")
    assert said.code == 2 and "can't be written" in said.err and said.err.count("\n") == 1


def test_ctrl_c_while_a_command_is_imported_is_no_traceback(
    studio: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.importlib, "import_module", stopped)
    said = studio("queue")
    assert (said.code, said.err) == (130, "")
