"""Where the things of a prompt stand: "a cat to the left of a dog" is a cat in the left half, a dog in the right one.

The generator draws one thing well and two of them poorly: at half of the picture's side a thing is eight latents wide.
So each is drawn alone, as large as a picture, and laid where the prompt says (the arrangement of Collage Diffusion,
arXiv 2303.00262, read from the words). Here stands what is said: which things, and where; `models.collage` lays them.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from models.data.colours import COLOURS
from models.data.grammar import language_of, singular
from models.data.pixels import SIZE
from models.data.scene_words import PAIRS_EN, PAIRS_ZH, RELATIONS_EN, RELATIONS_ZH
from models.data.scenes import GROUNDS
from models.dressed import close_up, dressed, portrait
from models.hybrids import hybrid
from models.naming import Part
from models.phrasing import DEEDS, bare, in_order
from models.wording import NEGATED, Wording, count_of, ground_of, how_many, without_ground

SIDE = 60  # pixels of each of several


@dataclass(frozen=True)
class Place:
    """Where one thing goes.

    Attributes:
        left, top, width, height: of its box, in pixels of SIZE.
        z: higher is nearer.
        stands: at which height a thing stands that is lower than its box: 0 at the top, 1 at the bottom.
        worn: whether it goes on the head of what lies below it, wherever that is (`models.worn`).
        close: whether of an animal its face goes there: what is too small for legs, or wears something on its head.
    """

    left: int
    top: int
    width: int
    height: int
    z: int = 0
    stands: float = 0.5
    worn: bool = False
    close: bool = False


@dataclass(frozen=True)
class Layout:
    """What is drawn alone, in words, the place of each, and the colours of the ground (`compose.ground`)."""

    texts: tuple[str, ...]
    places: tuple[Place, ...]
    ground: tuple[str, ...] = ()


WHOLE, SMALL = Place(8, 8, 112, 112), Place(38, 38, 52, 52)
DRESSED = Place(32, 30, 64, 60, z=1), WHOLE  # an animal's face on a person, whose own is there in nearly all sets
_LEFT, _RIGHT = Place(1, 30, 62, 68, close=True), Place(65, 30, 62, 68, close=True)
_UPPER, _LOWER = Place(30, 1, 68, 62, close=True), Place(30, 65, 68, 62, close=True)
_FRONT, _BACK = Place(58, 58, 68, 68, z=1, stands=1), Place(2, 4, 92, 92)
# Of two things, by what is said of the first to the second. Boxes as large as they can be, but for what is worn.
TWO: dict[str, tuple[Place, Place]] = {
    "left of": (_LEFT, _RIGHT),
    "right of": (_RIGHT, _LEFT),
    "above": (_UPPER, _LOWER),
    "below": (_LOWER, _UPPER),
    "in front of": (_FRONT, _BACK),
    "behind": (_BACK, _FRONT),
    "on": (Place(28, 0, 72, 66, z=1, stands=1), Place(14, 58, 100, 70, stands=0)),
    "in": (Place(26, 2, 76, 76, stands=1, close=True), Place(10, 52, 108, 76, z=1, stands=1)),
    "on the head": (Place(12, 30, 104, 98, stands=0, close=True), Place(38, 0, 52, 42, z=1, stands=1, worn=True)),
    "on the eyes": (Place(6, 6, 116, 116, close=True), Place(32, 36, 64, 30, z=1)),
    "on the front": (Place(6, 6, 116, 116), Place(40, 46, 48, 48, z=1)),
    "round the neck": (Place(6, 2, 116, 124), Place(40, 60, 48, 56, z=1, stands=0)),
    "under the chin": (Place(12, 0, 104, 98, close=True), Place(38, 78, 52, 50, z=1, stands=0)),
}
# Of one to three things in front of a place.
BACKDROP = Place(0, 0, 128, 128)
THERE: dict[int, tuple[Place, ...]] = {
    1: (Place(30, 44, 68, 82, z=1, stands=1),),
    2: (Place(3, 56, 60, 68, z=1, stands=1), Place(65, 56, 60, 68, z=1, stands=1)),
    3: tuple(Place(left, 70, 41, 54, z=1, stands=1) for left in (2, 44, 86)),
}
# Centres of several of one size, in shares of the picture.
_SEVERAL: dict[int, tuple[tuple[float, float], ...]] = {
    2: ((0.25, 0.5), (0.75, 0.5)),
    3: ((0.5, 0.25), (0.25, 0.75), (0.75, 0.75)),
    4: ((0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)),
}
# What people say and captions of scenes do not.
_MORE = {
    "on": ("{a} on top of {b}", "{a} on {b}", "{a} riding {b}", "{a}骑着{b}", "{a}骑{b}", "{a}在{b}上"),
    "in": ("{a} in {b}", "{a} inside {b}", "{a} into {b}", "{a}在{b}里"),
    "left of": (
        "{a} beside {b}",
        "{a} near {b}",
        "{a} by {b}",
        *(f"{{a}} {deed} {{b}}" for deed in DEEDS),
        "{a} & {b}",
        *(f"{{a}}{deed}{{b}}" for deed in ("拿着", "追着", "追", "抱着")),
        "{a}跟{b}",
        "{a}在{b}旁边",
    ),
    "above": ("{a}在{b}上面",),
    "below": ("{a} beneath {b}", "{a} underneath {b}", "{a}在{b}下"),
    "": ("{a} made of {b}",),  # one thing, not two
}
# Where the first of two is and where the second is, said before them: "on the left a cat, on the right a dog".
_PLACES_FIRST = (
    (("left of", "on the left", "左"), ("right of", "on the right", "右")),
    (("above", "at the top", "上"), ("below", "at the bottom", "下")),
    (("in front of", "in the front", "前"), ("behind", "in the back", "后")),
)
_WORN = ("{a} wearing {b}", "{a} with {b}", "{a} in {b}", "{a}戴着{b}", "{a}戴{b}", "{a}穿着{b}", "{a}穿{b}")
_WHERE_WORN = {
    "on the head": re.compile(r"\b(?:hat|crown|cap|helmet)\b|^ribbon$"),
    "on the eyes": re.compile(r"\b(?:glasses|sunglasses|goggles)\b"),
    "on the front": re.compile(r"\bface\b"),
    "round the neck": re.compile(r"\b(?:scarf|necktie)\b"),
}
# What is all around a thing that is there, by CLDR's names; on top of a mountain it would stand.
_SCENERY = frozenset(
    {
        *("beach with umbrella", "desert", "desert island", "hot springs", "national park", "water wave", "camping"),
        *("cityscape", "cityscape at dusk", "bridge at night", "motorway", "stadium"),
        *("sunrise", "sunrise over mountains", "sunset", "foggy", "milky way", "night with stars"),
    }
)
_THERE = re.compile(r"(?:\b(?:at|by|on|in|under|in front of)|在)$")
_ONE_EACH = re.compile(rf"\bone ({'|'.join(COLOURS)})\b|一[^，,一]?({'|'.join(c.zh for c in COLOURS.values())})")
_SET_OUT = re.compile(r" the (?:left|right|top|bottom|front|back)\b")
_POSED = re.compile(r"[坐站躺趴睡](?=在)")
_GROUND_NAMES = {word: name for name, c in COLOURS.items() if c.paint or name in GROUNDS for word in (name, c.zh)}
_GROUND_NAME = re.compile("|".join(rf"\b{word}\b" if word.isascii() else word for word in _GROUND_NAMES))


def _forms() -> dict[str, str]:
    """What is said of two things -> how the first stands to the second."""
    found = dict.fromkeys((*PAIRS_EN, *PAIRS_ZH), "left of")
    for relations in (_MORE, RELATIONS_EN, RELATIONS_ZH):
        found.update({form: relation for relation, forms in relations.items() for form in forms})
    for (relation, here, here_zh), (_, there, there_zh) in (*_PLACES_FIRST, *(pair[::-1] for pair in _PLACES_FIRST)):
        found |= {f"{here} {{a}}{joint} {there} {{b}}": relation for joint in (",", " and", ", and")}
        found |= {f"{here_zh}{side}{{a}}，{there_zh}{side}{{b}}": relation for side in "面边方侧"}
    return found


FORMS = _forms()


def layout(prompt: str, wording: Wording) -> Layout | None:
    """Of a prompt that names two to four things, or one that is small or on a coloured ground; None of any other, of
    one that says what should not be there, and of one that is read word for word."""
    if not wording.is_free(prompt) or NEGATED.search(prompt):
        return None
    text, ground = in_order(prompt), _colours(ground_of(prompt))
    if ground and hybrid(bare_prompt := without_ground(prompt), wording):
        return Layout((bare_prompt,), (WHOLE,), ground)
    if pair := dressed(prompt, wording):
        return Layout(tuple(wording.alone(part, prompt) for part in pair), DRESSED, ground)
    if face := portrait(prompt, wording):
        return Layout((wording.alone(face, prompt),), (WHOLE if ground else BACKDROP,), ground)
    if painted := _painted(text, wording):
        return _laid(painted, _several(len(painted)), prompt, ground, wording)
    parts = wording.parts(text)
    counts = [how_many(part) for part in parts]
    if counts == [1]:
        return _one(parts[0], prompt, ground, wording)
    places = _places(text, parts, counts, wording)
    each = [(_single(part, wording) if count > 1 else part, count) for part, count in zip(parts, counts, strict=True)]
    return _laid([part for part, count in each for _ in range(count)], places, prompt, ground, wording)


def _laid(
    things: Sequence[Part], places: tuple[Place, ...], prompt: str, ground: tuple[str, ...], wording: Wording
) -> Layout | None:
    """The things in their places; None where there are none for them."""
    if not places:
        return None
    seen = [close_up(part, wording) if place.close else part for place, part in zip(places, things, strict=True)]
    return Layout(tuple(wording.alone(part, prompt) for part in seen), places, ground)


def _one(part: Part, prompt: str, ground: tuple[str, ...], wording: Wording) -> Layout | None:
    """One thing is laid out where it is small or stands on a coloured ground."""
    if wording.is_small(part):
        return Layout((wording.alone(part, prompt),), (SMALL,), ground)
    return Layout((without_ground(prompt) or wording.alone(part, prompt),), (WHOLE,), ground) if ground else None


def _single(part: Part, wording: Wording) -> Part:
    """One of several: of three hearts a heart, and not the two that one name holds."""
    found = wording.parts(singular(bare(part.text)))
    return Part(part.text, found[0].number, found[0].name) if len(found) == 1 else part


def _painted(text: str, wording: Wording) -> tuple[Part, ...]:
    """Of "two cats, one red and one blue" what each is; nothing of a prompt that says no such thing."""
    first, *rest = re.split(r"[,，]", text, maxsplit=1)
    colours = [english or chinese for english, chinese in _ONE_EACH.findall("".join(rest))]
    parts = wording.parts(first) if len(colours) > 1 else []
    if len(parts) != 1 or count_of(first, language_of(text)) != len(colours):
        return ()
    one = _single(parts[0], wording)
    return tuple(Part(f"{colour} {one.name}", one.number, one.name) for colour in colours)


def _places(text: str, parts: Sequence[Part], counts: Sequence[int], wording: Wording) -> tuple[Place, ...]:
    """One for each of the things; none where they are not to be laid out."""
    if _is_there(text, parts, wording):
        around = THERE.get(sum(counts) - 1, ())
        return (*around, BACKDROP) if around and counts[-1] == 1 else ()
    if counts != [1, 1]:
        return _several(sum(counts))
    first, second = (wording.naming.known[part.number].names.get("en", ()) for part in parts)
    said = _said(text, parts)
    if "{a} with {b} on top" in said:
        return TWO["on"][::-1]
    if "{a} on {b}" in said and (where := _worn(first)):
        return TWO[where][::-1]
    relation = _relation(said, second)
    if relation == "round the neck" and close_up(parts[0], wording) != parts[0]:
        relation = "under the chin"  # of whom only the face is drawn
    return TWO[relation] if relation else ()


def _is_there(text: str, parts: Sequence[Part], wording: Wording) -> bool:
    """Whether the last of several is a place, and the others are in it."""
    last = parts[-1] if len(parts) > 1 else None
    if last is None or not _SCENERY.intersection(wording.naming.known[last.number].names.get("en", ())):
        return False
    return bool(_THERE.search(text[: text.rfind(last.text.strip())].strip()))


def _several(count: int) -> tuple[Place, ...]:
    """Places of one size; none for more than there is room for."""
    corners = [(round(SIZE * x - SIDE / 2), round(SIZE * y - SIDE / 2)) for x, y in _SEVERAL.get(count, ())]
    return tuple(Place(left, top, SIDE, SIDE, close=True) for left, top in corners)


def _said(text: str, parts: Iterable[Part]) -> str:
    """The prompt with {a} and {b} where the two things stand."""
    for key, part in zip(("{a}", "{b}"), parts, strict=True):
        text = text.replace(part.text.strip().rstrip("的坐站躺趴睡上下里"), key, 1)
    said = " ".join(_POSED.sub("", text).split())
    return re.sub(r",? (?:and|with|while) \{b\}", ", {b}", said) if _SET_OUT.search(said) else said


def _relation(said: str, second: Sequence[str]) -> str:
    """How the first of two things stands to the second, whose names are given."""
    if any(form in said for form in _WORN) and (where := _worn(second)):
        return where
    return FORMS[max((form for form in FORMS if form in said), key=len, default="{a} and {b}")]


def _worn(names: Sequence[str]) -> str:
    """Where a thing of these names is worn; "" where it is not."""
    return next((where for where, word in _WHERE_WORN.items() if any(word.search(name.lower()) for name in names)), "")


def _colours(ground: str) -> tuple[str, ...]:
    """The colours that are said of the ground: none, one, or two of a gradient."""
    return tuple(dict.fromkeys(_GROUND_NAMES[word] for word in _GROUND_NAME.findall(ground.lower())))[:2]
