"""What a prompt says of motion by words of the table, and the prompt without them: the picture that a clip begins with.

"A dog slides to the left, in a loop" is drawn as "a dog": of the whole, the parser takes "left" for a thing. What the
words mean for the motion is the planner's to say (`models.video`); here they are only left out.
"""

import re
from collections.abc import Iterable
from functools import cache
from itertools import chain

from models.data.clips import MOTION_TEMPLATES, MOTIONS, SYNONYMS

_FRAMES_EN = ("animated sticker of", "an animation of", "animation of", "animated", "everything", "that", "in a loop")
_FRAMES_ZH = ("动态表情", "动画", "动态", "一起", "在动")
_LEFT_OVER_ZH = re.compile(r"[在的，、]+(?=$|[，。])|^[在的，、]+")


def _pattern(words: Iterable[str]) -> re.Pattern[str]:
    """Any of the words, the longest first, so that those of captions are found whole: "slides to the left"."""
    longest_first = [re.escape(word) for word in sorted(words, key=len, reverse=True)]
    english, chinese = ("|".join(w for w in longest_first if w.isascii() is ascii) or "(?!)" for ascii in (True, False))
    return re.compile(rf"\b(?:{english})\b|{chinese}", re.IGNORECASE)


@cache
def _unsaid() -> re.Pattern[str]:
    """What a picture does not show, in either language: the motions, how fast they are, and that it moves at all."""
    words = {form for form, _, _ in _forms()} | {*_FRAMES_EN, *_FRAMES_ZH}
    return _pattern(
        words.union(*([*chain(*said["speeds"].values()), *said["loop"]] for said in MOTION_TEMPLATES.values())) - {""}
    )


def plain_motion(text: str) -> str:
    """The text with a motion that captions say otherwise in their words: "a fish swims left", "a fish slides left"."""
    forms = _heard()
    return _any_form().sub(lambda found: forms.get(found[0].casefold(), found[0]), text)


@cache
def _heard() -> dict[str, str]:
    """Words of motion that no caption has, and those of a caption for them."""
    rows = [(name, row.split("/")) for name, verbs in SYNONYMS["other"].items() for row in verbs]
    for name, ways in SYNONYMS["ways"].items():
        rows += [(name, [f"{form} {way}" for form in verb.split("/")]) for verb in SYNONYMS["verbs"] for way in ways]
    plain = {name: (row.en[0][0], *row.en[0]) for name, row in MOTIONS.items()}
    english = {form: to for name, forms in rows for form, to in zip(forms, plain[name], strict=True)}
    return english | {verb: MOTIONS[name].zh[0] for name, verbs in SYNONYMS["zh"].items() for verb in verbs}


@cache
def _any_form() -> re.Pattern[str]:
    """All words of motion, those of captions too, which stay as they are: "flies in a circle"."""
    return _pattern({*_heard(), *(form for form, _, _ in _forms())})


def named_motions(text: str) -> list[str]:
    """The motions that a text names, the one with the most words first."""
    low = plain_motion(text).casefold()
    matches = [(len(form), name) for form, pattern, name in _forms() if form in low and pattern.search(low)]
    return list(dict.fromkeys(name for _, name in sorted(matches, key=lambda one: -one[0])))


def can_loop(text: str) -> bool:
    """Whether what moves comes back: not where all motions named lead away, or out of sight."""
    motions = named_motions(text)
    return not motions or any(MOTIONS[name].loops for name in motions)


@cache
def _forms() -> list[tuple[str, re.Pattern[str], str]]:
    """(words, pattern, motion) of every form of every verb."""
    forms = [(form, name) for name, row in MOTIONS.items() for form in (*chain(*row.en), *row.zh)]
    return [(form, _pattern([form]), name) for form, name in forms]


def still_prompt(text: str) -> str:
    """The prompt of the first frame; the text itself where nothing would be left."""
    left = _unsaid().sub(lambda found: " " * found[0].isascii(), plain_motion(text))
    if left.isascii():
        left = re.sub(r"(?:\s*,\s*)+", ", ", re.sub(r"\s+", " ", left))
    else:
        left = _LEFT_OVER_ZH.sub("", re.sub("，+", "，", left))
    return left.strip(" ,，。") or text
