"""What is said of how things feel: "an angry teapot" has an angry face, 害羞的云 a blushing one.

The words are those of `models.data.moods`, which captions of faces were made with, and what people say beside them.
"""

import re

from models.data.combinations import MAX_COUNT
from models.data.grammar import NUMBERS, article, language_of
from models.data.moods import MOODS

# By the face, what is said of a thing that has it beside the table's own words.
_MORE = {
    "smiling face": "friendly, kawaii, 笑着, 笑眯眯, 笑嘻嘻, 笑哈哈, 幸福, 兴奋, 激动, 满足, 带笑脸, 有笑脸",
    "disappointed face": "不开心, 不高兴, 悲伤, 忧伤, 委屈, 郁闷",
    "crying face": "哭着, 哭哭, 哭唧唧, 眼泪汪汪",
    "grinning face": "grinning",
    "angry face": "grumpy, 发怒, 气呼呼, 气鼓鼓, 暴躁",
    "astonished face": "amazed, 惊呆, 惊呆了",
    "winking face": "winking, cheeky, 眨眼",
    "smiling face with smiling eyes": "shy, bashful, 害羞, 羞涩",
    "smiling face with heart-eyes": "with heart eyes, with heart-eyes, lovestruck",
    "sleeping face": "asleep, 瞌睡, 睡着, 睡着了, 困困, 困了, 打盹",
}
FACE_OF = {word.removesuffix("的"): mood.face for mood in MOODS if mood.face for word in mood.en + mood.zh}
FACE_OF |= {word: face for face, words in _MORE.items() for word in words.split(", ")}
_ENGLISH, _CHINESE = (
    "|".join(sorted((word for word in FACE_OF if word.isascii() is ascii and len(word) > 1), key=len, reverse=True))
    for ascii in (True, False)
)
# What is wished, and what has such a word in its name: weeping willows, sleeping bags, laughing gas, shocked by.
_DAY = (
    r"birthday|(?:new )?year|easter|halloween|christmas|xmas|valentine|thanksgiving|diwali|eid|holiday|weekend|hour"
    r"|anniversary|retirement|graduation|wedding|engagement|b-day|trails?|mail|meal|\w*day\b"
)
_OTHER = r"style|willow|beauty|hatter|(?:pill|bag|beat|song|cap|mask|bowl|bottle)s?\b|(?:gas|by|over|about)\b"
_BEFORE = "".join(f"(?<!{word} )" for word in ("vegan", "pet", "kid", "eco", "car", "home"))  # -friendly, -sick
FELT = re.compile(
    rf"\bwith (?:an? )?(?:(?!(?:{_ENGLISH})\b)\w+ )?(?:({_ENGLISH}) )?(?:face|smile)s?\b"
    rf"|(?<![\w-]){_BEFORE}({_ENGLISH})\b(?!(?: [\w']+){{0,3}} (?:{_DAY}))(?! (?:face|{_OTHER}))"
    rf"|(?<![不没别日年诞秋节业宵婚夕午旦庆末])(?:特别|非常|超级|超|很|好)?({_CHINESE})(?!果|农场|星球|水|包)的?"
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
    if word.startswith(("with ", "in ")):
        return f"{article(thing)} {word}"
    number, noun = match.groups() if (match := _COUNTED.match(thing)) else (None, thing)
    return f"{number} {word} {noun}" if number else article(f"{word} {noun}")
