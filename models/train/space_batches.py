"""What one training step of backbone and space sees: pictures with their captions, words, documents.

Everything is drawn in *units* (two pictures that have something to do with each other, one word, one document), each
from its own stream (seed, step, kind, number): a process draws its own share and no other.
"""

import re
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.data.captions import caption
from models.data.colours import COLOURS, PAINTS
from models.data.pixels import to_tensor
from models.data.scenes import Attribute, Kind, Scene, make_scene
from models.data.world import Picture, Sampler, World
from models.train.contrastive import Facts

MAX_OBJECTS = 4
EVEN = 4  # units of each kind come in multiples of this, so that 2 or 4 processes share exactly what one would see
PARTNER_SHARE = 0.5  # of single pictures that come with another drawing of their concept
STYLED_SHARE = 0.6  # of captions that name the style
GROUND_SHARE = 0.15  # of single pictures laid on a plain colour, as photographs and screenshots are
CONTRASTS: dict[Kind, tuple[Attribute, ...]] = {
    "colour": ("colour",),
    "count": ("count",),
    "relation": ("relation",),
    "pair": ("binding", "colour"),
}
# Half of the scenes are about which thing is where or has which colour: what a vector learns last.
SCENE_KINDS: dict[Kind, float] = {"colour": 0.15, "count": 0.2, "relation": 0.35, "pair": 0.3}
# What a thing can be to a scene: the first and the second of a relation, one in a colour, one of a number.
PLACES = {
    "left of": ("left", "right"), "right of": ("right", "left"), "above": ("top", "bottom"), "below": ("bottom", "top"),
    "in front of": ("front", "back"), "behind": ("back", "front"),
}  # fmt: skip
NUMBERS = ("one", "two", "three", "four")
ROLES = ("left", "right", "top", "bottom", "front", "back", *PAINTS, *NUMBERS)
_KINDS = ("unit", "word", "document", "uncaptioned")
_SIDES = re.compile(r"left|right|clockwise|左|右|顺时针|逆时针", re.IGNORECASE)
_GROUND = re.compile(r"background|isolated|cutout|背景", re.IGNORECASE)
UNTURNED = frozenset({"symbols", "flags", ""})  # letters, arrows and flags mirrored are something else


def stream(seed: int, step: int, kind: str, number: int) -> np.random.Generator:
    """The random numbers of one unit of one step."""
    return np.random.default_rng((seed, step, _KINDS.index(kind), number))


@dataclass(frozen=True)
class Item:
    """One picture of a batch with an English and a Chinese caption, whether each names the style, and the number of the
    scene."""

    source: Picture | Scene
    captions: tuple[str, str]
    styled: tuple[bool, bool] = (False, False)
    scene: int = -1


class Numbers:
    """Words as integers, for `Facts`; -1 for what training does not know."""

    def __init__(self, world: World) -> None:
        train = world.split("train")
        names = {p.concept for p in train}, {p.style for p in train}, {p.skin for p in train if p.skin}
        self.concepts, self.styles, self.skins = ({name: i for i, name in enumerate(sorted(own))} for own in names)
        self.genders = {"man": 0, "woman": 1}
        self.colours = {name: 1 << i for i, name in enumerate(COLOURS)}
        self._colour_words = {c.en: self.colours[c.en] for c in COLOURS.values()}
        self._colour_words |= {c.zh.removesuffix("色"): self.colours[c.en] for c in COLOURS.values()}

    def picture_facts(self, items: list[Item]) -> Facts:
        """What is seen in each picture."""
        return self._facts(items, [self._seen(item.source) for item in items])

    def caption_facts(self, items: list[Item], language: int) -> Facts:
        """What each caption says; an attribute that it does not name is -1 and fits anything."""
        return self._facts(items, [self._said(item, language) for item in items])

    def roles(self, items: list[Item]) -> Tensor:
        """(F, 3): row, number in ROLES and concept of what every scene's captions say of its things."""
        found = [
            (row, ROLES.index(role), self.concepts[concept])
            for row, item in enumerate(items)
            if isinstance(item.source, Scene)
            for role, concept in scene_roles(item.source)
        ]
        return torch.tensor(found, dtype=torch.int64).view(-1, 3)

    def _facts(self, items: list[Item], attributes: list[tuple[int, int, int, int]]) -> Facts:
        concepts = torch.full((len(items), MAX_OBJECTS), -1)
        for row, item in enumerate(items):
            shown = [item.source] if isinstance(item.source, Picture) else item.source.objects
            found = sorted(self.concepts.get(name, -1) for name in {one.concept for one in shown})[:MAX_OBJECTS]
            concepts[row, : len(found)] = torch.tensor(found)
        table = torch.tensor(attributes).view(-1, 4)
        return Facts(concepts, table[:, :3], table[:, 3], torch.tensor([item.scene for item in items]))

    def _seen(self, source: Picture | Scene) -> tuple[int, int, int, int]:
        if isinstance(source, Scene):
            return -1, -1, -1, 0
        skin, gender = self.skins.get(source.skin or "", -1), self.genders.get(source.gender or "", -1)
        return self.styles.get(source.style, -1), skin, gender, sum(self.colours[name] for name in source.colours)

    def _said(self, item: Item, language: int) -> tuple[int, int, int, int]:
        style, skin, gender, own = self._seen(item.source)
        text = item.captions[language].lower()
        named = sum(bit for word, bit in self._colour_words.items() if word in text)
        # A colour word in a concept's name ("red heart") is not always among the measured ones: only those count.
        skin = skin if "skin" in text or "肤色" in text else -1
        return style if item.styled[language] else -1, skin, gender, named & own


def scene_roles(scene: Scene) -> list[tuple[str, str]]:
    """(role, concept) of the things in a scene: only what its captions say."""
    first = scene.objects[0]
    roles = [(item.colour, item.concept) for item in scene.objects if item.colour]
    if scene.kind == "count":
        return [*roles[:1], (NUMBERS[scene.count - 1], first.concept)]
    if scene.relation:
        roles += zip(PLACES[scene.relation], (item.concept for item in scene.objects), strict=True)
    return roles


def streams(seed: int, step: int, kind: str, total: float, rank: int, ranks: int) -> list[np.random.Generator]:
    """The streams of one rank's share of about `total` units of a step."""
    share = EVEN * max(1, round(total / EVEN)) // ranks
    return [stream(seed, step, kind, number) for number in range(rank * share, (rank + 1) * share)]


class Drawer:
    """Draws what steps see of pictures: training ones, balanced, and scenes made of them."""

    def __init__(self, world: World) -> None:
        train = world.split("train")
        self.world, self.sampler, self.by_concept = world, Sampler(train), defaultdict[str, list[Picture]](list)
        for picture in train:
            self.by_concept[picture.concept].append(picture)

    def items(self, rngs: list[np.random.Generator], scenes: float) -> tuple[list[Item], list[np.random.Generator]]:
        """The pictures of some units, two of each, and the stream that each goes on with."""
        pairs = [self.pair(rng, scenes) for rng in rngs]
        return [item for pair in pairs for item in pair], [rng for rng in rngs for _ in range(2)]

    def pair(self, rng: np.random.Generator, scenes: float) -> tuple[Item, Item]:
        """A scene and its contrast, or two drawings of one concept, or two that have nothing in common."""
        number = int(rng.integers(2**31 - 1))
        if rng.random() < scenes:
            kind = tuple(SCENE_KINDS)[int(rng.choice(len(SCENE_KINDS), p=tuple(SCENE_KINDS.values())))]
            scene, choices = make_scene(self.world, number, kind=kind), CONTRASTS[kind]
            other = scene.contrast(choices[int(rng.integers(len(choices)))])
            both = ((one, (one.caption(number, "en"), one.caption(number + 1, "zh"))) for one in (scene, other))
            first, second = (Item(*one, scene=2 * number + i) for i, one in enumerate(both))
            return first, second
        one, two = self.sampler.draw(rng, 2)
        drawings = self.by_concept[one.concept]
        if rng.random() < PARTNER_SHARE and len(drawings) > 1:
            two = drawings[int(rng.integers(len(drawings)))]
        return picture_item(one, rng), picture_item(two, rng)


def all_captions(items: list[Item]) -> list[str]:
    """English ones first, then the Chinese."""
    return [item.captions[language] for language in (0, 1) for item in items]


def picture_item(picture: Picture, rng: np.random.Generator) -> Item:
    seed, (one, two) = int(rng.integers(2**31)), rng.random(2) < STYLED_SHARE
    captions = caption(picture, seed, "en", style=bool(one)), caption(picture, seed + 1, "zh", style=bool(two))
    return Item(picture, captions, (bool(one), bool(two)))


def render(world: World, items: list[Item], rngs: list[np.random.Generator]) -> Tensor:
    """Pixels (N, 4, 128, 128) in [0, 1], single pictures moved, scaled, turned, mirrored; scenes as they are.

    A scene's places and counts are what it teaches. No jitter of colours: captions name them.
    """
    sources = [item.source for item in items]
    shown = [s.render(world) if isinstance(s, Scene) else world.pixels[s.index] for s in sources]
    pixels = to_tensor(np.stack(shown))
    singles = [row for row, source in enumerate(sources) if isinstance(source, Picture)]
    if singles:
        moved = torch.tensor(np.stack([_motion(items[row], rngs[row]) for row in singles]))
        grid = F.affine_grid(moved, [len(singles), 4, 128, 128], align_corners=False)
        pixels[singles] = F.grid_sample(pixels[singles], grid, align_corners=False)
        for row in singles:
            _lay_on_ground(pixels[row], items[row], rngs[row])
    return pixels


def _motion(item: Item, rng: np.random.Generator) -> np.ndarray:
    """(2, 3) affine map from output to input coordinates, both in [-1, 1]."""
    angle, zoom = rng.normal(0, 0.1), np.exp(rng.uniform(-0.15, 0.35))  # 0.86 to 1.4 input widths: mostly smaller
    shift = rng.uniform(-0.12, 0.12, 2)
    handed = item.source.group in UNTURNED or any(_SIDES.search(text) for text in item.captions)  # type: ignore[union-attr]
    flip = -1.0 if rng.random() < 0.5 and not handed else 1.0
    cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
    return np.array([[flip * cos, -flip * sin, shift[0]], [sin, cos, shift[1]]], np.float32)


def _lay_on_ground(pixels: Tensor, item: Item, rng: np.random.Generator) -> None:
    """In place: an opaque plain colour below the picture, unless a caption says what is there."""
    if rng.random() < GROUND_SHARE and not any(_GROUND.search(text) for text in item.captions):
        white = rng.random() < 0.5
        colour = torch.tensor(np.ones(3) if white else rng.random(3), dtype=pixels.dtype)
        pixels[:3] += (1 - pixels[3:]) * colour[:, None, None]
        pixels[3] = 1


def visible_tokens(pixels: Tensor, keep: int, rngs: list[np.random.Generator]) -> Tensor | None:
    """(N, keep) numbers of the tokens to train on, ascending: those that show something first, at random among them."""
    if keep >= 64:
        return None
    seen = F.max_pool2d(pixels[:, 3:], 16).flatten(1) > 0
    noise = torch.tensor(np.stack([rng.random(64) for rng in rngs]))
    return (seen + noise).topk(keep, dim=1).indices.sort(dim=1).values
