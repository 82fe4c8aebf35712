"""Normalisation of prompts, and what a phrase says: number, colour, size, expression, gender, skin tone.

`normalise` rewrites a prompt in the colours, numbers, plurals and the word order that entities are looked for in. The
rules are data (`assets/lexicon/`); this file applies their stages in order. Emoji are replaced by the names that
Unicode's CLDR gives them (`assets/lexicon/emoji.json`).
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from models.assets import assets
from models.data.colours import COLOURS
from models.data.grammar import MAX_COUNT, SKIN_EN, SKIN_ZH, STYLES, article, language_of, regular
from models.lexicon import LEXICONS, pattern, rewrite, search, table
from models.prompts.weighting import QUOTED

LONGEST_LETTERING = 40  # characters that are legible in a picture
JOINTS = re.compile(f"({pattern('joints').pattern})")
CLAUSES = re.compile(r"([,;，；。、])")
_BACKGROUND = re.compile(rf"[^,，。]*(?:{pattern('background').pattern})[^,，。]*", re.IGNORECASE)
_WORD = re.compile(r"[a-z0-9]+|[\u3400-\u9fff]")
_STYLE_WORDS = [
    (len(word), name, re.compile(rf"(?<![a-z\d]){re.escape(word)}(?![a-z\d])", re.IGNORECASE))
    for name, style in STYLES.items()
    for word in style.en + style.zh
]


def normalise(text: str) -> str:
    """The text in small letters, in known colours, regular plurals and numbers, the background last; Chinese in the
    order of English: 戴墨镜的企鹅 is 企鹅戴墨镜."""
    text = rewrite("phrases", regular(rewrite("ground", text)))
    text = with_known_colours(_doer_first(with_amounts(with_known_colours(text))))
    return recoloured(text, "colour_last")


def with_known_colours(text: str) -> str:
    """`text`, in small letters, in the colours that captions know, without what no drawing shows."""
    return recoloured(rewrite("undrawn", text))


def recoloured(text: str, stage: str = "colours") -> str:
    """`text`, in small letters, in the colours that captions know (gray is grey, a golden crown is yellow, 白猫 is
    白色的猫, and what is made of ice is blue), or after another stage; with the articles that go with its colours then.
    """
    after = rewrite(stage, text)
    return after if after == text else rewrite("articles", after)


def with_amounts(text: str) -> str:
    """`text`, in small letters, with numbers for "several", and of what is measured without its measure: a glass of
    wine is a wine."""
    return rewrite("measures", without_implied(rewrite("amounts", text)))


def without_implied(text: str) -> str:
    """`text`, in small letters, without parts that go without saying: a birthday cake has candles."""
    return rewrite("implied", text)


def _doer_first(text: str) -> str:
    """`text` with who does something before what is done, where its language says it the other way round."""
    if pattern("fixed_order").search(text):
        return text
    clauses = pattern("clause").split(rewrite("order", text))
    while len(clauses) > 2 and clauses[1] not in "，,。" and pattern("unfinished").match(clauses[0]):
        clauses[:3] = ["".join(clauses[:3])]  # 戴着帽子和眼镜的猫
    matches = [(clause, pattern("doer_last").match(clause)) for clause in clauses]
    return "".join(
        match.expand(r"\1\4\2\3") + clause[match.end() :] if match and core(match[3]) else clause
        for clause, match in matches
    )


def words_of(text: str) -> list[str]:
    """English words without plural, and Chinese characters."""
    return [word.removesuffix("s") for word in _WORD.findall(text.lower())]


def core(text: str) -> str:
    """`text` without the words that say nothing of what is named: articles, colours, numbers, styles."""
    return " ".join(pattern("unsaid").sub(" ", text.lower()).split())


def modifiers(text: str, name: str) -> list[str]:
    """The words of `text` that say something beside the name, which may stand in the plural."""
    return words_of(core(re.sub(rf"{re.escape(name)}(?:e?s\b)?", " ", text.lower(), count=1) if name else text))


def phrases(clause: str) -> list[str]:
    """What stands between the words that join entities, without backgrounds."""
    return [part for part in JOINTS.split(clause)[::2] if not pattern("ground").search(part)]


def phrases_about(clause: str, phrase: str) -> str:
    """Of what a clause says between its joints what is said of the entity that `phrase` names: of a black and white
    ball, of a car in red, but not of a cat and an orange."""
    pieces = phrases(clause)
    place = pieces.index(phrase) if phrase in pieces else len(pieces)
    plain = [not core(piece) and not (i > place and pattern("article").match(piece)) for i, piece in enumerate(pieces)]
    return " ".join(piece for i, piece in enumerate(pieces) if i == place or plain[i])


def background_phrase(text: str) -> str:
    """What is said of the background, with the comma before it, or ""."""
    text = rewrite("ground", text)
    match = pattern("on_background").search(text) or _BACKGROUND.search(text)
    return ("，" if match and language_of(match[0]) == "zh" else ", ") + match[0].strip() if match else ""


def without_background(text: str) -> str:
    """`text` without what it says of its background."""
    text = rewrite("ground", text)
    on_background = pattern("on_background")
    return (on_background if on_background.search(text) else _BACKGROUND).sub("", text).strip(" ,，")


def without_transparency(text: str) -> str:
    """`text` without the words that ask for no background, which no sticker has."""
    return pattern("no_background").sub("", text).strip(" ,，")


def simplified(prompt: str) -> str:
    """A prompt in small letters and known colours, without words that ask for no background."""
    return without_transparency(without_implied(with_known_colours(prompt.lower())))


def named_style(text: str) -> str:
    """The style that is asked for by the longest of its words; "" for none. A blobfish is in no blob style."""
    matches = [(length, name) for length, name, word in _STYLE_WORDS if word.search(text)]
    return max(matches, default=(0, ""))[1]


@dataclass(frozen=True)
class Lettering:
    """Words to be written in the picture, the prompt without them, and that part of the prompt as it stands there."""

    words: str
    rest: str
    phrase: str


def find_lettering(prompt: str) -> Lettering | None:
    """The words that a prompt asks to be written or said (a sign that says OPEN); None where it asks for none, or for
    more than LONGEST_LETTERING characters."""
    match = search("lettering", prompt)
    words = next(filter(None, match.groups()), "").strip() if match else ""
    if match is None or not words or len(words) > LONGEST_LETTERING or QUOTED.fullmatch(prompt):
        return None
    rest = " ".join((prompt[: match.start()] + prompt[match.end() :]).split())
    return Lettering(words, rest, match[0]) if rest.strip(" ,，。") else None


def without_lettering(prompt: str) -> str:
    """The prompt without what is only to be written."""
    lettering = find_lettering(prompt)
    return lettering.rest if lettering else prompt


BLACK_AND_WHITE = "black and white"  # a paint
GENDERS = ("woman", "man")
_COUNTED = re.compile(rf"^(?:(?:an?|({'|'.join(LEXICONS['en'].numbers[2 : MAX_COUNT + 1])})) )?(.+)$")


def count_in(text: str) -> int:
    """How many `text` asks for, up to MAX_COUNT; 1 where it does not say."""
    lexicon = LEXICONS[language_of(text)]
    if not lexicon.spaced:
        text = pattern("second").sub(lexicon.numbers[2], pattern("no_number").sub("", text))
    words = set(text.split() if lexicon.spaced else re.findall(r"\d+|\D", text))
    return max((n for n in range(2, MAX_COUNT + 1) if {lexicon.numbers[n], str(n)} & words), default=1)


def colours_in(text: str, language: str) -> tuple[str, ...]:
    """The colours that `text` names in a language, in order, each once; light blue is one."""
    lexicon = LEXICONS[language]
    named = {word: colour for colour, word in lexicon.colours.items()}
    text, edge = pattern("black_and_white").sub("黑色白色", text), r"\b" if lexicon.spaced else ""
    return tuple(dict.fromkeys(named[word] for word in re.findall(rf"{edge}(?:{'|'.join(named)}){edge}", text)))


def paint_in(text: str, language: str) -> str:
    """The paint that is asked for, if it is one and things can be painted in it; black and white are one."""
    colours = colours_in(text, language)
    if set(colours) == {"black", "white"} and (BLACK_AND_WHITE in text or language == "zh"):
        return BLACK_AND_WHITE
    return colours[0] if len(colours) == 1 and COLOURS[colours[0]].paint else ""


def gender_in(text: str) -> str:
    """One of GENDERS, as the text says; "" where it says neither, or both."""
    woman, man = pattern("woman").search(text), pattern("man").search(text)
    return "" if bool(woman) == bool(man) else "woman" if woman else "man"


def expressions_in(text: str) -> list[str]:
    """The words, in order, that say how something in the text feels; of "with a face" it is smiling."""
    return [next(filter(None, match.groups()), "smiling") for match in pattern("expression").finditer(text)]


def with_expression(word: str, phrase: str) -> str:
    """A phrase for an entity of which that is said: "an angry teapot", 生气的茶壶."""
    if language_of(phrase) == "zh":
        return f"{word}的{phrase}"
    if word.startswith(("with ", "in ")):
        return f"{article(phrase)} {word}"
    number, noun = match.groups() if (match := _COUNTED.match(phrase)) else (None, phrase)
    return f"{number} {word} {noun}" if number else article(f"{word} {noun}")


def with_skin_tones(text: str) -> str:
    """`text` with the colours of people said as skin tones: a black woman is a dark-skinned woman."""
    return rewrite("skin_tones", text)


def skin_tones_in(text: str) -> list[str]:
    """The skin tones (of Unicode's modifiers, `models.references.drawing.TONES`) that a text names, each once."""
    names = (next(filter(None, match.groups())) for match in pattern("skin_tone").finditer(with_skin_tones(text)))
    return list(dict.fromkeys(table("skin_tones")[one.lower()] for one in names))


def without_skin_tone(text: str) -> str:
    return pattern("skin_tone").sub("", with_skin_tones(text)).strip()


def skin_tone_phrase(text: str) -> str:
    """What captions say, after a name, of the skin tone that `text` names; "" where it names none."""
    for tone in skin_tones_in(text):
        return f"，{SKIN_ZH[tone]}" if language_of(text) == "zh" else f", {SKIN_EN[0].format(tone)}"
    return ""


# By emoji, without tones and variation selectors: its English and its Chinese name.
NAMES: dict[str, tuple[str, str]] = json.loads((assets() / "lexicon" / "emoji.json").read_text(encoding="utf-8"))
TONES = dict(zip(map(chr, range(0x1F3FB, 0x1F400)), SKIN_ZH, strict=True))
_SIGN = f"[{re.escape(''.join({key[0] for key in NAMES if not key[0].isascii()}))}]"
_DRESS = "[\ufe0f\U0001f3fb-\U0001f3ff]*"  # a variation selector, a skin tone
_EMOJI = re.compile(
    r"[0-9#*]\ufe0f?\u20e3|[\U0001f1e6-\U0001f1ff]{2}|\U0001f3f4[\U000e0020-\U000e007f]+"
    rf"|{_SIGN}{_DRESS}(?:\u200d{_SIGN}{_DRESS})*"
)
_UNSAID = re.compile(_DRESS.removesuffix("*"))


def spelled(text: str) -> tuple[str, list[tuple[int, int]]]:
    """`text` with names in the place of emoji, in its language, and where each of its characters stands in `text`
    (first, behind the last). Of emoji beside each other all are named; one that has no name stays."""
    spelling, places = "", list[tuple[int, int]]()
    for start, end, name in _pieces(text, language_of(text) == "zh"):
        spelling += name
        places += [(start, end)] * len(name)
    return spelling, places


def _pieces(text: str, chinese: bool) -> Iterator[tuple[int, int, str]]:
    at = 0
    for match in _EMOJI.finditer(text):
        name = _name(match[0], chinese)
        if not name:
            continue
        between = text[at : match.start()]
        yield from ((i, i + 1, text[i]) for i in range(at, match.start()))
        beside = at and not between.strip()
        joint = ("和" if chinese else " and ") if beside else " " if between[-1:].isalnum() and not chinese else ""
        at = match.end()
        space = " " if not chinese and text[at : at + 1].isalnum() else ""
        yield match.start(), at, joint + name + space
    yield from ((i, i + 1, text[i]) for i in range(at, len(text)))


def _name(emoji: str, chinese: bool) -> str:
    """What an emoji is called; a sequence that has no name of its own by its first."""
    plain = _UNSAID.sub("", emoji)
    names = NAMES.get(plain) or NAMES.get(plain.split("\u200d")[0])
    if names is None:
        return ""
    tone = next((TONES[sign] for sign in emoji if sign in TONES), "")
    if chinese and names[1]:
        return f"{SKIN_ZH[tone]}的{names[1]}" if tone else names[1]
    return f"{names[0]} {SKIN_EN[0].format(tone)}" if tone else names[0]
