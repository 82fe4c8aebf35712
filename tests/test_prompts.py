"""Laws of prompts: `prompts.jsonl` says what is parsed of each, a row a prompt; what holds of all of them stands here.

A row names the concepts that are known (`bags.CONCEPTS`, or "shipped") and what is to be found: names of entities, what
the text encoder reads, drawings and boxes of the layout, shares of a blend, lettering, or the text after one stage.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fixture_world import fixture_world
from prompt_kit import (  # noqa: F401 - a fixture
    CONCEPTS,
    FEW,
    ROWS,
    BagOfWords,
    bag,
    drawings,
    known,
    no_far_names,
    parser_of,
    parser_of_concepts,
)

from models.data.captions import caption
from models.data.colours import COLOURS
from models.data.scenes import make_scene
from models.lexicon import LEXICONS, pattern, table
from models.pipelines.image import Pictures
from models.pipelines.sticker import StickerPipeline
from models.prompts import layout
from models.prompts.build import build_parser
from models.prompts.layout import AROUND, BACKDROP, FEATURES, IN_SCENE, PAIR, blend, costume, expression, winged, within
from models.prompts.linker import ALIASES, EntityLinker, flag_names
from models.prompts.normalise import (
    BLACK_AND_WHITE,
    core,
    find_lettering,
    gender_in,
    normalise,
    simplified,
    with_amounts,
    with_expression,
    with_known_colours,
    with_skin_tones,
    without_background,
    without_lettering,
    words_of,
)
from models.prompts.parsed import Box, Target
from models.prompts.parser import PromptParser, parse_literally
from models.references.build import build_references
from models.sampling.loop import Sampling
from models.weights import WeightsError, space_of

STAGES = {
    "amounts": with_amounts,
    "colours": with_known_colours,
    "normalised": normalise,
    "skin_tones": with_skin_tones,
}
NAMED = {
    "features": (BACKDROP, FEATURES),
    "middle": (BACKDROP, layout.MIDDLE),
    "winged": layout.WINGED,
    "costume": layout.COSTUME,
    "scattered": layout.SCATTERED,
    "around": AROUND,
    "on it": layout.ON_IT,
    "two in one": (*(within(box, PAIR["in"][0]) for box in PAIR["left of"]), PAIR["in"][1]),
}


def names(entities: Any, parser: PromptParser) -> list[str]:
    return [parser.concept(one).english_names[0] for one in entities]


def boxes_named(name: str, count: int) -> tuple[Box, ...]:
    if name == "scene":
        return (*IN_SCENE[count - 1], BACKDROP)
    if name == "grid":
        return layout.GRID[count]
    found = NAMED.get(name) or PAIR[name.removeprefix("reversed ")]
    return found[::-1] if name.startswith("reversed ") else found[:count]


def is_composite(prompt: str, parser: PromptParser) -> bool:
    text = simplified(without_background(prompt))
    found = blend(text, parser) or expression(text, parser) or winged(text, parser)
    return bool(found) and not pattern("negation").search(prompt)


def found_in(row: dict[str, Any]) -> dict[str, Any]:
    """What is parsed of a row's prompt, of all that the row names."""
    prompt, found = row["prompt"], {}
    found |= {stage: STAGES[stage](prompt) for stage in STAGES.keys() & row.keys()}
    lettering = find_lettering(prompt)
    found |= {"gender": gender_in(prompt), "lettering": lettering.words if lettering else ""}
    found["rest"] = without_lettering(prompt)
    if row["world"]:
        parser = known(row["world"])
        parsed = parser.parse(prompt)
        found["names"] = names(parser.entities(prompt), parser)
        found["left_out"] = list(parsed.left_out)
        found |= {"encoded": parsed.encoded, "description": parsed.description, "drawings": drawings(parsed)}
        found["blend"] = [[share, one.text] for share, one in parsed.blend]
        found["background"] = list(parsed.layout.background) if parsed.layout else []
        found["target"] = parsed.target and [parsed.target.concept, parsed.target.paint, parsed.target.gender]
        found["features"] = parsed.layout is not None and FEATURES in parsed.layout.boxes
        found["costume"] = parsed.layout is not None and parsed.layout.boxes == layout.COSTUME
        found["composite"] = is_composite(prompt, parser) if "composite" in row else False
        if isinstance(row.get("drawings"), int):
            found["drawings"] = len(found["drawings"] or ())
        if parsed.layout and "boxes" in row:
            found["boxes"] = row["boxes"]
            wanted = row["boxes"]
            if isinstance(wanted, str):
                same = parsed.layout.boxes == boxes_named(wanted, len(parsed.layout.boxes))
                found["boxes"] = wanted if same else parsed.layout.boxes
            else:
                found["boxes"] = [list(vars(box).values()) for box in parsed.layout.boxes]
    return {key: value for key, value in found.items() if key in row}


def wrong(rows: list[dict[str, Any]]) -> list[str]:
    """What is not as the rows say."""
    found = [(row, found_in(row)) for row in rows]
    said = [(row, one, {key: row[key] for key in row if key not in ("world", "prompt")}) for row, one in found]
    return [
        f"{row['world']}: {row['prompt']!r} gives {one}, not {wanted}" for row, one, wanted in said if one != wanted
    ]


def test_prompts_are_parsed_as_their_rows_say() -> None:
    assert wrong([row for row in ROWS if row["world"] != "shipped"]) == []


def test_prompts_are_parsed_with_the_shipped_names_as_their_rows_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert wrong([row for row in ROWS if row["world"] == "shipped"]) == []


def test_a_stage_changes_nothing_that_it_made() -> None:
    made = [(name, row[name]) for row in ROWS for name in STAGES.keys() & row.keys()]
    assert made and [(name, text) for name, text in made if STAGES[name](text) != text] == []


# --- The lexicon ----------------------------------------------------------------------------------------------------


def test_every_language_has_the_same_colours_moods_and_styles() -> None:
    first, *others = LEXICONS.values()
    for other in others:
        assert list(first.colours) == list(other.colours) == list(COLOURS)
        assert list(first.moods) == list(other.moods) and list(first.rows["styles"]) == list(other.rows["styles"])


def test_every_shade_and_stuff_has_a_colour() -> None:
    for name in ("shades", "shade_phrases", "stuffs"):
        assert set(table(name).values()) <= {word for one in LEXICONS.values() for word in one.colours.values()}


def test_every_alias_is_of_one_concept() -> None:
    said = [name for names_of in ALIASES.values() for name in names_of]
    assert len(said) == len(set(said)) and all(name == name.strip().lower() != "" for name in said)
    keys = {tuple(words_of(core(name))): thing for thing, names_of in ALIASES.items() for name in names_of}
    assert () not in keys, "what is left out of every prompt can't be found"
    assert all(keys[tuple(words_of(core(name)))] == thing for thing, names_of in ALIASES.items() for name in names_of)


def test_what_follows_from_a_flags_own_name_is_not_listed() -> None:
    assert flag_names("flag of Japan") == ("Japan flag", "Japan's flag")
    assert "日本国旗" in flag_names("日本旗") and flag_names("panda") == flag_names("旗") == ()
    listed = {name for names_of in ALIASES.values() for name in names_of}
    flags = [thing for thing in ALIASES if thing.startswith("flag of ")]
    assert len(flags) > 60 and not any(said.lower() in listed for flag in flags for said in flag_names(flag))


# --- Entities -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def few() -> PromptParser:
    return parser_of("few")


def test_a_list_without_end_is_not_looked_up_phrase_by_phrase(few: PromptParser) -> None:
    asked: list[str] = []

    def embed(text: str) -> torch.Tensor:
        asked.append(text)
        return bag(text)

    assert few.linker.link(" and ".join(f"x{i}" for i in range(900)), embed) == [] and len(asked) <= 2
    assert few.linker.link("a cat" + " and a cat" * 20, embed)


def test_a_name_goes_before_an_alias(few: PromptParser) -> None:
    linker = EntityLinker(FEW, few.linker.vectors, {"dog": ("apple",)})
    assert [FEW[linker.link(text, bag)[0].concept].english_names[0] for text in ("red apple", "an apple")] == [
        "red apple",
        "dog",
    ]


def test_an_alias_beside_a_name_is_another_entity(few: PromptParser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.prompts.linker.SURE", 0.5)  # so that all of it lies near the name
    linker = EntityLinker(FEW, few.linker.vectors, {"dog": ("hound",)})
    assert len(linker.link("a hot beverage with hound", bag)) == 2
    assert len(few.linker.link("a hot beverage with hound", bag)) == 1


def test_a_keyword_of_what_lies_far_away_is_no_hint(few: PromptParser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.prompts.linker.FAR", 0.4)
    parser = PromptParser(few.embedder, few.linker, few.common)  # one that remembers nothing
    assert parser.rephrase("a burger") == "a burger" and parser.rephrase("a huge hamburger") == "hamburger"


def test_a_word_is_understood_where_it_is_an_alias() -> None:
    linker = known("shipped").linker
    for word, said in (("spaceship", True), ("飞船", True), ("get", False), ("金山", False), ("", False)):
        assert linker.is_alias(word) is said


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch) -> PromptParser:
    monkeypatch.undo()
    return known("shipped")


def test_a_chinese_name_stays_as_it_is(shipped: PromptParser) -> None:
    found = {name for one in shipped.linker.concepts for name in one.names.get("zh", ())}
    assert len(found) > 1500 and [name for name in found if normalise(name) != name.lower()] == []


def test_no_name_is_a_composite_or_painted(shipped: PromptParser) -> None:
    concepts = shipped.linker.concepts
    own = {name for one in concepts for of_language in one.names.values() for name in of_language}
    said = own | {name for names_of in ALIASES.values() for name in names_of}
    assert len(own) > 4000 and [name for name in said if is_composite(name, shipped)] == []
    assert [name for name in own if costume(simplified(name), shipped)] == []
    assert [name for name in said if with_known_colours(name.lower()) != name.lower()] == []


def test_what_is_said_of_hair_colours_no_one(shipped: PromptParser) -> None:
    girl, cat = (shipped.entities(text)[0].concept for text in ("a girl with pink hair", "a cat"))
    assert shipped.target("a girl with pink hair") == Target(girl, "", "woman")
    assert shipped.target("a cat, orange") == Target(cat, "orange")


def test_what_is_said_of_people_is_no_paint_of_theirs(shipped: PromptParser) -> None:
    """Of them black and white are tones, and what they are in is what they wear."""
    for text, paint in (
        ("a black woman, noto style", "dark"),
        ("黑人医生", "dark"),
        ("a white man", "light"),
        ("a man in black", ""),
        ("a man in dark blue", ""),
        ("a white cat on black", ""),
        ("a cat, black and white", BLACK_AND_WHITE),
        ("a black-and-white cat", BLACK_AND_WHITE),
        ("黑白红相间的猫", ""),
        ("a woman wearing red", ""),
        ("a cat in black", "black"),
        ("a black and white man", BLACK_AND_WHITE),
    ):
        found = shipped.target(text)
        assert found is not None and found.paint == paint
    assert shipped.encoded("a black woman doctor") == "woman health worker, dark skin tone"
    assert shipped.encoded("黑人女孩") == "深肤色的女孩"


def test_who_comes_with_somebody_is_somebody_else(shipped: PromptParser) -> None:
    for text, gender in (("a teacher with a girl", ""), ("a woman with a boy", "woman"), ("给女孩打针的医生", "")):
        found = shipped.target(text)
        assert found is None or found.gender == gender
    family = shipped.target("family with a boy")
    assert family is not None and not family.gender


def test_each_of_several_has_its_own_tone_and_black_and_white_are_one(shipped: PromptParser) -> None:
    for prompt, texts in (
        ("a dark-skinned woman and a cat", ["woman, dark skin tone", "cat face"]),
        ("深肤色的女人和猫", ["女人，深肤色", "猫脸"]),
        ("a black and white cat and a red fish", ["a black and white cat face", "a red fish"]),
        ("a black cat and a white dog", ["black cat", "a white dog face"]),
        ("a white & black cat and a red fish", ["a black and white cat face", "a red fish"]),
    ):
        assert drawings(shipped.parse(prompt)) == texts
    both = shipped.parse("a black woman and a white man").layout
    assert both is not None and [one.target and one.target.paint for one in both.prompts] == ["dark", "light"]


def test_what_is_said_of_two_entities_stands_where_each_is_said(shipped: PromptParser) -> None:
    assert shipped.encoded("a teapot and cups of tea") == "a teapot and a hot beverage"
    assert shipped.encoded("a bottle of wine and a glass of wine") == "a wine glass and a wine glass"


# --- What captions say ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def built() -> PromptParser:
    return build_parser(BagOfWords(), fixture_world())  # type: ignore[arg-type]


def test_captions_of_one_entity_and_of_scenes_are_left_alone(built: PromptParser) -> None:
    captions = [caption(picture, seed, style=True) for picture in fixture_world().split("train") for seed in range(3)]
    scenes = [make_scene(fixture_world(), seed).caption(seed) for seed in range(100)]
    assert sum(built.encoded(text) != text for text in captions) / len(captions) < 0.1
    assert sum(built.encoded(text) != text for text in scenes) / len(scenes) < 0.1


def test_saved_and_loaded_it_reads_the_same(built: PromptParser, tmp_path: Path) -> None:
    built.save(tmp_path, "space")
    again = PromptParser.load(built.embedder, tmp_path)
    assert again.linker.concepts == built.linker.concepts and again.common == built.common
    assert torch.allclose(again.linker.vectors, built.linker.vectors, atol=1e-3)
    assert space_of("wording", tmp_path) == "space" and space_of("wording", tmp_path / "none") == ""
    listed = json.loads((tmp_path / "wording/wording.json").read_text())
    (tmp_path / "wording/wording.json").write_text(json.dumps(listed | {"common": {}}))
    with pytest.raises(WeightsError, match="altered"):
        PromptParser.load(built.embedder, tmp_path)


def test_the_pipeline_draws_what_is_read_and_keeps_from_what_is_said(pipe: StickerPipeline, few: PromptParser) -> None:
    pipe.parser = pipe.references = None
    plain = pipe.encode_condition(["hamburger", "a burger"])
    pipe.parser = few
    read = pipe.encode_condition(["a burger", '"a burger"'])
    literal = pipe.encode_condition([parse_literally("a burger")])
    assert torch.equal(read.states, plain.states) and torch.equal(read.vector, plain.vector)
    assert torch.equal(literal.states, plain.states[1:])
    work = pipe._resolve(["a burger"], [1], Sampling(), "a burger")
    assert torch.equal(work.wanted.parts[0].states, plain.states[:1]) and torch.equal(
        work.unwanted.states, plain.states[1:]
    )


# --- Composites -----------------------------------------------------------------------------------------------------


def test_an_expression_is_said_of_an_entity() -> None:
    for word, phrase, said in (
        ("angry", "a red teapot", "an angry red teapot"),
        ("happy", "avocado", "a happy avocado"),
        ("happy", "two dogs", "two happy dogs"),
        ("in love", "dog", "a dog in love"),
        ("生气", "茶壶", "生气的茶壶"),
    ):
        assert with_expression(word, phrase) == said


def test_on_a_background_too() -> None:
    parsed = known("composites").parse("a smiling avocado on a blue background")
    assert drawings(parsed) == ["avocado", "smiling face, fluent flat style"] and parsed.layout is not None
    assert (parsed.layout.boxes, parsed.layout.background) == ((layout.WHOLE, FEATURES), ("blue",))


def test_a_blend_is_drawn_as_that_of_both_and_said_to_be(pipe: StickerPipeline, built: PromptParser) -> None:
    pipe.parser, pipe.references = built, build_references(fixture_world())

    def drawn(prompts: list[str], **settings: Any) -> Pictures:
        (done,) = (e for e in pipe.steps(prompts, [5, 6], Sampling(2, batch=2), **settings) if isinstance(e, Pictures))
        return done

    assert pipe.parse("a grinning cat").description == "grinning face + cat"
    assert pipe.parse("a house").description == "a house"
    assert pipe.parse("a grinning house").description == "a grinning house"
    both = pipe.blend([(0.4, "grinning face"), (0.6, "cat")])
    mixed, own = drawn(["a grinning cat", "a house"]), drawn(["", "a house"], blends=[both, None])
    assert np.array_equal(mixed.pixels, own.pixels) and torch.equal(mixed.wanted, own.wanted)
    assert torch.equal(mixed.wanted[:1], both.vector)
    named = pipe.parse("a cat with a grinning face")
    assert named.blend and named.layout is None
    other = drawn(["a grinning cat", "a house"], words=False)
    assert not np.array_equal(other.pixels[0], own.pixels[0])


def test_every_world_of_concepts_is_asked_for_something() -> None:
    assert {row["world"] for row in ROWS} >= CONCEPTS.keys() - {"letters"}
    assert parser_of_concepts(FEW).parse("a cat").entities and blend("axolotl", parser_of_concepts(FEW)) is None
