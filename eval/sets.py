"""Which pictures a figure is measured on: held-out cells and real pictures beside them, chosen by hash alone."""

from collections import defaultdict
from collections.abc import Callable, Iterable

import numpy as np

from models.data.captions import Language, display_name
from models.data.grammar import styled
from models.data.world import Picture, World, fraction
from models.prompts.parsed import GENDERS

Pair = tuple[Picture, Picture]
OTHER = dict(zip(GENDERS, reversed(GENDERS), strict=True))
# CLDR groups of things that can be distinguished.
APART = {"animals-nature", "food-drink", "objects", "travel-places", "activities"}


def _order(pictures: Iterable[Picture], salt: str = "") -> list[Picture]:
    return sorted(pictures, key=lambda picture: fraction("eval", salt, picture.id))


def _unique(pictures: Iterable[Picture], name: Callable[[Picture], tuple[str, str]]) -> list[Picture]:
    """One picture of each name, in the names' own order: by the pictures' order, names with many would come first."""
    chosen: dict[tuple[str, str], Picture] = {}
    for picture in _order(pictures):
        chosen.setdefault(name(picture), picture)
    return [chosen[key] for key in sorted(chosen, key=lambda key: fraction("eval", *key))]


def cells(world: World, count: int) -> list[Picture]:
    """At most `count` held-out cells (concept x art family), one picture of each."""
    return _unique(_known(world), lambda picture: (picture.concept, picture.family))[:count]


def _known(world: World) -> list[Picture]:
    """Pictures of held-out cells whose concept was trained on, in their order.

    Concepts that one family draws alike share their splits, so a few have no training picture under their own name.
    """
    trained = {picture.concept for picture in world.split("train")}
    return [p for p in _order(world.split("cell", allow_test=True)) if p.concept in trained]


def held_out(world: World, count: int) -> list[Picture]:
    """At most `count` pictures of held-out cells: first one of every cell, as `cells` gives them, then the others."""
    first = cells(world, len(world.pictures))
    known = {picture.id for picture in first}
    return (first + [p for p in _known(world) if p.id not in known])[:count]


def partners(world: World, pictures: list[Picture], salt: str = "") -> list[Picture]:
    """For each picture one training picture of the same style that shows the same kind of thing, with a skin tone or
    without; none taken twice while there are others. Of the same style alone where the style has no such picture.

    The same mix on both sides: a floor between two real sets then holds sampling, and not another mix.
    """
    pools: dict[tuple[str, ...], list[Picture]] = defaultdict(list)
    for picture in _order(world.split("train"), f"partner {salt}"):
        pools[_mix(picture)].append(picture)
        pools[(picture.style,)].append(picture)
    taken: set[str] = set()
    chosen: list[Picture] = []
    for picture in pictures:
        pool = [*pools[_mix(picture)], *pools[(picture.style,)]] or world.split("train")
        partner = next((other for other in pool if other.id not in taken), pool[len(chosen) % len(pool)])
        taken.add(partner.id)
        chosen.append(partner)
    return chosen


def _mix(picture: Picture) -> tuple[str, ...]:
    """Style, kind of thing, and whether it has a skin tone: a third of the pictures have one."""
    return picture.style, picture.group, str(picture.skin is not None)


def per_drawing(pictures: Iterable[Picture]) -> list[Picture]:
    """One picture of each (concept, style), chosen by hash: skin tones and genders would crowd the neighbours."""
    return _unique(pictures, lambda picture: (picture.concept, picture.style))


def per_concept(pictures: Iterable[Picture]) -> list[Picture]:
    return _unique(pictures, lambda picture: (picture.concept, ""))


def common(world: World, count: int, families: int = 4) -> list[Picture]:
    """At most `count` things that so many art families drew for training, chosen by hash, a picture of each: what is
    left without the drawing of one of them can still be recognised."""
    return drawn_by(world, seen(world, len(world.pictures)), families)[:count]


def drawn_by(world: World, pictures: Iterable[Picture], families: int) -> list[Picture]:
    """Those of `pictures` that show things, each of which so many art families drew for training."""
    drawn = defaultdict[str, set[str]](set)
    for picture in world.split("train"):
        drawn[picture.concept].add(picture.family)
    return [p for p in pictures if p.group in APART and len(drawn[p.concept]) >= families]


def seen(world: World, count: int) -> list[Picture]:
    """At most `count` training pictures, one of each concept, chosen by hash; of no skin tone and gender."""
    return per_concept(p for p in world.split("train") if not p.skin and not p.gender)[:count]


def genders(world: World, count: int) -> list[Pair]:
    """At most `count` training pictures of women and men, one of each thing and gender, chosen by hash; beside each
    the same thing in the same style as the other gender. Of no skin tone."""
    people = [p for p in world.split("train") if p.gender and not p.skin]
    drawn = {(p.concept, p.style, p.gender): p for p in people}
    others = {p.id: drawn.get((p.concept, p.style, OTHER[p.gender])) for p in people if p.gender}
    chosen = _unique((p for p in people if others[p.id]), lambda picture: (picture.concept, str(picture.gender)))
    return [(own, other) for own in chosen if (other := others[own.id])][:count]


def unseen(world: World, count: int) -> list[Picture]:
    """At most `count` held-out concepts, one picture of each concept and style: what they show was never drawn."""
    return per_drawing(world.split("concept", allow_test=True))[:count]


def pairs(world: World, count: int) -> list[Pair]:
    """At most `count` pairs of different things that training drew, chosen by hash; no drawing shows both."""
    things = (picture for picture in world.split("train") if picture.group in APART)
    chosen = _unique(things, lambda picture: ("pair", picture.concept))
    return list(zip(chosen[::2], chosen[1::2], strict=False))[:count]


def families(world: World, count: int) -> list[Pair]:
    """At most `count` pairs of training drawings of one thing by two art families, chosen by hash; of no skin tone,
    which would differ too."""
    drawn = defaultdict[str, list[Picture]](list)
    toneless = (picture for picture in world.split("train") if picture.skin is None)
    for picture in _unique(toneless, lambda picture: (picture.concept, picture.family)):
        drawn[picture.concept].append(picture)
    both = [(own[0], own[1]) for own in drawn.values() if len(own) > 1]
    return sorted(both, key=lambda pair: fraction("eval", "hands", pair[0].concept))[:count]


def pixels(world: World, pictures: list[Picture]) -> np.ndarray:
    """uint8 (N, 128, 128, 4) premultiplied."""
    return world.pixels[[picture.index for picture in pictures]]


def prompt(picture: Picture, language: Language = "en") -> str:
    """The prompt for a picture: its name and its style, and no other detail."""
    return styled(display_name(picture, language), picture.style, language == "zh")
