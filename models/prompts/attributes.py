"""What a phrase says of an entity: number, colour, size, expression, gender, skin tone."""

import re

from models.data.colours import COLOURS
from models.data.grammar import MAX_COUNT, SKIN_EN, SKIN_ZH, article, language_of
from models.lexicon import LEXICONS, pattern, rewrite, table

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
    """The skin tones (of Unicode's modifiers, `models.references.paint.TONES`) that a text names, each once."""
    said = (next(filter(None, match.groups())) for match in pattern("skin_tone").finditer(with_skin_tones(text)))
    return list(dict.fromkeys(table("skin_tones")[one.lower()] for one in said))


def without_skin_tone(text: str) -> str:
    return pattern("skin_tone").sub("", with_skin_tones(text)).strip()


def skin_tone_phrase(text: str) -> str:
    """What captions say, after a name, of the skin tone that `text` names; "" where it names none."""
    for tone in skin_tones_in(text):
        return f"，{SKIN_ZH[tone]}" if language_of(text) == "zh" else f", {SKIN_EN[0].format(tone)}"
    return ""
