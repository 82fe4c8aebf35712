"""What no set draws, and several things in one picture are: "a smiling avocado" has a smiling face in its middle, "a
flying pig" a butterfly's wings, and "a dragon made of ice" is a dragon and ice.

No caption ever said them. But the sets draw faces and avocados, and a blend is told both as themselves
(`models.condition.Blend`).
"""

import re
from collections.abc import Callable, Sequence

from models.data.moods import MOODS
from models.data.styles import styled
from models.dressed import BEASTS, close_up, one_thing
from models.naming import PEOPLE, Known, Part
from models.phrasing import left_of, words_of
from models.wording import NEGATED, Wording, ground_of, on_no_ground, style_said

Shares = tuple[tuple[float, str], ...]  # of a blend: how much of the picture, and what in words; the middle first

FACE = 0.4  # its weight: with more a robot is an emoji, with less a car has none
LONGEST = 200  # characters: what says more is about more than this
SHARE = 0.5  # of two things at once, and of what a thing is made of
WINGS, BODY = "butterfly", 0.5  # of all that has wings, the one whose wings stand out to both sides
FLYING = {  # words of what flies as it is
    *("bird", "fly", "flying", "insect", "wing", "plane", "aircraft", "rocket", "helicopter", "parachute", "balloon"),
    *("dragon", "bat", "鸟"),
}
FACES = "smileys-emotion"  # group of things
# By the face, what is said of a thing that has it beside the table's own words.
_MORE = {
    "smiling face": ("friendly", "kawaii", "笑着"),
    "grinning face": ("grinning",),
    "angry face": ("grumpy", "发怒"),
    "astonished face": ("amazed",),
    "winking face": ("winking", "cheeky", "眨眼"),
    "smiling face with smiling eyes": ("shy", "bashful", "害羞", "羞涩"),
    "smiling face with heart-eyes": ("with heart eyes", "with heart-eyes", "lovestruck"),
    "sleeping face": ("asleep", "瞌睡", "睡着"),
}
_SAID = {word.removesuffix("的"): mood.face for mood in MOODS if mood.face for word in mood.en + mood.zh}
_SAID |= {word: face for face, words in _MORE.items() for word in words}
_ENGLISH, _CHINESE = (
    "|".join(sorted((word for word in _SAID if word.isascii() is ascii and len(word) > 1), key=len, reverse=True))
    for ascii in (True, False)
)
_DAY = r"birthday|(?:new )?year|easter|halloween|christmas|valentine|thanksgiving|holiday|hour|anniversary|\w*day\b"
_OTHER = r"style|willow|pills?\b|bags?\b|gas\b|beauty|by\b"  # weeping willows, sleeping bags, laughing gas, shocked by
_MOOD = re.compile(
    rf"\bwith an? (?:(?!(?:{_ENGLISH})\b)\w+ )?(?:({_ENGLISH}) )?(?:face|smile)\b"
    rf"|(?<![\w-])({_ENGLISH})\b(?!(?: [\w']+){{0,3}} (?:{_DAY}))(?! (?:face|{_OTHER}))"
    rf"|(?<![不没别日年诞秋节])({_CHINESE})(?!果)的?"
)
_WINGED = re.compile(
    r"\b(?:flying|winged)\b|\bwith (?:(?!chicken|hot|buffalo)\w+ )?wings\b"
    r"|(?<![不没])(?:会飞的?|飞[翔行]的|[长带有]着?翅膀的?)"
)
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
WORDS = frozenset(" ".join((*_SAID, *_MIXED.split("|"))).split())  # that say how, and name nothing


def hybrid(prompt: str, wording: Wording) -> Shares | None:
    """What a picture of a prompt is blended of; None where it asks for no hybrid, and where it is read word for word.

    Where a ground is asked for too, it is laid under what is drawn without it (`models.layout`).
    """
    text = on_no_ground(prompt.lower())
    if len(text) > LONGEST or not wording.is_free(prompt) or NEGATED.search(text) or ground_of(text):
        return None
    kinds = (_made_of, _faced, _winged, _both)
    return next(filter(None, (kind(text, wording) for kind in kinds)), None)


def _faced(text: str, wording: Wording) -> Shares | None:
    """A thing with a feeling, of an animal its face; none where both have a name together ("a crying cat")."""
    moods = [next(filter(None, match.groups()), "smiling") for match in _MOOD.finditer(text)]
    thing = one_thing(_MOOD.sub(" ", text).strip(" ,，"), wording) if moods else None
    if thing is None:
        return None
    known, whole = wording.naming.known, wording.parts(text)
    others = [known[part.number].group == FACES for part in whole if part.number != thing.number]
    together = len(whole) == 1 and any(others) and _says(known[whole[0].number], moods, thing)
    if together or any(_MOOD.search(part.name) and _MOOD.sub("", part.name) for part in whole):
        return None
    if not known[thing.number].thing or (len(whole) > 1 and not all(others)) or _is_face(known[thing.number]):
        return None
    return (FACE, _styled(_SAID[moods[-1]], text)), (1 - FACE, wording.alone(close_up(thing, wording), text))


def _winged(text: str, wording: Wording) -> Shares | None:
    """What does not fly by itself, and is to fly: "a flying pig", 会飞的猪."""
    thing = one_thing(_WINGED.sub(" ", text), wording) if _WINGED.search(text) else None
    known, whole = wording.naming.known, wording.parts(text)
    if thing is None or known[thing.number].group == PEOPLE or FLYING & known[thing.number].words:
        return None
    if any(_WINGED.search(part.name) for part in whole):  # money with wings has a name
        return None
    return (BODY, wording.alone(thing, text)), (1 - BODY, _styled(WINGS, text))


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
    if match is None or beast is None or wording.naming.known[beast.number].group != BEASTS:
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


def _is_face(known: Known) -> bool:
    return known.group == FACES and any("face" in name.lower() for name in known.names.get("en", ()))


def _styled(text: str, prompt: str) -> str:
    style = style_said(prompt)
    return styled(text, style, False) if style else text
