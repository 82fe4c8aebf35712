"""Things with feelings: "a smiling avocado" is an avocado with a smiling face in its middle.

No set draws one, so no caption ever said it; but each draws faces and avocados, and a blend is told both as themselves
(`models.condition.Blend`).
"""

import re

from models.data.styles import styled
from models.wording import Wording, ground_of, how_many, style_said

FACES = "smileys-emotion"  # the group of the named faces
FACE = 0.4  # of the picture: with more of it a robot is an emoji, with less a car has none
# By the face's own name, what is said of a thing that has it.
MOODS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "smiling face": (("smiling", "happy", "cheerful", "joyful", "friendly"), ("微笑", "开心", "高兴", "快乐")),
    "grinning face": (("laughing", "grinning"), ("大笑", "笑着")),
    "smiling face with smiling eyes": (("shy", "blushing", "bashful"), ("害羞", "脸红", "羞涩")),
    "smiling face with heart-eyes": (("enamoured", "lovestruck", "adoring"), ("花痴", "爱慕")),
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


def faced(prompt: str, wording: Wording) -> tuple[str, str] | None:
    """The face, and the one thing that has it, in words; None where no such thing is asked for, where mood and thing
    have a name together ("a crying cat"), and where a prompt is read word for word.
    """
    text = prompt.lower()
    moods = [next(filter(None, match.groups()), "smiling") for match in _MOOD.finditer(text)]
    if not moods or not wording.is_free(prompt) or ground_of(text):  # a ground is laid under what is drawn without it
        return None
    parts, whole = wording.parts(_MOOD.sub(" ", text).strip(" ,，")), wording.parts(text)
    if len(parts) != 1 or not parts[0].name or how_many(parts[0]) > 1 or wording.is_small(parts[0]):
        return None
    known, number = wording.naming.known, parts[0].number
    others = [known[part.number].group == FACES for part in whole if part.number != number]
    if any(_MOOD.search(part.name) for part in whole) or (len(whole) == 1 and any(others)):  # it has a name of its own
        return None
    if not known[number].thing or (len(whole) > 1 and not all(others)):
        return None
    style, face = style_said(prompt), _SAID[moods[0]]
    return styled(face, style, False) if style else face, wording.alone(parts[0], prompt)
