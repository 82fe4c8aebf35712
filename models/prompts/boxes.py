"""Boxes of the drawings that a picture is laid out of: `boxes.toml` holds those of each relation of two of them."""

import tomllib
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

from models.data.pixels import SIZE

Anchor = Literal["", "head", "neck", "middle", "face"]


@dataclass(frozen=True)
class Box:
    """Where one drawing goes, in pixels of SIZE."""

    left: int
    top: int
    width: int
    height: int
    z: int = 0  # higher is nearer
    align: float = 0.5  # at which height a drawing stands that is lower than its box: 0 at the top, 1 at the bottom
    # "head" and "neck" move what is worn to those of what lies below it, wherever they are
    # (`models.compose.accessories`), "middle" to where what lies in the box has most room (`models.compose.anchors`);
    # "face" there, and only its eyes and mouth.
    anchor: Anchor = ""
    close_up: bool = False  # of an animal its face goes there: it is too small for legs, or wears something on its head
    lettering: str = ""  # written on the drawing, where it has most room (`models.compose.lettering`)


Boxes = tuple[Box, ...]


def _read(row: Any) -> Any:
    """Boxes in place of the rows of a table."""
    if isinstance(row, list):
        return tuple(map(_read, row))
    if "box" in row:
        return Box(*row["box"], **{name: value for name, value in row.items() if name != "box"})
    return {int(name) if name.isdigit() else name: _read(rows) for name, rows in row.items()}


_TABLE = _read(tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")))
WHOLE, SMALL, BACKDROP, MIDDLE, FEATURES = itemgetter("whole", "small", "backdrop", "middle", "features")(_TABLE)
STAGE, SKY, BELOW_SKY, SPEAKER, BALLOON = itemgetter("stage", "sky", "below_sky", "speaker", "balloon")(_TABLE)
COSTUME, WINGED, ON_IT, SCATTERED, AROUND = itemgetter("costume", "winged", "on_it", "scattered", "around")(_TABLE)
PAIR: dict[str, Boxes] = _TABLE["pair"]
for _one, _other in (("left of", "right of"), ("above", "below"), ("in front of", "behind")):
    PAIR[_other] = PAIR[_one][::-1]
IN_SCENE: dict[int, Boxes] = _TABLE["in_scene"]
GRID: dict[int, Boxes] = _TABLE["grid"]


def within(box: Box, frame: Box, keep: bool = False) -> Box:
    """A box of a whole picture, where that picture is as small as a frame: glasses on who stands at the left. What
    moves to an anchor is not to find that of another drawing there; `keep` where there is no other."""
    scale = min(frame.width, frame.height) / SIZE
    left = frame.left + (frame.width - scale * SIZE) / 2
    top = frame.top + frame.align * (frame.height - scale * SIZE)
    x, y, width, height = (round(scale * value) for value in (box.left, box.top, box.width, box.height))
    anchor: Anchor = box.anchor if keep else ""
    at = round(left) + x, round(top) + y
    return replace(box, left=at[0], top=at[1], width=width, height=height, z=frame.z + box.z, anchor=anchor)


def matched(box: Box, own: Box, other: Box) -> Box:
    """A box beside `own`, where in its stead `other` is: a hat's where the head is elsewhere."""
    scale = other.width / own.width
    left, top = other.left + scale * (box.left - own.left), other.top + scale * (box.top - own.top)
    width, height = scale * box.width, scale * box.height
    return replace(box, left=round(left), top=round(top), width=round(width), height=round(height))
