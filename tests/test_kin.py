"""Laws of nearest neighbours: other families say which it is, not the cell's own, and only that style draws from it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bags import Bags
from tiny_parts import save_tiny_parts
from torch import Tensor

from models.data.fixture import fixture_world
from models.data.world import Picture, World
from models.pipelines.image import StickerPipeline
from models.reading.wording import Wording, things
from models.references.build import build_references
from models.references.neighbours import nearest_neighbours
from models.references.store import NEIGHBOUR_SHARE, SIDE, ReferenceStore


class Seeing(Bags):
    """Stands for the embedder: pictures lie as near as their coarse pixels."""

    def image(self, pixels: np.ndarray) -> Tensor:
        coarse = torch.from_numpy(np.ascontiguousarray(pixels[:, ::32, ::16])).float().flatten(1)
        return torch.nn.functional.normalize(coarse, dim=-1)


class Blind(Seeing):
    """Names that have nothing to do with each other, and pictures neither: the pixels alone speak."""

    def text(self, texts: Sequence[str]) -> Tensor:
        return torch.eye(128)[: len(texts)]

    def image(self, pixels: np.ndarray) -> Tensor:
        return torch.nn.functional.one_hot(torch.zeros(len(pixels), dtype=torch.long), 128).float()


SEEING: Any = Seeing()
BLIND: Any = Blind()


def repainted(changes: dict[tuple[str, str], np.ndarray]) -> World:
    """The fixture, where what shows a concept in a style is another picture."""
    world = fixture_world()
    pixels = world.pixels.copy()
    for picture in world.pictures:
        if (picture.concept, picture.style) in changes:
            pixels[picture.index] = changes[picture.concept, picture.style]
    return World(world.pictures, pixels, world.digest)


def drawing(concept: str, style: str) -> Picture:
    return next(p for p in fixture_world().pictures if (p.concept, p.style) == (concept, style))


def of(concept: str, style: str) -> np.ndarray:
    return fixture_world().pixels[drawing(concept, style).index]


@pytest.fixture(autouse=True)
def all_are_near(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of twelve things nobody has close neighbours."""
    monkeypatch.setattr("models.references.neighbours.NEAR", -9.0)


def test_the_kin_is_what_other_hands_draw_like_it() -> None:
    """Noto has no apple; the two who have one drew it as they drew the fish."""
    world = repainted({("apple", style): of("fish", style) for style in ("twemoji", "outline")})
    found = nearest_neighbours(world, things(world), BLIND)
    assert found["apple", "noto"] == drawing("fish", "noto")
    assert found["apple", "black glyph"] == drawing("fish", "black glyph")
    assert all(picture.style == style and picture.concept != concept for (concept, style), picture in found.items())


def test_names_speak_where_no_hand_drew_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """A house is drawn by one alone, who has no say in its own style."""
    world = fixture_world()
    only = things(world)["house"][0]
    pictures = [
        replace(p, names={"en": "bird house"}) if p.concept == "house" else
        replace(p, names={"en": "tree house"}) if p.concept == "tree" else p
        for p in world.pictures
    ]  # fmt: skip
    renamed = World(pictures, world.pixels, world.digest)
    assert nearest_neighbours(renamed, things(renamed), SEEING)["house", only.style].concept == "tree"
    monkeypatch.setattr("models.references.neighbours.NEAR", 9.0)
    assert nearest_neighbours(world, things(world), SEEING) == {}


def test_a_cell_s_own_family_has_no_say() -> None:
    world = fixture_world()
    before = nearest_neighbours(world, things(world), SEEING)
    for cell in (("cat", "noto"), ("star", "twemoji"), ("tree", "outline")):
        other = repainted({cell: of("car", cell[1])})
        assert nearest_neighbours(other, things(other), SEEING)[cell] == before[cell]
    everyone = {("star", style): of("car", style) for style in ("noto", "outline", "black glyph")}
    assert nearest_neighbours(repainted(everyone), things(world), BLIND)["star", "twemoji"].concept == "car", (
        "and all others have"
    )


def test_what_a_style_has_drawn_needs_no_kin(tmp_path: Path) -> None:
    world = fixture_world()
    numbers = {concept: number for number, concept in enumerate(things(world))}
    drawn = {(numbers[concept], p.style) for concept, own in things(world).items() for p in own}
    built = build_references(world, embedder=SEEING)
    every = {(number, style) for number in numbers.values() for style in {p.style for p in world.pictures}}
    assert set(built.neighbours) == every - drawn and set(built.own) == drawn
    assert all(
        any(row == other and style == own for (_, own), other in built.own.items())
        for (_, style), row in built.neighbours.items()
    )
    Wording.build(Bags(), world).save(tmp_path)  # type: ignore[arg-type]
    built.save(tmp_path)
    again = ReferenceStore.load(tmp_path)
    assert again.neighbours == built.neighbours and again.own == built.own
    assert build_references(world).neighbours == {}


def test_a_thing_is_half_its_kin_in_that_style_alone() -> None:
    pictures = np.full((3, SIDE, SIDE, 4), 200, np.uint8)
    pictures[2] = 100
    store = ReferenceStore(pictures, [[0], [1]], {(2, "noto"): 2}, {(1, "noto"): 2})
    found = store.retrieve(1, style="noto")
    assert found.rows == (1, 2) and not found.is_exact
    assert np.unique(store.drawing(found)) == round(200 - 100 * NEIGHBOUR_SHARE)
    for other in (store.retrieve(1), store.retrieve(1, style="twemoji"), store.retrieve(0, style="noto")):
        assert np.unique(store.drawing(other)) == 200


def test_a_prompt_begins_from_the_kin_of_its_style(tmp_path: Path) -> None:
    pipe = StickerPipeline.assemble(save_tiny_parts(tmp_path), torch.float32)
    world = fixture_world()
    pipe.wording = Wording.build(Bags(), world)  # type: ignore[arg-type]

    def drafts(store: ReferenceStore) -> Tensor:
        pipe.references = store
        prompts = ["apple, noto style", "apple, twemoji style", "apple"]
        return pipe._with_references(prompts, [0] * 3, [True] * 3, pipe.condition(prompts)).reference

    plain, styled = drafts(build_references(world)), drafts(build_references(world, embedder=SEEING))
    same = [torch.equal(one, other) for one, other in zip(plain, styled, strict=True)]
    assert same == [False, True, True], "twemoji has an apple, and no style has no kin"
