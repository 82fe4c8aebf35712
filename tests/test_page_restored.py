"""A picture brings its settings back: all of them, nothing of what stood there before, and what can't be is said."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_kit import DROP, PROMPT, make, turn_to
from PIL import Image
from queue_kit import planned
from series_kit import idle_frame  # noqa: F401 - a fixture
from waiting import until

from studio.backends.fake import Fake
from studio.page.context import PageContext
from studio.page.tabs import create as edits
from studio.page.tabs.create import CreateHandlers
from studio.planner import Job, resolve
from studio.requests import make_request
from studio.studio import Studio

CAN = Fake().capabilities()
NEGATIVE = "#negative textarea, #negative input"


def made(home: Path, **fields: Any) -> Path:
    """A picture of such a request, made without the page."""
    studio = Studio(home)
    job = studio.submit(planned(resolve(make_request(**fields, model="fake"), CAN)))
    until(lambda: studio.queue.job(job).state == "done")
    return next(kept.path for kept in studio.gallery.page(limit=100) if kept.job == job)


def sticker(path: Path, colour: str = "red") -> Path:
    Image.new("RGBA", (128, 128), colour).save(path)
    return path


# --- What is restored -------------------------------------------------------------------------------------------------


def part(path: str, weight: float) -> dict[str, Any]:
    return {"weight": weight, "picture": {"path": path}}


@pytest.mark.parametrize(
    ("fields", "beyond"),
    [
        ({"prompt": "x"}, []),
        ({"mix": [part("a", 0.25), part("b", 0.75)]}, []),
        ({"mix": [part("a", 0.6)]}, []),
        ({"mix": [part("a", 0.6), part("b", 0.6)]}, ["mix"]),
        ({"mix": [part("a", 0.25), part("b", 0.25), part("c", 0.5)]}, ["mix"]),
        ({"mix": [part("a", 1), {"weight": 1, "text": "hat"}]}, ["mix"]),
        ({"image": {"path": "a"}, "expand": CAN.expand.usual, "strength": 1}, []),
        ({"image": {"path": "a"}, "expand": 0.6, "strength": 0.5}, ["expand", "strength"]),
        ({"image": {"path": "a"}, "strength": 0.5}, []),
        ({"image": {"path": "a"}, "strength": 0}, ["strength"]),
    ],
)
def test_what_no_input_can_hold_is_named(fields: dict[str, Any], beyond: list[str]) -> None:
    assert edits.beyond(fields, CAN) == beyond


def test_what_was_painted_is_painted_again(tmp_path: Path) -> None:
    grey = Image.new("L", (16, 16))
    grey.paste(255, (0, 0, 8, 16))
    grey.save(tmp_path / "mask.png")
    canvas = edits.on_canvas("a.png", str(tmp_path / "mask.png"))["canvas"]
    canvas["layers"][0].save(tmp_path / "layer.png")
    again = edits.painted([tmp_path / "layer.png"])
    assert again is not None and np.array_equal(np.asarray(again), np.asarray(grey))


def test_a_file_that_asks_for_no_picture_leaves_the_inputs_alone(context: PageContext, monkeypatch: Any) -> None:
    monkeypatch.setattr("studio.page.tabs.create.read", lambda path: {"request": {"task": "embed"}})
    values, words = CreateHandlers(context).dropped("a.png")
    assert values == {} and "are back" not in words and "embed" in words


def test_a_batch_does_not_bury_what_was_typed(context: PageContext) -> None:
    for seed in range(3):
        context.studio.submit(planned(resolve(make_request(prompt=f"typed {seed}", seed=seed, model="fake"), CAN)))
    for seed in range(250):
        request = resolve(make_request(prompt=f"line {seed}", seed=seed, model="fake"), CAN)
        context.studio.queue.submit(Job(request, f"{seed:064}", "x"), -2)
    assert CreateHandlers(context).history()["choices"] == ["typed 2", "typed 1", "typed 0"]


# --- With a browser ---------------------------------------------------------------------------------------------------


def test_a_dropped_picture_brings_its_settings_back(visit: Callable[..., Any], home: Path, tmp_path: Path) -> None:
    page = visit()
    make(page, "a face before")
    page.wait_for_selector("#stage .status:has-text('made in')")
    kept = made(home, prompt="a face to drop", steps=80, guidance=15, seed=7)
    for fold in ("#more", "#from"):
        page.click(f"{fold} .label-wrap")
    page.fill(PROMPT, "something else")
    page.fill(NEGATIVE, "hat")
    page.focus("#style input >> nth=0")
    for style in CAN.styles[:3]:  # one after the other: of keys pressed at once a busy page may lose one
        page.keyboard.press("ArrowRight")
        page.wait_for_function("name => document.querySelector('#style input:checked')?.value === name", arg=style.name)
    page.set_input_files("#canvas input[type=file] >> nth=0", sticker(tmp_path / "start.png"))
    page.set_input_files("#like input[type=file] >> nth=0", sticker(tmp_path / "like.png"))
    page.wait_for_selector("#like img")
    page.click("#make")
    page.wait_for_selector("#stage img[alt*='something else']")
    asked = Studio(home).queue.latest(1)[0].request
    assert (asked.style, asked.negative) == (CAN.styles[2].name, "hat") and asked.image and asked.like
    assert page.input_value("#style input:checked") == asked.style
    turn_to(page, "Queue")
    page.evaluate(DROP, list(kept.read_bytes()))
    page.wait_for_selector("#drop .note.good")
    page.wait_for_function("document.querySelector('#prompt textarea, #prompt input').value === 'a face to drop'")
    page.wait_for_selector("#like img", state="detached")
    assert page.input_value(NEGATIVE) == "" and page.input_value("#style input:checked") == ""
    page.click("#make")
    page.wait_for_selector("#stage img[alt*='a face to drop']")
    page.wait_for_selector("#drop .note", state="detached")
    again = Studio(home).queue.latest(1)[0].request
    with Image.open(kept) as picture:
        said = json.loads(picture.text["studio"])["request"]
    theirs = make_request(**{**said, "model": again.model})
    assert again == theirs, "nothing is left of what stood there before"


def test_a_mask_comes_back_as_paint(visit: Callable[..., Any], home: Path, tmp_path: Path) -> None:
    mask = Image.new("L", (128, 128))
    mask.paste(255, (20, 30, 70, 90))
    mask.save(tmp_path / "mask.png")
    start = {"path": str(sticker(tmp_path / "start.png", "blue"))}
    kept = made(home, prompt="a painted face", image=start, mask={"path": str(tmp_path / "mask.png")}, seed=3)
    page = visit()
    page.evaluate(DROP, list(kept.read_bytes()))
    page.wait_for_selector("#drop .note.good")
    assert page.locator("#drop .note").count() == 1, "nothing is left out"
    page.wait_for_function("document.querySelector('#prompt textarea, #prompt input').value === 'a painted face'")

    def again() -> Any:
        page.wait_for_timeout(500)  # the canvas draws what it was given, and has none of it before
        page.click("#make")
        page.wait_for_selector("#stage img[alt*='a painted face']")
        return Studio(home).queue.latest(1)[0].request.mask

    with Image.open(until(again).path) as painted:
        assert np.array_equal(np.asarray(painted.convert("L")), np.asarray(mask))


def test_what_is_set_out_of_sight_stands_beside_the_button(visit: Callable[..., Any], tmp_path: Path) -> None:
    page = visit(viewport={"width": 1280, "height": 420})
    box = "document.querySelector('#make').getBoundingClientRect()"
    seen = f"{box}.top > 0 && {box}.bottom <= innerHeight"
    assert page.evaluate(seen), "above, below or among the inputs"
    page.click("[data-unfold='#more']")
    page.fill("#seed :is(input, textarea)", "77")
    page.wait_for_selector("#active .chip:has-text('Seed: 77')")
    assert page.evaluate(seen)
    page.click("#active .chip")
    page.wait_for_selector("#active .chip", state="detached")
    assert page.input_value("#seed :is(input, textarea)") == ""
    Image.new("RGB", (8, 8), "red").save(tmp_path / "start.png")
    page.click("#from .label-wrap")
    page.wait_for_selector("#canvas canvas")
    chip = page.locator("#active .chip:has-text('Start from a picture')")
    file = page.locator("#canvas input[type=file] >> nth=0")
    until(lambda: chip.count() or (file.count() and file.set_input_files(tmp_path / "start.png")), 1)  # lost, at first
    chip.click()
    page.wait_for_selector("#active .chip", state="detached")
    page.click("#help summary")
    page.click("#help [data-fill] >> nth=1")
    assert page.input_value(PROMPT) == "a {red|blue|green} dragon"
    page.click("#masthead h1")
    page.keyboard.press("?")
    page.wait_for_selector("dialog.keys[open]:has-text('Ctrl Enter')")
    page.keyboard.press("Escape")
    make(page, "")
    page.fill(PROMPT, "a face")
    page.press(PROMPT, "Enter")
    page.wait_for_selector("#stage .done")  # neither picture nor seed came along
    assert page.locator("#stage .problem").count() == 0
