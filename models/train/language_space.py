"""Training backbone, vision encoder and semantic space together (recipe "language_space").

A step sees pictures with two captions each (English, Chinese), words of a dictionary, and documents to continue. It is
drawn in *units* (two related pictures, one word, one document), each from a random stream of its own (seed, step, kind,
number), so that a process draws its share and nothing else. The losses work in one process or in many.

Losses: sigmoid over all picture-caption pairs at three Matryoshka widths; the same over pictures alone; forced choice
between a scene and its contrast; classification among learned concept centres, which gives every picture and caption
all concepts as negatives at once; the same for each role, so that a vector holds which thing is where and in which
colour; words placed among those centres and among each other as a sentence encoder places their meanings; next token.

Shapes: N pictures, M captions (over all processes), D = 128. Vectors have unit length.
"""

import re
import tomllib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from models.assets import preset
from models.data.captions import caption
from models.data.colours import COLOURS, PAINTS
from models.data.grammar import LANGUAGES
from models.data.pixels import to_tensor
from models.data.scenes import Attribute, Kind, Scene, make_scene
from models.data.variety import can_be_mirrored
from models.data.world import Picture, Sampler, World, evenly
from models.language import LanguageConfig, LanguageModel, Router
from models.space import DIM, NESTED, SemanticSpace
from models.train.documents import Lexicon, Rows, Writer, build_tokenizer, document_rows, text_rows
from models.train.loop import Task, TaskOptions, gather, global_mean, recall
from models.vision import VisionEncoder
from models.weights import record_part, save_part

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
# Labels of a picture of the right concept that differs in what the caption names: style, skin tone, gender.
OTHER_ATTRIBUTE = (0.2, 0.4, 0.4)
OTHER_COLOUR = 0.4  # and in its colour
PICTURE_STYLE = 0.6  # label of two pictures of one concept in two styles
CONTRAST = 0.2  # label of a scene and its contrast, which differ in one attribute
GALLERY = 1000  # pictures of the validation
CHUNK = 64  # pictures a pass of the validation
GLOSSES = 0.2  # of a dictionary's rows: the gloss in place of the word
WARM = 0.25  # progress from which pairs that disagree are left out
TOKEN_CHUNK = 4096  # picture tokens that go through together: activations stay in the cache, 1.5 times as fast
# The sigmoid losses are sums over captions per picture, the others means.
WEIGHTS = {"pair": 1.0, "picture_pair": 0.2, "choice": 1.0, "centre": 1.0, "role": 1.0, "meaning": 0.5, "language": 0.3}
NESTED_WEIGHTS = (0.25, 0.25, 0.5)
TEACHER_TEMPERATURE = 0.05  # at which the teacher's cosines among concepts become a distribution


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
    symmetric = can_be_mirrored(item.source) and not any(_SIDES.search(text) for text in item.captions)  # type: ignore[arg-type]
    flip = -1.0 if rng.random() < 0.5 and symmetric else 1.0
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


# --- The networks and their losses ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stage:
    """Composition of steps from progress `start` on; shares are of the batch size."""

    start: float
    pictures: float  # drawn as pictures; 0 is a stage of text alone
    scenes: float  # share of the pictures that are scenes
    keep: int  # tokens of a picture that go through the encoder, 64 for all
    uncaptioned: float  # pictures without captions, which are cheaper
    words: float
    documents: float
    sources: dict[str, float]  # shares of the kinds of documents, 1 in sum


_TABLE = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
STAGES = tuple(Stage(**row) for row in _TABLE["stages"])


def stage_at(progress: float) -> Stage:
    return [stage for stage in STAGES if stage.start <= progress][-1]


class LanguageSpace(nn.Module):
    """All trained networks. Centres, teacher map and their scale do not ship."""

    def __init__(self, size: str, lexicon: Lexicon) -> None:
        super().__init__()
        concepts, back, mean = lexicon.reduced(DIM)
        self.language = LanguageModel(LanguageConfig(**preset("language", size)))
        self.vision = VisionEncoder(**preset("vision", size))
        self.space = SemanticSpace(**preset("space", size))
        # Both start from the teacher's geometry, so that near meanings are near from the first step on.
        self.centres = nn.Parameter(concepts)
        self.centre_log_scale = nn.Parameter(torch.tensor(16.0).log())
        self.teacher_map = nn.Linear(*back.T.shape)
        self.teacher_map.load_state_dict({"weight": back, "bias": mean})
        # One map a role, a rotation at the start: a centre that is turned by its role can be added to others and be
        # recovered ("Holographic reduced representations", T. Plate, 1995).
        self.roles = nn.Parameter(torch.linalg.qr(torch.randn(len(ROLES), DIM, DIM)).Q.contiguous())
        self.concept_vectors = nn.Buffer(lexicon.concepts, persistent=False)

    def pictures(self, pixels: Tensor, keep: Tensor | None) -> Tensor:
        """(N, 4, 128, 128) -> (N, 128)."""
        size = TOKEN_CHUNK // (64 if keep is None else keep.shape[1])
        chunks = (slice(start, start + size) for start in range(0, len(pixels), size))
        tokens = (self.vision(pixels[rows], None if keep is None else keep[rows]) for rows in chunks)
        return torch.cat([self.space.image(part) for part in tokens])

    def texts(self, pieces: list[Rows]) -> Tensor:
        """Pieces with M texts in total -> (M, 128) in the order of their numbers."""
        states = (self.language.model(rows.ids, rows.mask, prefix_mask=rows.prompt) for rows in pieces)
        pairs = zip(states, pieces, strict=True)
        vectors = torch.cat([self.space.text(output.last_hidden_state, rows.mask) for output, rows in pairs])
        return vectors[torch.cat([rows.numbers for rows in pieces]).argsort()]

    def continuation(self, pieces: list[Rows]) -> Tensor:
        """Mean next-token loss over all that follows a prompt."""
        losses, counts = [], []
        for rows in pieces:
            losses.append(self.language(rows.ids, rows.mask, prefix_mask=rows.prompt, labels=rows.ids).loss)
            counts.append((rows.mask[:, 1:] & ~rows.prompt[:, 1:]).sum().float())
        return global_mean(torch.stack(losses), torch.stack(counts))

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """All losses of one rank's share of a step. They are part of the model so that a distributed wrapper sees every
        parameter in use."""
        losses = {"language": self.continuation(batch["documents"])}
        vectors = self.texts(batch["texts"])
        words = vectors[len(vectors) - len(batch["meanings"]) :]
        losses |= self._meaning(words, batch["meanings"])
        if "pixels" in batch:
            count = len(batch["pixels"])
            pictures = self.pictures(batch["pixels"], batch["keep"])
            uncaptioned = self.pictures(batch["uncaptioned_pixels"], batch["uncaptioned_keep"])
            losses |= self._pairs(pictures, uncaptioned, vectors[: 2 * count], batch)
            losses |= self._choice(pictures, vectors[: 2 * count], batch["picture_facts"])
            losses |= self._centres(pictures, uncaptioned, vectors[: 2 * count], batch)
            losses |= self._roles(pictures, vectors[: 2 * count], batch["roles"])
        total = torch.stack([weight * losses[name] for name, weight in WEIGHTS.items() if name in losses]).sum()
        return losses | {"loss": total}

    def _pairs(
        self, pictures: Tensor, uncaptioned: Tensor, captions: Tensor, batch: dict[str, Any]
    ) -> dict[str, Tensor]:
        """The pairwise losses over all ranks' rows. Captions: all English ones, then all Chinese ones; pictures without
        a caption are compared with the captions of the others."""
        caption_facts = [facts.gather() for facts in batch["caption_facts"]]
        picture_facts = batch["picture_facts"].gather().followed_by(batch["uncaptioned_facts"].gather())
        count = len(pictures)
        pictures, english, chinese = gather(pictures), gather(captions[:count]), gather(captions[count:])
        everyone = torch.cat([pictures, gather(uncaptioned)])
        scale, bias = self.space.calibration()
        losses, dropped = [], []
        for texts, facts in zip((english, chinese), caption_facts, strict=True):
            labels, weights = pair_labels(picture_facts, facts)
            keep = torch.ones(len(texts), dtype=torch.bool)
            if batch["warm"]:
                keep = agreeing((pictures * texts).sum(-1).detach())
            weights = weights * (keep | ~torch.eye(*weights.shape, dtype=torch.bool))
            losses.append(nested_loss(everyone, texts, labels, weights, scale, bias))
            dropped.append(1 - keep.float().mean())
        labels, weights = picture_labels(picture_facts)
        among = sigmoid_loss(everyone, everyone, labels, weights, scale, bias)
        return {"pair": torch.stack(losses).mean(), "picture_pair": among, "dropped": torch.stack(dropped).mean()}

    def _choice(self, pictures: Tensor, captions: Tensor, facts: Facts) -> dict[str, Tensor]:
        """Forced choice of rows 2u and 2u + 1, a scene and its contrast: each prefers its caption, and vice versa."""
        count = len(pictures)
        left, right = pictures.view(-1, 2, 1, DIM), captions.view(2, count // 2, 1, 2, DIM)
        cosines = (left * right).sum(-1)  # (language, unit, picture, caption)
        matched, crossed = cosines[..., [0, 1], [0, 1]], cosines[..., [0, 1], [1, 0]]
        margins = torch.stack([matched - crossed, matched - crossed.flip(-1)])  # against the other caption, picture
        is_scene = (facts.scene[::2] >= 0).float()[None, None, :, None].expand_as(margins)
        scale, _ = self.space.calibration()
        loss = global_mean(F.softplus(-scale * margins), is_scene)
        return {"choice": loss, "chosen": global_mean((margins > 0).float(), is_scene)}

    def _centres(
        self, pictures: Tensor, uncaptioned: Tensor, captions: Tensor, batch: dict[str, Any]
    ) -> dict[str, Tensor]:
        """Cross-entropy among the concept centres; the target of a scene is shared by its concepts."""
        everyone = torch.cat([pictures, uncaptioned])
        facts = batch["picture_facts"].followed_by(batch["uncaptioned_facts"])
        target = torch.zeros(len(facts.scene), len(self.centres) + 1)
        target.scatter_(1, facts.concepts % target.shape[1], 1.0)  # -1 falls into the last column
        target = F.normalize(target[:, :-1], p=1, dim=-1)
        pairs = [(everyone, target), *((vectors, target[: len(pictures)]) for vectors in captions.chunk(2))]
        losses = [global_mean(self._among_centres(vectors, wanted), wanted.sum(-1)) for vectors, wanted in pairs]
        return {"centre": torch.stack(losses).mean()}

    def _roles(self, pictures: Tensor, captions: Tensor, table: Tensor) -> dict[str, Tensor]:
        """Cross-entropy of the concept that has a role, (F, 3) rows of (picture, role, concept)."""
        rows, roles, concepts = table.T
        target = torch.eye(len(self.centres), device=concepts.device)[concepts]
        losses = []
        for vectors in (pictures, *captions.chunk(2)):
            turned = torch.bmm(vectors[rows, None], self.roles[roles])[:, 0].float()
            losses.append(global_mean(self._among_centres(F.normalize(turned, dim=-1), target), torch.ones(len(rows))))
        return {"role": torch.stack(losses).mean()}

    def _among_centres(self, vectors: Tensor, target: Tensor) -> Tensor:
        logits = self.centre_log_scale.exp() * vectors @ F.normalize(self.centres, dim=-1).T
        return -(target * logits.log_softmax(-1)).sum(-1)

    def _meaning(self, words: Tensor, meanings: Tensor) -> dict[str, Tensor]:
        """Words and glosses as the teacher places them: mapped to its vectors, among the concepts, among each other."""
        everyone = torch.ones(len(words))
        mapped = 1 - F.cosine_similarity(self.teacher_map(words).float(), meanings)
        among_concepts = self._among_centres(
            words, (meanings @ self.concept_vectors.T / TEACHER_TEMPERATURE).softmax(-1)
        )
        others, other_meanings = gather(words), gather(meanings)
        same = (meanings @ other_meanings.T > 0.999).float()  # itself, or its synonym
        target = ((meanings @ other_meanings.T - same) / TEACHER_TEMPERATURE).softmax(-1)
        among_words = -(target * (self.centre_log_scale.exp() * (words @ others.T - same)).log_softmax(-1)).sum(-1)
        return {
            "mapped": global_mean(mapped, everyone),
            "meaning": global_mean(among_concepts + 0.25 * among_words + 2 * mapped, everyone),
        }


def nested_loss(
    pictures: Tensor, texts: Tensor, labels: Tensor, weights: Tensor, scale: Tensor, bias: Tensor
) -> Tensor:
    """The sigmoid loss in the first 32, 64 and 128 numbers (Matryoshka, arXiv 2205.13147)."""
    total = pictures.new_zeros(())
    for size, share in zip(NESTED, NESTED_WEIGHTS, strict=True):
        left, right = (F.normalize(vectors[:, :size], dim=-1) for vectors in (pictures, texts))
        total = total + share * sigmoid_loss(left, right, labels, weights, scale, bias)
    return total


@torch.no_grad()
def update_router_bias(model: nn.Module, rate: float = 1e-3) -> None:
    """One step of loss-free balancing of the experts (arXiv 2408.15664, algorithm 1), once per optimizer step.

    b += rate * sign(mean load - load), minus the update's mean: a constant added to every bias changes no choice. The
    sign alone, and `rate` 1e-3, as in the paper; 1e-2 oscillates. Load counters of all processes start again from zero.
    """
    routers = [module for module in model.modules() if isinstance(module, Router)]
    load = torch.stack([router.load for router in routers])
    if dist.is_initialized():
        dist.all_reduce(load)
    counts = load.float()
    step = rate * (counts.mean(-1, keepdim=True) - counts).sign()
    for router, delta in zip(routers, step - step.mean(-1, keepdim=True), strict=True):
        router.bias.add_(delta)
        router.load.zero_()


def recall_figures(
    world: World, encode_texts: Callable[[list[str]], Tensor], encode_pictures: Callable[[Tensor], Tensor]
) -> dict[str, float]:
    """Recall at 10 of validation pictures of a caption's concept, by language; `python -m eval` measures more. Both
    functions return unit vectors; pictures are (N, 4, 128, 128)."""
    pictures = evenly(world.split("val"), GALLERY)
    pixels = to_tensor(world.pixels[[picture.index for picture in pictures]])
    shown = torch.cat([encode_pictures(part) for part in pixels.split(CHUNK)])
    names = np.array([picture.concept for picture in pictures])
    same = torch.from_numpy(names[:, None] == names)
    return {
        f"text_to_image_r10_{language}": recall(
            encode_texts([caption(picture, 0, language) for picture in pictures]) @ shown.T, same, 10
        )
        for language in LANGUAGES
    }


class LanguageSpaceTask(Task):
    """Recipe "language_space"."""

    def __init__(self, options: TaskOptions, lexicon: Lexicon | None = None) -> None:
        self.options, self.world = options, options.world
        cache = options.cache or Path("runs") / "cache"
        self.lexicon = lexicon or Lexicon.build(self.world, cache)
        self.tokenizer = build_tokenizer(self.world, self.lexicon, options.preset, cache)
        self.model: nn.Module = LanguageSpace(options.preset, self.lexicon)
        self.drawer, self.numbers = Drawer(self.world), Numbers(self.world)
        self.writer = Writer(self.world, self.drawer.sampler, self.lexicon)

    def batch(self, step: int, rank: int, ranks: int, progress: float) -> dict[str, Any]:
        """One rank's share of a step; its length is the same on every rank."""
        stage, size = stage_at(progress), self.options.batch_size(progress)

        def share(kind: str, total: float) -> list[np.random.Generator]:
            return streams(self.options.seed, step, kind, total, rank, ranks)

        batch: dict[str, Any] = {"warm": progress >= WARM}
        texts: list[str] = []
        if stage.pictures:
            batch |= self._pictures(share("unit", stage.pictures * size / 2), stage, texts)
            rngs = share("uncaptioned", stage.uncaptioned * size)
            items = [picture_item(self.drawer.sampler.draw(rng, 1)[0], rng) for rng in rngs]
            columns = self._rendered(items, rngs, stage).values()
            batch |= zip(("uncaptioned_pixels", "uncaptioned_keep", "uncaptioned_facts"), columns, strict=True)
        words = [(self.lexicon.draw(rng), rng.random()) for rng in share("word", stage.words * size)]
        entries = [(self.lexicon.entries[i], draw) for i, draw in words]
        texts += [entry.gloss if draw < GLOSSES else entry.word for entry, draw in entries]
        names, weights = tuple(stage.sources), tuple(stage.sources.values())
        rngs = share("document", stage.documents * size)
        documents = [self.writer.write(str(rng.choice(names, p=weights)), rng) for rng in rngs]
        return batch | {
            "texts": text_rows(self.tokenizer, texts),
            "meanings": self.lexicon.vectors[[i for i, _ in words]],
            "documents": document_rows(self.tokenizer, documents),
        }

    def _pictures(self, rngs: list[np.random.Generator], stage: Stage, texts: list[str]) -> dict[str, Any]:
        """Pictures of some units; appends their captions to `texts`, all English ones first."""
        items, streams = self.drawer.items(rngs, stage.scenes)
        texts += all_captions(items)
        return self._rendered(items, streams, stage) | {
            "roles": self.numbers.roles(items),
            "caption_facts": [self.numbers.caption_facts(items, language) for language in (0, 1)],
        }

    def _rendered(self, items: list[Item], rngs: list[np.random.Generator], stage: Stage) -> dict[str, Any]:
        pixels = render(self.world, items, rngs)
        keep = visible_tokens(pixels, stage.keep, rngs)
        return {"pixels": pixels, "keep": keep, "picture_facts": self.numbers.picture_facts(items)}

    def loss(self, model: nn.Module, batch: dict[str, Any], progress: float) -> dict[str, Tensor]:
        return model(batch)

    def after_step(self, model: nn.Module) -> None:
        update_router_bias(model)

    def evaluate(self, model: Any) -> dict[str, float]:
        return recall_figures(
            self.world,
            lambda texts: model.texts(text_rows(self.tokenizer, texts)),
            lambda pixels: model.pictures(pixels, None),
        )

    def export(self, model: nn.Module, folder: Path) -> None:
        """The three parts as they ship; the tokenizer lies beside the backbone."""
        for name in ("language", "vision", "space"):
            save_part(getattr(model, name), name, folder)
        self.tokenizer.save_pretrained(folder / "language")
        record_part("language", folder)
