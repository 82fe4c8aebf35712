"""Drawings that teach how lines and areas are drawn, and not what things look like.

Some 19,000 training drawings are few: a generator knows them by heart, and draws others with lines that wave
(`models/train/LOG.md`). Beside them it learns from two kinds that nobody asks for and nothing is measured on: icons of
other sets, told by their names, and mixtures of elements (`models.data.mixtures`), told their style alone.
"""

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np

from models.data.build import read_iconify, render_svg
from models.data.grammar import stream
from models.data.mixtures import mixture
from models.data.packages import ICON_SETS, PACKAGES, fetch, read_lock
from models.data.world import World

VISIBLE = 0.03  # of the picture: what covers less is drawn anew
TRIES = 50
COMMON = 5  # training concepts: a word that so many names share ("face", "button") tells none of them
BLACK = 0.3  # share of the icons of one colour that are black; the others are of any
_THIN = re.compile(r"outline|linear|broken|24px")  # the same icons once more, as hairlines
_NUMBER = re.compile(r"\b\d+\b")


@dataclass(frozen=True)
class Shapes:
    """Where they are drawn from: SVGs by style, and icons by set as (SVG, caption)."""

    drawings: dict[str, list[str]]
    icons: dict[str, list[tuple[str, str]]]

    @classmethod
    def load(cls, world: World) -> "Shapes | None":
        """Of the packages, fetched where they are not there yet; None for a world that was drawn in memory.

        OSError where they can't be had.
        """
        if world.folder is None:
            return None
        downloads, lock, hidden = world.folder / "downloads", read_lock(), Hidden.of(world)
        trained = {picture.id for picture in world.split("train")}
        sets = [package for package in PACKAGES if package.kind == "iconify"]
        drawings = {p.style: _drawings(fetch(p, downloads, lock), p.style, trained) for p in sets}
        icons = {p.name: _icons(fetch(p, downloads, lock), hidden) for p in ICON_SETS}
        return cls({name: of for name, of in drawings.items() if of}, {name: of for name, of in icons.items() if of})

    def digest(self) -> str:
        """Names these very drawings and icons."""
        return hashlib.sha256(repr((sorted(self.drawings.items()), sorted(self.icons.items()))).encode()).hexdigest()

    def draw(self, number: int, seed: int) -> tuple[np.ndarray, str]:
        """Premultiplied uint8 (128, 128, 4) and its caption: icons where `number` is odd, mixtures where it is even.

        ValueError where nothing can be seen, however often it is tried.
        """
        rng = stream("shapes", seed, number)
        for _ in range(TRIES):
            svg, caption = self._icon(rng) if number % 2 else self._mixture(rng)
            pixels = render_svg(svg)
            if (pixels[..., 3] > 127).mean() >= VISIBLE:
                return pixels, caption
        raise ValueError(f"shape {number} of seed {seed}: nothing to be seen in {TRIES} drawings; are the sets whole?")

    def _icon(self, rng: Random) -> tuple[str, str]:
        svg, caption = rng.choice(self.icons[rng.choice(sorted(self.icons))])
        colour = "#000" if rng.random() < BLACK else f"#{rng.randrange(1 << 24):06x}"
        return svg.replace("currentColor", colour), caption

    def _mixture(self, rng: Random) -> tuple[str, str]:
        style = rng.choice(sorted(self.drawings))
        return mixture(self.drawings[style], rng), f"{style} style"


@dataclass(frozen=True)
class Hidden:
    """What tells a concept that no training picture shows: words that tell no other, and whole names without their s.

    The one place where training looks at a test split, to keep away from it; it reads names and no picture.
    """

    words: frozenset[str]
    names: frozenset[frozenset[str]]

    @classmethod
    def of(cls, world: World) -> "Hidden":
        """Of the concepts that are held out."""
        taught = Counter(
            word
            for _, word in {
                (picture.concept, word) for picture in world.split("train") for word in _words(picture.names["en"])
            }
        )
        names = {picture.names["en"] for picture in world.split("concept", allow_test=True)}
        words = frozenset(word for name in names for word in _words(name) if taught[word] < COMMON)
        return cls(words, frozenset(map(_singular, names)))

    def names_one(self, caption: str) -> bool:
        """Whether an icon of that caption may show one of them."""
        return bool(_words(caption) & self.words) or any(name <= _singular(caption) for name in self.names)


def _words(name: str) -> set[str]:
    """Words of three letters or more, each as it is and without the s of a plural."""
    words = {word for word in re.findall(r"[a-z]+", name.lower()) if len(word) > 2}
    return words | _singular(" ".join(words))


def _singular(name: str) -> frozenset[str]:
    return frozenset(word.removesuffix("s") for word in re.findall(r"[a-z]+", name.lower()))


def _drawings(archive: Path, style: str, trained: set[str]) -> list[str]:
    bodies = read_iconify(archive).bodies
    return [bodies[name] for name in sorted(bodies) if f"{style}/{name}" in trained]


def _icons(archive: Path, hidden: Hidden) -> list[tuple[str, str]]:
    bodies = read_iconify(archive).bodies
    named = ((name, " ".join(_NUMBER.sub("", name.replace("-", " ")).split())) for name in sorted(bodies))
    kept = [(name, told) for name, told in named if told and not _THIN.search(name) and not hidden.names_one(told)]
    return [(bodies[name], f"{told}, icon") for name, told in kept]
