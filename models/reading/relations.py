"""How the things of a prompt stand to each other: which words say that one is left of, on, worn or held by another.

The places that follow from it are in `models.reading.places`.
"""

import re
from collections.abc import Iterable, Sequence

from models.data.grammar import singular
from models.data.scene_words import PAIRS_EN, PAIRS_ZH, RELATIONS_EN, RELATIONS_ZH
from models.reading.amounts import PAIRED
from models.reading.dressed import close_up
from models.reading.hybrids import has_eyes
from models.reading.naming import FLAGS, PEOPLE, Known, Part
from models.reading.phrasing import ASIDE, IN_ARMS, IN_HAND, bare
from models.reading.places import (
    AROUND,
    BACKDROP,
    BELOW_SKY,
    ON_IT,
    SKY,
    STAGE,
    STREWN,
    THERE,
    TWO,
    Place,
    matched,
    several,
    within,
)
from models.reading.wording import Wording

# What people say and captions of scenes do not.
_MORE = {
    "on": ("{a} on top of {b}", "{a} on {b}", "{a} riding {b}", "{a}骑着{b}", "{a}骑{b}", "{a}在{b}上"),
    "in": (
        *("{a} in {b}", "{a} inside {b}", "{a} into {b}", "{a} hatching from {b}", "{a}在{b}里", "{a}在{b}中"),
        *("{a} driving {b}", "{a} flying {b}", "{a} piloting {b}"),
    ),
    "left of": (
        *("{a} beside {b}", "{a} near {b}", "{a} by {b}", "{a} & {b}"),
        *("{a}跟{b}", "{a}在{b}旁边", "{a}在{b}左边", "{a}在{b}左侧", "{a}追着{b}", "{a}追{b}"),
        *(f"{{a}} {deed} {{b}}" for deed in ASIDE),
    ),
    "right of": ("{a}在{b}右边", "{a}在{b}右侧"),
    "in front of": ("{a}在{b}前面", "{a}在{b}前边", "{a}在{b}前"),
    "behind": ("{a}在{b}后面", "{a}在{b}后边", "{a}在{b}后"),
    "in the hand": (
        *(f"{{a}} {deed} {{b}}" for deed in IN_HAND),
        *(f"{{a}}{deed}{{b}}" for deed in ("拿着", "拿", "吃着", "吃", "喝着", "喝", "弹着", "弹", "打着", "打")),
    ),
    "in the arms": (
        *(f"{{a}} {deed} {{b}}" for deed in IN_ARMS),
        *(f"{{a}}{deed}{{b}}" for deed in ("抱着", "抱", "看着", "看", "读着", "读")),
    ),
    "above": ("{a} flying over {b}", "{a} abducting {b}", "{a}在{b}上面"),
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
    "on the ears": re.compile(r"\bheadphone\b"),
    "on the body": re.compile(r"\b(?:t-shirt|shirt|coat|dress|kimono|sari|vest)\b"),
    "round the neck": re.compile(r"\b(?:scarf|necktie|medal)\b"),
}
_ON_BODY = re.compile(
    r"\{b\} (?:on|in|round|around) (?:its|his|her|their|the) (head|nose|neck|back|hand|paw|mouth|arm)s?\b"
)
_WHERE_ON_BODY = {"head": "on the head", "nose": "on the head", "neck": "round the neck", "back": "below"}
_ON_IT = re.compile(r"\{b\} on (?:it|top of it)\b")
_BOW_TIE = re.compile(r"\bbow ?tie|领结")  # a ribbon by name, and not in the hair
# What has room for a picture on it, by CLDR's names, and which of them nobody sits on.
_WORN_PRINTS = frozenset({"t-shirt", "running shirt", "billed cap", "hot beverage", "balloon", "white flag", "shield"})
_PRINTS = _WORN_PRINTS | {
    *("backpack", "clutch bag", "coin", "cookie", "credit card", "dress", "envelope", "framed picture", "handbag"),
    *("kimono", "laptop", "locked", "luggage", "mobile phone", "package", "page facing up", "placard", "purse"),
    *("speech balloon", "teacup without handle", "television", "thought balloon", "triangular flag", "wrapped gift"),
    *("closed book", "notebook", "desktop computer", "money bag", "name badge", "newspaper"),
}
# And for words.
_PAGES = _PRINTS | {
    *("red envelope", "birthday cake", "red heart", "star", "stop sign", "ticket", "label", "bookmark", "scroll"),
    *("admission tickets", "open book", "spiral notepad", "clipboard", "calendar", "pill", "rosette", "love letter"),
    *("white heart", "pink heart", "blue heart", "yellow heart", "green heart", "purple heart", "orange heart"),
    *("beating heart", "growing heart", "bed", "basket", "bucket", "jar", "canned food", "lotion bottle", "soap"),
    *("right anger bubble", "left speech bubble", "beverage box", "takeout box", "shopping bags", "bubble tea"),
}
_WITH_PRINT = ("{a} with {b}", "{a}印着{b}")
_EMBLEMS = frozenset(
    {
        *("red heart", "beating heart", "star", "glowing star", "crescent moon", "sun", "skull", "blossom", "rose"),
        *("cherry blossom", "sunflower", "tulip", "hibiscus", "four leaf clover", "shamrock", "maple leaf"),
        *("snowflake", "high voltage", "rainbow", "cherries", "strawberry", "red apple", "pizza", "anchor"),
        *("musical note", "musical notes", "musical score", "gem stone", "paw prints", "mushroom", "key"),
        *("crown", "light bulb"),
        *("money bag", "dollar banknote", "camera", "rocket", "airplane", "house", "Christmas tree", "hamburger"),
    }
)
_PLACES = {"travel-places", "flags", "symbols"}  # groups of what nobody holds
# Held, though they have eyes, are parts of bodies, or of a group that nobody holds.
_HELD = frozenset({"fish", "tropical fish", "shrimp", "bone", "star", "glowing star", "snowflake", "sparkles"})
_PLENTY = re.compile(rf"\b(?:{PAIRED}|fries|noodles|chopsticks|wings)\b")  # plurals that are one thing
# What is all around a thing that is there, by CLDR's names; on top of a mountain it would stand.
_SCENERY = frozenset(
    {
        *("beach with umbrella", "desert", "desert island", "hot springs", "national park", "water wave", "camping"),
        *("cityscape", "cityscape at dusk", "bridge at night", "motorway", "stadium"),
        *("sunrise", "sunrise over mountains", "sunset", "foggy", "milky way", "night with stars"),
    }
)
_WEATHER = frozenset({"cloud with rain", "cloud with snow", "cloud with lightning", "cloud with lightning and rain"})
_THERE = re.compile(r"(?:\b(?:at|by|on|in|under|in front of)|在)$")
_SET_OUT = re.compile(r" the (?:left|right|top|bottom|front|back)\b")
_POSED = re.compile(r"[坐站躺趴睡](?=在)")


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


def places(text: str, parts: Sequence[Part], counts: Sequence[int], wording: Wording) -> tuple[Place, ...]:
    """One for each of the things, of which there are so many, and more where the last are strewn; none where they are
    not to be laid out."""
    if scene := next((i for i in range(1, len(parts)) if _is_there(text, parts[i], wording)), 0):
        others = [part for i, part in enumerate(parts) if i != scene]
        around = _in_scene(text, others, [*counts[:scene], *counts[scene + 1 :]], wording)
        at = sum(counts[:scene])
        return (*around[:at], BACKDROP, *around[at:]) if around and counts[scene] == 1 else ()
    if len(parts) == 2 and counts[0] == 1 and (small := _small(text, parts, counts[1], wording)):
        return small
    if counts == [1, 1]:
        return _of_two(text, parts, wording)
    return (_of_three(text, parts, wording) if counts == [1, 1, 1] else ()) or several(sum(counts))


def _in_scene(text: str, parts: Sequence[Part], counts: Sequence[int], wording: Wording) -> tuple[Place, ...]:
    """Those that are in front of a place: what belongs together as that, others in a row."""
    together = {2: _of_two, 3: _of_three}.get(len(parts)) if set(counts) == {1} else None
    found = together(text, parts, wording) if together else ()
    if found and found != TWO["left of"]:
        return tuple(within(place, STAGE) for place in found)
    return THERE.get(sum(counts), ())


def _small(text: str, parts: Sequence[Part], count: int, wording: Wording) -> tuple[Place, ...]:
    """Where the second is small and lies on the first, or around it: "a bear with hearts"; none where it is not."""
    said, (first, second) = _marked(text, parts), [wording.naming.known[part.number] for part in parts]
    around, noun = "{a} surrounded by {b}" in said, bare(parts[1].text)
    if "{a} with {b}" in said and _ON_IT.search(said):
        return TWO["printed on"] if _is_print(first, second) else ON_IT
    lies = around or ("{a} with {b}" in said and _is_held(second) and not _worn(parts[1], second))
    plural = singular(noun) != noun and noun not in map(str.lower, second.names.get("en", ()))
    many = count if count > 1 else len(AROUND) - 1 if plural else 1
    if not lies or many == 1 or many >= len(AROUND) or _PLENTY.search(noun) or _is_several(second):
        return ()
    if around or _is_somebody(first):
        return AROUND[: 1 + many]
    return STREWN[: 1 + many] if first.group not in _PLACES else ()


def _is_somebody(known: Known) -> bool:
    return has_eyes(known) or known.group == PEOPLE or known.is_face


def _is_held(known: Known) -> bool:
    """Whether somebody who comes with it holds it."""
    named = bool(_HELD.intersection(known.names.get("en", ())))
    return named or (known.group not in _PLACES and not _is_somebody(known))


def has_room(known: Known) -> bool:
    """Whether words may stand on a thing."""
    return bool(_PAGES.intersection(known.names.get("en", ())))


def _is_print(known: Known, other: Known, said: bool = True) -> bool:
    """Whether of the two the other is a picture on the first: a heart on an envelope, a cat on a shirt. Where the first
    is not `said` to come with it, a cat on a laptop sits there."""
    names, pictured = known.names.get("en", ()), bool(_EMBLEMS.intersection(other.names.get("en", ())))
    flat = _PRINTS if said or pictured else _WORN_PRINTS
    return bool(flat.intersection(names)) and (pictured or other.group == FLAGS or _is_somebody(other))


def _is_several(known: Known) -> bool:
    """Whether one drawing of it shows more than one: two hearts."""
    return any(name.startswith("two ") for name in known.names.get("en", ()))


def _of_two(text: str, parts: Sequence[Part], wording: Wording) -> tuple[Place, ...]:
    said, known = _said(text, parts), [wording.naming.known[part.number] for part in parts]
    if "{a} on {b}" in said and (where := _worn(parts[0], known[0])):
        return TWO[where][::-1]
    if "{a} on {b}" in said and _is_print(known[1], known[0], said=False):
        return TWO["printed on"][::-1]
    relation = _relation(said, parts, known)
    if relation == "round the neck" and (known[0].group == PEOPLE or close_up(parts[0], wording) != parts[0]):
        relation = "under the chin"  # of whom only the face is drawn, or little more
    return TWO[relation] if relation else ()


def _of_three(text: str, parts: Sequence[Part], wording: Wording) -> tuple[Place, ...]:
    """Where one of three is worn by the one before it: that pair is one of two. Or both are worn by the first; or it
    rains on the first two."""
    known = [wording.naming.known[part.number] for part in parts]
    worn = [_worn(part, one) for part, one in zip(parts, known, strict=True)]
    if _WEATHER.intersection(known[2].names.get("en", ())):
        below = _of_two(text, parts[:2], wording)
        return (*(within(place, BELOW_SKY) for place in below), SKY) if below and below != TWO["left of"] else ()
    for i, wearer in enumerate(parts[:2]):
        pair = wearer, parts[i + 1]
        said = _marked(text, pair)
        joint = next((form for form in _WORN if form in said), "")
        if not joint or not worn[i + 1]:
            continue
        inner = _of_two(joint.format(a=wearer.text.strip(), b=pair[1].text.strip()), pair, wording)
        if i == 0 and worn[2] and worn[1] != worn[2]:
            both = _of_two(joint.format(a=wearer.text.strip(), b=parts[2].text.strip()), (wearer, parts[2]), wording)
            return _worn_both(inner, both)
        alone = said.replace(joint, wearer.text.strip(), 1)
        if outer := _of_two(alone, [part for part in parts if part is not pair[1]], wording):
            return (*outer[:i], *(within(place, outer[i]) for place in inner), *outer[i + 1 :])
    return ()


def _worn_both(first: Sequence[Place], second: Sequence[Place]) -> tuple[Place, ...]:
    """The wearer as for what leaves less of the picture to it, that and the other thing."""
    if second[0].width < first[0].width:
        return tuple(_worn_both(second, first)[i] for i in (0, 2, 1))
    return *first, matched(second[1], second[0], first[0])


def _is_there(text: str, part: Part, wording: Wording) -> bool:
    """Whether a thing is a place, and the others are in it."""
    if not _SCENERY.intersection(wording.naming.known[part.number].names.get("en", ())):
        return False
    return bool(_THERE.search(text[: text.rfind(part.text.strip())].strip()))


def _marked(text: str, parts: Iterable[Part]) -> str:
    """The prompt with {a} and {b} where the two things stand."""
    for key, part in zip(("{a}", "{b}"), parts, strict=True):
        text = text.replace(part.text.strip().rstrip("的坐站躺趴睡上下里"), key, 1)
    return " ".join(_POSED.sub("", text).split())


def _said(text: str, parts: Iterable[Part]) -> str:
    """The same, with nothing but a comma between two of which one is at the left and one at the right."""
    said = _marked(text, parts)
    return re.sub(r",? (?:and|with|while) \{b\}", ", {b}", said) if _SET_OUT.search(said) else said


def _relation(said: str, parts: Sequence[Part], known: Sequence[Known]) -> str:
    """How the first of two things stands to the second."""
    if "{a} with {b} on top" in said:
        return "on top"
    if match := _ON_BODY.search(said):
        return _WHERE_ON_BODY.get(match[1], "in the hand")
    if any(form in said for form in _WORN):
        if where := _worn(parts[1], known[1]):
            return where
        if known[1].is_face:
            return "on the front"
    if any(form in said for form in _WITH_PRINT) and _is_print(known[0], known[1]):
        return "printed on"
    if "{a} with {b}" in said and known[1].group == FLAGS and known[0].group == "travel-places":
        return "on top"
    if "{a} with {b}" in said and _is_somebody(known[0]) and _is_held(known[1]):
        return "in the hand"
    relation = FORMS[max((form for form in FORMS if form in said), key=len, default="{a} and {b}")]
    rains = relation == "in" and _WEATHER.intersection(known[1].names.get("en", ()))
    return "below" if rains else relation


def _worn(part: Part, known: Known) -> str:
    """Where a thing is worn; "" where it is not."""
    if _BOW_TIE.search(part.text):
        return "round the neck"
    names = [name.lower() for name in known.names.get("en", ())]
    return next((where for where, word in _WHERE_WORN.items() if any(map(word.search, names))), "")
