"""Laws of women and men: who is asked for is drawn from, in a style that drew one, and nobody else is changed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from fixture_world import world_with_cooks
from prompt_kit import world_parser

from models.data.pixels import resized
from models.data.world import World, pictures_by_concept
from models.pipelines.sticker import StickerPipeline
from models.prompts.parsed import GENDERS, Target
from models.references.build import build_references
from models.references.store import SIDE, Reference, ReferenceStore

COOKS = (
    ("noto", "noto", None),
    ("noto", "noto", "woman"),
    ("noto", "noto", "man"),
    ("twemoji", "twemoji", None),
    ("blob", "noto-old", "woman"),
)


@pytest.fixture(scope="module")
def world() -> World:
    return world_with_cooks(COOKS)


@pytest.fixture(scope="module")
def built(world: World) -> ReferenceStore:
    return build_references(world)


def drawing(world: World, place: int) -> np.ndarray:
    pixels = world.pixels[len(world.pixels) - len(COOKS) + place]
    return resized(resized(pixels, SIDE, SIDE), 128, 128).copy()  # Pillow's memory may not be written to


@pytest.mark.parametrize(
    ("gender", "style", "place"),
    [
        ("", "noto", 0),
        ("woman", "noto", 1),
        ("man", "noto", 2),
        ("", "twemoji", 3),
        ("woman", "twemoji", 3),  # has drawn nobody in particular: the style that is asked for, at least
        ("woman", "blob", 4),
        ("man", "emojione", 2),  # has drawn none: a man by those who have
        ("man", "", 2),
    ],
)
def test_a_woman_is_drawn_from_a_woman(
    world: World, built: ReferenceStore, gender: str, style: str, place: int
) -> None:
    number = list(pictures_by_concept(world)).index("cook")
    figure = built.figure(number, gender, style)
    found = built.retrieve(figure, style=style)
    assert np.array_equal(built.drawing(Reference(found.rows[:1])), drawing(world, place))
    assert ((figure, style) in built.drawn) == (style in ("noto", "twemoji", "blob"))


def test_what_has_no_gender_is_one_figure(world: World, built: ReferenceStore) -> None:
    numbers = list(pictures_by_concept(world))
    assert {numbers[thing] for thing, _ in built.figures} == {"cook"} and len(built.figures) == len(GENDERS)
    assert sorted(built.figures.values()) == [len(numbers), len(numbers) + 1] and len(built.typical) == len(numbers) + 2
    assert built.figure(numbers.index("fish"), "woman") == numbers.index("fish")
    assert {numbers.index("cook"), *built.figures.values()} <= set(built.two_sided), "a cook's mirror image is a cook"
    assert len(built.pictures) == len(set(built.drawn.values())), "each drawing once, whoever is drawn from it"


def test_saved_and_loaded_they_are_the_same(world: World, built: ReferenceStore, tmp_path: Path) -> None:
    world_parser(world).save(tmp_path)
    built.save(tmp_path)
    again = ReferenceStore.load(tmp_path)
    assert again.figures == built.figures and again.typical == built.typical and again.drawn == built.drawn


def test_where_all_drawings_are_of_women_they_are_the_thing_s_own() -> None:
    women = build_references(world_with_cooks([(style, style, "woman") for style in ("noto", "twemoji")]))
    assert not women.figures


def test_a_prompt_s_reference_is_of_who_it_names(
    pipe: StickerPipeline, world: World, built: ReferenceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe.parser, pipe.references = world_parser(world), built
    assert pipe.parser.parse("a woman cook").target == Target(
        list(pictures_by_concept(world)).index("cook"), "", "woman"
    )

    def draft(text: str) -> torch.Tensor:
        found = pipe.retrieved([pipe.parse(text)], [0], [True])
        return pipe._with_references(found, pipe.encode_condition([text])).reference[0]

    def of(gender: str, style: str) -> torch.Tensor:
        number = list(pictures_by_concept(world)).index("cook")
        return pipe._encode(built.drawing(built.retrieve(number, 0, style, gender))[None])[0]

    for text, *who in (
        ("a woman cook, noto style", "woman", "noto"),
        ("cook, noto style", "", "noto"),
        ("a woman cook, twemoji style", "woman", "twemoji"),
    ):
        assert torch.equal(draft(text), of(*who)) and pipe.follows_reference(text)
    assert torch.equal(draft("a man cook, emojione style"), of("man", "emojione"))
    assert not pipe.follows_reference("a man cook, emojione style")
