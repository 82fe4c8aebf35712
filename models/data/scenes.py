"""Scenes: one to four stickers composed by code, so that colour, count and place are known exactly.

`make_scene` draws the truth from a seed, `Scene.render` makes its pixels, `Scene.caption` says it in words, and
`Scene.contrast` gives the scene that differs in a single attribute, for forced-choice tests.

Compositions are tested on combinations that training never showed: a cat and red were both seen, a red cat was not.
Each combination falls into "train", "val" or "test" by hash, the same on every machine.
"""

from __future__ import annotations

import functools
import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from models.data.colours import COLOURS, NAMES, PAINTS, ground, hue_shift
from models.data.grammar import (
    CHINESE_SHARE,
    GROUNDS,
    MAX_COUNT,
    NUMBERS,
    OPPOSITE,
    SCENE_TEMPLATES,
    WORDS,
    Language,
    Length,
    article,
    fit,
    is_plural,
    plural,
    spread_case,
    stream,
    style_of,
)
from models.data.pixels import SIZE, put, resized
from models.data.world import Picture, World, fraction, held_out_split

Kind = Literal["colour", "count", "relation", "pair"]
Attribute = Literal["colour", "binding", "count", "relation"]
Size = Literal["small", "large"]
Box = tuple[int, int, int, int]

HELD_OUT = 0.2  # share of combinations, half for val and half for test
# Attributes that forced choices test, and the kind of scene that has them.
ATTRIBUTES: dict[Attribute, Kind] = {"colour": "colour", "binding": "pair", "count": "count", "relation": "relation"}
KINDS: tuple[Kind, ...] = ("colour", "count", "relation", "pair")
KIND_WEIGHTS = (0.25, 0.2, 0.3, 0.25)
SAME_STYLE = 0.85  # share of two-object scenes in one style
PAINTED = 0.25  # share of painted objects in scenes that do not test colours
TRIES = 200  # draws until a combination is in the split; one in ten is held out
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
_SIDES: dict[Size | None, tuple[int, int]] = {None: (72, 94), "small": (40, 54), "large": (108, 126)}


# --- Material and held-out combinations ------------------------------------------------------------------------------


@functools.cache
def paints_of(concept: str, split: str) -> tuple[str, ...]:
    """Colours that the concept may have in scenes of this split."""
    return tuple(colour for colour in PAINTS if held_out_split(HELD_OUT, "scene", "colour", concept, colour) == split)


@functools.cache
def counts_of(concept: str, split: str) -> tuple[int, ...]:
    """How often the concept may stand in a scene of this split.

    Half of the concepts have one number held out, never more, so every training scene has a contrast.
    """
    held_out, half = divmod(int(fraction("scene", "count", concept) * 4 * MAX_COUNT), 2)
    if split == "train":
        return tuple(n for n in range(1, MAX_COUNT + 1) if n != held_out + 1)
    return (held_out + 1,) if held_out < MAX_COUNT and split == ("val", "test")[half] else ()


def relation_split(relation: str, first: str, second: str) -> str:
    """Split of two concepts in a relation. A relation and its opposite, and both orders, share a split: a scene's
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
        self.by_style: dict[str, dict[str, list[Picture]]] = defaultdict(lambda: defaultdict(list))
        for picture in filter(is_material, pictures):
            self.by_concept[picture.concept].append(picture)
            self.by_style[picture.style][picture.concept].append(picture)
        self.concepts = tuple(self.by_concept)
        self.countable = tuple(c for c, rows in self.by_concept.items() if not is_plural(rows[0].names["en"]))
        if len(self.concepts) < 2 or not self.countable:
            raise ValueError("these pictures hold fewer than two things that a scene can be made of")


@functools.lru_cache(maxsize=16)
def material(world: World, pictures: str) -> Material:
    """Scene material of one split of the world."""
    return Material(world.split(pictures, allow_test=pictures != "train"))


# --- A scene ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Background:
    """Transparent (no colours), plain (one) or a gradient from top to bottom (two); colours by name."""

    colours: tuple[str, ...] = ()

    @property
    def kind(self) -> Literal["transparent", "plain", "gradient"]:
        return ("transparent", "plain", "gradient")[len(self.colours)]


@dataclass(frozen=True)
class SceneObject:
    picture: int  # row in the world
    concept: str
    style: str
    group: str
    names: dict[str, str] = field(hash=False)
    box: Box  # left, top, width, height in pixels of the 128 x 128 scene
    z: int = 0  # stacking order, higher is nearer
    colour: str | None = None  # what it was painted with, None where it keeps its own colours
    size: Size | None = None  # None where the scene does not name one

    def describe(self, language: Language, number: str = "") -> str:
        """The object with its size and colour, without article; a Chinese `number` takes the measure word."""
        if language == "en":
            return " ".join(word for word in (self.size, self.colour, self.names["en"]) if word)
        templates = SCENE_TEMPLATES["zh"]
        default = "只" if self.group == "animals-nature" else "个"
        measure = templates["measures"].get(self.names["en"].split(" ")[-1].lower()) or default
        colour = f"{COLOURS[self.colour].zh}的" if self.colour else ""
        name = self.names.get("zh") or self.names["en"]
        return f"{number}{measure if number else ''}{colour}{templates['sizes'].get(self.size, '')}{name}"


@dataclass(frozen=True)
class Scene:
    """The exact truth of a scene."""

    kind: Kind
    split: str  # whether its combination of attributes may be trained on
    seed: int
    objects: tuple[SceneObject, ...]
    relation: str | None = None  # of the first object to the second, None unless kind is "relation"
    background: Background = Background()

    @property
    def count(self) -> int:
        return len(self.objects)

    @property
    def style(self) -> str | None:
        """The style of all objects, None where they differ."""
        styles = {item.style for item in self.objects}
        return styles.pop() if len(styles) == 1 else None

    def render(self, world: World) -> np.ndarray:
        """Premultiplied uint8 (128, 128, 4): the objects over their background, lowest z first. `world` must be the one
        that the scene was made from."""
        canvas = ground(self.background.colours)
        for item in sorted(self.objects, key=lambda item: item.z):
            left, top, width, height = item.box
            picture = resized(world.pixels[item.picture], width, height)
            put(canvas, hue_shift(picture, item.colour) if item.colour else picture, left, top)
        return canvas

    def caption(
        self, seed: int, language: Language | None = None, length: Length | None = None, grounded: bool = False
    ) -> str:
        """The scene in words: its objects with their given colours, their count or relation.

        A long caption may add style and background; with `grounded` it always names a background that is not
        transparent. The draws do not depend on colours, numbers or relations: for one seed, a scene and its contrast
        get the same wording.
        """
        rng = stream("scene caption", self.seed, seed)
        if language is None:
            language = "zh" if rng.random() < CHINESE_SHARE else "en"
        is_long = rng.random() < 0.5 if length is None else length == "long"
        text = self._objects_clause(rng, language)
        if grounded and self.background.colours:
            extra = self._background_clause(rng, language, always=True)
            extra += self._style_clause(rng, language) if is_long else []
        else:
            extra = self._style_clause(rng, language) + self._background_clause(rng, language) if is_long else []
            rng.shuffle(extra)
        return spread_case(fit(text, extra, SCENE_TEMPLATES[language]["joint"]), rng, shout=False)

    def _objects_clause(self, rng: random.Random, language: Language) -> str:
        templates, first, numbers = SCENE_TEMPLATES[language], self.objects[0], NUMBERS[language]
        if self.kind == "count" and language == "zh":
            return first.describe("zh", numbers[self.count])
        if self.kind == "count":
            number = str(self.count) if rng.random() < 0.2 else numbers[self.count]
            noun = first.describe("en")
            return f"{number} {noun if self.count == 1 else plural(noun)}"
        if language == "zh":  # people write "a cat is left of a dog" with or without 一只
            number = "一" if rng.random() < 0.5 else ""
            phrases = [item.describe("zh", number) for item in self.objects]
        else:
            phrases = [article(item.describe("en")) for item in self.objects]
        if self.kind == "colour":
            return rng.choice(templates["singles"]).format(a=phrases[0])
        template = rng.choice(templates["relations"][self.relation] if self.relation else templates["pairs"])
        return template.format(a=phrases[0], b=phrases[1])

    def _style_clause(self, rng: random.Random, language: Language) -> list[str]:
        draw = rng.random()
        template = rng.choice(SCENE_TEMPLATES["en"]["paired_styles"]) if language == "en" else "{}风格"
        if not self.style or draw >= 0.6:
            return []
        style = style_of(self.style)
        return [template.format(rng.choice(style.en if language == "en" else style.zh))]

    def _background_clause(self, rng: random.Random, language: Language, always: bool = False) -> list[str]:
        kind, colours = self.background.kind, self.background.colours
        named, other = rng.random() < (0.4 if kind == "transparent" else 0.85), rng.random() >= 0.7
        if not (named or always):
            return []
        names = colours if language == "en" else [COLOURS[colour].zh for colour in colours]
        template = SCENE_TEMPLATES[language]["backgrounds"][kind][other]
        return [template.format(*names, a=article(colours[0]) if colours else "")]

    def contrast(self, attribute: Attribute) -> Scene:
        """This scene with one attribute changed.

        "colour" paints one object in another colour, "binding" swaps the colours of two objects, "count" adds or takes
        one, "relation" swaps the places of the two objects. The contrast of a training scene is made of training
        combinations again. ValueError where the scene has no such attribute.
        """
        changed = _CONTRASTS[attribute](self, stream("contrast", attribute, self.seed))
        if changed is None:
            raise ValueError(f"a scene of kind {self.kind!r} has no {attribute} to change; make one that has")
        return changed


def make_scene(
    world: World, seed: int, split: str = "train", kind: Kind | None = None, pictures: str = "train"
) -> Scene:
    """Draw a scene: the same world and arguments give the same one.

    Args:
        split: "train", "val" or "test": whose combinations (concept and colour, concept and count, relation and
            concepts) the scene is made of. Those of val and test are in no training scene.
        kind: what the scene is about; None draws it.
        pictures: split of the world that gives the pictures. Anything but "train" is for evaluation.
    """
    if split == "train" and pictures != "train":
        raise ValueError(f"training scenes are made of training pictures, not of {pictures!r}; give split='test'")
    rng = stream("scene", split, seed)
    kind = kind or rng.choices(KINDS, KIND_WEIGHTS)[0]
    stock = material(world, pictures)
    for _ in range(TRIES):
        drawn = _MAKERS[kind](stock, rng, split)
        if drawn is not None:
            objects, relation = drawn
            return Scene(kind, split, seed, objects, relation, _background(world, objects, rng))
    raise ValueError(f"no {kind} scene of split {split!r} among {len(stock.concepts)} concepts; use a larger world")


def choices(
    world: World, attribute: Attribute, seeds: Iterable[int], split: str, pictures: str = "train"
) -> tuple[list[Scene], list[Scene]]:
    """Scenes that have an attribute, and their contrasts in it: forced choices. ValueError as in `make_scene`."""
    scenes = [make_scene(world, seed, split, ATTRIBUTES[attribute], pictures) for seed in seeds]
    return scenes, [scene.contrast(attribute) for scene in scenes]


# --- The four kinds --------------------------------------------------------------------------------------------------
# Each returns objects and relation, or None where the draw fell on a combination of another split.

Drawn = tuple[tuple[SceneObject, ...], str | None] | None


def _colour_scene(stock: Material, rng: random.Random, split: str) -> Drawn:
    picture = _any(stock, rng)
    paints = paints_of(picture.concept, split)
    if not paints:
        return None
    size = rng.choices(tuple(_SIDES), (3, 1, 1))[0]
    box = _box(rng.gauss(64, 14), rng.gauss(64, 14), rng.randint(*_SIDES[size]))
    return (object_of(picture, box, colour=rng.choice(paints), size=size),), None


def _count_scene(stock: Material, rng: random.Random, split: str) -> Drawn:
    concept = rng.choice(stock.countable)
    counts = counts_of(concept, split)
    if not counts:
        return None
    picture = rng.choice(stock.by_concept[concept])
    colour = _extra_colour(concept, rng)
    boxes = _places(rng.choice(counts), rng)
    return tuple(object_of(picture, box, colour=colour) for box in boxes), None


def _relation_scene(stock: Material, rng: random.Random, split: str) -> Drawn:
    first, second = _two(stock, rng)
    relation = rng.choice(tuple(OPPOSITE))
    if relation_split(relation, first.concept, second.concept) != split:
        return None
    boxes = _LAYOUTS[AXIS[relation]](rng)  # of the left, upper or front object, and of the other one
    near_first = relation in ("left of", "above", "in front of")
    first_box, second_box = boxes if near_first else boxes[::-1]
    objects = (
        object_of(first, first_box, int(near_first), _extra_colour(first.concept, rng)),
        object_of(second, second_box, int(not near_first), _extra_colour(second.concept, rng)),
    )
    return objects, relation


def _pair_scene(stock: Material, rng: random.Random, split: str) -> Drawn:
    pictures = _two(stock, rng)
    choices = [paints_of(picture.concept, split) for picture in pictures]
    axis, relation = rng.choice((("beside", "left of"), ("beside", "left of"), ("stacked", "above")))
    if not all(choices):
        return None
    colours = [rng.choice(paints) for paints in choices]
    if colours[0] == colours[1]:
        return None
    # Training also sees the contrast, with exchanged colours, and the arrangement, though captions do not name it.
    exchanged = colours[0] in choices[1] and colours[1] in choices[0]
    if split == "train" and not (exchanged and relation_split(relation, *(p.concept for p in pictures)) == "train"):
        return None
    boxes = list(_LAYOUTS[axis](rng))
    rng.shuffle(boxes)
    return tuple(object_of(p, box, 0, c) for p, box, c in zip(pictures, boxes, colours, strict=True)), None


_MAKERS: dict[str, Callable[[Material, random.Random, str], Drawn]] = {
    "colour": _colour_scene, "count": _count_scene, "relation": _relation_scene, "pair": _pair_scene,
}  # fmt: skip


def _any(stock: Material, rng: random.Random) -> Picture:
    return rng.choice(stock.by_concept[rng.choice(stock.concepts)])


def _two(stock: Material, rng: random.Random) -> tuple[Picture, Picture]:
    """Pictures of two concepts, mostly of one style."""
    first = _any(stock, rng)
    for _ in range(8):
        second = _any(stock, rng)
        same_style = stock.by_style[first.style]
        if rng.random() < SAME_STYLE and len(same_style) > 1:
            second = rng.choice(same_style[rng.choice(tuple(same_style))])
        if second.concept != first.concept:
            return first, second
    other = next(concept for concept in stock.concepts if concept != first.concept)
    return first, stock.by_concept[other][0]


def _extra_colour(concept: str, rng: random.Random) -> str | None:
    """At times a colour, in a combination of split "train", whatever the split of the scene."""
    paints = paints_of(concept, "train")
    return rng.choice(paints) if paints and rng.random() < PAINTED else None


def object_of(
    picture: Picture, box: Box, z: int = 0, colour: str | None = None, size: Size | None = None
) -> SceneObject:
    """A picture of the world at a place in a scene."""
    return SceneObject(
        picture.index, picture.concept, picture.style, picture.group, picture.names, box, z, colour, size
    )


def _background(world: World, objects: tuple[SceneObject, ...], rng: random.Random) -> Background:
    """No background hides an object: colours that the objects have are left out."""
    kind = rng.choices((0, 1, 2), (0.55, 0.27, 0.18))[0]
    taken = {item.colour for item in objects}
    for item in objects:
        taken.update(() if item.colour else world.pictures[item.picture].colours)
    free = [name for name in GROUNDS if name not in taken]
    return Background(tuple(rng.sample(free, kind)) if len(free) >= kind else ())


# --- Places ----------------------------------------------------------------------------------------------------------


def _box(x: float, y: float, side: int) -> Box:
    """A square box around a centre, moved inside the picture."""
    low, high = side / 2, SIZE - side / 2
    return round(min(max(x, low), high) - side / 2), round(min(max(y, low), high) - side / 2), side, side


def _beside(rng: random.Random) -> tuple[Box, Box]:
    """Two boxes as large as they can be without overlap: the generator learned no shape of smaller things (LOG.md)."""
    middle, least, most = 64 + rng.randint(-8, 8), 52, 62
    return (
        _box(32 + rng.randint(-1, 1), middle + rng.randint(-8, 8), rng.randint(least, most)),
        _box(96 + rng.randint(-1, 1), middle + rng.randint(-8, 8), rng.randint(least, most)),
    )


def _stacked(rng: random.Random) -> tuple[Box, Box]:
    upper, lower = _beside(rng)
    return (upper[1], upper[0], *upper[2:]), (lower[1], lower[0], *lower[2:])


def _overlapping(rng: random.Random) -> tuple[Box, Box]:
    """The front one is smaller and lower, so that both can be recognised."""
    side = rng.choice((-1, 1))
    back = _box(64 - side * rng.randint(10, 18), 56 + rng.randint(-6, 4), rng.randint(80, 92))
    front = _box(64 + side * rng.randint(18, 26), 86 + rng.randint(-4, 6), rng.randint(56, 66))
    return front, back


_LAYOUTS: dict[str, Callable[[random.Random], tuple[Box, Box]]] = {
    "beside": _beside, "stacked": _stacked, "overlapping": _overlapping,
}  # fmt: skip

# Centres in 0..1 and the largest side that keeps neighbours apart. No row of three: at a third of the picture's side a
# thing is five latents wide.
_ARRANGEMENTS: dict[int, tuple[tuple[int, tuple[tuple[float, float], ...]], ...]] = {
    1: ((100, ((0.5, 0.5),)),),
    2: ((60, ((0.25, 0.5), (0.75, 0.5))), (60, ((0.5, 0.25), (0.5, 0.75))), (60, ((0.25, 0.25), (0.75, 0.75)))),
    3: ((60, ((0.5, 0.25), (0.25, 0.75), (0.75, 0.75))), (60, ((0.25, 0.25), (0.75, 0.25), (0.5, 0.75)))),
    4: ((60, ((0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75))),),
}


def _places(count: int, rng: random.Random) -> list[Box]:
    """Boxes for `count` equal objects that do not touch; shaken a little."""
    side, centres = rng.choice(_ARRANGEMENTS[count])
    side -= rng.randint(0, side // 10)
    return [_box(SIZE * x + rng.randint(-2, 2), SIZE * y + rng.randint(-2, 2), side) for x, y in centres]


# --- Contrasts -------------------------------------------------------------------------------------------------------


def _other_colour(scene: Scene, rng: random.Random) -> Scene | None:
    painted = [i for i, item in enumerate(scene.objects) if item.colour]
    if not painted:
        return None
    old = scene.objects[rng.choice(painted)]
    taken = {item.colour for item in scene.objects}
    # Held-out colours of a concept may be one or none; only training must stay among its own.
    pool = paints_of(old.concept, "train") if scene.split == "train" else PAINTS
    colour = rng.choice([paint for paint in pool if paint not in taken])
    same = scene.kind == "count"  # all of them are one thing in one colour
    objects = tuple(replace(o, colour=colour) if o is old or same else o for o in scene.objects)
    return replace(scene, objects=objects)


def _swapped_colours(scene: Scene, rng: random.Random) -> Scene | None:
    if scene.kind != "pair":
        return None
    first, second = scene.objects
    return replace(scene, objects=(replace(first, colour=second.colour), replace(second, colour=first.colour)))


def _other_count(scene: Scene, rng: random.Random) -> Scene | None:
    if scene.kind != "count":
        return None
    concept = scene.objects[0].concept
    pool = counts_of(concept, "train")  # every held-out number has a neighbour there
    nearest = min(abs(n - scene.count) for n in pool if n != scene.count)
    count = rng.choice([n for n in pool if abs(n - scene.count) == nearest])
    objects = tuple(replace(scene.objects[0], box=box) for box in _places(count, rng))
    return replace(scene, objects=objects)


def _swapped_places(scene: Scene, rng: random.Random) -> Scene | None:
    if scene.relation is None:
        return None
    first, second = scene.objects
    objects = replace(first, box=second.box, z=second.z), replace(second, box=first.box, z=first.z)
    return replace(scene, objects=objects, relation=OPPOSITE[scene.relation])


_CONTRASTS: dict[str, Callable[[Scene, random.Random], Scene | None]] = {
    "colour": _other_colour, "binding": _swapped_colours, "count": _other_count, "relation": _swapped_places,
}  # fmt: skip
