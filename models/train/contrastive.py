"""What recipes of texts and pictures share: items and captions of a step, pairwise losses, and validation.

A step is drawn in *units* (two related pictures, one word, one document), each from a random stream of its own (seed,
step, kind, number), so that a process draws its share and nothing else. The losses work in one process or in many.

Shapes: N pictures, M captions (over all processes), D = 128. Vectors have unit length.
"""

import re
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.distributed.nn.functional import all_gather as all_gather_with_gradients

from models.data.captions import caption
from models.data.colours import COLOURS, PAINTS
from models.data.grammar import LANGUAGES
from models.data.pixels import to_tensor
from models.data.scenes import ATTRIBUTES, Attribute, Kind, Scene, choices, make_scene
from models.data.world import Picture, Sampler, World, evenly

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
# Half of the scenes are about which thing is where or has which colour: a vector learns that last.
SCENE_KINDS: dict[Kind, float] = {"colour": 0.15, "count": 0.2, "relation": 0.35, "pair": 0.3}
# Roles of a thing in a scene: first or second of a relation, a colour, a count.
PLACES = {
    "left of": ("left", "right"), "right of": ("right", "left"), "above": ("top", "bottom"), "below": ("bottom", "top"),
    "in front of": ("front", "back"), "behind": ("back", "front"),
}  # fmt: skip
NUMBERS = ("one", "two", "three", "four")
ROLES = ("left", "right", "top", "bottom", "front", "back", *PAINTS, *NUMBERS)
_KINDS = ("unit", "word", "document", "uncaptioned")
_SIDES = re.compile(r"left|right|clockwise|左|右|顺时针|逆时针", re.IGNORECASE)
_GROUND = re.compile(r"background|isolated|cutout|背景", re.IGNORECASE)
UNTURNED = frozenset({"symbols", "flags", ""})  # a mirror changes the meaning of letters, arrows and flags
# Labels of a picture of the right concept that differs in what the caption names: style, skin tone, gender.
OTHER_ATTRIBUTE = (0.2, 0.4, 0.4)
OTHER_COLOUR = 0.4  # and in its colour
PICTURE_STYLE = 0.6  # label of two pictures of one concept in two styles
CONTRAST = 0.2  # label of a scene and its contrast, which differ in one attribute
GALLERY = 1000  # pictures of the validation
SCENES = 96  # of the validation, of each attribute
CHUNK = 64  # pictures a pass of the validation

Texts = Callable[[list[str]], Tensor]  # N texts -> (N, D) unit vectors
Pictures = Callable[[Tensor], Tensor]  # premultiplied (N, 4, 128, 128) in [0, 1] -> (N, D) unit vectors


def gather(x: Tensor) -> Tensor:
    """Rows of all processes, in rank order, with gradients; the rows themselves where there is one process.

    Every process then computes the whole loss. The backward pass sums over processes and DistributedDataParallel
    averages over them, so the parameters get the gradient that one process would compute.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return x
    if not x.is_floating_point():
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)
    return torch.cat(all_gather_with_gradients(x.contiguous()))


def global_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean over all processes' rows, as a number whose average over processes is that mean."""
    total = weights.detach().sum()
    if dist.is_initialized() and dist.get_world_size() > 1:
        dist.all_reduce(total)
        total = total / dist.get_world_size()
    return (values * weights).sum() / total.clamp_min(1e-6)


@dataclass(frozen=True)
class Facts:
    """Attributes of rows as integers, from which labels of all pairs follow."""

    concepts: Tensor  # (N, 4) concept numbers of what is in the picture, -1 where fewer
    attributes: Tensor  # (N, 3) style, skin tone and gender as numbers, -1 where there is none or a caption names none
    colours: Tensor  # (N,) main colours as a set of bits
    scene: Tensor  # (N,) number of the scene, -1 for a single picture

    def followed_by(self, other: "Facts") -> "Facts":
        return Facts(*(torch.cat(pair) for pair in zip(vars(self).values(), vars(other).values(), strict=True)))

    def gather(self) -> "Facts":
        return Facts(*map(gather, vars(self).values()))


# --- Batches ----------------------------------------------------------------------------------------------------------


def stream(seed: int, step: int, kind: str, number: int) -> np.random.Generator:
    """The random numbers of one unit of one step."""
    return np.random.default_rng((seed, step, _KINDS.index(kind), number))


@dataclass(frozen=True)
class Item:
    """A picture with an English and a Chinese caption, whether each names the style, and the number of its scene."""

    source: Picture | Scene
    captions: tuple[str, str]
    styled: tuple[bool, bool] = (False, False)
    scene: int = -1


class Numbers:
    """Encodes attributes as integers for `Facts`; -1 is a value that training does not know."""

    def __init__(self, world: World) -> None:
        train = world.split("train")
        names = {p.concept for p in train}, {p.style for p in train}, {p.skin for p in train if p.skin}
        self.concepts, self.styles, self.skins = ({n: i for i, n in enumerate(sorted(group))} for group in names)
        self.genders = {"man": 0, "woman": 1}
        self.colours = {name: 1 << i for i, name in enumerate(COLOURS)}
        self._colour_words = {c.en: self.colours[c.en] for c in COLOURS.values()}
        self._colour_words |= {c.zh.removesuffix("色"): self.colours[c.en] for c in COLOURS.values()}

    def picture_facts(self, items: list[Item]) -> Facts:
        """The facts of each picture."""
        return self._facts(items, [self._attributes(item.source) for item in items])

    def caption_facts(self, items: list[Item], language: int) -> Facts:
        """The facts of each caption; an attribute that it does not name is -1 and fits anything."""
        return self._facts(items, [self._caption_attributes(item, language) for item in items])

    def roles(self, items: list[Item]) -> Tensor:
        """(F, 3): row, number in ROLES and concept of each role that the captions of a scene state."""
        rows = [
            (row, ROLES.index(role), self.concepts[concept])
            for row, item in enumerate(items)
            if isinstance(item.source, Scene)
            for role, concept in scene_roles(item.source)
        ]
        return torch.tensor(rows, dtype=torch.int64).view(-1, 3)

    def _facts(self, items: list[Item], attributes: list[tuple[int, int, int, int]]) -> Facts:
        concepts = torch.full((len(items), MAX_OBJECTS), -1)
        for row, item in enumerate(items):
            things = [item.source] if isinstance(item.source, Picture) else item.source.objects
            numbers = sorted(self.concepts.get(name, -1) for name in {thing.concept for thing in things})[:MAX_OBJECTS]
            concepts[row, : len(numbers)] = torch.tensor(numbers)
        table = torch.tensor(attributes).view(-1, 4)
        return Facts(concepts, table[:, :3], table[:, 3], torch.tensor([item.scene for item in items]))

    def _attributes(self, source: Picture | Scene) -> tuple[int, int, int, int]:
        if isinstance(source, Scene):
            return -1, -1, -1, 0
        skin, gender = self.skins.get(source.skin or "", -1), self.genders.get(source.gender or "", -1)
        return self.styles.get(source.style, -1), skin, gender, sum(self.colours[name] for name in source.colours)

    def _caption_attributes(self, item: Item, language: int) -> tuple[int, int, int, int]:
        style, skin, gender, colours = self._attributes(item.source)
        text = item.captions[language].lower()
        named = sum(bit for word, bit in self._colour_words.items() if word in text)
        # A colour word in a concept's name ("red heart") is not always among the measured ones: only those count.
        skin = skin if "skin" in text or "肤色" in text else -1
        return style if item.styled[language] else -1, skin, gender, named & colours


def scene_roles(scene: Scene) -> list[tuple[str, str]]:
    """(role, concept) of the things in a scene, as far as its captions state them."""
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
    """Draws pictures for steps: training pictures, balanced, and scenes composed of them."""

    def __init__(self, world: World) -> None:
        train = world.split("train")
        self.world, self.sampler, self.by_concept = world, Sampler(train), defaultdict[str, list[Picture]](list)
        for picture in train:
            self.by_concept[picture.concept].append(picture)

    def items(self, rngs: list[np.random.Generator], scenes: float) -> tuple[list[Item], list[np.random.Generator]]:
        """The two pictures of each unit, and for each picture the stream that continues its unit."""
        pairs = [self.pair(rng, scenes) for rng in rngs]
        return [item for pair in pairs for item in pair], [rng for rng in rngs for _ in range(2)]

    def pair(self, rng: np.random.Generator, scenes: float) -> tuple[Item, Item]:
        """A scene and its contrast, or two drawings of one concept, or two that have nothing in common."""
        number = int(rng.integers(2**31 - 1))
        if rng.random() < scenes:
            kind = tuple(SCENE_KINDS)[int(rng.choice(len(SCENE_KINDS), p=tuple(SCENE_KINDS.values())))]
            scene, attributes = make_scene(self.world, number, kind=kind), CONTRASTS[kind]
            contrast = scene.contrast(attributes[int(rng.integers(len(attributes)))])
            first, second = (
                Item(s, (s.caption(number, "en"), s.caption(number + 1, "zh")), scene=2 * number + i)
                for i, s in enumerate((scene, contrast))
            )
            return first, second
        picture, partner = self.sampler.draw(rng, 2)
        drawings = self.by_concept[picture.concept]
        if rng.random() < PARTNER_SHARE and len(drawings) > 1:
            partner = drawings[int(rng.integers(len(drawings)))]
        return picture_item(picture, rng), picture_item(partner, rng)


def all_captions(items: list[Item]) -> list[str]:
    """All English captions, then all Chinese ones."""
    return [item.captions[language] for language in (0, 1) for item in items]


def picture_item(picture: Picture, rng: np.random.Generator) -> Item:
    seed, (english, chinese) = int(rng.integers(2**31)), (rng.random(2) < STYLED_SHARE).tolist()
    captions = caption(picture, seed, "en", style=english), caption(picture, seed + 1, "zh", style=chinese)
    return Item(picture, captions, (english, chinese))


def render(world: World, items: list[Item], rngs: list[np.random.Generator]) -> Tensor:
    """Pixels (N, 4, 128, 128) in [0, 1]: single pictures moved, scaled, turned and mirrored; scenes unchanged.

    Scenes teach places and counts, so they are not moved. Colours are not changed: captions name them.
    """
    sources = [item.source for item in items]
    shown = [s.render(world) if isinstance(s, Scene) else world.pixels[s.index] for s in sources]
    pixels = to_tensor(np.stack(shown))
    singles = [row for row, source in enumerate(sources) if isinstance(source, Picture)]
    if singles:
        moved = torch.tensor(np.stack([_motion(items[row], rngs[row]) for row in singles]))
        grid = F.affine_grid(moved, [len(singles), 4, 128, 128], align_corners=False)
        pixels[singles] = F.grid_sample(pixels[singles], grid, align_corners=False)
        for row in singles:  # some on an opaque plain colour, unless a caption names the background
            rng, texts = rngs[row], items[row].captions
            if rng.random() < GROUND_SHARE and not any(_GROUND.search(text) for text in texts):
                white = rng.random() < 0.5
                colour = torch.tensor(np.ones(3) if white else rng.random(3), dtype=pixels.dtype)
                pixels[row, :3] += (1 - pixels[row, 3:]) * colour[:, None, None]
                pixels[row, 3] = 1
    return pixels


def _motion(item: Item, rng: np.random.Generator) -> np.ndarray:
    """(2, 3) affine map from output to input coordinates, both in [-1, 1]."""
    angle, zoom = rng.normal(0, 0.1), np.exp(rng.uniform(-0.15, 0.35))  # 0.86 to 1.4 input widths: mostly smaller
    shift = rng.uniform(-0.12, 0.12, 2)
    asymmetric = item.source.group in UNTURNED or any(_SIDES.search(text) for text in item.captions)  # type: ignore[union-attr]
    flip = -1.0 if rng.random() < 0.5 and not asymmetric else 1.0
    cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
    return np.array([[flip * cos, -flip * sin, shift[0]], [sin, cos, shift[1]]], np.float32)


def visible_tokens(pixels: Tensor, keep: int, rngs: list[np.random.Generator]) -> Tensor | None:
    """(N, keep) numbers of the tokens to train on, ascending: a random choice that prefers tokens with content; None
    for all."""
    if keep >= 64:
        return None
    seen = F.max_pool2d(pixels[:, 3:], 16).flatten(1) > 0
    noise = torch.tensor(np.stack([rng.random(64) for rng in rngs]))
    return (seen + noise).topk(keep, dim=1).indices.sort(dim=1).values


# --- Labels and losses ------------------------------------------------------------------------------------------------


def pair_labels(pictures: Facts, captions: Facts) -> tuple[Tensor, Tensor]:
    """Labels (N, M) in [0, 1] of "this caption fits this picture", and weights (N, M).

    The vector serves search and generation. Search needs all drawings of a concept together; a generator that reads the
    vector needs its style, colours and count. So the labels are graded: 1 for the right concept where the caption names
    nothing that the picture lacks, less for each attribute that it lacks (OTHER_ATTRIBUTE, OTHER_COLOUR): nearer than
    another concept, further than an exact match. A scene fits its own captions with 1, and those of its contrast
    (numbers 2n and 2n + 1) with CONTRAST. A scene and a single picture of something in it are neither match nor
    mismatch: weight 0.
    """
    overlap = _share_a_concept(pictures.concepts, captions.concepts)
    left_scene, right_scene = pictures.scene[:, None], captions.scene[None]
    single = (left_scene < 0) & (right_scene < 0)
    named = captions.attributes[None]
    other = (named >= 0) & (named != pictures.attributes[:, None])  # (N, M, 3)
    graded = torch.where(other, torch.tensor(OTHER_ATTRIBUTE), 1.0).prod(-1)
    lacking = (captions.colours[None] & ~pictures.colours[:, None]) != 0
    graded = graded * torch.where(lacking, OTHER_COLOUR, 1.0)
    labels = (single & overlap) * graded + _scene_labels(left_scene, right_scene)
    mixed = (left_scene < 0) != (right_scene < 0)
    return labels, 1.0 - (mixed & overlap).float()


def _scene_labels(left: Tensor, right: Tensor) -> Tensor:
    """1 for the same scene, CONTRAST for a scene and its contrast, 0 otherwise; -1 is no scene."""
    paired = (left // 2 == right // 2) & (left >= 0)
    return paired * torch.where(left == right, 1.0, CONTRAST)


def picture_labels(pictures: Facts) -> tuple[Tensor, Tensor]:
    """Labels and weights (N, N) of "these two pictures show the same": 1 for the same concept and style, PICTURE_STYLE
    for another style. A picture paired with itself has weight 0."""
    overlap = _share_a_concept(pictures.concepts, pictures.concepts)
    single = pictures.scene < 0
    both = single[:, None] & single[None]
    style = pictures.attributes[:, 0]
    labels = (both & overlap) * torch.where(style[:, None] == style[None], 1.0, PICTURE_STYLE)
    labels = labels + _scene_labels(pictures.scene[:, None], pictures.scene[None])
    mixed = (single[:, None] != single[None]) & overlap
    return labels, 1.0 - (mixed | torch.eye(len(style), dtype=torch.bool)).float()


def _share_a_concept(left: Tensor, right: Tensor) -> Tensor:
    """(N, 4) and (M, 4) concept numbers -> (N, M) whether any number but -1 is in both."""
    equal = left[:, None, :, None] == right[None, :, None, :]  # (N, M, 4, 4)
    return (equal & (left >= 0)[:, None, :, None]).flatten(2).any(-1)


def sigmoid_loss(left: Tensor, right: Tensor, labels: Tensor, weights: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Sum over pairs / N of the binary cross-entropy of `scale * cosine + bias` (SigLIP, arXiv 2303.15343, eq. 1).

    left (N, D) and right (M, D); labels and weights (N, M). Labels may lie between 0 and 1.
    """
    logits = scale * left @ right.T + bias
    return F.binary_cross_entropy_with_logits(logits, labels, weights, reduction="sum") / len(left)


def agreeing(cosines: Tensor, deviations: float = 3.0) -> Tensor:
    """Mask (N,) of the pairs to keep: those whose cosine is not far below the batch's median.

    A caption that does not describe its picture pulls both away from where they belong. In a trained space such a pair
    lies many deviations below the median; the median absolute deviation is robust against these outliers.
    """
    median = cosines.median()
    spread = 1.4826 * (cosines - median).abs().median()  # equals the standard deviation of a normal distribution
    return cosines >= median - deviations * spread.clamp_min(0.02)


# --- Validation -------------------------------------------------------------------------------------------------------


class Validation:
    """Figures on split `val` for any model of texts and pictures: recall in a gallery, where pictures of the concept
    are relevant, and forced choice between a scene and its contrast."""

    def __init__(self, world: World) -> None:
        self.world, self.gallery = world, evenly(world.split("val"), GALLERY)

    def figures(self, texts: Texts, pictures: Pictures) -> dict[str, float]:
        """Shares in [0, 1] by name."""
        pixels = to_tensor(self.world.pixels[[picture.index for picture in self.gallery]])
        seen = torch.cat([pictures(part) for part in pixels.split(CHUNK)])
        names = np.array([picture.concept for picture in self.gallery])
        same, figures = torch.from_numpy(names[:, None] == names[None]), {}
        for language in LANGUAGES:
            cosines = texts([caption(picture, 0, language) for picture in self.gallery]) @ seen.T
            figures[f"text_to_image_r10_{language}"] = recall(cosines, same, 10)
            figures[f"image_to_text_r10_{language}"] = recall(cosines.T, same.T, 10)
        for kind, (shown, *captions) in self._choices.items():
            vectors = torch.cat([pictures(part) for part in shown.split(CHUNK)])
            right, wrong = ((vectors * texts(some)).sum(-1) for some in captions)
            figures[f"scene_{kind}"] = float((right > wrong).float().mean())
        return figures

    @cached_property
    def _choices(self) -> dict[str, tuple[Tensor, list[str], list[str]]]:
        """By kind, pixels of scenes, their captions, and captions of their contrasts."""
        by_kind: dict[str, tuple[Tensor, list[str], list[str]]] = {}
        for attribute, kind in ATTRIBUTES.items():
            with suppress(ValueError):  # a small world holds out no combination of this kind
                scenes, contrasts = choices(self.world, attribute, range(SCENES), "val")
                pixels = torch.cat([to_tensor(scene.render(self.world)) for scene in scenes])
                right, wrong = ([s.caption(s.seed, "en", "short") for s in some] for some in (scenes, contrasts))
                by_kind[kind] = pixels, right, wrong
        return by_kind


def recall(cosines: Tensor, relevant: Tensor, k: int) -> float:
    """Share of rows that have a relevant column among their k highest cosines; both (N, M)."""
    nearest = cosines.float().topk(min(k, cosines.shape[1])).indices
    return float(relevant.gather(1, nearest).any(1).float().mean())
