"""Input pictures of jobs: they stay while a job, picture or series names them."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Command
from PIL import Image
from queue_kit import ask, claims, of_kind, planned, run_job, work

from studio.backends.fake import Fake
from studio.events import Done, Saved
from studio.home import Home
from studio.inputs import INPUTS, remove_unneeded
from studio.run import GallerySink
from studio.studio import Studio

HOUR = 3600


@pytest.fixture
def idle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Studio]:
    """A studio whose worker does not start."""
    with Studio(tmp_path / "home") as studio:
        monkeypatch.setattr(studio._worker, "wake", lambda model="": None)
        yield studio


@pytest.fixture
def given(idle: Studio, tmp_path: Path) -> Path:
    """The stored input of a waiting job, two hours old."""
    Image.new("RGBA", (128, 128), "red").save(tmp_path / "red.png")
    idle.submit(*idle.prepare("image", prompt="a cat", model="fake", image=tmp_path / "red.png", strength=0.5))
    (copy,) = (idle.home / INPUTS).iterdir()
    os.utime(copy, (time.time() - 2 * HOUR,) * 2)
    return copy


def finish(idle: Studio) -> str:
    """Do the one job that there is -> the sha256 of its picture."""
    (job,) = claims(idle.queue).claim()
    (saved,) = of_kind(run_job(Fake(), planned(job.request), GallerySink(idle.gallery)), Saved)
    claims(idle.queue).end(job.id, Done())
    return Path(saved.path).stem


def empty(idle: Studio) -> None:
    idle.gallery.empty_bin()
    remove_unneeded(idle.store)


def test_inputs_of_waiting_jobs_stay(idle: Studio, given: Path) -> None:
    empty(idle)
    assert given.exists()


def test_inputs_of_a_picture_stay_until_the_bin_is_emptied(idle: Studio, given: Path) -> None:
    picture = finish(idle)
    empty(idle)
    assert given.exists()
    idle.gallery.delete([picture])
    remove_unneeded(idle.store)
    assert given.exists(), "it may be taken out of the bin"
    empty(idle)
    assert not given.exists()


def test_a_picture_of_a_command_protects_its_input(idle: Studio, given: Path, studio: Command, tmp_path: Path) -> None:
    results = studio(
        "generate", "a dog", "--image", tmp_path / "red.png", "--strength", 0.5, "--model", "fake", "--json"
    )
    idle.gallery.delete([finish(idle)])
    empty(idle)
    assert given.exists()
    idle.gallery.delete([Path(results.json[0]["path"]).stem])
    empty(idle)
    assert not given.exists()


def test_recent_inputs_stay(idle: Studio, given: Path) -> None:
    idle.gallery.delete([finish(idle)])
    os.utime(given)
    empty(idle)
    assert given.exists()


def test_reused_inputs_are_touched(idle: Studio, given: Path, tmp_path: Path) -> None:
    idle.submit(*idle.prepare("image", prompt="a dog", model="fake", image=tmp_path / "red.png", strength=0.5))
    assert time.time() - given.stat().st_mtime < HOUR


def test_a_series_that_is_not_in_line_yet_keeps_what_it_names(idle: Studio, given: Path) -> None:
    idle.gallery.delete([finish(idle)])
    (idle.home / "series").mkdir()
    (idle.home / "series" / "a.jsonl").write_text(f'{{"sha256": "{given.stem}"}}')
    empty(idle)
    assert given.exists()


def test_unneeded_previews_and_uploads_are_removed(tmp_path: Path) -> None:
    home, ids = Home(tmp_path), []
    for item in (planned(ask("an axolotl")), planned(ask("a cat", steps=5))):
        ids.append(item.id)
        home.queue.submit(item)
    old, new, sent = (tmp_path / "cache" / name for name in ("upload-old", "upload-new", "page"))
    for folder in (old, new, sent):
        folder.mkdir()
        (folder / "0.png").write_bytes(b"x")
    (sent / "mask-1.png").write_bytes(b"x")
    for path in (old, sent / "mask-1.png"):
        os.utime(path, (0, 0))
    work(home)
    assert [path.name for path in sent.iterdir()] == ["0.png"]
    first, second = (home.progress.read(item)[1] for item in ids)
    assert first and second and not first.previews and second.previews, "previews of the latest only"
    assert first.unknown[0].word == "axolotl" and new.exists() and not old.exists()
