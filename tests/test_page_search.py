"""The Search tab: what it answers, and what a person with a browser sees."""

import asyncio
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_kit import HOSTILE, stays_text
from PIL import Image
from queue_kit import Entry, keep
from series_kit import spoken

from studio.backends.base import run
from studio.backends.fake import Fake
from studio.gallery import Gallery
from studio.home import Home
from studio.page.context import PageContext
from studio.page.html import render
from studio.page.tabs.search import SearchHandlers
from studio.requests import make_request
from studio.search import Hit
from studio.studio import Studio

WORDS, FIND, HITS = "#search-words :is(input, textarea)", "#search-find", "#search-hits .hits"


def place(words: str) -> np.ndarray:
    """Where the backend that draws faces puts words."""
    return next(run(Fake(), make_request("embed", texts=(words,), model="fake"))).vector


def fill(gallery: Gallery) -> dict[str, str]:
    """A picture for each prompt, all where their words lie -> digests."""
    made = {}
    for n, prompt in enumerate(["a cat", "a cat in a hat", "a kitten", HOSTILE[0]]):
        file = io.BytesIO()
        Image.new("RGBA", (16, 16), (40 * n, 90, 7, 255)).save(file, "PNG")
        entry = Entry(
            f"job{n}", 0, n, prompt, model="fake", created=1.7e9 + n, vector=tuple(place(prompt)), space="fake"
        )
        made[prompt] = keep(gallery, file.getvalue(), entry).stem
    return made


@pytest.fixture
def handlers(tmp_path: Path) -> SearchHandlers:
    return SearchHandlers(PageContext(Studio(tmp_path), "fake:0"))


def answers(found: Any) -> list[Any]:
    async def all_of_it() -> list[Any]:
        return [answer async for answer in found]

    return asyncio.run(all_of_it())


def test_it_says_so_before_anything_is_looked_for(handlers: SearchHandlers) -> None:
    assert "Find what means the same" in render("search.nothing")
    for words in ("", "  "):
        (only,) = answers(handlers.search(words, None, "hat"))
        assert "Say what to look for" in only
    with spoken("zh"):
        looking, bare = answers(handlers.search("a cat", None, ""))
    assert "正在查找" in looking and "还没有可搜索的图片" in bare
    _, problem = answers(handlers.search("", str(Path(__file__)), ""))
    assert "problem" in problem and "test_page_search.py" in problem


def test_words_from_outside_stay_words(handlers: SearchHandlers) -> None:
    kept = [handlers.studio.gallery.get(digest) for digest in fill(handlers.studio.gallery).values()]
    html = render("search.found", [Hit(kept[-1], None), Hit(kept[0], 0.5)])
    assert stays_text(html, HOSTILE[0]) and "says it" in html and "0.50" in html


def test_another_part_hands_a_picture_over(handlers: SearchHandlers) -> None:
    digest = fill(handlers.studio.gallery)["a cat"]
    handlers.studio.close()
    skipped = answers(handlers.handed({"use": "like", "picture": digest}))
    assert len(skipped) == 1 and isinstance(skipped[0][0], dict), "meant for another tab"
    assert len(answers(handlers.handed({"use": "find", "picture": "../../etc/passwd"}))) == 1
    words, path, _, looking = answers(handlers.handed({"use": "find", "picture": digest}))[0]
    assert words == "" and Path(path).stem == digest and "Looking" in looking


# --- With a browser ---------------------------------------------------------------------------------------------------


def test_words_and_likeness_find_and_a_card_leads_here(visit: Callable[..., Any], home: Path) -> None:
    made = fill(Home(home).gallery)
    page = visit("Search")
    page.wait_for_selector("#search-hits .empty")
    page.fill(WORDS, "a cat")
    page.keyboard.press("Enter")
    page.wait_for_selector(f"{HITS} figure >> nth=1")
    shown = page.eval_on_selector_all(f"{HITS} [data-picture]", "all => all.map(one => one.dataset.picture)")
    assert shown == [made["a cat"], made["a cat in a hat"]], "those that say it, the nearest first; nothing that is far"
    page.fill("#search-without :is(input, textarea)", "hat")
    page.click(FIND)
    page.wait_for_function(f"() => document.querySelectorAll('{HITS} figure').length === 1")
    page.click(f'{HITS} [data-picture="{made["a cat"]}"]')
    page.click("dialog[open] [data-do=find]")
    page.wait_for_selector("#search-like img")
    page.wait_for_function(f"() => document.querySelectorAll('{HITS} figure').length === 4")
    assert page.input_value(WORDS) == page.input_value("#search-without :is(input, textarea)") == ""
    assert page.locator("img[onerror]").count() == 0
