"""Which of the things that the models know a prompt names: "a cat to the left of a dog" names two.

Names are looked for in what is said, part by part; where none stands there, the thing is meant that the part's vector
lies nearest to, and that has most of its words ("coffee" is a keyword of a hot beverage). Colours, numbers and styles
are left out first: with them, "a red umbrella" lies nearest to a scarf.
"""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from models.reading.other_names import OTHER_NAMES, of_flag
from models.reading.phrasing import (
    CLAUSES,
    DOING,
    JOINTS,
    ON_BODY,
    SAYS_MORE,
    any_of,
    bare,
    beside,
    in_order,
    left_of,
    of_itself,
    split,
    words_of,
)

Embed = Callable[[str], Tensor]  # a text -> its semantic vector (128,)

SURE = 0.8  # cosine of a text to a name from which on that is what it is about, if they share SOME words
SAME = 0.95  # from here on it says no more and no less than the name does
SAID = 0.6  # what it is worth, in cosine, that all words of a text are words of a thing
ALONE = 0.2  # and that a thing has no other words
SOME = 0.5  # share of words: with none in common, a near name is chance (words that were never taught lie anywhere)
ENOUGH = 0.65  # share of words from which on a thing is meant though its name lies far away
FAR = 0.4  # cosine below which no word is hint enough: a knight is a keyword of the dragon
MOST = 32  # parts of a prompt: no picture has room for so many things, and each asks for a vector
LITTLE = 4  # letters of a word that says nothing by itself: get, well, soon
_INNER = re.compile(r"(?<= )(?:an?|the) ")  # articles inside: "a heart with an arrow" is a heart with arrow
PEOPLE = "people-body"  # group of things
FACES = "smileys-emotion"  # group of things
ANIMALS = "animals-nature"  # group of things
FLAGS = "flags"  # group of things
_ANYONE = frozenset({"person", "man", "woman", "boy", "girl", "child", "baby", "older person", "old man", "old woman"})
_DRESS = re.compile(r"\b(?:hat|crown|cap|helmet|mask|ribbon|performing arts)\b")
_LOOSE_PARTS = frozenset({"bone", "brain", "tooth"})  # of bodies: things, where others are parts of who is drawn
_EXACT = {FLAGS, "symbols", ""}  # groups of which one thing is no hint at another: those are named or not meant


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

    @property
    def is_face(self) -> bool:
        """Whether it is a face and nothing else, and not a heart or a ghost."""
        return self.group == FACES and any("face" in name.lower() for name in self.names.get("en", ()))

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
        called = [(said, number) for name, number in named for said in others.get(name, ())]
        flags = [one for one in named if known[one[1]].group == FLAGS]
        called += [(said, number) for name, number in flags for said in of_flag(name)]
        self._others = {tuple(words_of(bare(said))): number for said, number in called}
        # An icon outside Unicode's groups does not keep a name that people mean another thing by: a bunny is a rabbit.
        for said in {said.lower() for names in (*others.values(), [said for said, _ in called]) for said in names}:
            if said in self._names and all(not known[number].group for number in self._names[said]):
                del self._names[said]

    def called(self, name: str) -> list[int]:
        """Numbers of the things that are called so, to the letter; needs no vectors."""
        other = self._others.get(tuple(words_of(bare(name))))
        return self._names.get(name.lower(), []) or ([] if other is None else [other])

    def is_said(self, word: str) -> bool:
        """Whether a word is what some thing is called, or, in English, a longer one of what it is called."""
        words = words_of(word)
        return tuple(words) in self._others or (word.isascii() and len(words) == 1 and words[0] in self._said)

    def parts(self, text: str, embed: Embed) -> list[Part]:
        """The parts of `text` that name a thing: none, one, or more that are drawn side by side."""
        if not self.known:
            return []
        first, *rest = CLAUSES.split(ON_BODY.sub("", in_order(text)))
        if called := self._called(first):
            return [called]
        name = self._longest(first)
        if name and JOINTS.search(name) and not self._has_doer(first, name):  # "person with white cane" is one
            return [Part(first, self._nearest(self._names[name], embed(first)), name)]
        plainer = _INNER.sub("", first)
        joined = self._longest(plainer) if plainer != first else name
        if joined != name and JOINTS.search(joined):
            beside_it = plainer.replace(joined, " ", 1) or " "  # its own colour, and none of what its name says
            return [Part(first, self._nearest(self._names[joined], embed(first)), own=beside_it)]
        more = [clause for clause in rest[1::2] if SAYS_MORE.search(clause)]
        parts = [part for clause in [first, *more] for part in split(clause)]
        if len(parts) > MOST:
            return []
        told = sum(bool(self._longest(part)) for part in parts)
        if told < 2 and not any(map(self._called, parts)) and left_of(first, name):
            for said in (first, bare(first)):
                best, cosine, share = self._best(first, embed(said))
                if (
                    cosine >= SURE
                    and share >= SOME
                    and not (self._is_animal(name) and self.known[best].group == PEOPLE)
                ):
                    name = self._name_in(first, best)
                    own = next((part for part in parts if (name in part if name else bare(part))), "")
                    return [Part(first, best, name, of_itself(first, own) if own else "")]
        if told > 1 and (deed := self._deed(first, name, embed)):
            return [deed]
        found = [named for part in parts if (named := self._named(part, embed))]
        both = beside(first)
        apart = both.union(*map(split, more))
        if any(part.name for part in found):  # beside a name, the word of another one: cheese of a cheese wedge
            found = [part for part in found if part.name or part.text in both or self._is_named_by(part)]
        # Of what a panda eats its keywords say bamboo, and that is no second panda.
        by_name = {part.number for part in found if part.name}
        found = [part for part in found if part.name or part.number not in by_name]
        # A thing that is named twice is another one only where it is said to stand beside the first.
        doer = found[0] if found and found[0].name and self._may_do(found) else None
        things = {
            part.text if part.text in apart else part.number: part
            for part in found
            if self._stands(part, bool(both)) or part is doer
        }
        if len(things) > 1:
            return list(things.values())
        chosen = sorted(found, key=lambda part: not part.name)[:1]
        said = " ".join(split(first))
        return [Part(said, one.number, one.name, of_itself(first, one.text)) for one in chosen]

    def _deed(self, text: str, name: str, embed: Embed) -> Part | None:
        """What somebody does, where that has a name of its own: "a man climbing a mountain" is a person climbing."""
        if not DOING.search(text):
            return None
        who = self._longest(DOING.split(text)[0])
        if not who or all(self.known[number].group != PEOPLE for number in self._names[who]):
            return None
        best, cosine, share = self._best(text, embed(bare(text)))
        named = best in self._names[who] or self.known[best].group != PEOPLE or cosine < FAR
        return None if named or share < SOME else Part(text, best)

    def _has_doer(self, text: str, name: str) -> bool:
        """Whether a name that is a deed, 骑自行车, is done by another thing, which is then meant with what it holds."""
        return bool(JOINTS.match(name) and self._longest(text.replace(name, " ", 1)))

    def _is_animal(self, name: str) -> bool:
        """Whether what is called so is no person, whatever it does: a dog swimming is a dog."""
        return any(self.known[number].group == ANIMALS for number in self._names.get(name, ()))

    def _may_do(self, found: Sequence[Part]) -> bool:
        """Whether the first is a person who may stand beside the others; whose clothes are drawn needs no hat."""
        who = self.known[found[0].number]
        dress = any(_DRESS.search(name) for part in found[1:] for name in self.known[part.number].names.get("en", ()))
        return who.group == PEOPLE and (not dress or bool(_ANYONE.intersection(who.names.get("en", ()))))

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
        if words[-1:] and words[-1].endswith("ing") and tuple(words[:-1]) in self._others:  # a doctor running
            words = words[:-1]
        number = self._others.get(tuple(words))
        short = len("".join(words)) < 2  # 棉花 is cotton, and no flower
        if number is None or (words != text_words and (short or words == ["flag"])):  # a pirate flag is another one
            return None
        found = re.search(r"\s*".join(f"{re.escape(word)}s?" for word in words) + r"$", said)
        return Part(text, number, found[0] if found and found[0] in text else "")

    def _named(self, part: str, embed: Embed) -> Part | None:
        if called := self._called(part) or self._called(part.rstrip("上下里中旁边")):
            return called
        if name := self._bearer(part, self._longest(part)):
            number = self._nearest(self._names[name], embed(part))
            return self._trade(part, number) or Part(part, number, name)
        if not (said := bare(part)):
            return None
        best, cosine, share = self._best(part, embed(said))
        if share < 1 and (called := self._called(part, head=True)):
            return called
        enough = SOME if cosine >= SURE else ENOUGH if cosine >= FAR else math.inf
        return Part(part, best) if share >= enough else None

    def _bearer(self, part: str, name: str) -> str:
        """Of a face and a thing in one part the thing, which looks so: a smiling cloud, 生气的狗."""
        if not any(self.known[number].is_face for number in self._names.get(name, ())):
            return name
        other = self._longest(part.replace(name, " ", 1))
        things = [number for number in self._names.get(other, ()) if not self.known[number].is_face]
        return other if any(map(self.stands, things)) else name

    def _trade(self, part: str, number: int) -> Part | None:
        """What a person does is who is meant: a woman doctor is a health worker, as she is a scientist by name."""
        young = {"baby", "child"} & set(words_of(part))
        called = self._called(part, head=True) if self.known[number].group == PEOPLE and not young else None
        return called if called and self.known[called.number].group == PEOPLE else None

    def stands(self, number: int) -> bool:
        """Whether a thing may stand beside another one."""
        known = self.known[number]
        loose = bool(_LOOSE_PARTS.intersection(known.names.get("en", ())))
        return known.thing or known.group == FLAGS or loose

    def _stands(self, part: Part, beside: bool) -> bool:
        """The same of a part; people where that is said."""
        return self.stands(part.number) or (beside and self.known[part.number].group not in _EXACT)

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
    def _said(self) -> frozenset[str]:
        return frozenset(word for words in self._others for word in words if len(word) > LITTLE and word.isascii())

    @cached_property
    def _expression(self) -> re.Pattern[str]:
        english, others = (any_of(name for name in self._names if name.isascii() is ascii) for ascii in (True, False))
        return re.compile(rf"(?<![a-z\d])({english})(?:e?s)?(?![a-z\d])|({others})")


def _span(phrase: str, run: str) -> tuple[int, int]:
    """From where to where the phrase stands in the run; nothing where it does not."""
    start = run.find(phrase)
    return (start, start + len(phrase)) if start >= 0 else (0, 0)
