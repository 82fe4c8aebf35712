"""Laws of prompts and layouts: `prompts.jsonl` says what is parsed of each; what holds of all of them stands here.

A row names the concepts that are known (`CONCEPTS` of the kit, or "shipped") and what is to be found: names of
entities, what the text encoder reads, drawings and boxes of the layout, shares of a blend, lettering, or the text
after one stage.
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
from models.prompts.layout import (
    AROUND,
    BACKDROP,
    FEATURES,
    IN_SCENE,
    PAIR,
    STAGE,
    blend,
    costume,
    expression,
    winged,
    within,
)
from models.prompts.linker import ALIASES
from models.prompts.normalise import (
    core,
    find_lettering,
    gender_in,
    normalise,
    simplified,
    skin_tone_phrase,
    skin_tones_in,
    with_amounts,
    with_known_colours,
    with_skin_tones,
    without_background,
    without_lettering,
    without_skin_tone,
    words_of,
)
from models.prompts.parsed import Box, Layout, ParsedPrompt
from models.prompts.parser import PromptParser, beside, in_paint, led_away, parse_literally
from models.prompts.still import plain_motion, still_prompt
from models.prompts.weighting import segments
from models.references.build import build_references
from models.sampling.loop import Sampling
from models.weights import WeightsError, space_of

STAGES = {
    "amounts": with_amounts,
    "colours": with_known_colours,
    "normalised": normalise,
    "skin_tones": with_skin_tones,
    "still": still_prompt,
    "motion": plain_motion,
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


def beside_negative(row: dict[str, Any], parsed: ParsedPrompt, parser: PromptParser) -> dict[str, Any]:
    """What is left of a parsed prompt beside the row's negative prompt, its references painted as the row says."""
    left = beside(parsed, row["negative"], parser)
    painted = [in_paint(one, row.get("painted", "")) for one in (left.layout.prompts if left.layout else (left,))]
    return {
        "negative": row["negative"],
        "painted": row.get("painted"),
        "drawn": [one.text for one in (left.layout.prompts if left.layout else (left,))],
        "description": left.description,
        "unwanted": list(left.target.unwanted) if left.target else None,
        "led_away": sorted({led_away(one).words for one in painted}),
        "words": painted[0].words,
    }


def found_in(row: dict[str, Any]) -> dict[str, Any]:
    """What is parsed of a row's prompt, of all that the row names."""
    prompt, found = row["prompt"], {}
    found |= {stage: STAGES[stage](prompt) for stage in STAGES.keys() & row.keys()}
    lettering = find_lettering(prompt)
    found |= {"gender": gender_in(prompt), "lettering": lettering.words if lettering else ""}
    found["rest"] = without_lettering(prompt)
    found["segments"] = [[one.text, one.weight] for one in segments(prompt)] if "segments" in row else []
    tone = next(iter(skin_tones_in(prompt)), "")
    phrase_and_rest = bool(skin_tone_phrase(prompt)), without_skin_tone(prompt) != prompt
    found["tone"] = tone if phrase_and_rest == (bool(tone),) * 2 else phrase_and_rest
    if row["world"]:
        parser = known(row["world"])
        parsed = parser.parse(prompt)
        found["names"] = names(parser.entities(prompt), parser)
        found["left_out"] = list(parsed.left_out)
        found |= {"encoded": parsed.encoded, "description": parsed.description, "drawings": drawings(parsed)}
        found["blend"] = [[share, one.text] for share, one in parsed.blend]
        found["background"] = list(parsed.layout.background) if parsed.layout else []
        found["target"] = parsed.target and [parsed.target.concept, parsed.target.paint, parsed.target.gender]
        found |= {"paint": parsed.target and parsed.target.paint, "who": parsed.target.gender if parsed.target else ""}
        found["paints"] = [one.target and one.target.paint for one in parsed.layout.prompts] if parsed.layout else []
        found["thing"] = parsed.target and [names([parsed.target], parser)[0], parsed.target.paint]
        found["features"] = parsed.layout is not None and FEATURES in parsed.layout.boxes
        found["costume"] = parsed.layout is not None and parsed.layout.boxes == layout.COSTUME
        found["composite"] = is_composite(prompt, parser) if "composite" in row else False
        if isinstance(row.get("drawings"), int):
            found["drawings"] = len(found["drawings"] or ())
        if "negative" in row:
            found |= beside_negative(row, parsed, parser)
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


# --- Layouts ----------------------------------------------------------------------------------------------------------


def layout_of(prompt: str, world: str = "relations") -> Layout:
    found = known(world).parse(prompt).layout
    assert found is not None
    return found


def test_what_belongs_together_does_so_in_front_of_scenery() -> None:
    for alone in ("a cat with a crown", "a cat with a crown and sunglasses", "a dog holding a hamburger"):
        found, there = layout_of(alone), layout_of(f"{alone} in the desert")
        assert [one.text for one in there.prompts] == [*(one.text for one in found.prompts), "desert"]
        assert there.boxes == (*(within(box, STAGE) for box in found.boxes), BACKDROP)


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


def test_what_a_prompt_says_is_parsed_once() -> None:
    """One object holds it all, and the drawings of its layout are parsed prompts themselves."""
    parser = known("relations")
    parsed = parser.parse("two red cats and an axolotl on a blue background, noto style")
    assert parsed is parser.parse(parsed.text)
    assert (parsed.style, parsed.background) == ("noto", ("blue",))
    assert [(one.count, one.colours) for one in parsed.entities] == [(2, ("red",))]
    assert parsed.left_out == ("axolotl",)
    assert all(isinstance(one, ParsedPrompt) and one.style == "noto" for one in layout_of(parsed.text).prompts[:1])
