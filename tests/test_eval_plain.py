"""Laws of the rows for what most people ask: a thing by its name, and a thing in a style that has drawn it."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from cooks import peopled
from tiny_parts import save_tiny_parts

from eval import sets
from eval.bench import SEED, Bench, Sizes
from eval.parts import Parts
from eval.plain import drafts, plain_rows, variety_row
from eval.taught import gender_row, taught_rows
from models.data.fixture import fixture_world
from models.data.world import World
from models.prompts.normalise import named_style
from models.prompts.parsed import Target
from models.references.build import TYPICAL
from models.references.store import SIDE, ReferenceStore
from models.sampling.loop import Sampling

SIZES = Sizes(gallery=8, cells=4, distribution=6, reconstructions=6, conditions=3, scenes=2)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    weights: Path = save_tiny_parts(tmp_path_factory.mktemp("weights"))
    return Bench(fixture_world(), SIZES, Parts(weights), tmp_path_factory.mktemp("cache"), quiet=True)


def test_what_is_asked_for_by_name_alone_stands_beside_its_draft(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    generate = Bench.generate
    monkeypatch.setattr(Bench, "generate", lambda own, prompts: asked.extend(prompts) or generate(own, prompts))
    rows = list(plain_rows(bench))
    assert not any(map(named_style, asked))
    assert [row.name.partition(": ")[2] for row in rows] == [
        "concept among the 10 nearest drawings",
        "copies of training pictures, mirrored or not",
        "distance in EffLite0 of two seeds' pictures",
    ]
    *rows, variety = rows
    once, twice = asked[: -2 * variety.n], asked[-2 * variety.n :]
    assert len(once) == len(set(once)) and twice[::2] == twice[1::2] and len(set(twice)) == variety.n > 0
    for row in rows:
        assert row.n == len(once) > 0 and 0 <= row.value <= 1
        assert [name for name, _ in row.against] == ["real held-out", "drafts alone"]
    assert 0 < variety.value < 1 and [name for name, _ in variety.against] == ["two hands' drawings", "of two things"]


def test_the_draft_beside_a_picture_is_the_one_that_it_is_drawn_from(bench: Bench) -> None:
    grey = np.stack([np.full((SIDE, SIDE, 4), 60 * hand, np.uint8) for hand in range(TYPICAL)])
    wording = SimpleNamespace(target=lambda prompt: Target(0) if prompt == "cat" else None)
    own = SimpleNamespace(parts=SimpleNamespace(wording=wording, references=ReferenceStore(grey, [range(TYPICAL)])))
    levels = [int(picture.max()) for picture in drafts(own, ["cat", "sky", "cat", "cat"])]  # type: ignore[arg-type]
    assert levels == [60 * ((SEED + number) % TYPICAL) * (number != 1) for number in range(4)]


def test_what_a_style_has_drawn_stands_beside_what_is_drawn_from_noise(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[list[str], bool]] = []
    generate = Bench.generate

    def seen(own: Bench, prompts: list[str], sampling: Sampling | None = None) -> np.ndarray:
        asked.append((prompts, (sampling or own.sampling).reference_strength))
        return generate(own, prompts, sampling=sampling)

    monkeypatch.setattr(Bench, "generate", seen)
    rows = list(taught_rows(bench))
    (prompts, led), (same, free) = asked
    assert prompts == same and led and not free and all(map(named_style, prompts))
    assert [row.name.partition(": ")[2].split()[0] for row in rows] == ["concept", "style", "copies"]
    for row in rows:
        assert (
            row.n == len(prompts) and 0 <= row.value <= 1 and [name for name, _ in row.against] == ["from noise alone"]
        )
    pictures = sets.taught(bench.world, 100)
    assert {p.split for p in pictures} == {"train"} and len({p.concept for p in pictures}) == len(pictures) > 2
    toned = [replace(p, skin="dark") if p.concept == pictures[0].concept else p for p in bench.world.pictures]
    assert sets.taught(World(toned, bench.world.pixels, bench.world.digest), 2) == pictures[1:3]


@pytest.mark.parametrize("drawn_as", ["asked", "other", "thing"])
def test_a_woman_is_told_from_a_man_by_whose_drawing_is_nearer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, drawn_as: str
) -> None:
    """Pictures that are the drawing of the one, of the other, or a third, which cannot be nearer to both."""
    world = peopled([("noto", "noto", gender) for gender in ("woman", "man", None)])
    pairs = sets.genders(world, 100)
    assert {(own.gender, other.gender) for own, other in pairs} == {("woman", "man"), ("man", "woman")}
    assert sets.genders(world, 1) == pairs[:1] and {p.concept for pair in pairs for p in pair} == {"cook"}
    toned = [replace(p, skin="dark") if p.gender == "man" else p for p in world.pictures]
    assert not sets.genders(World(toned, world.pixels, world.digest), 100)
    people = Bench(world, SIZES, bench.parts, quiet=True)
    drawings = {"asked": [own for own, _ in pairs], "other": [other for _, other in pairs]}
    made = sets.pixels(world, drawings.get(drawn_as) or [world.pictures[-1]] * 2)
    monkeypatch.setattr(Bench, "generate", lambda own, prompts, sampling=None: made[: len(prompts)])
    row = gender_row(people, pairs)
    assert row.n == 2 and row.value == {"asked": 1, "other": 0, "thing": 0.5}[drawn_as]


def test_pictures_of_two_seeds_are_as_unlike_as_what_is_seen_in_them(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Bench, "generate", lambda _, prompts: np.zeros((len(prompts), 128, 128, 4), np.uint8))
    own = np.eye(1280)
    monkeypatch.setattr(Bench, "features", lambda _, pictures: own[np.arange(len(pictures)) // 2])
    same = variety_row(bench)
    assert same.value == 0 and dict(same.against)["of two things"] == 1
    monkeypatch.setattr(Bench, "features", lambda _, pictures: own[: len(pictures)])
    assert variety_row(bench).value == 1


def test_two_hands_drew_one_thing() -> None:
    world = fixture_world()
    pairs = sets.hands(world, 100)
    assert len(pairs) > 2 and sets.hands(world, 2) == pairs[:2]
    toned = [replace(p, skin="dark") if p.concept == pairs[0][0].concept else p for p in world.pictures]
    assert sets.hands(World(toned, world.pixels, world.digest), 100) == pairs[1:]
    for one, other in pairs:
        assert one.concept == other.concept and one.family != other.family and {one.split, other.split} == {"train"}
