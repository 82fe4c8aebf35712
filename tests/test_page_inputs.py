"""What the Create tab and a picture's card make of pictures that are given, and of words that the seed draws."""

import os
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path

from conftest import Output
from PIL import Image
from series_kit import idle_frame, told  # noqa: F401 - a fixture

from studio.inputs import INPUTS
from studio.page.card import CardHandlers
from studio.page.context import PageContext
from studio.page.tabs.create import CreateHandlers
from studio.page.tabs.gallery import GalleryHandlers


def test_each_picture_has_words_of_its_own(context: PageContext) -> None:
    said = {"prompt": "a {red|blue|green|white|black|pink} hat", "count": 4, "seed": "7"}
    CreateHandlers(context).start({**said, "best_of": 1, "steps": 2, "guidance": 1, "like": None})
    jobs = context.studio.queue.jobs()
    assert [(job.request.count, job.request.seed) for job in jobs] == [(1, 7), (1, 8), (1, 9), (1, 10)]
    assert len({job.request.prompt for job in jobs}) > 1


def test_without_its_start_a_picture_is_not_made_again(
    context: PageContext, studio: Callable[..., Output], tmp_path: Path
) -> None:
    Image.new("RGBA", (128, 128), "red").save(tmp_path / "red.png")
    made = studio("generate", "a cat", "--image", tmp_path / "red.png", "--strength", 0.5, "--model", "fake", "--json")
    press = told(do="again", picture=Path(made.json[0]["path"]).stem)
    card = unescape(CardHandlers(context).act(press)[0])
    assert re.search(r'class="note problem"[^>]*>[^<]*\'red\.png\' that it was made from is not beside it', card)
    assert not context.studio.queue.jobs()


def test_emptying_the_bin_removes_what_only_its_pictures_were_made_from(context: PageContext, tmp_path: Path) -> None:
    Image.new("RGBA", (128, 128), "red").save(tmp_path / "red.png")
    context.studio.submit(*context.studio.prepare("image", prompt="a cat", model="fake", image=tmp_path / "red.png"))
    context.studio.queue.cancel()
    (copy,) = (context.studio.home / INPUTS).iterdir()
    os.utime(copy, (0, 0))
    GalleryHandlers(context).empty_bin()
    assert copy.exists(), "a job that can be tried again names it"
    with context.studio.store.database.writing() as connection:
        connection.execute("DELETE FROM jobs")
    assert "problem" not in GalleryHandlers(context).empty_bin() and not copy.exists()
