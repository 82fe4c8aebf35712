"""What a prompt says of motion by words of the table, and the prompt without them: the picture that a clip begins with.

"A dog slides to the left, in a loop" is drawn as "a dog": of the whole, the parser takes "left" for a thing. What the
words mean for the motion is the planner's to say (`models.motion`); here they are only left out.
"""

import re
from functools import cache

from models.data.motion import EN, HEARD, MOTIONS, ZH

_FRAMES_EN = ("animated sticker of", "an animation of", "animation of", "animated", "everything", "that", "in a loop")
_FRAMES_ZH = ("动态表情", "动画", "动态", "一起", "在动")
_LEFT_OVER_ZH = re.compile(r"[在的，、]+(?=$|[，。])|^[在的，、]+")


@cache
def _motion_words() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Of either language, the longest first: "slides to the left" before "slides"."""
    verbs = [form for row in MOTIONS.values() for pair in row.en for form in pair]
    adverbs = [word for words in EN["speeds"].values() for word in words if word]
    english = sorted([*verbs, *adverbs, *EN["loop"], *_FRAMES_EN], key=len, reverse=True)
    chinese = [verb for row in MOTIONS.values() for verb in row.zh]
    chinese += [word for words in ZH["speeds"].values() for word in words if word] + [*ZH["loop"], *_FRAMES_ZH]
    return (
        re.compile(rf"\b(?:{'|'.join(map(re.escape, english))})\b", re.IGNORECASE),
        re.compile("|".join(map(re.escape, sorted(chinese, key=len, reverse=True)))),
    )


def plain_motion(text: str) -> str:
    """The text with a motion that captions say otherwise in their words: "a fish swims left", "a fish slides left"."""
    forms = _heard()
    return _any_form().sub(lambda found: forms.get(found[0].casefold(), found[0]), text)


@cache
def _heard() -> dict[str, str]:
    """Words of motion that no caption has, and those of a caption for them."""
    rows = [(name, row.split("/")) for name, verbs in HEARD["other"].items() for row in verbs]
    for name, ways in HEARD["ways"].items():
        rows += [(name, [f"{form} {way}" for form in verb.split("/")]) for verb in HEARD["verbs"] for way in ways]
    plain = {name: (row.en[0][0], *row.en[0]) for name, row in MOTIONS.items()}
    english = {form: to for name, forms in rows for form, to in zip(forms, plain[name], strict=True)}
    return english | {verb: MOTIONS[name].zh[0] for name, verbs in HEARD["zh"].items() for verb in verbs}


@cache
def _any_form() -> re.Pattern[str]:
    """All words of motion, the longest first, so that those of captions are found whole: "flies in a circle"."""
    forms = sorted({*_heard(), *(words for words, _, _ in _forms())}, key=len, reverse=True)
    return re.compile("|".join(rf"\b{re.escape(f)}\b" if f.isascii() else re.escape(f) for f in forms), re.IGNORECASE)


def named_motions(text: str) -> list[str]:
    """The motions that a text names, the one with the most words first."""
    low = plain_motion(text).casefold()
    found = [(len(form), name) for form, pattern, name in _forms() if form in low and pattern.search(low)]
    return list(dict.fromkeys(name for _, name in sorted(found, key=lambda one: -one[0])))


def can_loop(text: str) -> bool:
    """Whether what moves comes back: not where all motions named lead away, or out of sight."""
    motions = named_motions(text)
    return not motions or any(MOTIONS[name].loops for name in motions)


@cache
def _forms() -> list[tuple[str, re.Pattern[str], str]]:
    """(words, pattern, motion) of every form of every verb."""
    english = [
        (form, rf"\b{re.escape(form)}\b", name) for name, row in MOTIONS.items() for two in row.en for form in two
    ]
    chinese = [(verb, re.escape(verb), name) for name, row in MOTIONS.items() for verb in row.zh]
    return [(words, re.compile(pattern), name) for words, pattern, name in english + chinese]


def still_prompt(text: str) -> str:
    """The prompt of the first frame; the text itself where nothing would be left."""
    english, chinese = _motion_words()
    left = english.sub(" ", plain_motion(text))
    if left.isascii():
        left = re.sub(r"(?:\s*,\s*)+", ", ", re.sub(r"\s+", " ", left))
    else:
        left = _LEFT_OVER_ZH.sub("", re.sub("，+", "，", chinese.sub("", left)))
    return left.strip(" ,，。") or text
