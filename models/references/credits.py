"""Whom pictures are owed to: the stored drawings that they were drawn from, as files say it and as people give credit;
and which things of them were drawn again.

What sets there are, who made them and under which licence is in one table, `models/data/packages.toml`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from models.data.packages import LINKED, PACKAGES

FILE = "CREDITS.txt"
REDRAWN = "redrawn"  # what the generator does to every reference

_PACKED = re.compile(r" \(.*?\)")  # the set's name, which an author has in brackets
_BY_STYLE = {package.style: package for package in PACKAGES if package.style}
_HOMES = {package.set: package.home for package in PACKAGES if package.set}


@dataclass(frozen=True)
class Credit:
    """A stored drawing that a picture was drawn from."""

    set: str  # that it is of
    name: str  # of what it shows
    maker: str = ""
    licence: str = ""  # its SPDX identifier
    changed: str = REDRAWN  # how
    # Whether the picture has the same 16-pixel thumbnail as it or its mirror image (`models.data.world.SAME_DRAWING`).
    copied: bool = False

    @property
    def terms(self) -> str:
        """The licence as people write it."""
        return LINKED[self.licence].title if self.licence in LINKED else self.licence


def credit(style: str, name: str, changed: str = REDRAWN, copied: bool = False) -> Credit:
    """That of a drawing in one of the styles; of a style that is in no table the style alone is known."""
    package = _BY_STYLE.get(style)
    if package is None:
        return Credit(style, name, changed=changed, copied=copied)
    return Credit(package.set, name, _PACKED.sub("", package.author), package.licence, changed, copied)


@dataclass(frozen=True)
class Redraw:
    """A thing that was drawn again, `tries` times, because it was read as something else; both by English names."""

    name: str
    read_as: str
    tries: int


@dataclass(frozen=True)
class SetCredit:
    """The drawings of one set by one maker under one licence."""

    set: str
    names: tuple[str, ...]
    maker: str
    licence: str
    home: str  # where the set is found, "" for one that is in no table
    link: str  # likewise the licence
    line: str  # what to paste beside pictures


def by_set(credits: Iterable[Credit]) -> list[SetCredit]:
    """Each drawing once, with those of its set, in the order in which they come."""
    groups: dict[tuple[str, str, str], list[Credit]] = {}
    for drawing in credits:
        groups.setdefault((drawing.set, drawing.maker, drawing.licence), []).append(drawing)
    return [_of_set(group) for group in groups.values()]


def lines(credits: Iterable[Credit]) -> str:
    """What to paste beside pictures, a line a set (source, maker, licence, that it was changed, as CC BY 4.0 asks in
    section 3(a)); "" where there is nobody to name."""
    return "\n".join(one.line for one in by_set(credits))


def as_file(credits: Iterable[Credit]) -> dict[str, bytes]:
    """The file that goes with pictures, by its name; none where there is nobody to name."""
    return {FILE: f"{text}\n".encode()} if (text := lines(credits)) else {}


def _of_set(group: list[Credit]) -> SetCredit:
    first, names = group[0], tuple(dict.fromkeys(one.name for one in group))
    home, link = _HOMES.get(first.set, ""), LINKED[first.licence].link if first.licence in LINKED else ""
    named = f"{', '.join(names)} of {first.set}{f' ({home})' if home else ''}"
    maker = f" by {first.maker}" if first.maker else ""
    terms = f", {first.terms}{f' ({link})' if link else ''}" if first.licence else ""
    return SetCredit(first.set, names, first.maker, first.licence, home, link, f"Redrawn after {named}{maker}{terms}.")
