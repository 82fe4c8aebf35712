"""The Rate tab: what reaches the browser, what keys and buttons do, and what is said where there is nothing to rate."""

import io
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest
from page_kit import HOSTILE, client_of, stays_text, turn_to
from PIL import Image, PngImagePlugin
from queue_kit import Entry, keep
from series_kit import spoken

from studio import settings
from studio.home import Home
from studio.learn import TrainingRun
from studio.page.context import PageContext
from studio.page.routes import router as page_router
from studio.page.tabs.rate import OPEN_PAIRS, RateHandlers, handlers_of, router
from studio.ratings import Ratings
from studio.studio import Studio

SECRETS = ("secret-model", "secret-digest", "secret-job", "987654321")


def fill(home: Home, prompt: str = "a cat", count: int = 6) -> list[str]:
    """Pictures of one prompt -> sha256."""
    names = list[str]()
    for n in range(count):
        file, info, vector = io.BytesIO(), PngImagePlugin.PngInfo(), np.random.default_rng(n).standard_normal(128)
        info.add_text("parameters", "secret-model")
        Image.new("RGBA", (32, 32), (40 * n, 90, 7, 255)).save(file, "PNG", pnginfo=info)
        place = tuple(vector / np.linalg.norm(vector))
        entry = Entry(
            f"secret-job{n}", 0, 987654321 + n, prompt, "", "secret-model", "secret-digest", space="s", vector=place
        )
        names.append(keep(home.gallery, file.getvalue(), entry).stem)
    return names


@pytest.fixture
def handlers(tmp_path: Path) -> RateHandlers:
    return handlers_of(PageContext(Studio(tmp_path), "fake:0"))


def pressed(**data: str) -> gr.EventData:
    return SimpleNamespace(_data=data)  # type: ignore[return-value]


def token_in(html: str) -> str:
    match = re.search(r'data-pair="([^"]+)"', html)
    assert match
    return match[1]


def test_with_nothing_to_compare_it_says_what_to_do(handlers: RateHandlers) -> None:
    assert "Make several pictures of one prompt" in handlers.show() and 'data-own="create"' in handlers.show()
    with spoken("zh"):
        assert "没有可比较的图片" in handlers.show()
    assert handlers.press(pressed(own="create"))[1]["selected"] == "create"
    assert "nothing to learn from yet" in handlers.press(pressed(own="learn"))[0]
    assert "no rating to undo" in handlers.press(pressed(own="undo"))[0]


def test_an_answer_counts_once_and_is_of_the_picture_on_that_side(handlers: RateHandlers) -> None:
    fill(handlers.context.studio.store)
    token = token_in(handlers.show())
    pair = handlers._pairs[token]
    client = client_of(router(handlers.context))
    shown = [client.get(f"/rate/{token}/{side}.png") for side in ("left", "right")]
    colours = [Image.open(io.BytesIO(answer.content)).getpixel((3, 3)) for answer in shown]
    files = [handlers.context.studio.gallery.get(name).path for name in pair.shown]
    assert colours == [Image.open(file).convert("RGBA").getpixel((3, 3)) for file in files]
    assert shown[0].headers["cache-control"] == "no-store"
    handlers.press(pressed(own="right", pair=token))
    handlers.press(pressed(own="left", pair=token))
    handlers.press(pressed(own="nonsense", pair=token_in(handlers.show())))
    (rating,) = handlers.ratings.all()
    assert getattr(rating, rating.choice) == pair.shown[1] and rating.key == pair.key
    assert client.get(f"/rate/{token}/left.png").status_code == 404, "it was answered"
    assert client.get(f"/rate/{token_in(handlers.show())}/first.png").status_code == 404
    assert client.get("/ratings.jsonl").text == "".join(handlers.ratings.lines()) != ""
    for _ in range(OPEN_PAIRS + 9):
        handlers._keep(pair)
    assert len(handlers._pairs) == OPEN_PAIRS


def test_words_from_outside_stay_words(handlers: RateHandlers) -> None:
    fill(handlers.context.studio.store, HOSTILE[0], 2)
    assert stays_text(handlers.show(), HOSTILE[0])


def test_the_generator_is_trained_in_the_learn_tab_and_one_press_stops_its_use(
    handlers: RateHandlers, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = list[tuple[str, ...]]()

    def process(run: TrainingRun, *options: str) -> SimpleNamespace:
        begun.append((run.name, *options))
        return SimpleNamespace(pid=1)

    monkeypatch.setattr(TrainingRun, "process", process)
    assert "nothing to learn from yet" in handlers.press(pressed(own="teach"))[0] and not begun
    monkeypatch.setattr(handlers.ratings, "learn", lambda: None)
    assert handlers.press(pressed(own="teach"))[1]["selected"] == "learn" and begun == [
        ("preferences", "--minutes", "8")
    ]
    assert "being learned now" in handlers.press(pressed(own="teach"))[0]
    settings.choose(handlers.context.studio.home, preferences="base")
    assert "drawn as you prefer" in handlers.show()
    assert "not used any more" in handlers.press(pressed(own="stop"))[0]
    assert not settings.chosen(handlers.context.studio.home)


def test_what_is_downloaded_is_better_than_what_is_not(handlers: RateHandlers) -> None:
    names = fill(handlers.context.studio.store, count=3)
    client = client_of(page_router(handlers.context))
    assert client.get(f"/downloads/{names[0]}/png?shown=1").status_code == 200 and handlers.ratings.weak() == []
    answer = client.get(f"/downloads/{names[1]}/file")
    assert answer.content == handlers.context.studio.gallery.get(names[1]).path.read_bytes()
    assert client.get(f"/downloads/{'0' * 64}/file").status_code == 404
    assert {better for _, better, _ in handlers.ratings.weak()} == {names[1]} and len(handlers.ratings.weak()) == 2


# --- With a browser ---------------------------------------------------------------------------------------------------


def test_keys_choose_and_no_origin_reaches_the_page(visit: Callable[..., Any], home: Path) -> None:
    names = fill(Home(home))
    page, bodies = visit(), list[str]()
    page.on("response", lambda answer: bodies.append(_text(answer)))

    turn_to(page, "Rate")
    for count, key in enumerate(["1", "2", "0", "x"], 1):
        page.wait_for_selector("#rate .pair button:enabled")
        before = page.get_attribute("#rate .pair button", "data-pair")
        page.wait_for_function("() => [...document.querySelectorAll('#rate .pair img')].every(one => one.naturalWidth)")
        page.keyboard.press(key)
        page.wait_for_function(
            f"() => document.querySelector('#rate .pair button')?.dataset.pair !== {before!r}"
            f" && document.querySelector('#rate').innerText.includes('{count} ratings')"
        )
    choices = [rating.choice for rating in Ratings(Home(home)).all()]
    assert choices[2:] == ["tie", "bad"] and set(choices[:2]) <= {"first", "second"}
    page.click("#rate .pair button >> nth=1")
    page.wait_for_function("() => document.querySelector('#rate').innerText.includes('5 ratings')")
    page.click("#rate [data-own=undo]")
    page.wait_for_function("() => document.querySelector('#rate').innerText.includes('4 ratings')")
    assert page.get_by_role("button", name="The left picture is better").count() == 1
    seen = "".join(bodies) + page.inner_html("#rate")
    assert "data-pair" in seen
    for secret in (*SECRETS, *names, *(name[:16] for name in names)):
        assert secret not in seen, secret


def _text(answer: Any) -> str:
    """The address and the body of an answer about ratings; of other parts of the page nothing."""
    if "/rate/" in answer.url:
        return str(answer.url) + str(answer.headers) + answer.body().decode("latin-1")
    return ""
