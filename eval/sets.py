"""Which pictures a figure is measured on: held-out cells and real pictures beside them, chosen by hash alone."""

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from models.data.captions import Language, display_name
from models.data.splits import fraction
from models.data.styles import style_of
from models.data.world import Picture, World


def _order(pictures: Iterable[Picture], salt: str = "") -> list[Picture]:
    return sorted(pictures, key=lambda picture: fraction("eval", salt, picture.id))


def cells(world: World, count: int) -> list[Picture]:
    """At most `count` held-out cells (concept x art family), one picture of each."""
    chosen: dict[tuple[str, str], Picture] = {}
    for picture in _known(world):
        chosen.setdefault((picture.concept, picture.family), picture)
    return list(chosen.values())[:count]


def _known(world: World) -> list[Picture]:
    """Pictures of held-out cells whose concept was trained on, in their order.

    Concepts that one family draws alike share their splits, so a few have no training picture under their own name.
    """
    trained = {picture.concept for picture in world.split("train")}
    return [p for p in _order(world.split("cell", allow_test=True)) if p.concept in trained]


def chosen(world: World, count: int) -> list[Picture]:
    """At most `count` pictures of split `val` whose concept was trained on, one of each concept and style.

    What is chosen (settings, recipes) is chosen on these.
    """
    trained = {picture.concept for picture in world.split("train")}
    return one_a_drawing(p for p in world.split("val") if p.concept in trained)[:count]


def held_out(world: World, count: int) -> list[Picture]:
    """At most `count` pictures of held-out cells: first one of every cell, as `cells` gives them, then the others."""
    first = cells(world, len(world.pictures))
    known = {picture.id for picture in first}
    return (first + [p for p in _known(world) if p.id not in known])[:count]


def partners(world: World, pictures: list[Picture], salt: str = "") -> list[Picture]:
    """For each picture one training picture of the same style, none taken twice while the style has others.

    The same mix of styles on both sides: a floor between two real sets then holds sampling, and not another mix.
    """
    pools: dict[str, list[Picture]] = defaultdict(list)
    for picture in _order(world.split("train"), f"partner {salt}"):
        pools[picture.style].append(picture)
    taken: dict[str, int] = defaultdict(int)
    chosen = []
    for picture in pictures:
        pool = pools[picture.style] or world.split("train")
        chosen.append(pool[taken[picture.style] % len(pool)])
        taken[picture.style] += 1
    return chosen


def one_a_drawing(pictures: Iterable[Picture]) -> list[Picture]:
    """One picture of each (concept, style), chosen by hash: skin tones and genders would crowd the neighbours."""
    chosen: dict[tuple[str, str], Picture] = {}
    for picture in _order(pictures):
        chosen.setdefault((picture.concept, picture.style), picture)
    return list(chosen.values())


def pixels(world: World, pictures: list[Picture]) -> np.ndarray:
    """uint8 (N, 128, 128, 4) premultiplied."""
    return world.pixels[[picture.index for picture in pictures]]


def prompt(picture: Picture, language: Language = "en") -> str:
    """What a person would type for this very picture: its name and its style, and nothing that gives more away."""
    style = style_of(picture.style)
    if language == "zh":
        return f"{display_name(picture, 'zh')}，{style.zh[0]}风格"
    return f"{display_name(picture, 'en')}, {style.en[0]} style"
