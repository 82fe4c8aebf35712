"""An animal that does what people do: "a cat astronaut", 猫宇航员, is an astronaut with the face of a cat.

No set draws one, and a blend of both has the features of neither; laid on the person's own, the animal's face stays as
it was drawn (`models.reading.layout`).
"""

import re
from collections.abc import Iterator
from dataclasses import replace

from models.data.grammar import language_of, singular
from models.reading.naming import ANIMALS, Part
from models.reading.phrasing import JOINTS, PAINTS, PAINTS_ZH, bare, in_order, left_of
from models.reading.wording import NEGATED, Wording, how_many, plainly, without_ground

LONGEST = 4  # words, or Chinese characters, that people are called
SIDEWAYS = frozenset({"horse", "dragon"})  # whose faces are drawn from the side, and badly
# Whose clothes or hat say who they are, by CLDR's names; seen from the front, with a face in the middle.
ROLES = frozenset(
    {
        *("artist", "astronaut", "construction worker", "cook", "detective", "elf", "factory worker", "fairy"),
        *("farmer", "firefighter", "guard", "health worker", "judge", "mage", "mechanic", "ninja", "office worker"),
        *("person in tuxedo", "person with crown", "pilot", "police officer", "prince", "Santa Claus", "Mrs. Claus"),
        *("scientist", "singer", "student", "superhero", "supervillain", "teacher", "technologist", "vampire"),
    }
)
# What they wear, by which an animal is known for one of them: "a dog in a spacesuit".
CLOTHES = {
    worn: role
    for role, all_worn in {
        "astronaut": "spacesuit|space suit|astronaut suit|宇航服|太空服",
        "construction worker": "hard hat|安全帽",
        "cook": "chef hat|chef's hat|chef uniform|apron|厨师帽|厨师服|围裙",
        "detective": "detective hat|trench coat|侦探帽",
        "mage": "wizard hat|witch hat|wizard robe|robe|巫师帽|魔法帽|魔法袍",
        "ninja": "ninja suit|ninja outfit|ninja costume|忍者服",
        "person in tuxedo": "suit and tie|business suit|suit|tuxedo|西装|西服|燕尾服",
        "police officer": "police uniform|police hat|police cap|警服|警帽",
        "Santa Claus": "santa hat|santa suit|santa costume|christmas hat|圣诞帽|圣诞服",
        "scientist": "lab coat|白大褂",
        "superhero": "cape|superhero cape|superhero suit|superhero costume|披风|斗篷",
    }.items()
    for worn in all_worn.split("|")
}
WORDS = frozenset(word for worn in CLOTHES for word in worn.split())
_WORN = "|".join(sorted(CLOTHES, key=len, reverse=True))
_CLOTHED = re.compile(
    rf"^(.+?)(?: (?:in|wearing|with) (?:(?:an?|the|his|her|its) )?(?:(?:{PAINTS}) )?"
    rf"|[穿戴系披]着?(?:(?:{PAINTS_ZH})的?)?)({_WORN})$"
)
_DISGUISED = re.compile(r"^(.+?) (?:dressed|disguised) (?:up )?as (?:an? )?([^,]+)")
_POSED = re.compile(
    r"\b(?:sitting|standing|lying|running|walking|jumping|dancing|swimming|climbing)\b|[坐站躺趴跑走跳]"
)
# What is said of a face: who asks for it wants to see the face.
_FEATURE = r"(?:(?!and\b)[\w-]+\s+){0,3}(?:eyes?|ears?|nose|whiskers|mouth|tongue|teeth|cheeks?)\b"
_FEATURES = re.compile(
    rf"\swith\s+{_FEATURE}(?:\s+and\s+{_FEATURE})*"
    r"|(?:有|长着)?[^，,。有的]*(?:眼睛?|耳朵?|鼻子|胡须|嘴巴?|舌头|牙齿)的(?=.)"
)
_BEYOND = re.compile(r"[,，]|\s(?:in|on|at|with|under|near|wearing|holding)\s")


def dressed(prompt: str, wording: Wording) -> tuple[Part, Part] | None:
    """The face and the person; None where a prompt asks for no such thing, and where it is read word for word."""
    text = without_ground(plainly(prompt))
    if not wording.is_free(prompt) or NEGATED.search(text):
        return None
    if clothed := _CLOTHED.match(in_order(re.split("[,，]", text)[0])):
        return _pair(clothed[1], CLOTHES[clothed[2]], Part(clothed[2], 0), wording)
    if disguised := _DISGUISED.match(text):
        return _pair(disguised[1], disguised[2], Part(disguised[2], 0, disguised[2]), wording)
    who = _BEYOND.split(text, maxsplit=1)[0]
    if wording.naming.called(bare(who)):  # a queen bee
        return None
    orders = list(_halves(text))
    if who == re.split("[,，]", text)[0] and not who.startswith("cook "):  # a ninja cat, and nothing beside it
        orders += [(name, bare(before)) for before, name in orders]
    pairs = (_pair(animal, person, Part(person, 0, person), wording) for animal, person in orders)
    return next(filter(None, pairs), None)


def _pair(animal: str, called: str, person: Part, wording: Wording) -> tuple[Part, Part] | None:
    """The face of what `animal` says and the person who is called so; None where there is no such animal or role."""
    known = wording.naming.known
    # Names first: what needs a vector costs as much as a step of drawing, and nearly every prompt ends here.
    roles = [
        number for number in wording.naming.called(called) if ROLES.intersection(known[number].names.get("en", ()))
    ]
    if not roles or JOINTS.search(animal.split("的")[-1]):  # 骑马的宇航员 rides one
        return None
    beast = one_thing(animal, wording)
    if beast is None or known[beast.number].group != ANIMALS or not animal.endswith(beast.name):
        return None
    return _face_of(beast, wording), replace(person, number=roles[0])


def _halves(text: str) -> Iterator[tuple[str, str]]:
    """What the last words, or characters, may be said of, and they; what is said beyond them is not of who it is."""
    said = _BEYOND.split(text, maxsplit=1)[0].strip()
    pieces = list(said) if language_of(said) == "zh" else said.replace("-", " ").split()
    between = "" if language_of(said) == "zh" else " "
    for count in range(min(LONGEST, len(pieces) - 1), 0, -1):
        yield between.join(pieces[:-count]).rstrip("的"), between.join(pieces[-count:])


def said(pair: tuple[Part, Part], prompt: str, wording: Wording) -> str:
    """The same in words that mean it."""
    face, person = wording.alone(pair[0], pair[0].text), wording.alone(pair[1], prompt)
    return f"{face}在{person}上" if language_of(prompt) == "zh" else f"{face} on {person}"


def one_thing(text: str, wording: Wording) -> Part | None:
    """The one thing of usual size that is named in `text`."""
    parts = wording.parts(text)
    if len(parts) != 1 or not parts[0].name or how_many(parts[0]) > 1 or wording.is_small(parts[0]):
        return None
    return parts[0]


def close_up(part: Part, wording: Wording) -> Part:
    """Of an animal its face, where that is drawn from the front and nothing is said of its body; else `part`."""
    known = wording.naming.known[part.number]
    alone = part.name and singular(bare(part.text)).endswith(part.name) and not _POSED.search(part.text)
    from_front = known.group == ANIMALS and not SIDEWAYS.intersection(known.names.get("en", ()))
    return _face_of(part, wording) if alone and from_front else part


def portrait(prompt: str, wording: Wording) -> Part | None:
    """The face of the animal that is named and nothing else is but of its face, "a cat with blue eyes"; None of any
    other prompt.

    Its body is four legs and a tail to whoever draws small pictures; "a standing cat" has one, and so has "a cat" in
    quotation marks.
    """
    text = _FEATURES.sub("", without_ground(plainly(prompt)))
    if not wording.is_free(prompt) or NEGATED.search(text):
        return None
    one = one_thing(text, wording)
    if one is None or left_of(text, one.name):
        return None
    face = close_up(one, wording)
    return face if face.number != one.number else None


def _face_of(beast: Part, wording: Wording) -> Part:
    """The animal's face, where that is a thing of its own; else the animal, whose drawings are faces or as good."""
    known = wording.naming.known
    faces = {f"{name.lower()} face" for name in known[beast.number].names.get("en", ())}
    for number, one in enumerate(known):
        if found := faces.intersection(name.lower() for name in one.names.get("en", ())):
            name = found.pop() if language_of(beast.text) == "en" else one.names.get("zh", (beast.name,))[0]
            return Part(beast.text.replace(beast.name, name, 1), number, name)
    return beast
