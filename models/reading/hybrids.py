"""What no set draws, and several drawings in one are: "an angry dog" is a dog and an angry face at once, "a house made
of cakes" a house and a cake; "a smiling avocado" is an avocado with the eyes and the mouth of a smiling face, and "a
flying pig" has a butterfly's wings.

No caption ever said them. But the sets draw faces and avocados. What has a face of its own is blended with the feeling,
for a blend is told both as themselves (`models.condition.Blend`); on what has none, and before wings, the drawings are
laid (`models.reading.layout`).
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from models.data.grammar import language_of
from models.data.styles import Finish, style_of, styled
from models.reading.dressed import close_up, one_thing
from models.reading.feelings import FACE_OF, FELT, feelings, with_feeling
from models.reading.lettering import written
from models.reading.naming import ANIMALS, FACES, PEOPLE, Known, Part
from models.reading.phrasing import left_of, words_of
from models.reading.wording import NEGATED, Wording, ground_of, plainly, style_said

Shares = tuple[tuple[float, str], ...]  # of a blend: how much of the picture, and what in words; the middle first

FACE = 0.4  # its weight: with more a robot is an emoji, with less a car has none
LONGEST = 200  # characters: what says more is about more than this
SHARE = 0.5  # of two things at once, and of what a thing is made of
WINGS = "butterfly"  # of all that has wings, the one whose wings stand out to both sides
FEATURED = "fluent flat"  # the style whose eyes and mouths are plainest: dark, large, on one colour
FLYING = {  # words of what flies as it is, or has wings
    *("bird", "fly", "flying", "insect", "wing", "plane", "aircraft", "rocket", "helicopter", "parachute", "balloon"),
    *("dragon", "bat", "鸟", "leaf", "comet", "squirrel", "fish", "angel", "fairy", "superhero", "butterfly"),
    *("penguin", "chicken", "rooster", "turkey", "duck", "phoenix"),
}
_BARE = {"sleeping face": "relieved face"}  # whose eyes and mouth are the same, without letters beside them
# What has a face of its own, by CLDR's names: who is drawn with eyes, and all animals, which share a group with plants.
_EYED = frozenset(
    {
        *("alien", "alien monster", "ghost", "goblin", "ogre", "robot", "skull", "skull and crossbones", "pile of poo"),
        *("snowman", "snowman without snow", "jack-o-lantern", "moai", "piñata", "teddy bear", "nesting dolls"),
        *("Japanese dolls", "sun with face", "wind face", "new moon face", "full moon face"),
        *("first quarter moon face", "last quarter moon face"),
    }
)
_PLANTS = frozenset(
    {
        *("blossom", "bouquet", "cactus", "cherry blossom", "coral", "deciduous tree", "evergreen tree", "fallen leaf"),
        *("feather", "four leaf clover", "herb", "hibiscus", "hyacinth", "leaf fluttering in wind", "leafless tree"),
        *("lotus", "maple leaf", "mushroom", "empty nest", "nest with eggs", "palm tree", "potted plant", "rose"),
        *("rosette", "seedling", "shamrock", "sheaf of rice", "spider web", "spiral shell", "sunflower", "tulip"),
        *("white flower", "wilted flower", "wing"),
    }
)
_WITH_WINGS = (
    r"\bwith (?:(?!chicken|hot|buffalo)\w+ )?wings\b|(?<![不没])[长带有]着?(?:一[对双])?(?:[^，,。的]{1,3}的?)?翅膀的?"
)
_WINGED = re.compile(
    rf"\b(?:flying|winged)\b(?! (?:through|over|around|on|an?|the)\b)|(?<![不没])(?:会飞的?|飞[翔行]的)|{_WITH_WINGS}"
)
_WINGS = re.compile(r"wing|翅膀")
HAS_WINGS = re.compile(_WITH_WINGS)
_MADE_OF = re.compile(r"^(.+?)\s+made (?:out )?of\s+(.+)$")
_UNNATURAL = "robot|zombie|ghost|alien|unicorn|dragon"  # what an animal may be too
_UNNATURAL_ZH = "机器人|僵尸|幽灵|外星人|独角兽"
_UNNATURAL_NAMES = frozenset(f"{_UNNATURAL}|{_UNNATURAL_ZH}".split("|"))
_UNNATURAL_ONE = (
    re.compile(rf"^(?:an? |one )?(?:(?:cute|little|small|baby) )?({_UNNATURAL})[ -](?!fly\b)([^,]+)"),
    re.compile(rf"^(?:一[只个])?({_UNNATURAL_ZH})([^，]+)"),
)
_MIXED = "mix|hybrid|cross|fusion|blend"
_EATEN = r"(?!eaten|full|empty|open|baked|moon)"  # half of one thing
_BOTH = (
    re.compile(rf"^(?:an? )?(?:{_MIXED}) (?:of|between) ([^,]+?) and (.+)$"),
    re.compile(rf"^(?:an? )?half[ -]{_EATEN}(?:an? )?(.+?),? (?:and )?half[ -]{_EATEN}(.+)$"),
    re.compile(r"^(?:一[只个])?一?半(?:是)?([^，,]+?)[，,]?一?半(?:是)?(.+)$"),
)
_MADE_OF_ZH = re.compile(r"^(?:一[^用]?)?用?(.+?)(?:做|制)成?的(.+)$")
WORDS = frozenset(" ".join((*FACE_OF, *_MIXED.split("|"))).split())  # that say how, and name nothing


@dataclass(frozen=True)
class Felt:
    """A thing with a feeling.

    Attributes:
        face: the name of the face that has it.
        word: how it is said.
        blended: whether both are blended, for the thing has a face of its own.
    """

    face: str
    thing: Part
    word: str
    blended: bool


def hybrid(prompt: str, wording: Wording) -> Shares | None:
    """What a picture of a prompt is blended of; None where it asks for no blend, and where it is read word for word.

    Where a ground is asked for too, it is laid under what is drawn without it (`models.reading.layout`).
    """
    text = plainly(prompt)
    if ground_of(text) or not _is_free(text, prompt, wording):
        return None
    kinds = (_made_of, _faced, _both)
    return next(filter(None, (kind(text, wording) for kind in kinds)), None)


def felt(prompt: str, wording: Wording) -> Felt | None:
    """The one thing with a feeling that a prompt asks for; none where both have a name together ("a crying cat")."""
    text = plainly(prompt)
    if not _is_free(text, prompt, wording):
        return None
    moods = feelings(text)
    thing = one_thing(FELT.sub(" ", text).strip(" ,，"), wording) if moods else None
    if thing is None:
        return None
    known, whole = wording.naming.known, wording.parts(text)
    others = [known[part.number].group == FACES for part in whole if part.number != thing.number]
    animal = bool(whole) and (bool(whole[0].name) or has_eyes(known[thing.number]))  # no heart is a face with hearts
    together = animal and len(whole) == 1 and any(others) and _says(known[whole[0].number], moods, thing)
    if together or any(FELT.search(part.name) and FELT.sub("", part.name) for part in whole):
        return None
    if not wording.naming.stands(thing.number) or (len(whole) > 1 and not all(others)):
        return None
    return None if known[thing.number].is_face else _felt(thing, moods[-1], style_said(text), wording)


def felt_of(part: Part, prompt: str, wording: Wording) -> Felt | None:
    """One of several things with the feeling that is said of it: "an angry cat and a sad house"."""
    moods, known = feelings(part.beside), wording.naming.known[part.number]
    if not moods or known.is_face or not wording.naming.stands(part.number):
        return None
    return _felt(part, moods[-1], style_said(prompt), wording)


def _felt(thing: Part, word: str, style: str, wording: Wording) -> Felt:
    blended = has_eyes(wording.naming.known[thing.number]) or bool(style and style_of(style).finish is Finish.INK)
    return Felt(FACE_OF[word] if blended else _BARE.get(FACE_OF[word], FACE_OF[word]), thing, word, blended)


def winged(prompt: str, wording: Wording) -> Part | None:
    """What does not fly by itself, and is to fly: "a flying pig", 会飞的猪."""
    text = plainly(prompt)
    if not _WINGED.search(text) or not _is_free(text, prompt, wording):
        return None
    thing, whole, known = one_thing(_WINGED.sub(" ", text), wording), wording.parts(text), wording.naming.known
    if thing is None or FLYING & known[thing.number].words:
        return None
    if known[thing.number].group == PEOPLE and not _WINGS.search(text):  # superheroes fly without
        return None
    if any(_WINGED.search(part.name) for part in whole):  # money with wings has a name
        return None
    return thing


def said(prompt: str, wording: Wording) -> str:
    """A thing with a feeling that is no blend, or one with wings, in words that were taught; "" of any other prompt."""
    text = plainly(prompt)
    if (feeling := felt(prompt, wording)) and not feeling.blended:
        return with_feeling(feeling.word, wording.alone(feeling.thing, text))
    if thing := winged(prompt, wording):
        return with_feeling("会飞" if language_of(text) == "zh" else "flying", wording.alone(thing, text))
    return ""


def _is_free(text: str, prompt: str, wording: Wording) -> bool:
    plain = wording.is_free(prompt) and not NEGATED.search(text) and not written(prompt)
    return len(text) <= LONGEST and plain


def _faced(text: str, wording: Wording) -> Shares | None:
    """What has a face of its own, with a feeling; of an animal its face."""
    found = felt(text, wording)
    if found is None or not found.blended:
        return None
    face = wording.alone(close_up(found.thing, wording), text)
    return (FACE, in_style(found.face, text)), (1 - FACE, face)


def _made_of(text: str, wording: Wording) -> Shares | None:
    """A thing that is made of another one: "a dragon made of ice", 冰做的龙."""
    if match := _MADE_OF.match(text):
        thing, stuff = match.groups()
    elif match := _MADE_OF_ZH.match(text):
        stuff, thing = match.groups()
    else:
        return None
    return _equal(stuff, thing, text, wording)


def _both(text: str, wording: Wording) -> Shares | None:
    """Two things at once: "half cat half fish", "a mix of a cat and a dog", and of animals "a robot cat"."""
    if match := _first_match(_BOTH, text):
        return _equal(match[1], match[2], text, wording, close_up)
    match = _first_match(_UNNATURAL_ONE, text)
    beast = one_thing(match[2], wording) if match else None
    if match is None or beast is None or wording.naming.known[beast.number].group != ANIMALS:
        return None
    alone = not left_of(match[2], beast.name)
    return _equal(match[1], match[2], text, wording, close_up) if alone else None


def _first_match(patterns: Sequence[re.Pattern[str]], text: str) -> re.Match[str] | None:
    return next(filter(None, (pattern.match(text) for pattern in patterns)), None)


def _equal(
    first: str, second: str, text: str, wording: Wording, seen: Callable[[Part, Wording], Part] = lambda part, _: part
) -> Shares | None:
    """Both in equal shares, as they are seen; None where one of them is no thing, or a person."""
    things = [one_thing(part, wording) for part in (first, second)]
    known = wording.naming.known
    found = [
        wording.alone(seen(part, wording), text) for part in things if part and _is_no_one(part, known[part.number])
    ]
    return ((SHARE, found[0]), (SHARE, found[1])) if len(found) == 2 else None


def _says(known: Known, moods: Sequence[str], thing: Part) -> bool:
    """Whether what is known is the thing in one of the moods: a crying cat is no sleeping one, and anger no tomato."""
    return any(known.words.issuperset(words_of(f"{mood} {thing.name}")) for mood in moods)


def _is_no_one(part: Part, known: Known) -> bool:
    return known.group != PEOPLE or part.name in _UNNATURAL_NAMES


def has_eyes(known: Known) -> bool:
    """Whether a thing is drawn with a face of its own."""
    names = set(known.names.get("en", ()))
    return bool(names & _EYED) or (known.group == ANIMALS and not names & _PLANTS)


def in_style(text: str, prompt: str) -> str:
    """A text in English, in the style of the prompt that it is a part of."""
    style = style_said(prompt)
    return styled(text, style, False) if style else text
