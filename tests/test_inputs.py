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
from series_kit import ENGLISH, idle_frame, keep, told  # noqa: F401 - a fixture

from studio.events import Done
from studio.inputs import INPUTS, remove_unneeded
from studio.page.card import CardHandlers
from studio.page.context import PageContext
from studio.page.series_store import Member
from studio.page.tabs.create import CreateHandlers
from studio.page.tabs.gallery import GalleryHandlers

HOUR = 3600


@pytest.fixture
def given(context: PageContext, tmp_path: Path) -> Path:
    """A picture that a job in line was given, two hours ago, as the home has it."""
    Image.new("RGBA", (128, 128), "red").save(tmp_path / "red.png")
    context.studio.submit(*context.studio.prepare("a cat", model="fake", image=tmp_path / "red.png", strength=0.5))
    (copy,) = (context.studio.home / INPUTS).iterdir()
    os.utime(copy, (time.time() - 2 * HOUR,) * 2)
    return copy


def finish(context: PageContext) -> str:
    """Do the one job that there is -> the sha256 of its picture."""
    (job,) = context.studio.queue.claim("w")
    path = keep(context, Member(job.id, "", (), job.request))
    context.studio.queue.end("w", job.id, Done())
    return path.stem


def empty(context: PageContext) -> None:
    assert GalleryHandlers(context).empty_bin("en")["problem"] == ""


def test_what_a_job_in_line_was_given_stays(context: PageContext, given: Path) -> None:
    empty(context)
    assert given.exists()


def test_what_a_picture_was_made_from_stays_until_the_bin_is_emptied_of_it(context: PageContext, given: Path) -> None:
    picture = finish(context)
    empty(context)
    assert given.exists()
    context.studio.gallery.delete([picture])
    remove_unneeded(context.studio.house)
    assert given.exists(), "it may be taken out of the bin"
    empty(context)
    assert not given.exists()


def test_a_picture_that_a_command_made_of_it_keeps_it_too(
    context: PageContext, given: Path, studio: Callable[..., Said], tmp_path: Path
) -> None:
    made = studio("generate", "a dog", "--image", tmp_path / "red.png", "--strength", 0.5, "--model", "fake", "--json")
    context.studio.gallery.delete([finish(context)])
    empty(context)
    assert given.exists()
    context.studio.gallery.delete([Path(made.json[0]["path"]).stem])
    empty(context)
    assert not given.exists()


def test_what_was_given_within_the_hour_stays(context: PageContext, given: Path) -> None:
    context.studio.gallery.delete([finish(context)])
    os.utime(given)
    empty(context)
    assert given.exists()


def test_what_is_given_again_is_as_new(context: PageContext, given: Path, tmp_path: Path) -> None:
    context.studio.submit(*context.studio.prepare("a dog", model="fake", image=tmp_path / "red.png", strength=0.5))
    assert time.time() - given.stat().st_mtime < HOUR


def test_a_series_that_is_not_in_line_yet_keeps_what_it_names(context: PageContext, given: Path) -> None:
    context.studio.gallery.delete([finish(context)])
    (context.studio.home / "series").mkdir()
    (context.studio.home / "series" / "a.jsonl").write_text(f'{{"sha256": "{given.stem}"}}')
    empty(context)
    assert given.exists()


def test_each_picture_has_words_of_its_own(context: PageContext) -> None:
    said = {"prompt": "a {red|blue|green|white|black|pink} hat", "count": 4, "seed": "7"}
    CreateHandlers(context).start({**said, "best_of": 1, "steps": 2, "guidance": 1, "like": None}, ENGLISH)
    jobs = context.studio.queue.jobs()
    assert [(job.request.count, job.request.seed) for job in jobs] == [(1, 7), (1, 8), (1, 9), (1, 10)]
    assert len({job.request.prompt for job in jobs}) > 1


def test_without_its_start_a_picture_is_not_made_again(
    context: PageContext, studio: Callable[..., Said], tmp_path: Path
) -> None:
    Image.new("RGBA", (128, 128), "red").save(tmp_path / "red.png")
    made = studio("generate", "a cat", "--image", tmp_path / "red.png", "--strength", 0.5, "--model", "fake", "--json")
    press = told(do="again", picture=Path(made.json[0]["path"]).stem)
    card = unescape(CardHandlers(context).act(press, ENGLISH)[0])
    assert re.search(r'class="note problem"[^>]*>[^<]*\'red\.png\' that it was made from is not beside it', card)
    assert not context.studio.queue.jobs()
