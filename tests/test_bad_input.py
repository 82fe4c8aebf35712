"""Bad input at the doors: one clear sentence, exit code 2, nothing written."""

import errno
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Output
from PIL import Image
from tiny_files import bomb
from waiting import TIMEOUT

from models.messages import Refused
from studio import files
from studio.cli.base import Common
from studio.cli.files import info
from studio.files import write_whole

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def refuse(studio: Callable[..., Output], tmp_path: Path) -> Callable[..., str]:
    """Runs `studio` on bad input, checks that it refuses and writes nothing, and returns its sentence."""

    def run(*arguments: object, command: str = "generate") -> str:
        before = sorted(tmp_path.rglob("*"))
        model = [] if "--model" in arguments else ["--model", "fake"]
        code, out, err = studio(command, *arguments, *model, "--json")
        assert (code, out) == (2, "")
        assert err.count("\n") == 1 and err.startswith("studio: ") and err.strip()[-1] in ".;)", err
        assert sorted(tmp_path.rglob("*")) == before, "something was written"
        return err

    return run


BAD: list[tuple[str, list[str], str]] = [  # tests/test_requests.py has more
    ("generate", [], "say what to make"),
    ("generate", [""], "the prompt is empty"),
    ("generate", ["a\x1b[31mcat"], "control character (U+001B)"),
    ("generate", ["a cat", "--steps", "many"], "Invalid value for '--steps'"),
    ("generate", ["a cat", "--seed", "4294967296"], "seed must be between"),
    ("generate", ["a cat", "--seed", "9" * 5000], "--seed"),
    ("generate", ["a cat", "--mix", "1:"], "either words or a picture"),
    ("generate", ["a cat", "--mix", "1:missing.png"], "missing.png does not exist"),
    ("generate", ["a cat", "--stlye", "noto"], "No such option '--stlye'"),
    ("animate", [], "nothing to animate"),
    ("animate", ["a cat", "--frames", "0"], "frames must be between 1 and 64, not 0"),
    ("animate", ["a cat", "--last", "a.png"], "last is about a picture to start from"),
    ("animate", ["a cat", "--image", __file__], "is not a picture"),
]


def test_requests(refuse: Callable[..., str], subtests: pytest.Subtests) -> None:
    for command, arguments, says in BAD:
        with subtests.test(arguments=[argument[:40] for argument in arguments]):
            assert says in refuse(*arguments, command=command)


def test_the_first_bad_prompt_refuses_all(refuse: Callable[..., str]) -> None:
    assert "empty" in refuse("a cat", "", "--count", 1)


# --- Pictures ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def bad_pictures(tmp_path: Path) -> dict[str, Path]:
    whole = tmp_path / "whole.png"
    Image.effect_noise((64, 64), 80).convert("RGBA").save(whole)
    results = {name: tmp_path / f"{name}.png" for name in ("text", "cut", "empty", "bomb", "svg", "missing")}
    results["text"].write_text("just words")
    results["cut"].write_bytes(whole.read_bytes()[:1000])
    results["empty"].write_bytes(b"")
    results["bomb"].write_bytes(bomb(30_000))
    results["svg"].write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    results["folder"] = tmp_path / "folder"
    results["folder"].mkdir()
    return results


def test_pictures(refuse: Callable[..., str], bad_pictures: dict[str, Path], subtests: pytest.Subtests) -> None:
    says = dict.fromkeys(("text", "empty", "svg"), "is not a picture") | {"cut": "cut short", "bomb": "pixels"}
    for kind, words in {**says, "missing": "does not exist", "folder": "is a folder"}.items():
        path = bad_pictures[kind]
        with subtests.test(kind=kind):
            assert words in refuse("a cat", "--like", path)
            assert words in refuse("--image", path, command="embed")
            assert not path.suffix or words in refuse("a cat", "--mix", f"0.5:{path}")


def test_info_of_what_says_nothing(tmp_path: Path) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "plain.png")
    for path in (tmp_path / "plain.png", tmp_path, tmp_path / "missing.png"):
        with pytest.raises(Refused):
            info(Common(), [path])


# --- Where pictures go ------------------------------------------------------------------------------------------------


def test_out_is_a_file(refuse: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert "is not a folder" in refuse("a cat", "--out", tmp_path / "file")
    assert "studio export --format" in refuse("a cat", "--out", tmp_path / "cat.avi")
    assert "is not a folder" in refuse("a cat", "--out", tmp_path / "file" / "deeper")
    assert "too long" in refuse("a cat", "--out", tmp_path / ("n" * 300))


@pytest.mark.skipif(sys.platform != "linux", reason="/proc and /sys are Linux's")
@pytest.mark.parametrize("out", ["/proc/studio", "/sys/studio/deeper", "/dev/null/x"])
def test_out_can_not_be_written(refuse: Callable[..., str], out: str) -> None:
    assert "--out" in refuse("a cat", "--out", out)


def test_out_is_full(refuse: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    assert "is full" in refuse("a cat", "--out", tmp_path / "out")


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_write_that_fails_leaves_nothing(
    refuse: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    owner = files.os if call == "fsync" else files.Path
    monkeypatch.setattr(owner, call, fail)
    assert "--out" in refuse("a cat", "--out", tmp_path / "out")


def test_a_real_disk_that_is_full(refuse: Callable[..., str], tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small disk can't be mounted here")
    try:
        assert "is full" in refuse("a cat", "--out", disk)
        with pytest.raises(Refused, match="is full"):
            write_whole(disk / "a.png", bytes(200_000))
        assert not list(disk.iterdir()), "nothing half-written"
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_write_never_changes_the_old_file_by_halves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_whole(tmp_path / "a", b"old")
    monkeypatch.setattr(files.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "I/O error")))
    with pytest.raises(Refused, match="I/O error"):
        write_whole(tmp_path / "a", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"old")]


# --- The page's command line ------------------------------------------------------------------------------------------


def test_a_second_studio_on_the_port() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = [sys.executable, "app.py", "--no-browser", "--model", "fake", "--port", str(taken.getsockname()[1])]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1 and "is taken, perhaps by another studio" in done.stderr
