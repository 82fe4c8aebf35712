"""The sticker world as the rest of the project sees it: pictures with what is known of them, and their pixels."""

import json
import os
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import platformdirs

from models.data.splits import SPLITS

_TEST_SPLITS = frozenset({"cell", "concept"})


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
    split: str  # one of `models.data.splits.SPLITS`


class World:
    """All pictures, their pixels (N, 128, 128, 4) uint8 premultiplied, and the digest that names this very set.

    `folder` is where it was built, None where it was drawn in memory; `draw` then draws a picture in another size.
    """

    def __init__(
        self,
        pictures: tuple[Picture, ...],
        pixels: np.ndarray,
        digest: str,
        folder: Path | None = None,
        draw: Callable[[Picture, int], np.ndarray] | None = None,
    ) -> None:
        self.pictures, self.pixels, self.digest, self.folder, self.draw = pictures, pixels, digest, folder, draw

    def split(self, name: str, allow_test: bool = False) -> list[Picture]:
        """Pictures of one split. A test split must be asked for by `allow_test=True`: no training draws from one."""
        if name not in SPLITS:
            raise ValueError(f"unknown split {name!r}; there are {', '.join(SPLITS)}")
        if name in _TEST_SPLITS and not allow_test:
            raise PermissionError(f"split {name!r} is a test split; only an evaluation may read it (allow_test=True)")
        return self._by_split[name]

    def released(self) -> "World":
        """The same with no picture held out: of it is made what users have, and nothing that is measured."""
        pictures = tuple(replace(picture, split="train") for picture in self.pictures)
        return World(pictures, self.pixels, self.digest, self.folder, self.draw)

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
        for row in listed:  # lists of the file become tuples
            row["keywords"] = {language: tuple(words) for language, words in row["keywords"].items()}
            row["colours"] = tuple(row["colours"])
        pictures = tuple(Picture(**row) for row in listed)
        return cls(pictures, np.load(pixels, mmap_mode="r"), digest, folder)


def data_folder() -> Path:
    """Where the built world lies: $STUDIO128_DATA, or the user's cache folder."""
    return Path(os.environ.get("STUDIO128_DATA") or Path(platformdirs.user_cache_dir("studio128")) / "world")


def pictures_by_concept(world: World) -> dict[str, list[Picture]]:
    """The training pictures by concept, in the order of the numbers of concepts."""
    by_concept: dict[str, list[Picture]] = defaultdict(list)
    for picture in world.split("train"):
        if picture.group != "component":
            by_concept[picture.concept].append(picture)
    return dict(sorted(by_concept.items()))
