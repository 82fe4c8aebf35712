"""Tokens: words and phrases of a prompt with what the lexicon and the table of words know of each.

A text is cut at the longest phrases that either knows. English is read from the left; a run of Chinese characters,
which has no spaces, is cut into its likeliest words. An emoji is a token.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from string import ascii_lowercase

from models.data.grammar import Language
from models.lexicon import closed_classes
from models.prompts.words import Word, WordTable

LONGEST = {"en": 8, "zh": 12}  # words, or characters, of a phrase
MISTYPED = range(4, 25)  # letters of a word that may be another with a mistake
RAREST, NAMED, CLOSED = 9.0, 3.5, 5.0  # Zipf frequencies: log10 of 10^9 words; of names and of closed classes, at least
# What a part of an emoji's sequence says.
_PARTS = {
    chr(0x1F3FB + i): ("skin", t) for i, t in enumerate(("light", "medium-light", "medium", "medium-dark", "dark"))
}
_PARTS |= {
    "👩": ("gender", "woman"),
    "\u2640": ("gender", "woman"),
    "👨": ("gender", "man"),
    "\u2642": ("gender", "man"),
}
_DRESS = "[\ufe0f\U0001f3fb-\U0001f3ff]"  # a variation selector, a skin tone
_SIGN = "[\u203c-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff]"
_STOP = re.compile(r"[,，.。;；、!！?？:：()\n+]")
_UNIT = re.compile(  # "u.s." and the "st." of "st. helena" are units
    rf"(?P<stop>{_STOP.pattern})"
    r"|(?P<emoji>[0-9#*]\ufe0f?\u20e3|[\U0001f1e6-\U0001f1ff]{2}|\U0001f3f4[\U000e0020-\U000e007f]+"
    rf"|{_SIGN}{_DRESS}*(?:\u200d{_SIGN}{_DRESS}*)*)"
    r"|(?P<zh>[\u3400-\u9fff]|(?<![a-z\d])[a-z]{1,3}(?=[\u3400-\u9fff]))"
    r"|(?P<en>&|(?:[a-z]\.){2,}|[^\W_\u3400-\u9fff]+(?:['’][^\W_\u3400-\u9fff]+)*(?:(?<=\b\w\w)\.(?= \w))?)"
)

_JOINT = re.compile(r"[\s\-'_\"“”]*")  # between units of a run
_SEVERAL = re.compile(r"[\s\-_\"“”\u3400-\u9fff]")  # in a phrase of several units


@dataclass(frozen=True)
class Token:
    """A piece of a prompt.

    Attributes:
        text: in small letters.
        start, end: where it stands.
        language: "en", "zh", "emoji", or "stop" of a punctuation mark.
        uses: its closed classes, as `closed_classes` has them.
        word: its row of the table of words; None where there is none.
        typed: what was typed in its place, "" where it is spelled right.
    """

    text: str
    start: int
    end: int
    language: str
    uses: tuple[tuple[str, str], ...] = ()
    word: Word | None = field(default=None, compare=False)
    typed: str = ""

    def use(self, kind: str) -> str | None:
        """Its value in a closed class; None where it is not of that class."""
        return next((value for of_class, value in self.uses if of_class == kind), None)

    def has(self, *kinds: str) -> bool:
        return any(kind in kinds for kind, _ in self.uses)

    @property
    def gender(self) -> str:
        """That of one of its words: "woman" of "woman cook"; "" where none has one."""
        uses = (use for word in (self.text, *self.text.split(), *self.text) for use in closed_classes().get(word, ()))
        return next((value for kind, value in (*self.uses, *uses) if kind == "gender"), "")

    @property
    def is_drawn(self) -> bool:
        return self.word is not None and self.word.is_drawn

    @property
    def name_language(self) -> Language:
        """The language in which what it names is called."""
        return "zh" if self.language == "zh" else "en"


def tokenise(text: str, table: WordTable) -> list[Token]:
    """The tokens of a text, in order; what lies between them is spaces and marks that say nothing."""
    low = text.lower() if len(text.lower()) == len(text) else text
    low = low.replace("’", "'")
    runs = _runs(low)
    spans = [
        (first[1], last[2])
        for run in runs
        for place, first in enumerate(run)
        for last in run[place : place + LONGEST.get(first[0], 1)]
    ]
    keys = {span: _key(low, *span) for span in spans}
    rows = table.look_up(form for key in keys.values() for form in _forms(key))
    pieces = [span for run in runs for span in _cut(run, lambda span: _cost(keys[span], rows))]
    return _corrected([_token(low, span, rows) for span in pieces], table)


Unit = tuple[str, int, int]
Span = tuple[int, int]


def _runs(low: str) -> list[list[Unit]]:
    """Units of one language with nothing but spaces and hyphens between them; a mark or an emoji stands alone."""
    runs: list[list[Unit]] = []
    for match in _UNIT.finditer(low):
        unit = match.lastgroup or "", *match.span()
        previous = runs[-1][-1] if runs else ("", 0, 0)
        joined = unit[0] in LONGEST and unit[0] == previous[0] and _JOINT.fullmatch(low, previous[2], unit[1])
        if joined:
            runs[-1].append(unit)
        else:
            runs.append([unit])
    return runs


def _key(low: str, start: int, end: int) -> str:
    """How lexicon and table write what stands there."""
    text = re.sub(r"\s+", " ", low[start:end])
    return re.sub(_DRESS, "", text)


def _forms(key: str) -> tuple[str, ...]:
    return (key, key.replace("-", " "), key.replace(" ", "-"), key.removesuffix("'s"), key.removesuffix("."))


def _is_known(key: str, rows: dict[str, Word]) -> bool:
    return any(form in rows or form in closed_classes() for form in _forms(key))


def _cost(key: str, rows: dict[str, Word]) -> float:
    """Of Chinese -log10 of the probability of a piece, of an unknown character that of a rare one; of English 1, so
    that there are as few pieces as can be. Of an unknown phrase it is infinite."""
    if not "\u3400" <= key[-1] <= "\u9fff":
        score = max((rows[form].score for form in _forms(key) if form in rows), default=0.0)  # of equals the surer ones
        return 1.0 - 0.1 * score if _is_known(key, rows) or not _SEVERAL.search(key) else math.inf
    frequency = rows[key].frequency if key in rows else 0.0
    if key in closed_classes():
        frequency = max(frequency, CLOSED)
    elif key in rows and rows[key].origin != "cc-cedict":
        frequency = max(frequency, NAMED)
    return RAREST - frequency if frequency or len(key) == 1 else math.inf


def _token(low: str, span: Span, rows: dict[str, Word]) -> Token:
    key = _key(low, *span)
    form = next((form for form in _forms(key) if form in rows or form in closed_classes()), key)
    word = rows.get(form)
    is_chinese = "\u3400" <= key[0] <= "\u9fff"
    language = word.language if word and word.language == "emoji" else "zh" if is_chinese else "en"
    language = "stop" if _STOP.fullmatch(key) else language
    uses = list(closed_classes().get(form, ()))
    if word and word.base != form:
        inflected = ("measure",) * (word.form == "s") + ("relation", "says", "state") * ("v" in word.pos)
        uses += [use for use in closed_classes().get(word.base, ()) if use[0] in inflected and use not in uses]
    if language == "emoji":
        uses += [use for sign, use in _PARTS.items() if sign in low[slice(*span)]]
    return Token(form, *span, language, tuple(uses), word)


def _cut(run: Sequence[Unit], cost: Callable[[Span], float]) -> list[Span]:
    """The pieces of a run whose costs are least in all (a unigram model, as in jieba); of equals those whose last
    piece, the head, is longest."""
    best: list[tuple[float, list[Span]]] = [(0.0, [])]
    for end in range(1, len(run) + 1):
        options = []
        for first in range(max(0, end - LONGEST.get(run[0][0], 1)), end):
            span = run[first][1], run[end - 1][2]
            options.append((best[first][0] + cost(span), [*best[first][1], span]))
        best.append(min(options, key=lambda option: option[0]))
    return best[-1][1]


def _corrected(tokens: list[Token], table: WordTable) -> list[Token]:
    """Tokens with a word of the table in the place of one that differs from it by one letter, and is none itself."""
    unknown = {t.text for t in tokens if t.language == "en" and not t.word and not t.uses and len(t.text) in MISTYPED}
    edits = {text: _edits(text) for text in unknown if text.isascii() and text.isalpha()}
    rows = table.look_up(edit for some in edits.values() for edit in some)
    known = {text: [e for e in some if e in closed_classes() or e in rows] for text, some in edits.items()}

    def worth(typed: str, word: str) -> tuple[bool, float]:
        """What is drawn is likelier than another word."""
        frequency = rows[word].frequency if word in rows else CLOSED
        return word in closed_classes() or rows[word].is_drawn, frequency - _unlikelihood(typed, word)

    repaired = []
    for token in tokens:
        if words := known.get(token.text):
            word = max(words, key=lambda edit: worth(token.text, edit))
            uses = closed_classes().get(word, ())
            token = replace(token, text=word, uses=uses, word=rows.get(word), typed=token.text)
        repaired.append(token)
    return repaired


def _unlikelihood(typed: str, word: str) -> float:
    """Of a mistake, -log10 of its probability against that of the commonest ones: a letter doubled or not, two letters
    that changed places."""
    squeezed = (re.sub(r"(.)\1", r"\1", text) for text in (typed, word))
    if len(set(squeezed)) == 1 or sorted(typed) == sorted(word):
        return 0.0
    return 1.0 if len(typed) == len(word) else 0.5


def _edits(word: str) -> list[str]:
    """Words at one deletion, transposition, replacement or insertion (P. Norvig, How to write a spelling corrector),
    which begin as it does: a slip of the hand seldom hits the first letter."""
    halves = [(word[:i], word[i:]) for i in range(1, len(word) + 1)]
    deleted = [a + b[1:] for a, b in halves if b]
    swapped = [a + b[1] + b[0] + b[2:] for a, b in halves if len(b) > 1]
    replaced = [a + c + b[1:] for a, b in halves if b for c in ascii_lowercase]
    inserted = [a + c + b for a, b in halves for c in ascii_lowercase]
    return list(dict.fromkeys([*deleted, *swapped, *replaced, *inserted]))
