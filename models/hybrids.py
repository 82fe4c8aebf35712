"""What no set draws, and several things in one picture are: "a smiling avocado" has a smiling face in its middle, a
"cat astronaut" that of a cat, and "a dragon made of ice" is a dragon and ice.

No caption ever said them. But the sets draw faces and avocados, and a blend is told both as themselves
(`models.condition.Blend`).
"""

import re

from models.data.styles import styled
from models.naming import Part
from models.wording import Wording, ground_of, how_many, style_said

Shares = tuple[tuple[float, str], ...]  # of a blend: how much of the picture, and what in words; the middle first

FACE = 0.4  # of the picture: with more of it a robot is an emoji, with less a car has none
STUFF = 0.5  # what a thing is made of
WINGS, BODY = "butterfly", 0.5  # of all that has wings, the one whose wings stand out to both sides
# Words of what flies as it is.
FLYING = {"bird", "fly", "flying", "insect", "wing", "plane", "aircraft", "rocket", "helicopter", "dragon", "bat", "鸟"}
FACES, BEASTS, PEOPLE = "smileys-emotion", "animals-nature", "people-body"  # groups of things
# By the face's own name, what is said of a thing that has it.
MOODS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "smiling face": (("smiling", "happy", "cheerful", "joyful", "friendly"), ("微笑", "开心", "高兴", "快乐")),
    "grinning face": (("laughing", "grinning"), ("大笑", "笑着")),
    "smiling face with smiling eyes": (("shy", "blushing", "bashful"), ("害羞", "脸红", "羞涩")),
    "smiling face with heart-eyes": (("with heart eyes", "with heart-eyes", "lovestruck"), ("花痴", "爱慕")),
    "winking face": (("winking", "cheeky"), ("眨眼", "调皮")),
    "crying face": (("crying", "weeping", "tearful"), ("哭泣", "哭", "流泪")),
    "disappointed face": (("sad", "unhappy", "disappointed"), ("难过", "伤心", "悲伤", "失望")),
    "angry face": (("angry", "furious", "grumpy"), ("生气", "愤怒", "发怒")),
    "astonished face": (("surprised", "astonished", "shocked", "amazed"), ("惊讶", "吃惊", "震惊")),
    "fearful face": (("scared", "frightened", "fearful"), ("害怕", "惊恐")),
    "sleeping face": (("sleepy", "sleeping", "asleep"), ("睡觉", "困倦", "瞌睡")),
}
_SAID = {word: face for face, words in MOODS.items() for of_language in words for word in of_language}
_ENGLISH = "|".join(word for word in _SAID if word.isascii())
_CHINESE = "|".join(sorted((word for word in _SAID if not word.isascii()), key=len, reverse=True))
_MOOD = re.compile(
    rf"\bwith an? (?:({_ENGLISH}) )?(?:face|smile)\b|\b({_ENGLISH})\b(?! (?:birthday|new year|face))|({_CHINESE})的?"
)


_WINGED = re.compile(r"\b(?:flying|winged)\b|\bwith (?:\w+ )?wings\b|会飞的?|飞[翔行]的|[长带有]着?翅膀的?")
_MADE_OF = re.compile(r"^(.+?)\s+made (?:out )?of\s+(.+)$")
_MADE_OF_ZH = re.compile(r"^(?:一[^用]?)?用?(.+?)(?:做|制)成?的(.+)$")


def hybrid(prompt: str, wording: Wording) -> Shares | None:
    """What a picture of a prompt is blended of; None where it asks for no hybrid, and where it is read word for word.

    A ground is laid under what is drawn without it (`models.layout`).
    """
    text = prompt.lower()
    if not wording.is_free(prompt) or ground_of(text):
        return None
    kinds = (_made_of, _faced, _winged, _dressed)
    return next(filter(None, (kind(text, wording) for kind in kinds)), None)


def _faced(text: str, wording: Wording) -> Shares | None:
    """A thing with a feeling; none where both have a name together ("a crying cat")."""
    moods = [next(filter(None, match.groups()), "smiling") for match in _MOOD.finditer(text)]
    thing = _one(_MOOD.sub(" ", text).strip(" ,，"), wording) if moods else None
    if thing is None:
        return None
    known, whole = wording.naming.known, wording.parts(text)
    others = [known[part.number].group == FACES for part in whole if part.number != thing.number]
    if any(_MOOD.search(part.name) for part in whole) or (len(whole) == 1 and any(others)):
        return None
    if not known[thing.number].thing or (len(whole) > 1 and not all(others)):
        return None
    return (FACE, _styled(_SAID[moods[-1]], text)), (1 - FACE, wording.alone(thing, text))


def _winged(text: str, wording: Wording) -> Shares | None:
    """What does not fly by itself, and is to fly: "a flying pig", 会飞的猪."""
    thing = _one(_WINGED.sub(" ", text), wording) if _WINGED.search(text) else None
    if thing is None or FLYING & wording.naming.known[thing.number].words or _WINGED.search(thing.name):
        return None
    return (BODY, wording.alone(thing, text)), (1 - BODY, _styled(WINGS, text))


def _dressed(text: str, wording: Wording) -> Shares | None:
    """An animal that does what people do: "a cat astronaut", 猫宇航员."""
    known, person = wording.naming.known, _one(text, wording)
    if person is None or known[person.number].group != PEOPLE:
        return None
    beast = _one(text[: text.find(person.name)], wording)
    if beast is None or known[beast.number].group != BEASTS:
        return None
    alone = Part(person.name, person.number, person.name)  # what is said before it is said of the animal
    return (FACE, wording.alone(beast, text)), (1 - FACE, wording.alone(alone, text))


def _made_of(text: str, wording: Wording) -> Shares | None:
    """A thing that is made of another one: "a dragon made of ice", 冰做的龙."""
    if match := _MADE_OF.match(text):
        thing, stuff = match.groups()
    elif match := _MADE_OF_ZH.match(text):
        stuff, thing = match.groups()
    else:
        return None
    things = [_one(part, wording) for part in (stuff, thing)]
    found = [wording.alone(part, text) for part in things if part is not None]
    return ((STUFF, found[0]), (1 - STUFF, found[1])) if len(found) == 2 else None


def _one(text: str, wording: Wording) -> Part | None:
    """The one thing of usual size that is named in `text`."""
    parts = wording.parts(text)
    if len(parts) != 1 or not parts[0].name or how_many(parts[0]) > 1 or wording.is_small(parts[0]):
        return None
    return parts[0]


def _styled(text: str, prompt: str) -> str:
    style = style_said(prompt)
    return styled(text, style, False) if style else text
