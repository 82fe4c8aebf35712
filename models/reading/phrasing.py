"""How prompts say things: what is joined to what, what says nothing of a thing, and all of it in one order.

Here a text is words; which things they name is found in `models.reading.naming`.
"""

import re
from collections.abc import Iterable

from models.data.colours import COLOURS
from models.data.grammar import MEASURES_ZH, article, regular
from models.data.styles import STYLES
from models.reading.amounts import counted
from models.reading.chinese import TAKES, ground_last, ordered
from models.reading.paints import painted

_PLACES = "(?:top|bottom|left|right|front|back)"
_COUNTS = "[一两二三四五]"
# What one thing does to another, which is then in its hand, in its arms, or beside it; the longer of two comes first.
IN_HAND = (
    *("holding", "carrying", "catching", "eating", "drinking from", "drinking", "playing", "waving", "throwing"),
    *("lifting", "raising", "using", "bringing", "giving", "offering", "showing", "serving", "licking", "sniffing"),
    *("blowing", "strumming", "stealing", "biting"),
)
IN_ARMS = ("hugging", "reading")
ASIDE = ("chasing", "following", "kissing", "pulling", "pushing", "watching", "looking at", "kicking", "playing with")
DEEDS = (*IN_HAND, *ASIDE, *IN_ARMS)
_NO_DEEDS = "king|ring|string|wing|thing|duckling|pudding|taking|being|doing|smiling|laughing|crying|winking"
_DOING = (  # anything else
    rf"(?<=\w )(?!(?:{_NO_DEEDS})\b)[a-z]{{2,}}ing(?: from| at| to)?(?= an? | the )"
    r"|(?<=[b-z] )cooking(?= \w)"
)
# In Chinese only before what it is done with: 弹 is also of a bomb (炸弹), 打 of snoring.
_DEEDS_ZH = f"弹着?(?=吉他|钢琴|琴)|打着?(?=[篮网排棒羽乒鼓伞])|踢着?(?=足球|球)|{TAKES}"
DOING = re.compile(_DOING)
_AND = "(?<!black )and|(?<=black )and(?! white)"  # black and white are one
JOINTS = re.compile(
    rf"(\b(?:to the (?:left|right) of|in front of|(?:at|on|in) the {_PLACES}|on top(?: of)?|next to|(?:left|right) of"
    r"|beside|near|behind|surrounded by|above|over|below|under|beneath|inside|into|wearing|riding|made of"
    rf"|{'|'.join(DEEDS)}|{_DOING}|(?<!flag )(?<!flags )of"
    rf"|(?:at|(?<!ed )(?<!wn )(?<!en )by)(?= an? | the | sun(?:rise|set)\b| night\b)|{_AND}|with|on|in(?! love\b))\b"
    rf"|&|[左右上下前后][面边方侧]是?|旁边|里面?|还有|在|和(?![服平尚])|与|跟|戴着?|穿着?|印着|拿着?(?![大铁破])|骑着?|追着?|抱着?(?![歉怨枕])|{_DEEDS_ZH})"
)
# Where on somebody a thing is: no other thing.
ON_BODY = re.compile(
    r"\b(?:on|in|round|around) (?:its|his|her|their|the) (?:head|nose|back|shoulder|lap|mouth|neck|paw|hand|arm)s?\b"
)
_LOOSE = re.compile(rf"with|in|of|made of|(?:at|on|in) the {_PLACES}")  # joints that may lead to no other thing
_ARTICLE = re.compile(r"\s*(?:an?|the) ")
CLAUSES = re.compile(r"([,;，；。、])")
PAINTS, PAINTS_ZH = "|".join(COLOURS), "|".join(colour.zh for colour in COLOURS.values())  # of patterns
# A colour that is said after the one thing: "a cat, orange".
_PAINTED_LAST = re.compile(
    rf"^((?:an?|the|one|two|three|four) )?(?![^,]*\b(?:{PAINTS}|and)\b)([^,，&]+), (black and white|{PAINTS})"
    rf"(?=$|,(?!.*\b(?:{PAINTS})\b))"
)
_PAINTED_LAST_ZH = re.compile(
    rf"^(?![^，]*(?:{PAINTS_ZH}|[和与跟]))([^,，]+)，({PAINTS_ZH})的?(?=$|，(?!.*(?:{PAINTS_ZH})))"
)
_NEXT = "(?=an? |the |one |two |three |four )"
_ASKED = re.compile(
    rf"^(?:please )?(?:(?:draw|make|create|generate|give|show|i want|i need)(?: me)? {_NEXT})?"
    rf"(?:(?:an? )?(?:sticker|emoji|icon|picture|drawing|illustration|image) of {_NEXT})?"
)
_OUT_OF = re.compile(r" (?:[a-z]+ing )?out of (?=an? |the |his |her |its |\w+$)")
_THROUGH = re.compile(r" (?:[a-z]+ing )?(?:through|across) (?=\w)")
_ABOUT = re.compile(r" (?:[a-z]+ing )?around (?=an? )")
_VASE = re.compile(r"\bvase with (?=(?:\w+ ){0,2}\w+s\b)")
_AROUND = re.compile(r" with ((?:\w+ ){0,2}\w+s)(?: flying| floating)?(?: all)? around (?:it|him|her|them)\b")
_FLYING = re.compile(r"(?<=\w) flying(?=$|[,，]| (?:on|in|at|with)\b)")  # said of what has wings, or is given some
_GROUND = re.compile(r"background|backdrop|gradient|背景|渐变")
SAYS_MORE = re.compile(  # a clause after the first that names another thing, and no keyword of the first
    rf"^\s*(?:(?:an?|the|one|two|three|four|{PAINTS})\b|{_COUNTS}|{PAINTS_ZH})"
    rf"|the {_PLACES}\b|[左右上下前后][面边方侧]"
)
_PLAIN = (
    "a an the one two three four some emoji emojis sticker stickers icon icons picture image small large big little"
    " style"
)
_PLAIN_ZH = "贴纸 图标 表情符号 表情包 表情 符号 图片 风格 小 大 的"
_WORD = re.compile(r"[a-z0-9]+|[\u3400-\u9fff]")


def words_of(text: str) -> list[str]:
    """English words without plural, and Chinese characters."""
    return [word.removesuffix("s") for word in _WORD.findall(text.lower())]


def left_of(text: str, name: str) -> list[str]:
    """The words of `text` that say something beside the name, which may stand in the plural."""
    return words_of(bare(re.sub(rf"{re.escape(name)}(?:e?s\b)?", " ", text.lower(), count=1) if name else text))


def bare(text: str) -> str:
    """`text` without the words that say nothing of what is named: articles, colours, numbers, styles."""
    return " ".join(_UNSAID.sub(" ", text.lower()).split())


def any_of(phrases: Iterable[str]) -> str:
    """A pattern of any of the phrases, the longest first; of nothing, one that never matches."""
    return "|".join(re.escape(phrase) for phrase in sorted(phrases, key=len, reverse=True)) or "(?!)"


def split(clause: str) -> list[str]:
    """What stands between the words that join things, without grounds."""
    return [part for part in JOINTS.split(clause)[::2] if not _GROUND.search(part)]


def of_itself(clause: str, own: str) -> str:
    """Of what a clause says between its joints what is said of the thing that `own` names: of a black and white ball,
    of a car in red, but not of a cat and an orange."""
    pieces = split(clause)
    place = pieces.index(own) if own in pieces else len(pieces)
    plain = [not bare(piece) and not (i > place and _ARTICLE.match(piece)) for i, piece in enumerate(pieces)]
    return " ".join(piece for i, piece in enumerate(pieces) if i == place or plain[i])


def beside(clause: str) -> set[str]:
    """What stands on both sides of a joint that can only lead to another thing."""
    pieces = JOINTS.split(clause)
    firm = (i for i, joint in enumerate(pieces[1::2]) if not _LOOSE.fullmatch(joint))
    return {part for i in firm for part in pieces[2 * i : 2 * i + 3 : 2]}


# A person riding a bicycle is a person biking, whatever it is called; and who is "woman: red hair" has red hair.
_BIKE = re.compile(r"\briding (?:(?:an?|the|his|her|their) )?bike\b", re.IGNORECASE)
_HAIR = re.compile(r"(?<=man|son): (?=\w+ hair\b|beard\b)", re.IGNORECASE)


def in_order(text: str) -> str:
    """In small letters, in the colours that are taught, regular plurals and numbers; Chinese in the order of English,
    and the ground behind all: 戴墨镜的企鹅 is 企鹅戴墨镜, 红色背景上的猫 is 猫，红色背景."""
    text = _BIKE.sub("riding a bicycle", _HAIR.sub(" with ", text))
    text = _VASE.sub("vase of ", _ABOUT.sub(" near ", _THROUGH.sub(" over ", text)))
    text = _OUT_OF.sub(
        " in ", _AROUND.sub(r" surrounded by \1", _ASKED.sub("", regular(ground_last(_FLYING.sub("", text)))))
    )
    text = painted(ordered(counted(painted(text)), lambda phrase: bool(bare(phrase))))
    return _PAINTED_LAST_ZH.sub(r"\2的\1", _PAINTED_LAST.sub(_painted_first, text))


def _painted_first(match: re.Match[str]) -> str:
    painted = f"{match[3]} {match[2]}"
    return article(painted) if match[1] in ("a ", "an ") else f"{match[1] or ''}{painted}"


def _unsaid() -> re.Pattern[str]:
    english = ["black and white", *_PLAIN.split(), *COLOURS]
    english += [word.lower() for style in STYLES.values() for word in style.en]
    chinese = [*_PLAIN_ZH.split(), *(colour.zh for colour in COLOURS.values())]
    chinese += [word for style in STYLES.values() for word in style.zh if not word.isascii()]
    return re.compile(rf"\b(?:{any_of(english)}|\d+)\b|{_COUNTS}[{MEASURES_ZH}]?|{any_of(chinese)}")


_UNSAID = _unsaid()
