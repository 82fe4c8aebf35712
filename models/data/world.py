"""The sticker world: pictures with what is known of them, their pixels, their splits, and balanced sampling.

Splits are decided by hash, never by chance, so that a picture added later moves no other. A *cell* is concept x art
family. Held-out cells test "the concept was seen, the family was seen, not together"; held-out concepts test what was
never drawn. `merge_lookalikes` joins concepts that one family draws alike (the flags of Norway and of Bouvet Island):
otherwise the test would leak.
"""

import hashlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
import platformdirs

from models.data.pixels import SAME_DRAWING

SPLITS = ("train", "val", "cell", "concept")
TEST_SPLITS = frozenset({"cell", "concept"})
CONCEPT_SHARE = 0.03
CELL_SHARE = 0.17
VAL_SHARE = 0.04
POWER = 0.75  # of the sampler: 0 draws every picture alike, 1 every (style, concept) alike

T = TypeVar("T")


@dataclass(frozen=True)
class Picture:
    index: int  # row of its pixels
    id: str  # "style/icon name", unique
    source: str  # npm package it came from
    style: str
    family: str  # the drawing that it shares with other styles
    concept: str  # base concept, a slug without skin tone and gender
    names: dict[str, str]  # by language: "en" always, "zh" where CLDR has it
    keywords: dict[str, tuple[str, ...]]  # likewise
    group: str  # of CLDR ("animals-nature", ...), "" where unknown
    skin: str | None  # what is drawn, None where it is not
    gender: str | None  # likewise
    colours: tuple[str, ...]  # measured main colours, largest share first
    split: str  # one of SPLITS


class World:
    """All pictures, their pixels (N, 128, 128, 4) uint8 premultiplied, and the digest that identifies the set.

    `folder` is where it was built, None for a world in memory.
    """

    def __init__(
        self, pictures: tuple[Picture, ...], pixels: np.ndarray, digest: str, folder: Path | None = None
    ) -> None:
        self.pictures, self.pixels, self.digest, self.folder = pictures, pixels, digest, folder

    def split(self, name: str, allow_test: bool = False) -> list[Picture]:
        """Pictures of one split. A test split must be asked for by `allow_test=True`: no training draws from one."""
        if name not in SPLITS:
            raise ValueError(f"unknown split {name!r}; there are {', '.join(SPLITS)}")
        if name in TEST_SPLITS and not allow_test:
            raise PermissionError(f"split {name!r} is a test split; only an evaluation may read it (allow_test=True)")
        return self._by_split[name]

    def released(self) -> "World":
        """The same pictures, all in split "train": what users get is built from them; measurements never use them."""
        pictures = tuple(replace(picture, split="train") for picture in self.pictures)
        return World(pictures, self.pixels, self.digest, self.folder)

    @cached_property
    def _by_split(self) -> dict[str, list[Picture]]:
        rows: dict[str, list[Picture]] = defaultdict(list)
        for picture in self.pictures:
            rows[picture.split].append(picture)
        return rows

    @classmethod
    def load(cls, folder: Path | None = None) -> "World":
        """The built world; FileNotFoundError says the command that builds it."""
        folder = folder or data_folder()
        manifest, rows, pixels = (folder / name for name in ("manifest.json", "pictures.jsonl", "pixels.npy"))
        if not (manifest.exists() and rows.exists() and pixels.exists()):
            raise FileNotFoundError(f"no pictures in {folder}; build them with: python -m models.data build")
        digest = json.loads(manifest.read_text())["digest"]
        with rows.open(encoding="utf-8") as file:
            listed = [json.loads(line) for line in file]
        for row in listed:  # JSON has no tuples
            row["keywords"] = {language: tuple(words) for language, words in row["keywords"].items()}
            row["colours"] = tuple(row["colours"])
        pictures = tuple(Picture(**row) for row in listed)
        return cls(pictures, np.load(pixels, mmap_mode="r"), digest, folder)


def data_folder() -> Path:
    """Where the built world lies: $STUDIO128_DATA, or the user's cache folder."""
    return Path(os.environ.get("STUDIO128_DATA") or Path(platformdirs.user_cache_dir("studio128")) / "world")


def pictures_by_concept(world: World) -> dict[str, list[Picture]]:
    """The training pictures by concept, sorted by concept."""
    by_concept: dict[str, list[Picture]] = defaultdict(list)
    for picture in world.split("train"):
        if picture.group != "component":
            by_concept[picture.concept].append(picture)
    return dict(sorted(by_concept.items()))


# --- Splits ----------------------------------------------------------------------------------------------------------


def fraction(*key: str) -> float:
    """A number in [0, 1) that depends on the key alone."""
    digest = hashlib.sha256("|".join(key).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def held_out_split(share: float, *key: str) -> str:
    """Split of a combination: "train", but for that share, of which half is "val" and half "test"."""
    draw = fraction(*key)
    return "train" if draw >= share else "val" if draw < share / 2 else "test"


@cache
def train_exceptions() -> frozenset[tuple[str, str]]:
    """(concept, family) of cells that are in train although their hash says otherwise: their concept had no other cell.

    They are listed so that a family that is added later, and is in train by its own hash, does not send them to a test.
    """
    cells = json.loads(Path(__file__).with_name("train_exceptions.json").read_text(encoding="utf-8"))
    return frozenset((concept, family) for concept, family in cells)


def assign(cells: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Split of each (concept, family). Some family of a concept stays in train unless the whole concept is held out."""
    families: dict[str, set[str]] = defaultdict(set)
    for concept, family in cells:
        families[concept].add(family)
    table: dict[tuple[str, str], str] = {}
    for concept in families:
        if fraction("concept", concept) < CONCEPT_SHARE:
            table |= {(concept, family): "concept" for family in families[concept]}
            continue
        draws = {(concept, family): fraction("cell", concept, family) for family in families[concept]}
        splits = {
            cell: "val" if draw < VAL_SHARE else "cell" if draw < VAL_SHARE + CELL_SHARE else "train"
            for cell, draw in draws.items()
        }
        splits |= {cell: "train" for cell in draws if cell in train_exceptions()}
        if "train" not in splits.values():
            splits[max(draws, key=draws.__getitem__)] = "train"
        table |= splits
    return table


def merge_lookalikes(
    concepts: list[str], families: list[str], thumbs: np.ndarray, limit: float = SAME_DRAWING
) -> Mapping[str, str]:
    """Root concept of each concept, after joining those that one family draws almost alike.

    `concepts`, `families` and `thumbs` (N, K), small premultiplied thumbnails in 0..255, are of N pictures.
    """
    parent = {concept: concept for concept in concepts}

    def root(concept: str) -> str:
        while parent[concept] != concept:
            parent[concept] = concept = parent[parent[concept]]
        return concept

    for family in sorted(set(families)):
        rows = np.array([i for i, name in enumerate(families) if name == family])
        for a, b in near_pairs(thumbs[rows], limit):
            first, second = sorted((root(concepts[rows[a]]), root(concepts[rows[b]])))
            parent[second] = first
    return {concept: root(concept) for concept in parent}


def near_pairs(thumbs: np.ndarray, limit: float) -> Iterable[tuple[int, int]]:
    """Pairs closer than `limit` in mean absolute difference; candidates come from the mean square, its upper bound."""
    norms = (thumbs**2).sum(1)
    for start in range(0, len(thumbs), 512):
        block = thumbs[start : start + 512]
        square = (norms[start : start + 512, None] + norms - 2 * block @ thumbs.T) / thumbs.shape[1]
        # E|d| <= limit with |d| <= 255 gives E[d^2] <= 255 limit: no pair is missed.
        for i, near in enumerate(square <= 255 * limit, start):
            later = i + 1 + np.flatnonzero(near[i + 1 :])
            same = np.abs(thumbs[i] - thumbs[later]).mean(1) <= limit
            yield from ((i, int(j)) for j in later[same])


# --- Sampling --------------------------------------------------------------------------------------------------------


def evenly(items: Sequence[T], count: int) -> list[T]:
    """At most `count` items, evenly spaced, the first and the last included."""
    rows = np.linspace(0, len(items) - 1, min(count, len(items))).astype(int)
    return [items[row] for row in rows]


class Sampler:
    """Draws pictures with weight count(style, concept) ** -0.75.

    The concept is the base one, so the six skin tones and three genders of one gesture share a cell: a cell of n
    pictures gets n ** 0.25 of a single picture's weight instead of n, and variants, a third of the pictures, do not eat
    the budget. `groups` multiplies the weights of the pictures of a CLDR group.
    """

    def __init__(self, pictures: Sequence[Picture], groups: Mapping[str, float] = {}) -> None:
        if not pictures:
            raise ValueError("no pictures to draw from; is the split empty?")
        self.pictures = tuple(pictures)
        cells = Counter((picture.style, picture.concept) for picture in pictures)
        shares = np.array([groups.get(picture.group, 1.0) for picture in pictures])
        weights = shares * [cells[picture.style, picture.concept] ** -POWER for picture in pictures]
        self.weights = weights / weights.sum()
        self._ends = np.cumsum(self.weights)

    def draw(self, rng: np.random.Generator, n: int) -> list[Picture]:
        """`n` pictures, with replacement."""
        return [self.pictures[row] for row in self.rows(rng, n)]

    def rows(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """The same as numbers into `pictures`, (n,) int64."""
        return np.searchsorted(self._ends, rng.random(n) * self._ends[-1], side="right")
