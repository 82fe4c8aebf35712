"""Boxes of the drawings that a picture is laid out of, and the tables of boxes for each relation of two of them."""

from dataclasses import dataclass, replace
from typing import Literal

from models.data.pixels import SIZE

SIDE = 60  # pixels of each of several
Anchor = Literal["", "head", "neck", "middle", "face"]


@dataclass(frozen=True)
class Box:
    """Where one drawing goes.

    Attributes:
        left, top, width, height: in pixels of SIZE.
        z: higher is nearer.
        align: at which height a drawing stands that is lower than its box: 0 at the top, 1 at the bottom.
        anchor: "head" and "neck" move what is worn to those of what lies below it, wherever they are
            (`models.compose.accessories`), "middle" to where what lies in the box has most room
            (`models.compose.anchors`); "face" there, and only its eyes and mouth.
        close_up: whether of an animal its face goes there: what is too small for legs, or wears something on its head.
        lettering: written on the drawing, where it has most room (`models.compose.lettering`).
    """

    left: int
    top: int
    width: int
    height: int
    z: int = 0
    align: float = 0.5
    anchor: Anchor = ""
    close_up: bool = False
    lettering: str = ""


WHOLE, SMALL = Box(8, 8, 112, 112), Box(38, 38, 52, 52)
COSTUME = Box(32, 30, 64, 60, z=1), WHOLE  # an animal's face on a person, whose own is there in nearly all sets
BACKDROP = Box(0, 0, 128, 128)
MIDDLE, FEATURES = (Box(0, 0, 128, 128, z=1, anchor=anchor) for anchor in ("middle", "face"))
WINGED = Box(33, 34, 62, 74, z=1, close_up=True), Box(1, 2, 126, 120)  # before a butterfly, whose wings are all seen
_LEFT, _RIGHT = Box(1, 30, 62, 68, close_up=True), Box(65, 30, 62, 68, close_up=True)
_UPPER, _LOWER = Box(30, 1, 68, 62, close_up=True), Box(30, 65, 68, 62, close_up=True)
_FRONT, _BACK = Box(58, 58, 68, 68, z=1, align=1, close_up=True), Box(2, 4, 92, 92, close_up=True)
# Of two entities, by the relation of the first to the second; as large as can be, but for what is worn or held.
PAIR: dict[str, tuple[Box, Box]] = {
    "left of": (_LEFT, _RIGHT),
    "right of": (_RIGHT, _LEFT),
    "above": (_UPPER, _LOWER),
    "below": (_LOWER, _UPPER),
    "in front of": (_FRONT, _BACK),
    "behind": (_BACK, _FRONT),
    "on": (Box(28, 0, 72, 66, z=1, align=1, close_up=True), Box(14, 58, 100, 70, align=0)),
    "in": (Box(26, 2, 76, 76, align=1, close_up=True), Box(10, 52, 108, 76, z=1, align=1)),
    "on the head": (Box(12, 30, 104, 98, align=0, close_up=True), Box(38, 0, 52, 42, z=1, align=1, anchor="head")),
    "on top": (Box(12, 30, 104, 98, align=0), Box(42, 0, 44, 38, z=1, align=1, anchor="head")),
    "on the ears": (Box(26, 32, 76, 94, align=0, close_up=True), Box(4, 2, 120, 102, z=1)),
    "on the eyes": (Box(6, 6, 116, 116, close_up=True), Box(32, 36, 64, 30, z=1)),
    "on the front": (Box(6, 6, 116, 116), FEATURES),
    "printed on": (Box(2, 2, 124, 124), replace(MIDDLE, close_up=True)),
    "on the body": (Box(22, 0, 84, 76, z=1, align=1, close_up=True), Box(10, 58, 108, 70, align=0)),
    "round the neck": (Box(6, 2, 116, 124), Box(40, 60, 48, 56, z=1, align=0, anchor="neck")),
    "under the chin": (Box(12, 0, 104, 98, close_up=True), Box(38, 78, 52, 50, z=1, align=0)),
    "in the hand": (Box(1, 0, 108, 112, close_up=True), Box(66, 62, 62, 66, z=1, align=1)),
    "in the arms": (Box(13, 0, 102, 100, close_up=True), Box(32, 74, 64, 54, z=1, align=1)),
}
# Of one entity with small ones: with one on it, with up to three scattered over it, or around it.
ON_IT = Box(4, 4, 120, 120), Box(42, 44, 44, 44, z=1)
SCATTERED = (
    *(Box(4, 4, 120, 120), Box(22, 36, 34, 34, z=1)),
    *(Box(72, 30, 34, 34, z=1), Box(50, 66, 34, 34, z=1)),
)
AROUND = (
    *(Box(18, 22, 92, 92, close_up=True), Box(92, 0, 36, 36, z=1)),
    *(Box(0, 6, 34, 34, z=1), Box(94, 92, 34, 34, z=1)),
)
# Of one to three entities in front of scenery, which is the BACKDROP.
IN_SCENE: dict[int, tuple[Box, ...]] = {
    1: (Box(30, 44, 68, 82, z=1, align=1, close_up=True),),
    2: tuple(Box(left, 56, 60, 68, z=1, align=1, close_up=True) for left in (3, 65)),
    3: tuple(Box(left, 70, 41, 54, z=1, align=1, close_up=True) for left in (2, 44, 86)),
}
STAGE = Box(20, 32, 88, 94, z=1, align=1)  # of a pair that belongs together, in front of scenery
SKY, BELOW_SKY = Box(30, 0, 68, 46, close_up=True), Box(20, 42, 88, 86, align=1)
# Of who says something, and of the balloon.
SPEAKER, BALLOON = Box(0, 48, 80, 80, align=1, close_up=True), Box(44, 0, 84, 68, z=9)
# Centres of several of one size, in shares of the picture.
_CENTRES: dict[int, tuple[tuple[float, float], ...]] = {
    2: ((0.25, 0.5), (0.75, 0.5)),
    3: ((0.5, 0.25), (0.25, 0.75), (0.75, 0.75)),
    4: ((0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)),
}


def grid(count: int) -> tuple[Box, ...]:
    """Boxes of one size, SIDE; none for more than there is room for."""
    corners = [(round(SIZE * x - SIDE / 2), round(SIZE * y - SIDE / 2)) for x, y in _CENTRES.get(count, ())]
    return tuple(Box(left, top, SIDE, SIDE, close_up=True) for left, top in corners)


def within(box: Box, frame: Box, keep: bool = False) -> Box:
    """A box of a whole picture, where that picture is as small as a frame: glasses on who stands at the left.

    What moves to an anchor is not to find that of another drawing there; `keep` where there is no other.
    """
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
