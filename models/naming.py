"""Which of the things that the models know a prompt names: "a cat to the left of a dog" names two.

Names are looked for in what is said, part by part; where none stands there, the thing is meant that the part's vector
lies nearest to, and that has most of its words ("coffee" is a keyword of a hot beverage). Colours, numbers and styles
are left out first: with them, "a red umbrella" lies nearest to a scarf.
"""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from models.amounts import counted
from models.data.colours import COLOURS
from models.data.grammar import MEASURES_ZH, article, regular
from models.data.styles import STYLES
from models.other_names import OTHER_NAMES

Embed = Callable[[str], Tensor]  # a text -> its semantic vector (128,)

SURE = 0.8  # cosine of a text to a name from which on that is what it is about, if they share SOME words
SAME = 0.95  # from here on it says no more and no less than the name does
SAID = 0.6  # what it is worth, in cosine, that all words of a text are words of a thing
ALONE = 0.2  # and that a thing has no other words
SOME = 0.5  # share of words: with none in common, a near name is chance (words that were never taught lie anywhere)
ENOUGH = 0.65  # share of words from which on a thing is meant though its name lies far away
FAR = 0.4  # cosine below which no word is hint enough: a knight is a keyword of the dragon
MOST = 32  # parts of a prompt: no picture has room for so many things, and each asks for a vector
_PEOPLE = "people-body"
_EXACT = {"flags", "symbols", ""}  # groups of which one thing is no hint at another: those are named or not meant

_PLACES = "(?:top|bottom|left|right|front|back)"
_COUNTS = "[一两二三四五]"
# What one thing does to another beside it; the longer of two comes first.
DEEDS = (
    *("holding", "chasing", "following", "hugging", "kissing", "catching", "carrying", "pulling", "pushing"),
    *("watching", "looking at", "eating", "drinking", "reading", "kicking", "playing with", "playing"),
)
# In Chinese only before what it is done with: 弹 is also of a bomb (炸弹), 打 of snoring.
_DEEDS_ZH = (
    "弹着?(?=吉他|钢琴|琴)|打着?(?=[篮网排棒羽乒高保]|鼓|伞)|踢着?(?=足球|球)|喝着?(?=[咖奶牛啤果可茶水酒汤红])"
    "|吃着?(?![惊货])|看着?(?=[书报电手])|读着?(?=书|报)"
)
JOINTS = re.compile(
    rf"(\b(?:to the (?:left|right) of|in front of|(?:at|on|in) the {_PLACES}|on top of|next to|(?:left|right) of|beside"
    r"|near|behind|above|over|below|under|beneath|inside|into|wearing|riding|made of"
    rf"|{'|'.join(DEEDS)}"
    r"|at(?= an? | the | sun(?:rise|set)\b)|and|with|on|in|of)\b"
    rf"|&|[左右上下前后][面边方侧]是?|旁边|里面?|还有|在|和|与|跟|戴着?|穿着?|拿着?|骑着?|追着?|抱着|{_DEEDS_ZH})"
)
_LOOSE = re.compile(rf"with|on|in|of|made of|(?:at|on|in) the {_PLACES}")  # joints that may lead to no other thing
_WEARS = re.compile(rf"^((?:{_COUNTS}?[个只位名])?)([戴穿拿骑]着?|{_DEEDS_ZH})([^，,。]+?)的([^，,。]+)")
_ARTICLE = re.compile(r"\s*(?:an?|the) ")
_GROUND_FIRST = re.compile(r"^([^,，。]*背景)[上里中]?的([^,，。]+)")
_ON_GROUND_LAST = re.compile(r"^([^,，。]+)在([^,，。]*背景)[上里中]?$")
_CLAUSES = re.compile(r"([,;，；。、])")
_AT_FIRST = re.compile(r"^([^，,。在]+?)(里面?|上面?|下面?|旁边|边|[前后]面)的([^，,。]+)")
_COLOURS = "|".join(COLOURS)
_PAINTED_LAST = re.compile(
    rf"^((?:an?|the|one|two|three|four) )?(?![^,]*\b(?:{_COLOURS})\b)([^,，]+), ({_COLOURS})(?=$|,)"
)
_GROUND = re.compile(r"background|backdrop|gradient|背景|渐变")
_CHINESE_COLOURS = "|".join(colour.zh for colour in COLOURS.values())
_PAINTED_LAST_ZH = re.compile(rf"^(?![^，]*(?:{_CHINESE_COLOURS}))([^,，]+)，({_CHINESE_COLOURS})的?(?=$|，)")
_SAYS_MORE = re.compile(  # a clause after the first that names another thing, and no keyword of the first
    rf"^\s*(?:(?:an?|the|one|two|three|four|{_COLOURS})\b|{_COUNTS}|{_CHINESE_COLOURS})"
    rf"|the {_PLACES}\b|[左右上下前后][面边方侧]"
)
_PLAIN = (
    "a an the one two three four some emoji emojis sticker stickers icon icons picture image small large big little"
    " style"
)
_PLAIN_ZH = "贴纸 图标 表情符号 表情 符号 图片 风格 小 大 的"
_WORD = re.compile(r"[a-z0-9]+|[\u3400-\u9fff]")


@dataclass(frozen=True)
class Known:
    """A thing: its names by language, its keywords, its group, and whether it may stand beside another one."""

    names: dict[str, tuple[str, ...]]
    keywords: tuple[str, ...]
    group: str
    thing: bool

    @cached_property
    def phrases(self) -> tuple[str, ...]:
        """All names and keywords, in small letters."""
        names = (name for of_language in self.names.values() for name in of_language)
        return tuple(dict.fromkeys(phrase.lower() for phrase in (*names, *self.keywords)))

    @cached_property
    def words(self) -> frozenset[str]:
        """All words of its names and keywords."""
        return frozenset(word for phrase in self.phrases for word in words_of(phrase))

    @cached_property
    def english(self) -> frozenset[str]:
        """Those that are not Chinese characters."""
        return frozenset(word for word in self.words if word.isascii())

    @cached_property
    def chinese(self) -> tuple[str, ...]:
        """Phrases that hold Chinese characters."""
        return tuple(phrase for phrase in self.phrases if not phrase.isascii())

    def share(self, said: Sequence[str]) -> tuple[float, float]:
        """Which share of some words (as `words_of` gives them) is its own, and which share of its own these are.

        Of a Chinese character only in a phrase: 火焰 is a flame, and 焰火 fireworks.
        """
        run = "".join(word for word in said if not word.isascii())
        own = {i for phrase in self.chinese for i in range(*_span(phrase, run))}
        count = len(own) + sum(word in self.english for word in said if word.isascii())
        all_own = sum(map(len, self.chinese)) if run else len(self.english)
        return count / max(1, len(said)), count / max(1, all_own)


@dataclass(frozen=True)
class Part:
    """What stands between two joints, and the thing (by number) that it names; `name` as it stands there, or "".

    `own` is what is said of the thing itself, where the text says something of its parts too: blue eyes make no blue
    cat, and two ears no two bears.
    """

    text: str
    number: int
    name: str = ""
    own: str = ""

    @property
    def beside(self) -> str:
        """What is said of the thing beside its name: how many there are, of which colour, how large."""
        return (self.own or self.text).replace(self.name, " ", 1)


class Naming:
    """`known` are the things, `places` (M, 128) the vectors of all their names, one after the other.

    `others` are what else they are called, by an English name: that names them where nothing else is said. A name that
    some thing has itself stays that thing's.
    """

    def __init__(
        self, known: Sequence[Known], places: Tensor, others: Mapping[str, Sequence[str]] = OTHER_NAMES
    ) -> None:
        self.known, self.places = tuple(known), places
        named = [(name, number) for number, one in enumerate(known) for names in one.names.values() for name in names]
        self._owners = [number for _, number in named]
        self._names: dict[str, list[int]] = defaultdict(list)
        for name, number in named:
            self._names[name.lower()].append(number)
        called = ((said, number) for name, number in named for said in others.get(name, ()))
        self._others = {tuple(words_of(bare(said))): number for said, number in called}

    def called(self, name: str) -> list[int]:
        """Numbers of the things that are called so, to the letter; needs no vectors."""
        other = self._others.get(tuple(words_of(bare(name))))
        return self._names.get(name.lower(), []) or ([] if other is None else [other])

    def parts(self, text: str, embed: Embed) -> list[Part]:
        """The parts of `text` that name a thing: none, one, or more that are drawn side by side."""
        if not self.known:
            return []
        first, *rest = _CLAUSES.split(in_order(text))
        if called := self._called(first):
            return [called]
        name = self._longest(first)
        if name and JOINTS.search(name) and not self._has_doer(first, name):  # "person with white cane" is one
            return [Part(first, self._nearest(self._names[name], embed(first)), name)]
        more = [clause for clause in rest[1::2] if _SAYS_MORE.search(clause)]
        parts = [part for clause in [first, *more] for part in _split(clause)]
        if len(parts) > MOST:
            return []
        told = sum(bool(self._longest(part)) for part in parts)
        if told < 2 and not any(map(self._called, parts)) and left_of(first, name):
            for said in (first, bare(first)):
                best, cosine, share = self._best(first, embed(said))
                if cosine >= SURE and share >= SOME:
                    name = self._name_in(first, best)
                    own = next((part for part in parts if name and name in part), "" if name else parts[0])
                    return [Part(first, best, name, _of_itself(first, own) if own else "")]
        found = [named for part in parts if (named := self._named(part, embed))]
        beside = _beside(first)
        apart = beside.union(*map(_split, more))
        if any(part.name for part in found):  # beside a name, the word of another one: cheese of a cheese wedge
            found = [part for part in found if part.name or part.text in beside or self._is_named_by(part)]
        # Of what a panda eats its keywords say bamboo, and that is no second panda.
        by_name = {part.number for part in found if part.name}
        found = [part for part in found if part.name or part.number not in by_name]
        # A thing that is named twice is another one only where it is said to stand beside the first.
        things = {
            part.text if part.text in apart else part.number: part for part in found if self._stands(part, bool(beside))
        }
        if len(things) > 1:
            return list(things.values())
        chosen = sorted(found, key=lambda part: not part.name)[:1]
        said = " ".join(_split(first))
        return [Part(said, one.number, one.name, _of_itself(first, one.text)) for one in chosen]

    def _has_doer(self, text: str, name: str) -> bool:
        """Whether a name that is a deed, 骑自行车, is done by another thing, which is then meant with what it holds."""
        return bool(JOINTS.match(name) and self._longest(text.replace(name, " ", 1)))

    def same(self, text: str, embed: Embed) -> bool:
        """Whether the space takes `text` for some name."""
        return float((self.places @ embed(text)).max()) >= SAME

    def _called(self, text: str, head: bool = False) -> Part | None:
        """The thing that is called what is said, and nothing else is; or what is said last, its `head`."""
        if (name := self._longest(text)) and not left_of(text, name):  # two hearts are one thing by name
            return None
        words = text_words = words_of(said := bare(text))
        while head and len(words) > 1 and tuple(words) not in self._others:
            words = words[1:]
        number = self._others.get(tuple(words))
        if number is None or (words != text_words and len("".join(words)) < 2):  # 棉花 is cotton, and no flower
            return None
        found = re.search(r"\s*".join(f"{re.escape(word)}s?" for word in words) + r"$", said)
        return Part(text, number, found[0] if found and found[0] in text else "")

    def _named(self, part: str, embed: Embed) -> Part | None:
        if called := self._called(part) or self._called(part.rstrip("上下里中")):
            return called
        if name := self._longest(part):
            number = self._nearest(self._names[name], embed(part))
            return self._trade(part, number) or Part(part, number, name)
        if not (said := bare(part)):
            return None
        best, cosine, share = self._best(part, embed(said))
        if share < 1 and (called := self._called(part, head=True)):
            return called
        enough = SOME if cosine >= SURE else ENOUGH if cosine >= FAR else math.inf
        return Part(part, best) if share >= enough else None

    def _trade(self, part: str, number: int) -> Part | None:
        """What a person does is who is meant: a woman doctor is a health worker, as she is a scientist by name."""
        called = self._called(part, head=True) if self.known[number].group == _PEOPLE else None
        return called if called and self.known[called.number].group == _PEOPLE else None

    def _stands(self, part: Part, beside: bool) -> bool:
        """Whether it may stand beside another thing; people where that is said."""
        known = self.known[part.number]
        return known.thing or (beside and known.group not in _EXACT)

    def _is_named_by(self, part: Part) -> bool:
        names = self.known[part.number].names.values()
        return set(words_of(bare(part.text))) <= {
            w for of_language in names for name in of_language for w in words_of(name)
        }

    def cosines(self, vector: Tensor) -> list[float]:
        """Of a text's vector (128,) to each thing: that of the nearest of its names."""
        best = [-1.0] * len(self.known)
        for number, cosine in zip(self._owners, (self.places @ vector).tolist(), strict=True):
            best[number] = max(best[number], cosine)
        return best

    def _best(self, text: str, vector: Tensor) -> tuple[int, float, float]:
        """The thing that is meant most likely, its cosine, and which share of the words are its own."""
        cosines, said = self.cosines(vector), words_of(bare(text))
        shares = [one.share(said) if one.group not in _EXACT else (0.0, 0.0) for one in self.known]
        best = max(range(len(cosines)), key=lambda n: cosines[n] + SAID * shares[n][0] + ALONE * shares[n][1])
        return best, cosines[best], shares[best][0]

    def _nearest(self, numbers: Sequence[int], vector: Tensor) -> int:
        cosines = self.cosines(vector)
        return max(numbers, key=cosines.__getitem__)

    def _name_in(self, text: str, number: int) -> str:
        names = (name.lower() for names in self.known[number].names.values() for name in names)
        return max((name for name in names if name in text), key=len, default="")

    def _longest(self, text: str) -> str:
        """The longest name that stands in `text`; "" for none."""
        found = [match[1] or match[2] for match in self._expression.finditer(text)]
        return max(reversed(found), key=len, default="")  # of two the last, which is the head: a cat astronaut

    @cached_property
    def _expression(self) -> re.Pattern[str]:
        english, others = (_any(name for name in self._names if name.isascii() is ascii) for ascii in (True, False))
        return re.compile(rf"(?<![a-z\d])({english})(?:e?s)?(?![a-z\d])|({others})")


def words_of(text: str) -> list[str]:
    """English words without plural, and Chinese characters."""
    return [word.removesuffix("s") for word in _WORD.findall(text.lower())]


def _span(phrase: str, run: str) -> tuple[int, int]:
    """From where to where the phrase stands in the run; nothing where it does not."""
    start = run.find(phrase)
    return (start, start + len(phrase)) if start >= 0 else (0, 0)


def left_of(text: str, name: str) -> list[str]:
    """The words of `text` that say something beside the name, which may stand in the plural."""
    return words_of(bare(re.sub(rf"{re.escape(name)}(?:e?s\b)?", " ", text.lower(), count=1) if name else text))


def bare(text: str) -> str:
    """`text` without the words that say nothing of what is named: articles, colours, numbers, styles."""
    return " ".join(_UNSAID.sub(" ", text.lower()).split())


def _any(phrases: Iterable[str]) -> str:
    """A pattern of any of the phrases, the longest first; of nothing, one that never matches."""
    return "|".join(re.escape(phrase) for phrase in sorted(phrases, key=len, reverse=True)) or "(?!)"


def _split(clause: str) -> list[str]:
    """What stands between the words that join things, without grounds."""
    return [part for part in JOINTS.split(clause)[::2] if not _GROUND.search(part)]


def _of_itself(clause: str, own: str) -> str:
    """Of what a clause says between its joints what is said of the thing that `own` names: of a black and white ball,
    of a car in red, but not of a cat and an orange."""
    pieces = _split(clause)
    place = pieces.index(own) if own in pieces else len(pieces)
    plain = [not bare(piece) and not (i > place and _ARTICLE.match(piece)) for i, piece in enumerate(pieces)]
    return " ".join(piece for i, piece in enumerate(pieces) if i == place or plain[i])


def _beside(clause: str) -> set[str]:
    """What stands on both sides of a joint that can only lead to another thing."""
    pieces = JOINTS.split(clause)
    firm = (i for i, joint in enumerate(pieces[1::2]) if not _LOOSE.fullmatch(joint))
    return {part for i in firm for part in pieces[2 * i : 2 * i + 3 : 2]}


def ground_last(text: str) -> str:
    """With a Chinese ground in a clause of its own, behind what stands on it."""
    return _ON_GROUND_LAST.sub(r"\1，\2", _GROUND_FIRST.sub(r"\2，\1", text))


def in_order(text: str) -> str:
    """In small letters, regular plurals and numbers, with who wears or holds something before it, and the ground
    behind all: 戴墨镜的企鹅 is 企鹅戴墨镜, 红色背景上的猫 is 猫，红色背景."""
    text = _AT_FIRST.sub(r"\3在\1\2", counted(regular(ground_last(text))))
    text = _PAINTED_LAST_ZH.sub(r"\2的\1", _PAINTED_LAST.sub(_painted_first, text))
    worn = _WEARS.match(text)
    return _WEARS.sub(r"\1\4\2\3", text) if worn and bare(worn[3]) else text


def _painted_first(match: re.Match[str]) -> str:
    painted = f"{match[3]} {match[2]}"
    return article(painted) if match[1] in ("a ", "an ") else f"{match[1] or ''}{painted}"


def _unsaid() -> re.Pattern[str]:
    english = [*_PLAIN.split(), *COLOURS, *(word.lower() for style in STYLES.values() for word in style.en)]
    chinese = [*_PLAIN_ZH.split(), *(colour.zh for colour in COLOURS.values())]
    chinese += [word for style in STYLES.values() for word in style.zh if not word.isascii()]
    return re.compile(rf"\b(?:{_any(english)}|\d+)\b|{_COUNTS}[{MEASURES_ZH}]?|{_any(chinese)}")


_UNSAID = _unsaid()
