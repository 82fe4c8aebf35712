"""Where the things of a picture stand that are drawn one by one: boxes, and what is moved to what lies below it.

Which of them a prompt asks for is read in `models.reading.layout`.
"""

from dataclasses import dataclass, replace
from typing import Literal

from models.data.pixels import SIZE

SIDE = 60  # pixels of each of several
Onto = Literal["", "head", "neck", "middle", "face"]


@dataclass(frozen=True)
class Place:
    """Where one thing goes.

    Attributes:
        left, top, width, height: of its box, in pixels of SIZE.
        z: higher is nearer.
        stands: at which height a thing stands that is lower than its box: 0 at the top, 1 at the bottom.
        onto: "head" and "neck" move what is worn to those of what lies below it, wherever they are (`models.worn`),
            "middle" to where what lies in the box has most room (`models.features`); "face" there, and only its eyes
            and mouth.
        close: whether of an animal its face goes there: what is too small for legs, or wears something on its head.
        words: written on the thing, where it has most room (`models.lettering`).
    """

    left: int
    top: int
    width: int
    height: int
    z: int = 0
    stands: float = 0.5
    onto: Onto = ""
    close: bool = False
    words: str = ""


WHOLE, SMALL = Place(8, 8, 112, 112), Place(38, 38, 52, 52)
DRESSED = Place(32, 30, 64, 60, z=1), WHOLE  # an animal's face on a person, whose own is there in nearly all sets
BACKDROP = Place(0, 0, 128, 128)
MIDDLE, FEATURES = (Place(0, 0, 128, 128, z=1, onto=onto) for onto in ("middle", "face"))
WINGED = Place(33, 34, 62, 74, z=1, close=True), Place(1, 2, 126, 120)  # before a butterfly, whose wings are all seen
_LEFT, _RIGHT = Place(1, 30, 62, 68, close=True), Place(65, 30, 62, 68, close=True)
_UPPER, _LOWER = Place(30, 1, 68, 62, close=True), Place(30, 65, 68, 62, close=True)
_FRONT, _BACK = Place(58, 58, 68, 68, z=1, stands=1, close=True), Place(2, 4, 92, 92, close=True)
# Of two things, by what is said of the first to the second. Boxes are as large as can be, but for what is worn or held.
TWO: dict[str, tuple[Place, Place]] = {
    "left of": (_LEFT, _RIGHT),
    "right of": (_RIGHT, _LEFT),
    "above": (_UPPER, _LOWER),
    "below": (_LOWER, _UPPER),
    "in front of": (_FRONT, _BACK),
    "behind": (_BACK, _FRONT),
    "on": (Place(28, 0, 72, 66, z=1, stands=1, close=True), Place(14, 58, 100, 70, stands=0)),
    "in": (Place(26, 2, 76, 76, stands=1, close=True), Place(10, 52, 108, 76, z=1, stands=1)),
    "on the head": (Place(12, 30, 104, 98, stands=0, close=True), Place(38, 0, 52, 42, z=1, stands=1, onto="head")),
    "on top": (Place(12, 30, 104, 98, stands=0), Place(42, 0, 44, 38, z=1, stands=1, onto="head")),
    "on the ears": (Place(26, 32, 76, 94, stands=0, close=True), Place(4, 2, 120, 102, z=1)),
    "on the eyes": (Place(6, 6, 116, 116, close=True), Place(32, 36, 64, 30, z=1)),
    "on the front": (Place(6, 6, 116, 116), FEATURES),
    "printed on": (Place(2, 2, 124, 124), replace(MIDDLE, close=True)),
    "on the body": (Place(22, 0, 84, 76, z=1, stands=1, close=True), Place(10, 58, 108, 70, stands=0)),
    "round the neck": (Place(6, 2, 116, 124), Place(40, 60, 48, 56, z=1, stands=0, onto="neck")),
    "under the chin": (Place(12, 0, 104, 98, close=True), Place(38, 78, 52, 50, z=1, stands=0)),
    "in the hand": (Place(1, 0, 108, 112, close=True), Place(66, 62, 62, 66, z=1, stands=1)),
    "in the arms": (Place(13, 0, 102, 100, close=True), Place(32, 74, 64, 54, z=1, stands=1)),
}
# Of one thing with small ones: with one on it, with up to three strewn over it, or around it.
ON_IT = Place(4, 4, 120, 120), Place(42, 44, 44, 44, z=1)
STREWN = (
    *(Place(4, 4, 120, 120), Place(22, 36, 34, 34, z=1)),
    *(Place(72, 30, 34, 34, z=1), Place(50, 66, 34, 34, z=1)),
)
AROUND = (
    *(Place(18, 22, 92, 92, close=True), Place(92, 0, 36, 36, z=1)),
    *(Place(0, 6, 34, 34, z=1), Place(94, 92, 34, 34, z=1)),
)
# Of one to three things in front of a place, which is the BACKDROP.
THERE: dict[int, tuple[Place, ...]] = {
    1: (Place(30, 44, 68, 82, z=1, stands=1, close=True),),
    2: tuple(Place(left, 56, 60, 68, z=1, stands=1, close=True) for left in (3, 65)),
    3: tuple(Place(left, 70, 41, 54, z=1, stands=1, close=True) for left in (2, 44, 86)),
}
STAGE = Place(20, 32, 88, 94, z=1, stands=1)  # of a pair that belongs together, in front of a place
SKY, BELOW_SKY = Place(30, 0, 68, 46, close=True), Place(20, 42, 88, 86, stands=1)
# Of who says something, and of what is said.
SPEAKER, BALLOON = Place(0, 48, 80, 80, stands=1, close=True), Place(44, 0, 84, 68, z=9)
# Centres of several of one size, in shares of the picture.
_SEVERAL: dict[int, tuple[tuple[float, float], ...]] = {
    2: ((0.25, 0.5), (0.75, 0.5)),
    3: ((0.5, 0.25), (0.25, 0.75), (0.75, 0.75)),
    4: ((0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)),
}


def several(count: int) -> tuple[Place, ...]:
    """Places of one size; none for more than there is room for."""
    corners = [(round(SIZE * x - SIDE / 2), round(SIZE * y - SIDE / 2)) for x, y in _SEVERAL.get(count, ())]
    return tuple(Place(left, top, SIDE, SIDE, close=True) for left, top in corners)


def within(place: Place, frame: Place, keep: bool = False) -> Place:
    """A place of a whole picture, where that picture is as small as a frame: glasses on who stands at the left.

    What moves to where something lies is not to find another thing there; `keep` where there is no other.
    """
    scale = min(frame.width, frame.height) / SIZE
    left = frame.left + (frame.width - scale * SIZE) / 2
    top = frame.top + frame.stands * (frame.height - scale * SIZE)
    x, y, width, height = (round(scale * value) for value in (place.left, place.top, place.width, place.height))
    onto: Onto = place.onto if keep else ""
    at = round(left) + x, round(top) + y
    return replace(place, left=at[0], top=at[1], width=width, height=height, z=frame.z + place.z, onto=onto)


def matched(place: Place, own: Place, other: Place) -> Place:
    """A place beside `own`, where in its stead `other` is: a hat's where the head is elsewhere."""
    scale = other.width / own.width
    left, top = other.left + scale * (place.left - own.left), other.top + scale * (place.top - own.top)
    width, height = scale * place.width, scale * place.height
    return replace(place, left=round(left), top=round(top), width=round(width), height=round(height))
