"""Laws of prompts: `prompts.tsv` says what is read in 160 of them; what holds of all stands here.

A row of the file: the prompt; the things that it names, separated by ";", each as concepts of which any is right, with
what is said of it in brackets; relations, as "first > relation > second"; words that are left out.
"""

import re
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from fixture_world import fixture_world
from prompt_kit import BagOfWords, drawings, drawn_world, few, knowing_pipe, shipped  # noqa: F401 - a fixture

from models.data.captions import caption
from models.data.colours import COLOURS
from models.data.scenes import make_scene
from models.lexicon import LEXICONS
from models.pipelines.image import Pictures
from models.pipelines.sticker import StickerPipeline
from models.prompts.layout import BACKDROP, COSTUME, GRID, MOST, PAIR, STAGE, within
from models.prompts.parsed import Box, Concept, Entity, Layout, ParsedPrompt
from models.prompts.parser import PromptParser, parse_literally
from models.prompts.scene import GROUP
from models.prompts.still import plain_motion, still_prompt
from models.prompts.tokens import tokenise
from models.sampling.loop import Sampling
from models.weights import WeightsError, space_of

ROWS = [
    line.split("\t")
    for line in (Path(__file__).parent / "prompts.tsv").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
]
# Relations that are drawn alike.
ALIKE = [{"with", "hold", "wear", "in"}, {"on", "at", "in"}, {"beside", "with"}]


def is_thing(wanted: str, entity: Entity, concept: Concept) -> bool:
    """Whether an entity is what a row wants: "cat|cat face[count=2][colour=red]"."""
    said = dict(pair.split("=") for pair in re.findall(r"\[(.+?)\]", wanted))
    names = {*concept.english_names, concept.english_names[0].removesuffix(" face")}
    faces = set(said.get("face", "").split("|"))
    return (
        not names.isdisjoint(re.sub(r"\[.*", "", wanted).split("|"))
        and entity.count == int(said.get("count", 1))
        and ("colour" not in said or said["colour"] in (*entity.colours, *concept.english_names[0].split()))
        and ("face" not in said or not faces.isdisjoint((*entity.faces, *names)))
        and said.get("skin", "") == entity.skin
    )


def wrong(prompt: str, things: str = "", relations: str = "", left_out: str = "") -> str:
    """What is not read as a row says; "" where all is."""
    parsed, concepts = shipped().parse(prompt), shipped().concepts
    read = [(entity, concepts[entity.concept]) for entity in parsed.entities]
    wanted = list(filter(None, (thing.strip() for thing in things.split(";"))))
    at = [next((n for n, (e, c) in enumerate(read) if is_thing(thing, e, c)), None) for thing in wanted]
    if None in at or len(read) != len(wanted):
        return f"{prompt!r} names {[(c.english_names[0], e.count, e.colours, e.faces) for e, c in read]}, not {wanted}"
    first = [re.split(r"[|\[]", thing)[0] for thing in wanted]
    for relation in filter(None, relations.split(";")):
        subject, name, thing = relation.strip().split(" > ")
        pair = at[first.index(subject)], at[first.index(thing)]
        alike = {name}.union(*(some for some in ALIKE if name in some))
        if not any(kind in alike and to == pair[1] and of in (pair[0], GROUP) for of, kind, to in parsed.relations):
            return f"{prompt!r} has the relations {parsed.relations}, not {relation}"
    missing = [word for word in filter(None, left_out.split("|")) if not any(word in one for one in parsed.left_out)]
    return f"{prompt!r} leaves out {parsed.left_out}, not {missing}" * bool(missing)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_prompts_are_read_as_their_rows_say(row: list[str]) -> None:
    assert wrong(*row) == ""


# --- Bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prompt",
    ["", " ", "a", "猫", "🐱", "🐱" * 50, "12345", "https://example.com/a?b=c", "cat " * 10_000, "((", "x" * 5_000,
     "le chat mange une pomme", "猫cat🐱", "a\0b", "的的的", "of of of", "and, and; and", "no no no", "{}[]"],
)  # fmt: skip
def test_any_text_is_read(prompt: str) -> None:
    start, parser = time.monotonic(), shipped()
    reading, parsed = parser.read(prompt), parser.parse(prompt)
    assert time.monotonic() - start < 30 and all(part.state for part in reading.parts)
    assert len(parsed.layout.boxes if parsed.layout else ()) <= 3 * MOST


def test_a_letter_too_few_or_too_many_is_read_and_reported() -> None:
    for prompt, word, read_as in (("a kiten", "kiten", "kitten"), ("an umbrela", "umbrela", "umbrella")):
        (part,) = shipped().read(prompt).parts
        assert (part.text, part.state, part.read_as) == (word, "drawn", read_as)


def test_a_word_weighs_or_is_left_out() -> None:
    plain, weighted, silent = (few().parse(text) for text in ("a cat", "a (cat:1.5)", "a (cat:0)"))
    assert [run.weight for run in weighted.segments if run.text.strip() == "cat"] == [1.5]
    assert plain.target == weighted.target and silent.target is None


def test_tokens_cover_every_letter_of_a_text() -> None:
    for prompt in ("A red-hot cat’s hat, please!", "一只戴墨镜的企鹅在海边", "two 🐱 & 一只狗"):
        tokens = tokenise(prompt, shipped().table)
        assert all(a.end <= b.start for a, b in pairwise(tokens))
        rest = "".join(c for i, c in enumerate(prompt) if not any(t.start <= i < t.end for t in tokens))
        assert not rest.strip(" -"), (prompt, rest)


# --- The lexicon ----------------------------------------------------------------------------------------------------


def test_every_language_has_the_same_colours_moods_and_styles() -> None:
    first, *others = LEXICONS.values()
    for other in others:
        assert list(first.colours) == list(other.colours) == list(COLOURS)
        assert list(first.moods) == list(other.moods) and list(first.table("styles")) == list(other.table("styles"))


@pytest.mark.parametrize("name", ["shades", "stuffs"])
def test_every_shade_and_stuff_has_a_colour(name: str) -> None:
    for lexicon in LEXICONS.values():
        assert lexicon.table(name).keys() <= COLOURS.keys()


def test_every_relation_of_the_lexicon_has_a_layout() -> None:
    for lexicon in LEXICONS.values():
        for relation in lexicon.table("relations"):
            parsed = few().parse(f"a cat {LEXICONS['en'].table('relations').get(relation, ('with',))[0]} a wrench")
            assert parsed.layout is not None and len(parsed.layout.boxes) == 2, relation


# --- What captions say ----------------------------------------------------------------------------------------------


def test_captions_of_one_entity_and_of_scenes_are_left_alone() -> None:
    captions = [caption(picture, seed, style=True) for picture in fixture_world().split("train") for seed in range(3)]
    scenes = [make_scene(fixture_world(), seed).caption(seed) for seed in range(100)]
    for texts in (captions, scenes):
        assert sum(drawn_world().parse(text).encoded != text for text in texts) / len(texts) < 0.1


def test_saved_and_loaded_it_reads_the_same(tmp_path: Path) -> None:
    built = drawn_world()
    built.save(tmp_path, "space")
    again = PromptParser.load(built.embedder, tmp_path)
    assert again.concepts == built.concepts and torch.allclose(again.vectors, built.vectors, atol=1e-3)
    assert space_of("wording", tmp_path) == "space" and space_of("wording", tmp_path / "none") == ""
    (tmp_path / "wording/wording.json").write_text("{}")
    with pytest.raises(WeightsError, match="altered"):
        PromptParser.load(built.embedder, tmp_path)


def test_the_pipeline_draws_what_is_read_and_keeps_from_what_is_said(pipe: StickerPipeline) -> None:
    pipe.parser = pipe.references = None
    plain = pipe.encode_condition(["hamburger", "a burger"])
    pipe.parser = few()
    read = pipe.encode_condition(["a burger", '"a burger"'])
    literal = pipe.encode_condition([parse_literally("a burger")])
    assert torch.equal(read.states, plain.states) and torch.equal(read.vector, plain.vector)
    assert torch.equal(literal.states, plain.states[1:])


@pytest.mark.parametrize(
    ("text", "still"),
    [("a dog slides to the left, in a loop", "a dog"), ("一只狗在跳动", "一只狗"), ("a cat", "a cat")],
)
def test_a_motion_is_no_part_of_the_first_picture(text: str, still: str) -> None:
    assert still_prompt(text) == still and plain_motion(plain_motion(text)) == plain_motion(text)


# --- Layouts ----------------------------------------------------------------------------------------------------------


def layout_of(prompt: str) -> Layout:
    layout = few().parse(prompt).layout
    assert layout is not None, prompt
    return layout


def test_what_belongs_together_does_so_in_front_of_scenery() -> None:
    for alone in ("a cat with a crown", "a cat with a crown and sunglasses", "a dog holding a hamburger"):
        without, there = layout_of(alone), layout_of(f"{alone} in the desert")
        assert [one.text for one in there.prompts] == [*(one.text for one in without.prompts), "desert"]
        assert there.boxes[-1] == BACKDROP
        for box, alone_box in zip(there.boxes, without.boxes, strict=False):  # but for rounding
            assert all(
                abs(getattr(box, side) - getattr(within(alone_box, STAGE), side)) <= 2 for side in ("left", "top")
            )


def test_what_one_of_two_wears_is_in_its_box() -> None:
    """The one that wears something is as small as the box beside the other one lets it, with what it wears."""
    left, right = PAIR["left of"]
    layout = layout_of("a cat with sunglasses to the left of a dog")
    assert [one.text for one in layout.prompts] == ["cat", "sunglasses", "dog"]
    assert layout.boxes == (*(within(box, left) for box in PAIR["on the eyes"]), right)
    layout = layout_of("a dog to the left of a cat with sunglasses")
    assert layout.boxes == (left, *(within(box, right) for box in PAIR["on the eyes"]))


@pytest.mark.parametrize("prompt", ["a cat with a crown and sunglasses", "a cat wearing sunglasses and a crown"])
def test_what_is_worn_together_fits_the_same_head(prompt: str) -> None:
    layout = layout_of(prompt)
    where = {one.text: box for one, box in zip(layout.prompts, layout.boxes, strict=True)}
    assert sorted(where) == ["cat", "crown", "sunglasses"] and where["crown"].anchor == "head"
    assert where["cat"].z < min(where["crown"].z, where["sunglasses"].z)


def test_several_stand_side_by_side_and_a_role_is_a_costume() -> None:
    for count, word in enumerate(("two", "three", "four"), 2):
        assert layout_of(f"{word} cats").boxes == GRID[count] and layout_of(f"{count} dogs").boxes == GRID[count]
    assert layout_of("an astronaut cat").boxes == COSTUME == layout_of("a cat astronaut").boxes
    assert drawings(few().parse("a cat and a dog, hamburger")) == ["cat", "dog", "hamburger"]


def test_a_picture_within_a_frame_is_in_its_middle_and_stands_as_it_does() -> None:
    whole = Box(0, 0, 128, 128)
    assert within(whole, Box(10, 20, 100, 50, z=2)) == Box(35, 20, 50, 50, z=2)
    assert within(whole, Box(10, 20, 50, 100, align=1)) == Box(10, 70, 50, 50)
    assert within(Box(64, 32, 32, 64, z=1), Box(0, 0, 64, 64, z=1)) == Box(32, 16, 16, 32, z=2)


def test_scenes_are_laid_out_as_their_captions_say() -> None:
    """The first of a scene's objects stands to the second as its relation says; backgrounds and numbers are the
    scene's."""
    leads = {"left of": ("left", 1), "right of": ("left", -1), "above": ("top", 1), "below": ("top", -1),
             "in front of": ("z", -1), "behind": ("z", 1)}  # fmt: skip
    for seed in range(150):
        scene = make_scene(fixture_world(), seed)
        text = scene.caption(seed, grounded=True)
        layout = drawn_world().parse(text).layout
        if layout is None:
            assert scene.count == 1 and not scene.background.colours, text
            continue
        assert (len(layout.boxes), layout.background) == (scene.count, scene.background.colours), text
        if scene.relation:
            names = scene.objects[0].names.values()
            first = next(i for i, one in enumerate(layout.prompts) if any(name in one.text for name in names))
            of, sign = leads[scene.relation]
            pair = layout.boxes[first], layout.boxes[1 - first]
            assert sign * (getattr(pair[0], of) - getattr(pair[1], of)) < 0, text


def test_a_blend_is_drawn_as_that_of_both(pipe: StickerPipeline) -> None:
    def drawn(prompts: list[str], **settings: object) -> Pictures:
        (done,) = (e for e in pipe.steps(prompts, [5], Sampling(2), **settings) if isinstance(e, Pictures))  # type: ignore[arg-type]
        return done

    both = pipe.blend([(0.4, "grinning face"), (0.6, "cat")])
    pipe.parser = drawn_world()
    assert np.array_equal(drawn(["a grinning cat"]).pixels, drawn([""], blends=[both]).pixels)


# --- Lettering ------------------------------------------------------------------------------------------------------


def test_what_a_prompt_says_is_parsed_once() -> None:
    """One object holds it all, and the drawings of its layout are parsed prompts themselves."""
    parsed = few().parse("two red cats and an axolotl on a blue background, noto style")
    assert parsed is few().parse(parsed.text)
    assert (parsed.style, parsed.background) == ("noto", ("blue",))
    assert [(one.count, one.colours) for one in parsed.entities] == [(2, ("red",))]
    assert parsed.left_out == ("axolotl",) and parsed.layout
    assert all(isinstance(one, ParsedPrompt) and one.style == "noto" for one in parsed.layout.prompts)


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ('a t-shirt that says "OK"', "OK"),
        ("a t-shirt that says hello in noto style", "hello"),
        ("一件写着“你好”的T恤", "你好"),
        ("a cat saying hi", "hi"),
    ],
)
def test_words_are_written_and_name_nothing(prompt: str, words: str) -> None:
    parsed = few().parse(prompt)
    assert parsed.lettering == words and len(parsed.entities) == 1 and parsed.layout
    assert [box.lettering for box in parsed.layout.boxes if box.lettering] == [words]
