"""Reference drawings: stored training drawings that the generator draws from, and the one function that picks them.

Retrieval-augmented diffusion (arXiv 2204.11824): a drawing says where a thing's parts are and which colours they have,
so SIDE pixels are enough. A thing comes from its typical drawings (`models.references.drawing`), morphed into one
that nobody drew: the seed decides their shares, and whether it is mirrored. In a style that has drawn the thing, that
drawing leads, keeps its look, and takes a part of the others' shape. In a style that lacks the thing, the style's
drawing of the nearest neighbour (the most similar thing that it has) is averaged with the most typical drawing. What
each choice is worth: `LOG.md`.

Pictures are premultiplied uint8 (SIDE, SIDE, 4).
"""

import io
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, features
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers.feature_extraction_utils import FeatureExtractionMixin

from models.data.colours import PAINTS, colour_shares, main_colours
from models.data.grammar import stream
from models.data.pixels import SAME_DRAWING, premultiply, thumbs, unpremultiply
from models.prompts.parsed import GENDERS
from models.references.drawing import clear, emphasised, enlarged, morphed, painted
from models.sampling.guidance import LatentMirror
from models.weights import (
    WeightsError,
    check_dependencies,
    of_split,
    part_digests,
    part_folder,
    record_dependencies,
    record_part,
)

PART = "prototypes"  # the folder of the shipped part: its name is part of the model's digest
FILE = "prototypes.safetensors"
NAMES_PART = "wording"  # the part whose numbers the things have
TENSORS = {"avif", "typical", "typical_counts", "drawn", "neighbours", "two_sided", "figures"}  # in it, at least
NEIGHBOUR_SHARE = 0.5  # of a nearest neighbour's drawing: more loses the thing, less the style (LOG.md)

SIDE = 64  # pixels
STRIP = 32  # pictures side by side: fewer pack worse, more take longer than the 3 ms that a picture may cost
QUALITY = 15  # of the AVIF
SPEED = 3  # of encoding, 0 to 10: 8 takes seconds instead of minutes and gives files a quarter larger
SUBSAMPLING = "4:4:4"  # a colour for every pixel: one for four, as in WebP, is too few at this size (LOG.md)
TUNED = {"tune": "ssim"}  # closer than squared errors at the same size
HAZE = 4  # levels of alpha that packing adds to what is clear and takes from what is opaque
_KEPT = 32  # strips that stay decoded, 0.5 MB each, and morphed drawings, 64 kB

Rows = Mapping[tuple[int, str], int]  # of pictures, by a figure's number and a style


@dataclass(frozen=True)
class Reference:
    """What one picture is drawn from: stored drawings of the thing, morphed into one.

    Attributes:
        rows: the drawings, of which the first leads.
        shares: of each of them in the shape; and in the colours, unless they are kept (`models.references.drawing`).
        neighbour: the drawing in the style asked for that is averaged with it, None for none.
        keeps_look: whether the colours are the first drawing's, as the lines always are.
        mirrored: whether it is turned.
        paint: the colour or skin tone that it is painted in, "" for its own (`models.references.drawing`).
        is_exact: whether it shows the thing in the style that was asked for, or none was: reference guidance keeps to
            it, while a neighbour's drawing would take the style with it.
    """

    rows: tuple[int, ...]
    shares: tuple[float, ...] = (1.0,)
    neighbour: int | None = None
    keeps_look: bool = False
    mirrored: bool = False
    paint: str = ""
    is_exact: bool = True


class ReferenceStore(FeatureExtractionMixin):
    """Premultiplied uint8 `pictures` (M, SIDE, SIDE, 4) and which of them a thing is drawn from.

    A thing has one figure or several: the things themselves come first, numbered as in the wording part, then the women
    and men of those that have them. A component of the pipeline: `save_pretrained`, `from_pretrained`.

    Attributes:
        typical: of each figure the rows that it is drawn from where the style has none, the most typical first; None is
            one picture each.
        drawn: rows of what styles drew, by figure and style.
        neighbours: rows of the nearest neighbours of the figures that styles lack.
        two_sided: figures whose mirror images show the same.
        figures: those of women and men, by the thing and one of GENDERS.
        mirror: tells which pictures are symmetric; None takes none to be.
    """

    def __init__(
        self,
        pictures: "np.ndarray | Atlas",
        typical: Sequence[Sequence[int]] | None = None,
        drawn: Rows | None = None,
        neighbours: Rows | None = None,
        two_sided: Collection[int] = (),
        figures: Mapping[tuple[int, str], int] | None = None,
        mirror: LatentMirror | None = None,
    ) -> None:
        super().__init__()
        self.pictures, self.mirror = pictures, mirror
        self.typical = [[row] for row in range(len(pictures))] if typical is None else typical
        self.drawn, self.neighbours, self.two_sided = drawn or {}, neighbours or {}, frozenset(two_sided)
        self.figures = figures or {}
        self._leads = lru_cache(_KEPT)(self._clear)
        self._morphed = lru_cache(_KEPT)(self._morph)  # of a reference that is looked at, repainted and credited

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.pictures)} drawings)"

    def retrieve(self, thing: int, seed: int = 0, style: str = "", gender: str = "", paint: str = "") -> Reference:
        """Which drawings a picture of a thing, by its number, is drawn from; style, gender and paint are "" for none.
        Consecutive seeds take one typical drawing of clear lines after another to lead, and then their mirror images;
        the seed also decides the shares. In a style that lacks the thing all seeds take the same: another one made
        little difference, and a little for the worse."""
        figure = self.figure(thing, gender, style)
        in_style, typical = self.drawn.get((figure, style)), self.typical[figure]
        if style and in_style is None:
            return Reference((typical[0],), neighbour=self.neighbours.get((figure, style)), paint=paint, is_exact=False)
        leads = self._leads(figure) if in_style is None else (in_style,)
        turn, place = divmod(seed % (len(leads) * (2 if figure in self.two_sided else 1)), len(leads))
        rows = (leads[place], *(row for row in typical if row != leads[place]))
        return Reference(rows, _shares(len(rows), figure, seed), None, in_style is not None, bool(turn), paint)

    def _clear(self, figure: int) -> list[int]:
        """The typical rows of a figure whose lines are clear enough for them to lead."""
        rows = self.typical[figure]
        return [rows[number] for number in clear([self.pictures[row] for row in rows])]

    def in_one_look(self, reference: Reference, thing: int, gender: str = "") -> Iterator[Reference]:
        """The reference in the look of its leading drawing, for a mean of several has their ghosts (so a neighbour's is
        none of them); each of its drawings alone; then the thing's other typical ones."""
        looks = replace(reference, keeps_look=True, neighbour=None)
        yield looks
        for row in dict.fromkeys([*reference.rows, *self.typical[self.figure(thing, gender)]]):
            yield replace(looks, rows=(row,), shares=(1.0,))

    def repainted(self, reference: Reference, unwanted: Collection[str]) -> Reference:
        """The reference painted in the largest of its drawing's other colours, if one of the main ones is unwanted."""
        drawing = self.drawing(reference)
        others = {name: share for name, share in colour_shares(drawing).items() if name in {*PAINTS} - {*unwanted}}
        if not others or not {*main_colours(drawing)} & {*unwanted}:
            return reference
        return replace(reference, paint=max(others, key=others.__getitem__))

    def figure(self, thing: int, gender: str, style: str = "") -> int:
        """Which figure a thing of a gender is drawn as: one that the style has drawn, if any."""
        gendered = self.figures.get((thing, gender), thing)
        return thing if (thing, style) in self.drawn and (gendered, style) not in self.drawn else gendered

    def of_figure(self, figure: int) -> list[int]:
        """The rows of all stored drawings of a figure, at least one."""
        return sorted({*self.typical[figure], *(row for (number, _), row in self.drawn.items() if number == figure)})

    def drawing(self, reference: Reference) -> np.ndarray:
        """Premultiplied uint8 (128, 128, 4): what `retrieve` found."""
        drawing, _ = self._morphed(reference.rows, reference.shares, reference.keeps_look)
        if reference.neighbour is not None:
            neighbour = enlarged(self.pictures[reference.neighbour]).astype(np.float32)
            drawing = ((1 - NEIGHBOUR_SHARE) * drawing + NEIGHBOUR_SHARE * neighbour).round().astype(np.uint8)
        return painted(drawing[:, :: -1 if reference.mirrored else 1], reference.paint)

    def drawn_from(self, reference: Reference) -> list[int]:
        """Rows of the drawings that have a share in `drawing`: one with other parts has none."""
        _, places = self._morphed(reference.rows, reference.shares, reference.keeps_look)
        neighbour = [] if reference.neighbour is None else [reference.neighbour]
        return [*(reference.rows[place] for place in places), *neighbour]

    def _morph(self, rows: tuple[int, ...], *how: Any) -> tuple[np.ndarray, tuple[int, ...]]:
        drawing, places = morphed(np.stack([enlarged(self.pictures[row]) for row in rows]), *how)
        return emphasised(drawing), places

    @cached_property
    def sources(self) -> dict[int, tuple[int, str, str]]:
        """What drew each row: the number of the thing, its gender ("" for none), and the style."""
        things = {figure: cell for cell, figure in self.figures.items()}
        rows = sorted(self.drawn.items(), reverse=True)  # of a drawing of several figures, that of the thing itself
        return {row: (*things.get(figure, (figure, "")), style) for (figure, style), row in rows}

    def copied(self, row: int, drawn: np.ndarray) -> bool:
        """Whether a picture (128, 128, 4) is the same drawing as that of a row, or as its mirror image."""
        drawing = self.pictures[row]
        thumbnails = thumbs(np.stack([drawing, drawing[:, ::-1]]))
        return bool(np.abs(thumbnails - thumbs(drawn[None])).mean(1).min() <= SAME_DRAWING)

    def save(self, root: Path, split: str = "") -> Path:
        """Write the part under `root`, to be read beside the wording part of the same split, and list it."""
        name, names = of_split(PART, split), of_split(NAMES_PART, split)
        self.save_pretrained(root / name)
        record_dependencies(root / name, part_digests((names, "autoencoder") if self.mirror else (names,), root))
        record_part(name, root)
        return root / name

    @classmethod
    def load(cls, root: Path | None = None, split: str = "") -> "ReferenceStore":
        """The part that ships, or lies under `root`; WeightsError where it is missing, altered or of another wording,
        or as in `from_pretrained`."""
        folder = part_folder(of_split(PART, split), root)
        check_dependencies(folder, root)
        return cls.from_pretrained(folder)

    def save_pretrained(self, save_directory: str | Path, **_: Any) -> None:  # type: ignore[override]
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        styles = sorted({style for _, style in chain(self.drawn, self.neighbours)})
        atlas = self.pictures if isinstance(self.pictures, Atlas) else Atlas.of(self.pictures)
        tensors = atlas.tensors() | {
            "typical": torch.tensor(list(chain.from_iterable(self.typical)), dtype=torch.int16),
            "typical_counts": torch.tensor([len(rows) for rows in self.typical], dtype=torch.uint8),
            "drawn": _table(self.drawn, styles),
            "neighbours": _table(self.neighbours, styles),
            "two_sided": torch.tensor(sorted(self.two_sided), dtype=torch.int16),
            "figures": _table(self.figures, GENDERS),
        }
        if self.mirror:
            tensors["mirror"] = self.mirror.weights.contiguous()
        save_file(tensors, folder / FILE, {"styles": json.dumps(styles)})

    @classmethod
    def from_pretrained(cls, folder: str | Path, **_: Any) -> "ReferenceStore":  # type: ignore[override]
        """What `save_pretrained` wrote; WeightsError where it is of another version, or this Pillow reads no AVIF."""
        if not features.check("avif"):
            raise WeightsError("models.no_avif")
        path = Path(folder) / FILE
        with safe_open(path, framework="pt") as file:
            styles = json.loads((file.metadata() or {}).get("styles", "[]"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        if missing := TENSORS - tensors.keys():
            raise WeightsError("models.references_version", path=path, missing=min(missing))
        rows = iter(tensors["typical"].tolist())
        return cls(
            Atlas.from_tensors(tensors),
            [[next(rows) for _ in range(count)] for count in tensors["typical_counts"].tolist()],
            _rows(tensors["drawn"], styles),
            _rows(tensors["neighbours"], styles),
            tensors["two_sided"].tolist(),
            _rows(tensors["figures"], GENDERS),
            LatentMirror(tensors["mirror"]) if "mirror" in tensors else None,
        )


def _shares(count: int, *keys: object) -> tuple[float, ...]:
    """Of each of `count` drawings, in all 1: any shares are as likely as any others (Dirichlet's distribution)."""
    rng = stream(*keys, "shares")
    drawn = [rng.expovariate(1) for _ in range(count)]
    return tuple(one / sum(drawn) for one in drawn)


def _table(rows: Rows, styles: Sequence[str]) -> torch.Tensor:
    """(K, 3): number, place of the style (or gender), row."""
    places = {style: place for place, style in enumerate(styles)}
    table = [[number, places[style], row] for (number, style), row in sorted(rows.items())]
    return torch.tensor(table, dtype=torch.int16).reshape(-1, 3)


def _rows(table: torch.Tensor, styles: Sequence[str]) -> Rows:
    return {(number, styles[place]): row for number, place, row in table.tolist()}


class Atlas:
    """Small pictures by number: AVIF in strips of STRIP, of which one is decoded when a picture of it is asked for. To
    decode thousands takes a second, and one prompt needs one of them."""

    def __init__(self, strips: Iterable[bytes], count: int) -> None:
        self._strips, self._count = tuple(strips), count
        self._unpacked = lru_cache(_KEPT)(lambda number: unpacked(self._strips[number]))

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> np.ndarray:
        """Picture 0 to N - 1."""
        if not 0 <= number < self._count:
            raise IndexError(f"picture {number} of {self._count}")
        strip, place = divmod(number, STRIP)
        return self._unpacked(strip)[:, place * SIDE : (place + 1) * SIDE]

    @classmethod
    def of(cls, pictures: np.ndarray) -> "Atlas":
        """From (N, SIDE, SIDE, 4)."""
        strips = (pictures[first : first + STRIP] for first in range(0, len(pictures), STRIP))
        with ThreadPoolExecutor() as threads:  # each strip is a file of its own: however many are packed at once
            files = threads.map(lambda strip: packed(strip.swapaxes(0, 1).reshape(SIDE, -1, 4)), strips)
            return cls(files, len(pictures))

    def tensors(self) -> dict[str, Tensor]:
        """As safetensors hold it: the bytes of all strips, where each ends, and the number of pictures."""
        whole = np.frombuffer(b"".join(self._strips), np.uint8).copy()  # torch wants memory that may be written to
        ends = torch.tensor([len(strip) for strip in self._strips], dtype=torch.int64).cumsum(0)
        return {"avif": torch.from_numpy(whole), "ends": ends, "count": torch.tensor(self._count)}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> "Atlas":
        whole, ends = tensors["avif"].numpy().tobytes(), tensors["ends"].tolist()
        return cls((whole[start:end] for start, end in zip([0, *ends], ends, strict=False)), int(tensors["count"]))


def packed(pixels: np.ndarray, speed: int = SPEED) -> bytes:
    """Premultiplied pixels (H, W, 4) as AVIF."""
    file = io.BytesIO()
    image = Image.fromarray(unpremultiply(pixels), "RGBA")
    image.save(file, "AVIF", quality=QUALITY, speed=speed, subsampling=SUBSAMPLING, advanced=TUNED, max_threads=1)
    return file.getvalue()


def unpacked(avif: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(avif), formats=("AVIF",)) as picture:
        pixels = np.array(picture.convert("RGBA"))
    alpha = (pixels[..., 3].astype(np.float32) - HAZE) * (255 / (255 - 2 * HAZE))
    pixels[..., 3] = alpha.round().clip(0, 255)
    return premultiply(pixels)
