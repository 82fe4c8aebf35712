"""What others drew, for the generator to draw from: of every thing each style's training drawing, if it has one.

Who names a style that has drawn the thing is drawn from that drawing. Else it is one of the art families' filled
drawings: the most typical one (`models.hands`) or, where no style is named, another one that agrees with it: the seed
decides, so that pictures of other seeds are other pictures, and mirror images of them (`Prototypes.look`). A cook is
drawn from a drawing that shows neither a woman nor a man where there is one, and who asks for a woman from that of a
woman (`Prototypes.figure`). Such a drawing says where the thing's parts are and which colours they have, so it needs no
more than SIDE pixels. The generator learns from what all hands but the one that it is to draw in have in common, their
mean (retrieval-augmented diffusion, arXiv 2204.11824), or some of them; to draw from, one is as good where a style is
named and better where none is, for means are blurred where hands disagree. Where a style lacks a thing, its drawing of
the next of kin (`models.kin`) is laid over that. What all are worth: `LOG.md`.
"""

import json
import random
from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from PIL import features
from safetensors import safe_open
from safetensors.torch import save_file

from models.atlas import SIDE, Atlas, packed, unpacked
from models.autoencoder import Autoencoder
from models.data.colours import black_and_white, colour_shares, hue_shift
from models.data.compose import resized
from models.data.grammar import stream
from models.data.pixels import SIZE
from models.data.variety import can_be_mirrored
from models.data.world import Picture, World
from models.hands import agreeing, drawn_by, in_common
from models.kin import kin
from models.mirror import Mirror
from models.prompts.attributes import BLACK_AND_WHITE, GENDERS
from models.prompts.parser import PART as WORDING
from models.prompts.parser import pictures_by_concept
from models.skin import TONES, toned
from models.space import Embedder
from models.weights import WeightsError, check_company, part_digests, part_folder, record_made_with, record_part

PART = "prototypes"
FILE = "prototypes.safetensors"
MOSTLY = 0.6  # of what is asked for in a colour: with less of it neutral parts are painted too
HANDS = 4  # drawings of a thing that take turns, at most: as many as the page makes at once
KIN = 0.5  # share of a kin's drawing: with more of it the thing is lost, with less the style (LOG.md)
ALL_SHARE = 0.5  # of training pictures that are told what all other hands have in common; the rest, what some have
LINES = ("outline", "black glyph")  # not drawn from where others drew the thing: who names no style wants no lines

Rows = Mapping[tuple[int, str], int]  # of pictures, by a figure's number and a style


class Prototypes:
    """Premultiplied uint8 `pictures` (M, SIDE, SIDE, 4) and which of them a thing is drawn from.

    A thing is drawn as one figure or several: first come the things themselves, numbered as in
    `models.prompts.parser.pictures_by_concept`, then the women and men of those that have them.

    Attributes:
        hands: of each figure the rows of those that are drawn from where the style has none, the most typical first;
            None is one picture each.
        own: rows of what styles drew, by figure and style.
        kin: rows of what styles drew of what is like the figures that they lack.
        two_sided: figures whose mirror images show the same.
        figures: those of women and men, by the thing and one of GENDERS.
        mirror: tells which pictures are symmetric; without one, none is taken to be.
    """

    def __init__(
        self,
        pictures: np.ndarray | Atlas,
        hands: Sequence[Sequence[int]] | None = None,
        own: Rows | None = None,
        kin: Rows | None = None,
        two_sided: Collection[int] = (),
        figures: Mapping[tuple[int, str], int] | None = None,
        mirror: Mirror | None = None,
    ) -> None:
        self.pictures, self.mirror = pictures, mirror
        self.hands = [[row] for row in range(len(pictures))] if hands is None else hands
        self.own, self.kin, self.two_sided = own or {}, kin or {}, frozenset(two_sided)
        self.figures = figures or {}

    def figure(self, number: int, gender: str, style: str = "") -> int:
        """Which figure a thing is drawn as where a gender is asked for, or "". One that the style has drawn, if any."""
        found = self.figures.get((number, gender), number)
        return number if style and self.has(number, style) and not self.has(found, style) else found

    def has(self, figure: int, style: str) -> bool:
        """Whether the style has drawn the figure."""
        return (figure, style) in self.own

    def look(self, figure: int, seed: int, style: str = "") -> int:
        """Which look of a figure a picture is drawn from: seeds in a row take one drawing after another, and then their
        mirror images. In a style that lacks it it has one look, for there another makes little difference, and a
        little for the worse."""
        if style and not self.has(figure, style):
            return 0
        return seed % (self._drawings(figure, style) * (2 if figure in self.two_sided else 1))

    def _drawings(self, figure: int, style: str) -> int:
        return 1 if style else len(self.hands[figure])

    def picture(self, figure: int, paint: str = "", style: str = "", look: int = 0) -> np.ndarray:
        """Premultiplied uint8 (128, 128, 4): the figure as a style has drawn it or would, in a `paint` where one is
        named (`models.prompts.parsed.Target`).

        A rocket with orange fins is an orange rocket to training's captions, and to nobody who asks for one.
        """
        turned, hand = divmod(look, self._drawings(figure, style))
        drawing = self._drawing(figure, style, hand)[:, :: -1 if turned else 1]
        if paint in TONES:
            return toned(_painted(drawing, ""), paint)
        if paint == BLACK_AND_WHITE:
            return black_and_white(_painted(drawing, ""))
        painted = _painted(drawing, paint)
        if not paint or colour_shares(painted).get(paint, 0) >= MOSTLY:
            return painted
        return hue_shift(painted, paint, whole=True)

    def _drawing(self, figure: int, style: str, hand: int) -> np.ndarray:
        if (own := self.own.get((figure, style))) is not None:
            return self.pictures[own]
        drawing, row = self.pictures[self.hands[figure][hand]], self.kin.get((figure, style))
        return drawing if row is None else _laid_over(drawing, self.pictures[row])

    @classmethod
    def build(
        cls, world: World, autoencoder: Autoencoder | None = None, embedder: Embedder | None = None
    ) -> "Prototypes":
        """From the training pictures; `autoencoder` is that whose latents are drawn, by `embedder` kin are found."""
        named = pictures_by_concept(world)
        gendered = _gendered(named)
        shown = [*named.values(), *gendered.values()]
        drawn = {
            (figure, style): picture
            for figure, pictures in enumerate(shown)
            for style, picture in sorted(drawn_by(pictures, "style").items())
        }
        indices = list(dict.fromkeys(picture.index for picture in drawn.values()))
        places = {index: row for row, index in enumerate(indices)}
        figures = {cell: len(named) + place for place, cell in enumerate(gendered)}
        related = _related(kin(world, named, embedder) if embedder else {}, list(named), figures)
        return cls(
            np.stack([_small(world.pixels[index]) for index in indices]),
            [[places[one.index] for one in _typical(world, pictures)] for pictures in shown],
            {cell: places[picture.index] for cell, picture in drawn.items()},
            {cell: places[picture.index] for cell, picture in related.items() if cell not in drawn},
            [figure for figure, pictures in enumerate(shown) if all(map(can_be_mirrored, pictures))],
            figures,
            Mirror.build(world, autoencoder) if autoencoder else None,
        )

    def save(self, root: Path) -> Path:
        """Write `root/prototypes`, to be read beside the `wording` that lies there, and enter it in the manifest."""
        folder = root / PART
        folder.mkdir(parents=True, exist_ok=True)
        styles = sorted({style for _, style in chain(self.own, self.kin)})
        atlas = self.pictures if isinstance(self.pictures, Atlas) else Atlas.of(self.pictures)
        tensors = atlas.tensors() | {
            "hands": torch.tensor(list(chain.from_iterable(self.hands)), dtype=torch.int16),
            "counts": torch.tensor([len(rows) for rows in self.hands], dtype=torch.uint8),
            "own": _table(self.own, styles),
            "kin": _table(self.kin, styles),
            "two_sided": torch.tensor(sorted(self.two_sided), dtype=torch.int16),
            "figures": _table(self.figures, GENDERS),
        }
        if self.mirror:
            tensors["mirror"] = self.mirror.weights.contiguous()
        save_file(tensors, folder / FILE, {"styles": json.dumps(styles)})
        record_made_with(folder, part_digests((WORDING, "autoencoder") if self.mirror else (WORDING,), root))
        record_part(PART, root)
        return folder

    @classmethod
    def load(cls, root: Path | None = None) -> "Prototypes":
        """What ships, or lies under `root`; WeightsError where it is missing, altered or of another wording, or where
        this Pillow reads no AVIF."""
        if not features.check("avif"):
            raise WeightsError("weights.no_avif")
        folder = part_folder(PART, root)
        check_company(folder, root)
        with safe_open(folder / FILE, framework="pt") as file:
            styles = json.loads((file.metadata() or {}).get("styles", "[]"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        if missing := {"avif", "hands", "counts", "own", "kin", "two_sided", "figures"} - tensors.keys():
            raise WeightsError("weights.other_version", file=str(folder / FILE), missing=min(missing))
        rows = iter(tensors["hands"].tolist())
        return cls(
            Atlas.from_tensors(tensors),
            [[next(rows) for _ in range(count)] for count in tensors["counts"].tolist()],
            _rows(tensors["own"], styles),
            _rows(tensors["kin"], styles),
            tensors["two_sided"].tolist(),
            _rows(tensors["figures"], GENDERS),
            Mirror(tensors["mirror"]) if "mirror" in tensors else None,
        )


def _table(rows: Rows, styles: Sequence[str]) -> torch.Tensor:
    """(K, 3): number, place of the style (or gender), row."""
    places = {style: place for place, style in enumerate(styles)}
    table = [[number, places[style], row] for (number, style), row in sorted(rows.items())]
    return torch.tensor(table, dtype=torch.int16).reshape(-1, 3)


def _rows(table: torch.Tensor, styles: Sequence[str]) -> Rows:
    return {(number, styles[place]): row for number, place, row in table.tolist()}


def _gendered(named: Mapping[str, Sequence[Picture]]) -> dict[tuple[int, str], list[Picture]]:
    """By number and gender those of the things' pictures that show a woman, or a man, where others show somebody."""
    found = {
        (number, gender): [picture for picture in pictures if picture.gender == gender]
        for number, pictures in enumerate(named.values())
        for gender in GENDERS
        if any(picture.gender != gender for picture in pictures)
    }
    return {cell: pictures for cell, pictures in found.items() if pictures}


def _related(
    found: Mapping[tuple[str, str], Picture], concepts: Sequence[str], figures: Mapping[tuple[int, str], int]
) -> dict[tuple[int, str], Picture]:
    """The kin of things, and of their women and men, by figure and style."""
    numbers = {concept: number for number, concept in enumerate(concepts)}
    own = {(numbers[concept], style): picture for (concept, style), picture in found.items()}
    theirs = {
        (figure, style): picture
        for (thing, _), figure in figures.items()
        for (number, style), picture in own.items()
        if number == thing
    }
    return own | theirs


def _typical(world: World, pictures: Sequence[Picture]) -> list[Picture]:
    """The most typical one of the families' filled drawings, and those that agree with it."""
    filled = list(_filled(drawn_by(pictures, "family")).values())
    return [filled[number] for number in agreeing(_pixels(world, filled))[:HANDS]]


def _filled(drawings: Mapping[str, Picture]) -> Mapping[str, Picture]:
    """Those of them that are more than lines, where there are any."""
    return {family: one for family, one in drawings.items() if one.style not in LINES} or drawings


class OtherHands:
    """What pictures are drawn from in training: prototypes without the art family of the picture itself."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.drawings = {
            concept: drawn_by(pictures, "family") for concept, pictures in pictures_by_concept(world).items()
        }

    def prototype(self, picture: Picture, seed: int, colour: str = "") -> np.ndarray | None:
        """Premultiplied uint8 (128, 128, 4), with what the atlas loses; None where no other hand drew the thing.

        Of all other hands, or of some: another seed, others. What a thing has few drawings of looks like that too.
        """
        others = [p for family, p in self.drawings.get(picture.concept, {}).items() if family != picture.family]
        if not others:
            return None
        some = _some(others, stream(picture.id, "hands", seed))
        mean = in_common(_pixels(self.world, some))
        return _painted(unpacked(packed(_small(mean))), colour)


def _some(pictures: Sequence[Picture], rng: random.Random) -> Sequence[Picture]:
    return pictures if rng.random() < ALL_SHARE else rng.sample(pictures, rng.randint(1, len(pictures)))


def _laid_over(drawing: np.ndarray, kindred: np.ndarray) -> np.ndarray:
    """Premultiplied uint8 (SIDE, SIDE, 4): as much of the other hand's drawing as of the kin's."""
    mean = (1 - KIN) * drawing + KIN * kindred.astype(np.float32)
    return mean.round().astype(np.uint8)


def _pixels(world: World, drawings: Sequence[Picture]) -> np.ndarray:
    return world.pixels[[picture.index for picture in drawings]]


def _small(picture: np.ndarray) -> np.ndarray:
    return resized(picture, SIDE, SIDE)


def _painted(small: np.ndarray, colour: str) -> np.ndarray:
    """As large as a picture, in a colour where one is named."""
    whole = resized(small, SIZE, SIZE).copy()  # Pillow's memory may not be written to
    return hue_shift(whole, colour) if colour else whole
