"""Pictures that jobs were given: they stay while anything names them, and go with the last that does."""

import os
import re
import time
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest
from conftest import Said
from PIL import Image
from queue_kit import claims
from series_kit import ENGLISH, idle_frame, keep, told  # noqa: F401 - a fixture

from studio.events import Done
from studio.inputs import INPUTS, remove_unneeded
from studio.page.create.desk import Desk
from studio.page.frame import Frame
from studio.page.gallery.desk import GalleryDesk
from studio.page.picture.desk import PictureDesk
from studio.page.series.store import Member

HOUR = 3600


@pytest.fixture
def given(frame: Frame, tmp_path: Path) -> Path:
    """A picture that a job in line was given, two hours ago, as the home has it."""
    Image.new("RGBA", (128, 128), "red").save(tmp_path / "red.png")
    frame.studio.submit(*frame.studio.prepare("a cat", model="fake", image=tmp_path / "red.png", strength=0.5))
    (copy,) = (frame.studio.home / INPUTS).iterdir()
    os.utime(copy, (time.time() - 2 * HOUR,) * 2)
    return copy


def finish(frame: Frame) -> str:
    """Do the one job that there is -> the sha256 of its picture."""
    (job,) = claims(frame.studio.queue, "w").claim()
    path = keep(frame, Member(job.id, "", (), job.request))
    claims(frame.studio.queue, "w").end(job.id, Done())
    return path.stem


def empty(frame: Frame) -> None:
    assert GalleryDesk(frame).empty_bin("en")["problem"] == ""


def test_what_a_job_in_line_was_given_stays(frame: Frame, given: Path) -> None:
    empty(frame)
    assert given.exists()


def test_what_a_picture_was_made_from_stays_until_the_bin_is_emptied_of_it(frame: Frame, given: Path) -> None:
    picture = finish(frame)
    empty(frame)
    assert given.exists()
    frame.studio.gallery.delete([picture])
    remove_unneeded(frame.studio.home)
    assert given.exists(), "it may be taken out of the bin"
    empty(frame)
    assert not given.exists()


def test_a_picture_that_a_command_made_of_it_keeps_it_too(
    frame: Frame, given: Path, studio: Callable[..., Said], tmp_path: Path
) -> None:
    made = studio("generate", "a dog", "--image", tmp_path / "red.png", "--strength", 0.5, "--model", "fake", "--json")
    frame.studio.gallery.delete([finish(frame)])
    empty(frame)
    assert given.exists()
    frame.studio.gallery.delete([Path(made.json[0]["path"]).stem])
    empty(frame)
    assert not given.exists()


def test_what_was_given_within_the_hour_stays(frame: Frame, given: Path) -> None:
    frame.studio.gallery.delete([finish(frame)])
    os.utime(given)
    empty(frame)
    assert given.exists()


def test_what_is_given_again_is_as_new(frame: Frame, given: Path, tmp_path: Path) -> None:
    frame.studio.submit(*frame.studio.prepare("a dog", model="fake", image=tmp_path / "red.png", strength=0.5))
    assert time.time() - given.stat().st_mtime < HOUR


def test_a_series_that_is_not_in_line_yet_keeps_what_it_names(frame: Frame, given: Path) -> None:
    frame.studio.gallery.delete([finish(frame)])
    (frame.studio.home / "series").mkdir()
    (frame.studio.home / "series" / "a.jsonl").write_text(f'{{"sha256": "{given.stem}"}}')
    empty(frame)
    assert given.exists()


def test_each_picture_has_words_of_its_own(frame: Frame) -> None:
    said = {"prompt": "a {red|blue|green|white|black|pink} hat", "count": 4, "seed": "7"}
    Desk(frame).start({**said, "best_of": 1, "steps": 2, "guidance": 1, "like": None}, ENGLISH)
    jobs = frame.studio.queue.jobs()
    assert [(job.request.count, job.request.seed) for job in jobs] == [(1, 7), (1, 8), (1, 9), (1, 10)]
    assert len({job.request.prompt for job in jobs}) > 1


def test_without_its_start_a_picture_is_not_made_again(
    frame: Frame, studio: Callable[..., Said], tmp_path: Path
) -> None:
    Image.new("RGBA", (128, 128), "red").save(tmp_path / "red.png")
    made = studio("generate", "a cat", "--image", tmp_path / "red.png", "--strength", 0.5, "--model", "fake", "--json")
    press = told(do="again", picture=Path(made.json[0]["path"]).stem)
    card = unescape(PictureDesk(frame).act(press, ENGLISH)[0])
    assert re.search(r'class="note problem"[^>]*>[^<]*\'red\.png\' that it was made from is not beside it', card)
    assert not frame.studio.queue.jobs()
