"""Which combinations of a scene are held out, and which pictures make good scene material.

Compositions are tested on combinations that training never showed: a cat and red were both seen, a red cat was not.
Each combination falls into "train", "val" or "test" by hash, the same on every machine.
"""

import functools
from collections import defaultdict

from models.data.colours import NAMES, PAINTS
from models.data.grammar import WORDS, is_plural
from models.data.scene_words import MAX_COUNT
from models.data.splits import fraction, held_out_split
from models.data.world import Picture, World

SCENE_SPLITS = ("train", "val", "test")
HELD_OUT = 0.2  # share of combinations, half for val and half for test


# The axis that a relation shares with its opposite.
AXIS = {
    "left of": "beside", "right of": "beside", "above": "stacked", "below": "stacked",
    "in front of": "overlapping", "behind": "overlapping",
}  # fmt: skip

# CLDR groups of what can stand beside another thing.
THINGS = frozenset({"animals-nature", "food-drink", "travel-places", "activities", "objects", "smileys-emotion"})
_FACES = frozenset({"face", "cat", "monkey", "ghost", "robot", "alien", "skull", "heart"})
# Words of concepts that are no object of their own: landscapes that fill the picture, people, signs, things that differ
# in a detail which is lost when small (clocks, moons, banknotes), and whatever has a colour in its name.
_UNFIT = frozenset(WORDS["unfit"]) | frozenset(word for name in NAMES for word in name.split())


@functools.cache
def paints_of(concept: str, split: str) -> tuple[str, ...]:
    """Colours that the concept may have in scenes of this split."""
    return tuple(colour for colour in PAINTS if held_out_split(HELD_OUT, "scene", "colour", concept, colour) == split)


@functools.cache
def counts_of(concept: str, split: str) -> tuple[int, ...]:
    """How often the concept may stand in a scene of this split.

    Half of the concepts have one number held out, never more: a training scene always has a neighbour to be told from.
    """
    held_out, half = divmod(int(fraction("scene", "count", concept) * 4 * MAX_COUNT), 2)
    where = ("val", "test")[half]
    if split == "train":
        return tuple(n for n in range(1, MAX_COUNT + 1) if n != held_out + 1)
    return (held_out + 1,) if held_out < MAX_COUNT and where == split else ()


def relation_split(relation: str, first: str, second: str) -> str:
    """Split of two concepts in a relation. A relation and its opposite, and both orders, fall together: a scene's
    contrast stays on its side."""
    return held_out_split(HELD_OUT, "scene", "relation", AXIS[relation], *sorted((first, second)))


def is_material(picture: Picture) -> bool:
    """Whether the picture shows one thing that can be named in three words, moved, counted and recoloured."""
    words = frozenset(picture.concept.split("-"))
    if picture.group not in THINGS or picture.skin or picture.gender or words & _UNFIT or len(words) > 3:
        return False
    return picture.group != "smileys-emotion" or bool(words & _FACES)


class Material:
    """The pictures of one split that scenes are made of, by concept and by style."""

    def __init__(self, pictures: list[Picture]) -> None:
        self.by_concept: dict[str, list[Picture]] = defaultdict(list)
        by_style: dict[str, dict[str, list[Picture]]] = defaultdict(lambda: defaultdict(list))
        for picture in filter(is_material, pictures):
            self.by_concept[picture.concept].append(picture)
            by_style[picture.style][picture.concept].append(picture)
        self.by_style = {style: dict(concepts) for style, concepts in by_style.items()}
        self.concepts = tuple(self.by_concept)
        self.countable = tuple(c for c, rows in self.by_concept.items() if not is_plural(rows[0].names["en"]))
        self.styled_concepts = {style: tuple(concepts) for style, concepts in self.by_style.items()}
        if len(self.concepts) < 2 or not self.countable:
            raise ValueError("these pictures hold fewer than two things that a scene can be made of")


@functools.lru_cache(maxsize=16)
def material(world: World, pictures: str) -> Material:
    """Scene material of one split of the world."""
    return Material(world.split(pictures, allow_test=pictures != "train"))
