"""What a prompt says of motion by words of the table, and the prompt without them: the picture that a clip begins with.

"A dog slides to the left, in a loop" is drawn as "a dog": of the whole, the parser takes "left" for a thing. Verbs that
are no motion of the table stay in the prompt, for the picture may show them ("a man runs", "a crying face"); they are
drawn as the motions that are nearest in meaning.
"""

import re
from collections.abc import Iterable
from functools import cache
from itertools import chain

from models.data.clips import MOTION_TEMPLATES, MOTION_WORDS, MOTIONS, SPEEDS, Move, Speed
from models.data.grammar import language_of

_FRAMES_EN = ("animated sticker of", "an animation of", "animation of", "animated", "everything", "that", "in a loop")
_FRAMES_ZH = ("动态表情", "动画", "动态", "一起", "在动")
TOGETHER = 2  # motions that are done at once
_LEFT_OVER_ZH = re.compile(r"[在的，、]+(?=$|[，。])|^[在的，、]+")


def _pattern(words: Iterable[str]) -> re.Pattern[str]:
    """Any of the words, the longest first, so that those of captions are found whole: "slides to the left"."""
    longest_first = [re.escape(word) for word in sorted(words, key=len, reverse=True)]
    english, chinese = ("|".join(w for w in longest_first if w.isascii() is ascii) or "(?!)" for ascii in (True, False))
    return re.compile(rf"\b(?:{english})\b|{chinese}", re.IGNORECASE)


@cache
def _unsaid() -> re.Pattern[str]:
    """What a picture does not show, in either language: the motions, how fast they are, and that it moves at all."""
    words = {*_caption_forms(), *_FRAMES_EN, *_FRAMES_ZH, *_kept()}
    return _pattern(
        words.union(*([*chain(*said["speeds"].values()), *said["loop"]] for said in MOTION_TEMPLATES.values())) - {""}
    )


@cache
def _kept() -> frozenset[str]:
    """Names of things that have the words of a motion in them, and nouns that only look like them."""
    return frozenset((*MOTION_WORDS["names"], *MOTION_WORDS["nouns"]))


def plain_motion(text: str) -> str:
    """The text with a motion that captions say otherwise in their words: "a fish swims left", "a fish slides left"."""
    forms = _heard()
    return _any_form().sub(lambda found: forms.get(found[0].casefold(), found[0]), text)


@cache
def _heard() -> dict[str, str]:
    """Words of motion that no caption has, and those of a caption for them."""
    heard = MOTION_WORDS["heard"]
    rows = [(name, row.split("/")) for name, verbs in heard["other"].items() for row in verbs]
    for name, ways in heard["ways"].items():
        rows += [(name, [f"{form} {way}" for form in verb.split("/")]) for verb in heard["verbs"] for way in ways]
    plain = {name: (row.en[0][0], *row.en[0]) for name, row in MOTIONS.items()}
    english = {form: to for name, forms in rows for form, to in zip(forms, plain[name], strict=True)}
    return english | {verb: MOTIONS[name].zh[0] for name, verbs in heard["zh"].items() for verb in verbs}


@cache
def _any_form() -> re.Pattern[str]:
    """All words of motion, those of captions too, which stay as they are ("flies in a circle"), and nouns with them."""
    return _pattern({*_heard(), *_caption_forms(), *MOTION_WORDS["nouns"]})


def named_motions(text: str) -> list[str]:
    """The motions that a text names, the one with the most words first; where it names none of the table, those that
    are nearest in meaning to its verb: a cat that dances waves and bounces."""
    forms = _caption_forms()
    named = [forms[word] for word in sorted(_words_of_motion(text), key=len, reverse=True)]
    return list(dict.fromkeys(named or _nearest_motions(text)))


def _words_of_motion(text: str) -> list[str]:
    """Those of captions that a text has, in their order."""
    words = (found[0].casefold() for found in _any_form().finditer(plain_motion(text)))
    return [word for word in words if word not in MOTION_WORDS["nouns"]]


def _nearest_motions(text: str) -> list[str]:
    forms = _nearest()
    words = [found[0].casefold() for found in _pattern_of_nearest().finditer(text)]
    return forms[max(words, key=len)] if words else []


@cache
def _nearest() -> dict[str, list[str]]:
    """The words of verbs that no motion of the table is, and the motions, one or two, that are nearest in meaning."""
    rows = [(motions.split(" + "), said) for motions, said in MOTION_WORDS["nearest"].items()]
    english = {form: names for names, said in rows for verb in said["en"] for form in verb.split("/") if form}
    return english | {form: names for names, said in rows for form in said["zh"]}


@cache
def _typical() -> list[tuple[re.Pattern[str], list[str]]]:
    """Words of things, and how they move where nothing is said of it."""
    return [(_pattern(words), motions.split(" + ")) for motions, words in MOTION_WORDS["typical"].items()]


@cache
def _pattern_of_nearest() -> re.Pattern[str]:
    return _pattern(_nearest())


def can_loop(text: str) -> bool:
    """Whether what moves comes back: not where a motion leads away, or out of sight."""
    return all(MOTIONS[name].loops for name in named_motions(text))


def named_moves(text: str, loop: bool = False) -> tuple[Move, ...]:
    """The motions that a text names with its speed, at most two, which are done at once; where it names none, those
    that are typical of its thing. They `loop` where all of them can."""
    speed: Speed = next((speed for speed, pattern in _speeds().items() if pattern.search(text)), "normal")
    loop = loop and can_loop(text)
    typical = (motions for pattern, motions in _typical() if pattern.search(text))
    motions = named_motions(text) or next(typical, MOTION_WORDS["otherwise"])
    return tuple(Move(name, speed, loop) for name in motions[:TOGETHER])


@cache
def _speeds() -> dict[Speed, re.Pattern[str]]:
    said = {speed: {word for rows in MOTION_TEMPLATES.values() for word in rows["speeds"][speed]} for speed in SPEEDS}
    return {speed: _pattern(words) for speed, words in said.items() if "" not in words}


def read_motion(text: str, loop: bool) -> str:
    """The text with what it is drawn as, where that is no motion that it names, or where what is to `loop` plays once;
    "" elsewhere."""
    moves, once = named_moves(text), loop and not can_loop(text)
    if _words_of_motion(text) and not once:
        return ""
    language = language_of(text)
    sentence, joint, suffix = MOTION_TEMPLATES[language]["read"]
    rows = [MOTIONS[move.motion] for move in moves]
    verbs = joint.join(row.zh[0] if language == "zh" else row.en[0][1] for row in rows)
    return str(sentence.format(s=still_prompt(text), ing=verbs)) + suffix * once


@cache
def _caption_forms() -> dict[str, str]:
    """The words of captions for a motion, in small letters, and the motion."""
    return {form.casefold(): name for name, row in MOTIONS.items() for form in (*chain(*row.en), *row.zh)}


def still_prompt(text: str) -> str:
    """The prompt of the first frame; the text itself where nothing would be left."""
    left = _unsaid().sub(
        lambda found: found[0] if found[0].casefold() in _kept() else " " * found[0].isascii(), plain_motion(text)
    )
    if left.isascii():
        left = re.sub(r"(?:\s*,\s*)+", ", ", re.sub(r"\s+", " ", left))
        left = re.sub(r"[\s,]+and\s*$", "", left)
    else:
        left = _LEFT_OVER_ZH.sub("", re.sub("，+", "，", left))
    return left.strip(" ,，。") or text
