"""Laws of completion: a word is completed by the vocabulary, on the page by Tab; an unknown one gets what is near."""

from collections.abc import Callable
from typing import Any

import pytest
from conftest import Output
from page_kit import HOSTILE, PROMPT

from models.data.grammar import Language, language_of
from models.prompts.completion import complete, completions, members, with_nearest
from models.prompts.parsed import Part, Reading
from studio.page.html import render

BAR = render("complete.bar", "prompt")
HTML = f'<div id="prompt"><textarea></textarea></div><div id="part">{BAR}</div><button id="next">'


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("a drag", "a dragon"),
        ("a hot d", "a hot dog"),
        ("A pengu", "A penguin"),
        ("一只企", "一只企鹅"),
    ],
)
def test_a_word_that_is_begun_is_completed(text: str, first: str) -> None:
    completed = complete(text)
    assert completed[0] == first and len(completed) <= 3 and complete(text, count=1) == [first]
    assert all(one.startswith(text) and language_of(one) == language_of(text) for one in completed)


@pytest.mark.parametrize("text", ["", "a cat", "a red", "a cat wearing ", "a (cat:1.2)", "with the", "一只猫", "xyzzy"])
def test_what_is_whole_or_unknown_is_not_completed(text: str) -> None:
    assert complete(text) == []


def test_a_long_text_is_completed_at_its_end() -> None:
    assert complete("a cat and " * 10_000 + "a pengu")[0].endswith("a penguin")


def test_words_are_those_of_their_language() -> None:
    assert not any(word.isascii() for word in completions("zh")) and all(word.isascii() for word in completions("en"))


def test_an_unknown_word_is_replaced_with_its_article() -> None:
    reading = Reading("a cat on an ottoman", (Part("cat", 2, "drawn"), Part("ottoman", 12, "unknown", "", ("bed",))))
    assert with_nearest(reading) == ["a cat on a bed"]
    assert with_nearest(Reading("xyzzy", (Part("xyzzy", 0, "unknown"),), ("a cat", "a dog"))) == ["a cat", "a dog"]
    assert with_nearest(Reading("一只蝾螈", (Part("蝾螈", 2, "unknown", "", ("蜥蜴",)),))) == ["一只蜥蜴"]


def test_the_command_prints_both(studio: Callable[..., Output]) -> None:
    rows = studio("suggest", "an axolotl and a pengu", "--model", "fake", "--json").json
    assert {"kind": "complete", "text": "an axolotl and a penguin"} in rows
    assert any(row["kind"] == "nearest" and "axolotl" not in row["text"] for row in rows)
    for words, why in (("", "empty"), ("a" * 100_000, "100,000 characters")):
        refused = studio("suggest", words, "--model", "fake")
        assert refused.code == 2 and why in refused.err and refused.err.count("\n") == 1


@pytest.mark.parametrize(
    ("kind", "language", "thing"),
    [
        ("fruits", "en", "banana"),
        ("animal", "en", "fox"),
        ("水果", "zh", "香蕉"),
        ("color", "en", "red"),
        ("颜色", "zh", "红色"),
    ],
)
def test_a_kind_has_its_things(kind: str, language: Language, thing: str) -> None:
    assert thing in members(kind, language) and members("xyzzy", language) == []


def test_tab_takes_what_is_offered_and_nothing_else(part: Callable[..., Any]) -> None:
    page = part(HTML, "complete.js", answers={"complete": [f"a cat in a box {HOSTILE[0]}"]})
    page.click("textarea")
    page.keyboard.type("a cat")
    page.wait_for_selector(".offer:visible")
    assert "a cat in a box" in page.inner_text("[role=status]"), "a screen reader says it"
    page.keyboard.press("Escape")
    assert page.locator(".offer:visible").count() == 0
    page.keyboard.type(" ")
    page.wait_for_selector(".offer:visible")
    assert HOSTILE[0] in page.inner_text(".offer"), "words stay words"
    page.keyboard.press("Tab")
    assert page.input_value("textarea") == f"a cat in a box {HOSTILE[0]}"
    assert page.evaluate("document.activeElement.tagName") == "TEXTAREA"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") == "BUTTON", "nothing is offered: Tab goes on"


def test_the_page_completes_a_word(visit: Callable[..., Any]) -> None:
    page = visit()
    page.click(PROMPT)
    page.keyboard.type("a pengu")
    page.wait_for_selector("#complete .offer:visible")
    page.keyboard.press("Tab")
    assert page.input_value(PROMPT) == "a penguin"
