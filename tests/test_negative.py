"""Laws of negative prompts: what they name is not drawn, guidance leads away from the rest alone, and nothing says that
it is drawn.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from page_kit import PROMPT
from prompt_kit import few, knowing_pipe, shipped  # noqa: F401 - a fixture
from test_embedded import ask, backend  # noqa: F401 - a fixture

from models.data.colours import PAINTS, colour_shares, main_colours
from models.data.grammar import article
from models.pipelines.image import Pictures
from models.pipelines.sticker import StickerPipeline
from models.prompts.parsed import ParsedPrompt
from models.prompts.parser import beside, parse_literally
from models.references import store
from models.sampling.loop import Sampling
from studio.backends.base import run
from studio.backends.embedded import Embedded
from studio.events import Progress

TOGETHER = "a cat and a dog"


def read(prompt: str, negative: str) -> ParsedPrompt:
    parser = few()
    return beside(parser.parse(prompt), negative, parser)


def drawn(found: ParsedPrompt) -> tuple[ParsedPrompt, ...]:
    return found.layout.prompts if found.layout else (found,)


def latents(pipe: StickerPipeline, prompt: str, negative: str = "") -> torch.Tensor:
    (made,) = (e for e in pipe.steps([prompt], [3], Sampling(4, 4.0), negative=negative) if isinstance(e, Pictures))
    return made.latents


def test_what_is_done_wholly_gives_the_picture_of_the_prompt_without_it(pipe: StickerPipeline) -> None:
    own = latents(pipe, "cat")
    assert torch.equal(own, latents(pipe, "a cat and a fish", "a fish"))
    assert not torch.equal(own, latents(pipe, "a cat and a fish", "a fish, blurry"))


def test_a_colour_that_is_painted_over_is_led_away_from_no_more_and_morphed_once(
    pipe: StickerPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pipe.references is not None
    morphed: list[object] = []
    own = store.morphed
    monkeypatch.setattr(store, "morphed", lambda *given: morphed.append(given) or own(*given))
    names = ("cat", "fish", "sun", "moon", "star", "car", "apple")
    drawings = {name: pipe.references.drawing(found) for name in names if (found := pipe._reference(pipe.parse(name)))}
    of_two = (one for one, pixels in drawings.items() if len(colour_shares(pixels).keys() & set(PAINTS)) > 1)
    name = next(of_two)
    colour = main_colours(drawings[name])[0]
    pipe.references._morphed.cache_clear()
    morphed.clear()
    work = pipe._resolve([name], [0], Sampling(), colour)
    said = pipe.encode_condition([parse_literally(article(f"{work.references[0][0].paint} {name}"))])
    assert torch.equal(work.wanted.parts[0].states, said.states)
    assert not work.unwanted.mask.any() and not work.unwanted.vector.any()
    latents(pipe, name, colour)
    list(pipe.credits(work.references[0][0], drawings[name]))
    assert len(set(map(str, morphed))) == len(morphed), "each once"
    unpainted = pipe._resolve([name], [0], Sampling(reference_strength=0.0), colour)
    assert unpainted.unwanted.mask.any(), "no reference is repainted"


# --- What is said of it -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "negative", "gone"),
    [
        ("A cat and a brown dog", "dogs, yellow", "brown dog"),
        ("一只猫和一只狗", "狗", "狗"),
        ("a 🐱 and 🐶", "dog", "🐶"),
        (TOGETHER, "a crown", ""),
        ("a cat", "a cat", ""),
    ],
)
def test_the_chips_leave_out_what_the_negative_prompt_takes(prompt: str, negative: str, gone: str) -> None:
    parts = shipped().read(prompt, negative).parts
    assert " ".join(part.text for part in parts if part.state == "left_out") == gone
    assert any(part.state == "drawn" and part.drawn_as in ("cat", "猫", "cat face") for part in parts)


def test_what_is_read_does_not_name_what_is_taken(backend: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    backend.load()
    monkeypatch.setattr(backend._pipeline, "parser", few())
    monkeypatch.setattr(backend._pipeline, "references", None)
    for negative, said in (("", ""), ("a crown", ""), ("a dog", "cat")):
        asked = ask(backend, prompt=TOGETHER, negative=negative)
        assert {event.read_as for event in run(backend, asked) if isinstance(event, Progress)} == {said}


def test_every_door_says_what_is_taken(studio: Callable[..., Any], house: Any) -> None:
    (said,) = studio("read", TOGETHER, "--negative", "dog", "--model", "fake", "--json").json
    (same,) = house.read(TOGETHER, negative="dog", model="fake")
    assert [part["text"] for part in said["parts"] if part["state"] == "left_out"] == ["dog"]
    assert [part.text for part in same.parts if part.state == "left_out"] == ["dog"]


def test_the_chips_follow_the_negative_prompt(visit: Callable[..., Any]) -> None:
    page = visit()
    page.fill(PROMPT, TOGETHER)
    page.wait_for_selector("#chips .chip.drawn b:text-is('dog')")
    page.click("#more > button")
    page.fill("#negative textarea, #negative input", "dog")
    page.wait_for_selector("#chips .chip.left_out b:text-is('dog')")
    page.click("#make")
    page.wait_for_selector(".stage .prompt-chips .chip.left_out b:text-is('dog')")
    page.click("#active [data-name=negative]")
    page.wait_for_selector("#chips .chip.drawn b:text-is('dog')")
