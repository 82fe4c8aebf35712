"""What becomes of the words of a prompt: before it is drawn, behind every door, and as chips on the page."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from page_kit import HOSTILE, PROMPT, stays_text
from prompt_kit import few, shipped

from models.assets import prompt_list
from models.data.grammar import language_of
from models.messages import Refused
from models.prompts.parsed import Part, Reading
from studio.events import Progress, Unknown
from studio.home import Home
from studio.page.context import PageContext
from studio.page.html import render
from studio.page.series import Counts
from studio.sets import make_set, refuse_unknown

BAR = render("chips.bar", "prompt")
HTML = f'<div id="prompt"><textarea></textarea></div><div id="part">{BAR}</div>'


def test_the_parts_of_a_prompt_are_its_words_none_twice_and_none_left_out_is_missing() -> None:
    for prompt in [*prompt_list("typed"), "A CAT dancing", "three mice dancing", "two (cats:1.3)"]:
        reading, left, end = shipped().read(prompt), shipped().parse(prompt).left_out, 0
        for part in reading.parts:
            if "(" not in prompt:
                assert part.start >= end and prompt[part.start :].startswith(part.text), (prompt, part)
            end = part.start + len(part.text)
        assert set(left) == {part.text for part in reading.parts if part.state != "drawn"}
        assert all(part.drawn_as or part.state == "drawn" for part in reading.parts if part.text not in left)


def test_what_names_nothing_is_offered_what_can_be_drawn() -> None:
    assert few().read("a cat with an axolotl").instead == () and few().read("a cat").parts[0].drawn_as == "cat"
    nothing = few().read("an axolotl dancing")
    assert len(nothing.instead) == 3 and [part.state for part in nothing.parts] == ["unknown", "left_out"]
    assert all(few().read(one).parts[-1].drawn_as for one in nothing.instead), "what is offered is drawn"
    assert few().read('"axolotl"').instead == () and few().read("(axolotl:1.3)").instead, "marks name nothing"
    assert all(language_of(name) == "zh" for name in few().read("蝾螈").instead), "in its own language"


def test_an_emoji_is_its_name_and_a_colour_alone_is_no_refusal() -> None:
    parser = shipped()
    for sign in ("❤️‍🔥", "👩🏾‍🚀", "🇯🇵", "1️⃣", *prompt_list("frequent")):
        (part,) = parser.read(sign).parts
        assert (part.text, part.start, part.state) == (sign, 0, "drawn"), sign
    for prompt, names in (("a 🦊 in a hat", ["fox", "top hat"]), ("🦊🐱", ["fox", "cat face"]), ("一只🦊", ["fox"])):
        assert [parser.concepts[one.concept].english_names[0] for one in parser.parse(prompt).entities] == names, prompt
    target = parser.parse("👩🏾‍🚀").target
    assert target and (target.paint, target.gender) == ("medium-dark", "woman")


def test_every_door_says_it_and_refuses_what_names_nothing(studio: Callable[..., Any], house: Any) -> None:
    said = studio("read", "an axolotl", "xyzzy", "--model", "fake", "--json")
    assert said.code == 0 and [part["state"] for part in said.json[0]["parts"]] == ["drawn", "unknown"]
    assert said.json[1]["instead"] == ["a cat", "a rocket", "a pizza"]
    chinese = studio("read", "一只猫", "--model", "fake").out
    assert "会画" in chinese and "drawn" not in chinese, "in the language of the prompt"
    assert "kiten\tdrawn, read as kitten → kitten" in studio("read", "a kiten", "--model", "fake").out
    assert "读作“kitten”" in studio("read", "一只 kiten", "--model", "fake").out
    assert [one.text for one in house.read("a cat", "xyzzy", model="fake")] == ["a cat", "xyzzy"]
    for command in (("generate", "xyzzy"), ("set", "emotions", "xyzzy")):
        refused = studio(*command, "--model", "fake")
        assert refused.code == 2 and "try a cat" in refused.err, command
    with pytest.raises(Refused, match="try a cat"):
        house.generate("xyzzy", model="fake")


def test_a_reading_that_does_not_come_is_said(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studio.page.context.ANSWERED", 0.01)
    monkeypatch.setattr(house.queue, "answer", lambda name: None)
    with pytest.raises(Refused, match=r"not answered within 0\.01 seconds"):
        PageContext(house, "fake").read("a cat")


def test_a_set_is_refused_for_its_subject_and_not_for_what_it_feels() -> None:
    read: Any = lambda subjects: [Reading(one, (), ("a cat",) * (one == "xyzzy")) for one in subjects]  # noqa: E731
    refuse_unknown(make_set("emotions", "cat", ["xyzzy"]), read)
    for kind, first, words in (
        ("emotions", "xyzzy", []),
        ("subjects", "happy", ["cat", "xyzzy"]),
        ("style", "noto", ["xyzzy"]),
    ):
        with pytest.raises(Refused, match="xyzzy"):
            refuse_unknown(make_set(kind, first, words), read)


def test_a_series_says_what_was_left_out_of_it_and_of_no_other(tmp_path: Path) -> None:
    progress = Home(tmp_path).progress
    for job, word in (("a", "axolotl"), ("b", "axolotl"), ("b", "dancing"), ("c", "other")):
        progress.begin(job)
        progress.note(job, Progress(1, 4, {}, (Unknown(word, ("fish",)),)))
    assert progress.words(["a", "b", "gone"]) == [Unknown("axolotl", ("fish",)), Unknown("dancing", ("fish",))]
    shown = render("series.how_far", Counts(done=1, unknown=(Unknown("axolotl", ("fish",)), Unknown("dancing", ()))))
    assert "axolotl" in shown and "Not drawn: dancing" in shown


def test_words_from_outside_stay_words() -> None:
    for words in HOSTILE[:2]:
        reading = Reading(words, (Part(words, 0, "drawn", words, (words,)),), (words,))
        assert stays_text(render("chips.chips", reading), words)


def test_a_chip_leaves_the_prompt_or_is_exchanged(part: Callable[..., Any]) -> None:
    parts = (Part("cat", 4, "drawn", "cat", ("dog",)), Part("axolotl", 13, "unknown"))
    count, chips = itertools.count(1), render("chips.chips", Reading("", parts))
    page = part(HTML, "chips.js", answers={"read": lambda _: {"html": f"{chips}<i class=read-{next(count)}>x</i>"}})
    page.fill("textarea", "🎈 a cat with axolotl")
    page.wait_for_selector(".chip")
    page.select_option(".chip select", "dog")
    assert page.input_value("textarea") == "🎈 a dog with axolotl", "an emoji is one character"
    page.wait_for_selector(".read-2")
    page.fill("textarea", "🎈 a cat with axolotl")
    page.wait_for_selector(".read-3")
    page.focus(".chip.unknown button")
    page.keyboard.press("Enter")
    assert page.input_value("textarea") == "🎈 a cat with"
    assert page.evaluate("document.activeElement.tagName") == "TEXTAREA"


def test_only_what_stands_for_a_thing_is_exchanged() -> None:
    parts = shipped().read("a red kiten dancing").parts
    chips = {part.text: str(render("chips.chip", part, "", False)) for part in parts}
    assert "read as kitten" in chips["kiten"] and "read as" not in chips["red"] + chips["dancing"]
    assert "<select" not in chips["red"], "a red circle is no red"


def test_the_chips_follow_the_prompt(visit: Callable[..., Any]) -> None:
    page = visit()
    page.fill(PROMPT, "an axolotl")
    page.wait_for_selector("#chips .chip.unknown")
    assert page.locator("#chips .chip.unknown button").get_attribute("aria-label") == "Leave out axolotl"
    page.fill(PROMPT, "a kiten")
    page.wait_for_selector("#chips .chip.drawn >> text=read as kitten")
    page.fill(PROMPT, "xyzzy")
    page.click("#chips [data-take='a rocket']")
    page.wait_for_selector("#chips .chip.drawn >> text=rocket")
    assert page.input_value(PROMPT) == "a rocket"
    page.click("#make")
    page.wait_for_selector(".stage .prompt-chips .chip.drawn >> text=rocket")
    assert not page.locator(".stage .prompt-chips button").count(), "what is drawn stays drawn"
