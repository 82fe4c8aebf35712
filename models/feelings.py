"""What is said of how things feel: "an angry teapot" has an angry face, 害羞的云 a blushing one.

The words are those of `models.data.moods`, which captions of faces were made with, and what people say beside them.
"""

import re

from models.data.combinations import MAX_COUNT
from models.data.grammar import NUMBERS, article, language_of
from models.data.moods import MOODS

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
FACE_OF = {word.removesuffix("的"): mood.face for mood in MOODS if mood.face for word in mood.en + mood.zh}
FACE_OF |= {word: face for face, words in _MORE.items() for word in words}
_ENGLISH, _CHINESE = (
    "|".join(sorted((word for word in FACE_OF if word.isascii() is ascii and len(word) > 1), key=len, reverse=True))
    for ascii in (True, False)
)
_DAY = r"birthday|(?:new )?year|easter|halloween|christmas|valentine|thanksgiving|holiday|hour|anniversary|\w*day\b"
_OTHER = r"style|willow|pills?\b|bags?\b|gas\b|beauty|by\b"  # weeping willows, sleeping bags, laughing gas, shocked by
FELT = re.compile(
    rf"\bwith an? (?:(?!(?:{_ENGLISH})\b)\w+ )?(?:({_ENGLISH}) )?(?:face|smile)\b"
    rf"|(?<![\w-])({_ENGLISH})\b(?!(?: [\w']+){{0,3}} (?:{_DAY}))(?! (?:face|{_OTHER}))"
    rf"|(?<![不没别日年诞秋节])({_CHINESE})(?!果)的?"
)
_NUMBERS = "|".join(NUMBERS["en"][count] for count in range(2, MAX_COUNT + 1))
_COUNTED = re.compile(rf"^(?:(?:an?|({_NUMBERS})) )?(.+)$")


def feelings(text: str) -> list[str]:
    """The words, in order, that say how something in the text feels; of "with a face" it is smiling."""
    return [next(filter(None, match.groups()), "smiling") for match in FELT.finditer(text)]


def with_feeling(word: str, thing: str) -> str:
    """A thing of which that is said: "an angry teapot", 生气的茶壶."""
    if language_of(thing) == "zh":
        return f"{word}的{thing}"
    if word.startswith("with "):
        return f"{article(thing)} {word}"
    number, noun = match.groups() if (match := _COUNTED.match(thing)) else (None, thing)
    return f"{number} {word} {noun}" if number else article(f"{word} {noun}")
