"""Laws of women and men: who is asked for is drawn from, in a style that drew one, and nobody else is changed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from bags import Bags
from cooks import peopled
from tiny_parts import save_tiny_parts

from models.data.compose import resized
from models.data.world import Picture, World
from models.pipeline import StickerPipeline
from models.prompts.attributes import GENDERS
from models.prompts.parsed import Target
from models.prompts.parser import PromptParser, pictures_by_concept
from models.prototypes import SIDE, Prototypes

COOKS = (
    ("noto", "noto", None),
    ("noto", "noto", "woman"),
    ("noto", "noto", "man"),
    ("twemoji", "twemoji", None),
    ("blob", "noto-old", "woman"),
)


@pytest.fixture(scope="module")
def world() -> World:
    return peopled(COOKS)


@pytest.fixture(scope="module")
def built(world: World) -> Prototypes:
    return Prototypes.build(world)


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
def test_a_woman_is_drawn_from_a_woman(world: World, built: Prototypes, gender: str, style: str, place: int) -> None:
    number = list(pictures_by_concept(world)).index("cook")
    figure = built.figure(number, gender, style)
    assert np.array_equal(built.picture(figure, style=style), drawing(world, place))
    assert built.has(figure, style) == (style in ("noto", "twemoji", "blob"))


def test_what_has_no_gender_is_one_figure(world: World, built: Prototypes) -> None:
    numbers = list(pictures_by_concept(world))
    assert {numbers[thing] for thing, _ in built.figures} == {"cook"} and len(built.figures) == len(GENDERS)
    assert sorted(built.figures.values()) == [len(numbers), len(numbers) + 1] and len(built.hands) == len(numbers) + 2
    assert built.figure(numbers.index("fish"), "woman") == numbers.index("fish")
    assert {numbers.index("cook"), *built.figures.values()} <= set(built.two_sided), "a cook's mirror image is a cook"
    assert len(built.pictures) == len(set(built.own.values())), "each drawing once, whoever is drawn from it"


def test_saved_and_loaded_they_are_the_same(world: World, built: Prototypes, tmp_path: Path) -> None:
    PromptParser.build(Bags(), world).save(tmp_path)  # type: ignore[arg-type]
    built.save(tmp_path)
    again = Prototypes.load(tmp_path)
    assert again.figures == built.figures and again.hands == built.hands and again.own == built.own


def test_where_all_drawings_are_of_women_they_are_the_thing_s_own() -> None:
    women = Prototypes.build(peopled([(style, style, "woman") for style in ("noto", "twemoji")]))
    assert not women.figures


def test_a_prompt_s_draft_is_of_who_it_names(
    world: World, built: Prototypes, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = StickerPipeline.assemble(save_tiny_parts(tmp_path_factory.mktemp("parts")), torch.float32)
    pipe.parser, pipe.prototypes = PromptParser.build(Bags(), world), built  # type: ignore[arg-type]
    assert pipe.parser.target("a lady cook") == Target(list(pictures_by_concept(world)).index("cook"), "", "woman")

    def draft(text: str) -> torch.Tensor:
        return pipe._with_drafts([pipe.parse(text)], [0], [True], pipe.encode_condition([text])).draft[0]

    def of(place: int) -> torch.Tensor:
        return pipe._encode(drawing(world, place)[None])[0]

    for text, place in (
        ("a woman cook, noto style", 1),
        ("cook, noto style", 0),
        ("a woman cook, twemoji style", 3),
    ):
        assert torch.equal(draft(text), of(place)) and pipe.is_guided(text)
    assert torch.equal(draft("a man cook, emojione style"), of(2)) and not pipe.is_guided("a man cook, emojione style")


def test_kin_of_a_thing_is_its_women_s_and_men_s(world: World, built: Prototypes) -> None:
    """A style that lacks the cook has drawn what is like one."""
    from models.prototypes import _related

    kindred: Picture = world.pictures[0]
    found = _related({("cook", "emojione"): kindred}, list(pictures_by_concept(world)), built.figures)
    number = list(pictures_by_concept(world)).index("cook")
    figures = {number, *(figure for (thing, _), figure in built.figures.items() if thing == number)}
    assert found == {(figure, "emojione"): kindred for figure in figures}
