"""Laws of layouts: what is drawn alone for a prompt, where it lies, and what is written there."""

from dataclasses import replace
from itertools import pairwise

import pytest
from fixture_world import fixture_world
from prompt_kit import ROWS, BagOfWords, drawings, known, no_far_names  # noqa: F401 - a fixture

from models.data.scenes import make_scene
from models.prompts import layout
from models.prompts.build import build_parser
from models.prompts.layout import BACKDROP, PAIR, STAGE, within
from models.prompts.normalise import LONGEST_LETTERING, find_lettering
from models.prompts.parsed import Box, Layout, ParsedPrompt
from models.prompts.parser import PromptParser


@pytest.fixture(scope="module")
def built() -> PromptParser:
    return build_parser(BagOfWords(), fixture_world())  # type: ignore[arg-type]


def layout_of(prompt: str, world: str = "relations") -> Layout:
    found = known(world).parse(prompt).layout
    assert found is not None
    return found


def test_what_belongs_together_does_so_in_front_of_scenery() -> None:
    for alone in ("a cat with a crown", "a cat with a crown and sunglasses", "a dog holding a hamburger"):
        found, there = layout_of(alone), layout_of(f"{alone} in the desert")
        assert [one.text for one in there.prompts] == [*(one.text for one in found.prompts), "desert"]
        assert there.boxes == (*(within(box, STAGE) for box in found.boxes), BACKDROP)


def test_more_than_have_room_are_not_laid_out() -> None:
    assert known("relations").parse("four cats in the desert").layout is None
    assert known("relations").parse("two cats in two deserts").layout is None


def test_what_lies_on_something_that_wears_it_is_worn() -> None:
    assert layout_of("a crown on a cat").boxes == PAIR["on the head"][::-1]


def test_what_one_of_two_wears_is_in_its_box() -> None:
    """The one that wears something is as small as the box beside the other one lets it, with what it wears."""
    found = layout_of("a cat with sunglasses to the left of a dog")
    assert [one.text for one in found.prompts] == ["cat", "sunglasses", "dog"]
    wearer, worn, other = found.boxes
    left, right = PAIR["left of"]
    assert other == right and worn.z > wearer.z
    for box, alone in zip((wearer, worn), PAIR["on the eyes"], strict=True):
        assert box == within(alone, left)
        assert left.left <= box.left and box.left + box.width <= left.left + left.width
    found = layout_of("a dog to the left of a cat with sunglasses")
    assert found.boxes == (left, *(within(box, right) for box in PAIR["on the eyes"]))


@pytest.mark.parametrize("prompt", ["a cat with a crown and sunglasses", "a cat wearing sunglasses and a crown"])
def test_what_is_worn_together_fits_the_same_head(prompt: str) -> None:
    found = layout_of(prompt)
    where = {one.text: box for one, box in zip(found.prompts, found.boxes, strict=True)}
    assert sorted(where) == ["cat", "crown", "sunglasses"]
    wearer, crown = PAIR["on the head"]
    assert (where["cat"], where["crown"]) == (wearer, crown)
    eyed, glasses = PAIR["on the eyes"]
    across = (where["sunglasses"].left - wearer.left) / wearer.width
    assert across == pytest.approx((glasses.left - eyed.left) / eyed.width, abs=0.02)


def test_a_face_of_one_of_several_lies_on_it() -> None:
    for row in ROWS:
        if row.get("drawings") and "disappointed" in str(row):
            found = layout_of(row["prompt"], row["world"])
            for (one, box), (face, on) in pairwise(zip(found.prompts, found.boxes, strict=True)):
                if "face," in face.text and row["world"] == "relations":
                    assert one.text == "hamburger" and on == replace(box, anchor="face")


def test_no_two_of_several_are_in_one_box() -> None:
    for row in ROWS:
        if row["world"] == "relations" and row.get("background") is not None and row.get("drawings"):
            found = layout_of(row["prompt"])
            assert len(set(found.boxes)) == len(found.boxes)


def test_a_picture_within_a_frame_is_in_its_middle_and_stands_as_it_does() -> None:
    whole = Box(0, 0, 128, 128)
    assert within(whole, Box(10, 20, 100, 50, z=2)) == Box(35, 20, 50, 50, z=2)
    assert within(whole, Box(10, 20, 50, 100, align=1)) == Box(10, 70, 50, 50)
    assert within(Box(64, 32, 32, 64, z=1), Box(0, 0, 64, 64, z=1)) == Box(32, 16, 16, 32, z=2)


def test_scenes_are_laid_out_as_their_captions_say(built: PromptParser) -> None:
    """The first of a scene's objects stands to the second as its relation says; backgrounds and numbers are the
    scene's."""
    leads = {"left of": ("left", 1), "right of": ("left", -1), "above": ("top", 1), "below": ("top", -1),
             "in front of": ("z", -1), "behind": ("z", 1)}  # fmt: skip
    for seed in range(150):
        scene = make_scene(fixture_world(), seed)
        text = scene.caption(seed, grounded=True)
        found = built.parse(text).layout
        if found is None:
            assert scene.count == 1 and not scene.background.colours, text
            continue
        assert (len(found.boxes), found.background) == (scene.count, scene.background.colours), text
        if scene.relation:
            named = scene.objects[0].names.values()
            first = next(i for i, one in enumerate(found.prompts) if any(name in one.text for name in named))
            of, sign = leads[scene.relation]
            pair = found.boxes[first], found.boxes[1 - first]
            assert sign * (getattr(pair[0], of) - getattr(pair[1], of)) < 0, text


# --- Lettering ------------------------------------------------------------------------------------------------------


def test_who_says_something_has_a_balloon_and_what_has_room_has_it_written_on_it() -> None:
    parser = known("letters")

    def laid(prompt: str) -> tuple[list[str], tuple[Box, ...], tuple[str, ...]] | None:
        found = parser.parse(prompt).layout
        return found and ([one.text for one in found.prompts], found.boxes, found.background)

    said = within(BACKDROP, layout.SPEAKER), replace(layout.BALLOON, lettering="hi")
    assert laid('a cat saying "hi"') == (["cat", "speech balloon"], said, ())
    assert laid("写着加油的T恤") == (["t恤"], (replace(layout.WHOLE, lettering="加油"),), ())
    assert laid('"a cat saying hi"') is None, "word for word"
    assert laid('a xylograph saying "hi"') == (["a xylograph", "speech balloon"], said, ())
    denied = within(BACKDROP, layout.SPEAKER), replace(layout.BALLOON, lettering="no")
    assert laid('a cat saying "no"') == (["cat", "speech balloon"], denied, ()), "what is said denies nothing"
    crowned = laid("a cat with a crown saying hi, noto style")
    assert crowned and crowned[0] == ["cat, noto style", "crown, noto style", "speech balloon, noto style"]
    assert crowned[1][1].anchor == PAIR["on the head"][1].anchor == "head", "the crown is on the head in any company"
    assert laid("a cat saying hi on a blue background") == (["cat", "speech balloon"], said, ("blue",))


def test_lettering_is_no_part_of_what_is_drawn() -> None:
    parser = known("letters")
    assert parser.parse("a crown made of cat").blend and not parser.parse('a crown made of cat saying "hi"').blend
    found = find_lettering('a cat saying "hi"')
    assert found and (found.words, found.rest, found.phrase) == ("hi", "a cat", ' saying "hi"')
    assert find_lettering(f'a cat saying "{"x" * (LONGEST_LETTERING + 1)}"') is None


def test_what_a_prompt_says_is_parsed_once() -> None:
    """One object holds it all, and the drawings of its layout are parsed prompts themselves."""
    parser = known("relations")
    parsed = parser.parse("two red cats and an axolotl on a blue background, noto style")
    assert parsed is parser.parse(parsed.text)
    assert (parsed.style, parsed.background) == ("noto", ("blue",))
    assert [(one.count, one.colours) for one in parsed.entities] == [(2, ("red",))]
    assert parsed.left_out == ("axolotl",)
    assert all(isinstance(one, ParsedPrompt) and one.style == "noto" for one in layout_of(parsed.text).prompts[:1])
