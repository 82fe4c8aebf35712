"""The page's scripts in a real browser, a part at a time: a hand in a hurry, and what browsers do by the way."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from page_kit import PART, source

from studio.backends.fake import Fake
from studio.events import Progress
from studio.gallery import GalleryItem
from studio.page.html import render
from studio.page.polling import Stage
from studio.page.tabs import gallery
from studio.planner import resolve
from studio.queue import QueuedJob
from studio.requests import make_request

GALLERY = ("gallery.js",)
SILENT = '<div data-silent="Nobody answers."></div>'
DRAG = """(from) => {
  const given = new DataTransfer();
  given.items.add(new File(['x'], 'sticker.png', { type: 'image/png' }));
  const drag = { dataTransfer: given, bubbles: true, cancelable: true };
  document.querySelector(from)?.dispatchEvent(new DragEvent('dragstart', drag));
  for (const type of ['dragover', 'drop']) document.querySelector('#else').dispatchEvent(new DragEvent(type, drag));
  document.querySelector(from)?.dispatchEvent(new DragEvent('dragend', drag));
}"""


def job(state: Any = "running", prompt: str = "a cat", count: int = 12, stop_request: Any = "") -> QueuedJob:
    request = resolve(make_request(prompt=prompt, count=count, model="fake"), Fake().capabilities())
    return QueuedJob(prompt, 1, request, state, 0, "", 0, 0.0, None, None, stop_request)


def holder(html: str) -> str:
    return f'<div id="part">{html}</div>'


# --- Create -----------------------------------------------------------------------------------------------------------


def test_a_button_that_is_held_while_there_is_news_is_pressed(part: Callable[..., Any]) -> None:
    steps = iter(range(1, 10**6))

    def news(_: Any) -> dict[str, Any]:
        step = next(steps)
        stage = Stage(job("running" if step > 3 else "waiting"), progress=Progress(step, 10**6))
        return {"gallery": "", "queue": "", "current": "", "stages": {"a cat": stage.pieces()}}

    page = part(holder(Stage(job("waiting")).html()), "stage.js", answers={"news": news})
    waiting = page.inner_text(".status")
    page.hover("[data-own=stop]")
    page.mouse.down()
    page.wait_for_function("text => document.querySelector('.status').innerText !== text", arg=waiting)
    page.wait_for_timeout(500)
    page.mouse.up()
    page.wait_for_function("heard.length")
    assert [(name, said["own"]) for name, said in page.evaluate("heard")] == [("select", "stop")]


def test_another_job_does_not_come_on_a_stage_that_was_taken_meanwhile(part: Callable[..., Any]) -> None:
    """It was free when the job was begun elsewhere; the answer comes when somebody has asked for something here."""
    news = {"current": "b", "gallery": "1", "queue": "1", "stages": {}}
    for mine, shown in (("", "another"), (' data-job="a" data-mine', None)):
        stage = '<div class="stage" data-tab="create"{}><div class="head"></div><div class="cells"></div></div>'
        page = part(holder(stage.format("")), answers={"news": news})
        page.evaluate(LATE_ANSWER, stage.format(mine))
        page.evaluate(PART, [source("stage.js")])
        page.wait_for_function("window.answered")
        page.wait_for_timeout(100)
        assert page.evaluate("props.value") == shown


def test_a_picture_of_the_page_that_is_dropped_on_it_is_no_file(part: Callable[..., Any]) -> None:
    page = part(holder("") + '<img id="own" alt=""><p id="else">x</p>', "drop.js")
    page.evaluate(DRAG, "#own")
    page.wait_for_timeout(200)
    assert page.evaluate("heard") == [] and not page.evaluate("document.body.classList.contains('dropping')")
    page.evaluate(DRAG, "#none")
    page.wait_for_function("heard.length === 1")


LATE_ANSWER = """(html) => {
  studio.fetchJson = async () => {
    document.querySelector('.stage').outerHTML = html;
    window.answered = true;
    return { html: 'another', tab: 'create' };
  };
}"""
FOLD = """<script>
  const openFold = (button) => {
    button.classList.add('open');
    const inputs = '<label id="negative"><input></label><label id="seed"><input></label>';
    button.parentElement.insertAdjacentHTML('beforeend', inputs);
  };
</script><div id="more"><button class="label-wrap" onclick="openFold(this)">More</button></div>"""
LATE = """<button data-do="settings">Use its settings</button><div id="late"></div><script>
  const put = () => { document.querySelector('#late').innerHTML = '<label id="negative"><input></label>'; };
  if (!sessionStorage.getItem('studio_typed')) put();
</script>"""
TYPED = "document.querySelector('#negative input').value"


def test_what_was_typed_in_a_fold_comes_back(part: Callable[..., Any]) -> None:
    page = part(FOLD)
    page.reload()
    page.wait_for_timeout(1000)
    assert page.locator("#negative").count() == 0, "nothing was typed: the fold stays closed"
    page.click(".label-wrap")
    page.fill("#negative input", "hat")
    page.reload()
    page.wait_for_function(f"document.querySelector('#negative') && {TYPED} === 'hat'")


def test_what_was_typed_does_not_come_after_settings_that_were_restored(part: Callable[..., Any]) -> None:
    page = part(LATE)
    page.fill("#negative input", "hat")
    page.reload()
    page.click("[data-do=settings]")
    page.evaluate("put()")
    page.wait_for_timeout(300)
    assert page.evaluate(TYPED) == ""


# --- Gallery ----------------------------------------------------------------------------------------------------------


class ThreePictures:
    """A gallery of three pictures; notes what is done to it and what is looked for."""

    def __init__(self) -> None:
        self.names, self.binned, self.done, self.words = "abc", set[str](), list[tuple[str, list[str]]](), list[str]()

    def page(self, request: Any) -> dict[str, Any]:
        if "words=" in request.url:
            self.words.append(request.url.rpartition("words=")[2])
        cells = [(9 - n, self.cell(9 - n, name)) for n, name in enumerate(self.names) if name not in self.binned]
        same = {"fingerprint": str(time.monotonic()), "low": None, "newest": 9, "found": 3, "counted": "", "bin": 0}
        return {**same, "cells": cells, "nothing": "", "choices": {}}

    def cell(self, number: int, name: str) -> str:
        path = Path(f"/x/{name}.png")
        made = {"job": "", "position": 0, "seed": 0, "score": None, "prompt": name, "style": "", "model": "fake"}
        kept = GalleryItem(number=number, sha256=name, path=path, width=1, height=1, created=0.0, **made)
        return render("gallery.cell", kept)

    def act(self, request: Any) -> dict[str, Any]:
        asked = json.loads(request.post_data)
        self.done.append((asked["do"], asked["pictures"]))
        change = self.binned.update if asked["do"] == "delete" else self.binned.difference_update
        change(asked["pictures"])
        return {"done": asked["pictures"], "problem": ""}

    def answers(self) -> dict[str, Any]:
        return {"gallery/page": self.page, "gallery/act": self.act, "gallery/similar": {"cells": []}}


def test_every_deletion_is_undone_the_last_one_first(part: Callable[..., Any]) -> None:
    pictures = ThreePictures()
    page = part(SILENT + holder(gallery.tab_html()), *GALLERY, answers=pictures.answers())
    page.focus("[data-picture=a] .board")
    for name in "ab":
        page.keyboard.press("Delete")
        page.wait_for_selector(f".pick[data-picture={name}]", state="detached")
    page.keyboard.press("s")
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    for name in "ab":
        page.wait_for_selector(f".pick[data-picture={name}]")
    page.wait_for_timeout(300)
    moved = [(do, pictures) for do, pictures in pictures.done if do != "star"]
    assert moved == [("delete", ["a"]), ("delete", ["b"]), ("restore", ["b"]), ("restore", ["a"])]


def test_a_word_that_is_being_composed_is_not_looked_for_yet(part: Callable[..., Any]) -> None:
    pictures = ThreePictures()
    page = part(SILENT + holder(gallery.tab_html()), *GALLERY, answers=pictures.answers())
    page.wait_for_selector(".pick")
    compose = """([type, value, isComposing]) => {
      const box = document.querySelector('[name=words]');
      box.value = value;
      box.dispatchEvent(new (type === 'input' ? InputEvent : CompositionEvent)(type, { isComposing, bubbles: true }));
    }"""
    for letters in ("m", "ma", "mao"):
        page.evaluate(compose, ["input", letters, True])
        page.wait_for_timeout(300)
    assert pictures.words == []
    with page.expect_response("**/gallery/page?*words=*"):
        page.evaluate(compose, ["compositionend", "cat", False])
    assert set(pictures.words) == {"cat"}


# --- Files ------------------------------------------------------------------------------------------------------------


def test_a_file_that_cannot_be_made_says_why_and_that_nobody_answers_in_our_words(part: Callable[..., Any]) -> None:
    links = "".join(f'<a href="/{name}" download data-fetch="Making…">{name}</a>' for name in ("no", "odd", "gone"))
    answers = {"no": (422, {"problem": "It is too wide."}), "odd": (500, "Internal Server Error")}
    html = SILENT + holder(f'{links}<p class="fetching" role="status"></p>')
    page = part(html, answers=answers)
    wide, silent = "It is too wide.", "Nobody answers."
    for name, said in (("no", wide), ("odd", silent), ("no", wide), ("gone", silent)):
        page.click(f"[href='/{name}']")
        page.wait_for_function("said => document.querySelector('.fetching').textContent === said", arg=said)
