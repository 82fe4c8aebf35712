"""Laws of the rows for what most people ask: a thing by its name, and a thing in a style that has drawn it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from eval_kit import SIZES, drawn_context
from fixture_world import fixture_world, world_with_cooks
from tiny_parts import save_tiny_parts

from eval import sets
from eval.context import Context
from eval.metrics.novelty import gender_row, plain_rows, seen_rows
from models.data.world import World
from models.prompts.normalise import named_style


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    weights: Path = save_tiny_parts(tmp_path_factory.mktemp("weights"))
    return drawn_context(weights, tmp_path_factory.mktemp("cache"))


def test_what_is_asked_for_by_name_alone_stands_beside_real_drawings(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    generate = Context.generate
    monkeypatch.setattr(Context, "generate", lambda own, prompts: asked.extend(prompts) or generate(own, prompts))
    concept, copies = plain_rows(context)
    assert not any(map(named_style, asked)) and len(asked) == len(set(asked)) > 0
    for row in (concept, copies):
        assert row.n == len(asked) and 0 <= row.value <= 1 and [name for name, _ in row.against] == ["real held-out"]


def test_what_a_style_has_drawn_stands_beside_what_is_drawn_from_noise(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[list[str], bool]] = []
    generate = Context.generate

    def seen(own: Context, prompts: list[str], references: bool = True) -> np.ndarray:
        asked.append((prompts, references))
        return generate(own, prompts, references=references)

    monkeypatch.setattr(Context, "generate", seen)
    rows = list(seen_rows(context))
    (prompts, led), (same, free) = asked
    assert prompts == same and led and not free and all(map(named_style, prompts))
    assert [row.name.partition(": ")[2].split()[0] for row in rows] == ["concept", "style", "copies"]
    for row in rows:
        assert (
            row.n == len(prompts) and 0 <= row.value <= 1 and [name for name, _ in row.against] == ["from noise alone"]
        )
    pictures = sets.seen(context.world, 100)
    assert {p.split for p in pictures} == {"train"} and len({p.concept for p in pictures}) == len(pictures) > 2
    toned = [replace(p, skin="dark") if p.concept == pictures[0].concept else p for p in context.world.pictures]
    assert sets.seen(World(toned, context.world.pixels, context.world.digest), 2) == pictures[1:3]


@pytest.mark.parametrize("drawn_as", ["asked", "other", "thing"])
def test_a_woman_is_told_from_a_man_by_whose_drawing_is_nearer(
    context: Context, monkeypatch: pytest.MonkeyPatch, drawn_as: str
) -> None:
    """Pictures that are the drawing of the one, of the other, or a third, which cannot be nearer to both."""
    world = world_with_cooks([("noto", "noto", gender) for gender in ("woman", "man", None)])
    pairs = sets.genders(world, 100)
    assert {(own.gender, other.gender) for own, other in pairs} == {("woman", "man"), ("man", "woman")}
    assert sets.genders(world, 1) == pairs[:1] and {p.concept for pair in pairs for p in pair} == {"cook"}
    toned = [replace(p, skin="dark") if p.gender == "man" else p for p in world.pictures]
    assert not sets.genders(World(toned, world.pixels, world.digest), 100)
    people = Context(world, SIZES, context.parts, quiet=True)
    drawings = {"asked": [own for own, _ in pairs], "other": [other for _, other in pairs]}
    made = sets.pixels(world, drawings.get(drawn_as) or [world.pictures[-1]] * 2)
    monkeypatch.setattr(Context, "generate", lambda own, prompts, references=True: made[: len(prompts)])
    row = gender_row(people, pairs)
    assert row.n == 2 and row.value == {"asked": 1, "other": 0, "thing": 0.5}[drawn_as]


def test_two_hands_drew_one_thing() -> None:
    world = fixture_world()
    pairs = sets.families(world, 100)
    assert len(pairs) > 2 and sets.families(world, 2) == pairs[:2]
    toned = [replace(p, skin="dark") if p.concept == pairs[0][0].concept else p for p in world.pictures]
    assert sets.families(World(toned, world.pixels, world.digest), 100) == pairs[1:]
    for one, other in pairs:
        assert one.concept == other.concept and one.family != other.family and {one.split, other.split} == {"train"}
