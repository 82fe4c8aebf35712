"""Ideas beside the prompt: Tab takes what is offered, and is the browser's where nothing is."""

from collections.abc import Callable
from typing import Any

from page_kit import HOSTILE, PROMPT, stays_text

from models.prompts.suggestion import Suggestion
from studio.page.html import render

BAR = render("suggest.bar", "prompt")
HTML = f'<div id="prompt"><textarea></textarea></div><div id="part">{BAR}</div><button id="next">'


def test_tab_takes_what_is_offered_and_nothing_else(part: Callable[..., Any]) -> None:
    page = part(HTML, "suggest.js", answers={"suggest/completion": [{"text": "a cat in a box"}]})
    page.click("textarea")
    page.keyboard.type("a cat")
    page.wait_for_selector(".offer:visible")
    assert "a cat in a box" in page.inner_text("[role=status]"), "it is said, too"
    page.keyboard.press("Escape")
    assert page.locator(".offer:visible").count() == 0
    page.keyboard.type(" ")
    page.wait_for_selector(".offer:visible")
    page.keyboard.press("Tab")
    assert page.input_value("textarea") == "a cat in a box"
    assert page.evaluate("document.activeElement.tagName") == "TEXTAREA"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") == "BUTTON", "nothing is offered: Tab goes on"


def test_tab_is_not_stolen_where_nothing_is_offered(part: Callable[..., Any]) -> None:
    page = part(HTML, "suggest.js", answers={"suggest/completion": []})
    page.click("textarea")
    with page.expect_response("**/suggest/completion**"):
        page.keyboard.type("a cat")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.dataset.act") == "ideas" and page.input_value("textarea") == "a cat"


def test_words_from_outside_stay_words() -> None:
    found = [Suggestion("nearest", HOSTILE[0], 0.9, (HOSTILE[1],))]
    assert all(stays_text(render("suggest.ideas", {"nearest": found}), words) for words in HOSTILE[:2])


def test_the_list_fills_the_prompt(visit: Callable[..., Any]) -> None:
    page = visit()
    page.fill(PROMPT, "a cat")
    page.click("#suggest [data-act=ideas]")
    page.click("#suggest .ideas li button >> nth=0")
    assert page.input_value(PROMPT) == "a cat, noto style"
    assert page.locator("#suggest .ideas:visible").count() == 0
    page.fill(PROMPT, "Nothing.")
    page.click("#suggest [data-act=ideas]")
    page.wait_for_selector("#suggest .ideas .note")
