"""What becomes of the words of a prompt: before it is drawn, behind every door, and as chips on the page."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from page_kit import HOSTILE, PROMPT, stays_text
from prompt_kit import FEW, known, parser_of_concepts

from models.assets import prompt_list
from models.lexicon import LEXICONS
from models.messages import Refused
from models.prompts.normalise import NAMES
from models.prompts.parsed import Part, Reading
from models.prompts.reader import Reader
from studio.events import Progress, Unknown
from studio.home import Home
from studio.page.context import PageContext
from studio.page.html import render
from studio.page.series import Counts
from studio.sets import make_set, refuse_unknown

BAR = render("chips.bar", "prompt")
HTML = f'<div id="prompt"><textarea></textarea></div><div id="part">{BAR}</div>'


def test_the_parts_of_a_prompt_are_its_words_none_twice_and_none_left_out_is_missing() -> None:
    parser = known("shipped")
    reader = Reader(parser)
    for prompt in [*prompt_list("typed")[::5], "A CAT dancing", "three mice dancing", "two (cats:1.3)"]:
        reading, left = reader.read(prompt), parser.parse(prompt.lower()).left_out
        end = 0
        for part in reading.parts:
            assert part.start >= end and prompt[part.start :].startswith(part.text), (prompt, part)
            end = part.start + len(part.text)
        named = " ".join(part.text.lower() for part in reading.parts if part.state != "drawn")
        assert reading.instead or all(any(w[:3] in named for w in (word, word[-3:])) for word in left), (prompt, left)


def test_what_names_nothing_is_offered_what_can_be_drawn() -> None:
    reader = Reader(parser_of_concepts(FEW))
    assert reader.instead("a cat with an axolotl") == () and reader.read("a cat").parts[0].drawn_as == "cat"
    nothing = reader.read("an axolotl dancing")
    assert nothing.instead and {part.state for part in nothing.parts} == {"unknown"}
    assert all(reader.read(one).parts[-1].drawn_as for one in nothing.instead), "what is offered is drawn"
    assert reader.read('"axolotl"').instead and reader.read("(axolotl:1.3)").instead, "marks name nothing"
    assert "猫" in reader.read("蝾螈").instead, "in its own language"


def test_what_is_offered_is_near_to_what_was_asked() -> None:
    reader = Reader(known("shipped"))
    prompts = [word for name in ("en", "zh") for word in LEXICONS[name].table("themes")]
    offered = {word: found for word in prompts[::8] if (found := reader.instead(word))}
    assert {len(found) for found in offered.values()} == {3} and len(offered) > 40
    assert len({one for found in offered.values() for one in found}) > 60, "not the same three for all"
    assert "a laptop" in reader.instead("kubernetes") and "青蛙" in reader.instead("蝾螈")


def test_an_emoji_is_its_name_and_a_colour_alone_is_drawn() -> None:
    parser = known("shipped")
    reader, concepts = Reader(parser), parser.linker.concepts
    known_names = [sign for sign, (name, _) in NAMES.items() if parser.linker.called(name)]
    assert len(known_names) > 0.9 * len(NAMES)
    for sign in [*known_names[::120], "❤️‍🔥", "👩🏾‍🚀", "🇯🇵", "1️⃣"]:
        (part,) = reader.read(sign).parts
        assert (part.text, part.start, part.state) == (sign, 0, "drawn"), sign
    for prompt, named in (("a 🦊 in a hat", ["fox", "top hat"]), ("🦊🐱", ["fox", "cat face"]), ("一只🦊", ["fox"])):
        assert [concepts[one.concept].english_names[0] for one in parser.parse(prompt).entities] == named, prompt
    target = parser.parse("👩🏾‍🚀").target
    assert target and (target.paint, target.gender) == ("medium-dark", "woman")
    for prompt in ("red", "红色", "gray", "purple and yellow", "a teal sticker", "red background", "light blue"):
        assert not reader.instead(prompt) and reader.read(prompt).parts[0].state == "drawn", prompt
    assert parser.parse("🙂‍🧯").entities, "a sequence without a name of its own is read by its first"


def test_every_door_says_it_and_refuses_what_names_nothing(studio: Callable[..., Any], house: Any) -> None:
    said = studio("read", "an axolotl", "xyzzy", "--model", "fake", "--json")
    assert said.code == 0 and [part["state"] for part in said.json[0]["parts"]] == ["drawn", "unknown"]
    assert said.json[1]["instead"] == ["a cat", "a rocket", "a pizza"]
    chinese = studio("read", "一只猫", "--model", "fake").out
    assert "会画" in chinese and "drawn" not in chinese, "in the language of the prompt"
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


def test_the_chips_follow_the_prompt(visit: Callable[..., Any]) -> None:
    page = visit()
    page.fill(PROMPT, "an axolotl")
    page.wait_for_selector("#chips .chip.unknown")
    assert page.locator("#chips .chip.unknown button").get_attribute("aria-label") == "Leave out axolotl"
    page.fill(PROMPT, "xyzzy")
    page.click("#chips [data-take='a rocket']")
    page.wait_for_selector("#chips .chip.drawn >> text=rocket")
    assert page.input_value(PROMPT) == "a rocket"
    page.click("#make")
    page.wait_for_selector(".stage .prompt-chips .chip.drawn >> text=rocket")
    assert not page.locator(".stage .prompt-chips button").count(), "what is drawn stays drawn"
