"""Normalisation of prompts: other words for the same, in one order, and which words name no entity.

`normalise` rewrites a prompt in the colours, numbers, plurals and the word order that entities are looked for in. The
rules are data (`assets/lexicon/`); this file says in which order their stages apply.
"""

import re
from dataclasses import dataclass

from models.data.grammar import STYLES, language_of, regular
from models.lexicon import pattern, rewrite, search
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
    found = [(clause, pattern("doer_last").match(clause)) for clause in clauses]
    return "".join(
        match.expand(r"\1\4\2\3") + clause[match.end() :] if match and core(match[3]) else clause
        for clause, match in found
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


def said_of(clause: str, phrase: str) -> str:
    """Of what a clause says between its joints what is said of the entity that `phrase` names: of a black and white
    ball, of a car in red, but not of a cat and an orange."""
    pieces = phrases(clause)
    place = pieces.index(phrase) if phrase in pieces else len(pieces)
    plain = [not core(piece) and not (i > place and pattern("article").match(piece)) for i, piece in enumerate(pieces)]
    return " ".join(piece for i, piece in enumerate(pieces) if i == place or plain[i])


def background_phrase(text: str) -> str:
    """What is said of the background, with the comma before it, or ""."""
    text = rewrite("ground", text)
    found = pattern("on_background").search(text) or _BACKGROUND.search(text)
    return ("，" if found and language_of(found[0]) == "zh" else ", ") + found[0].strip() if found else ""


def without_background(text: str) -> str:
    """`text` without what it says of its background."""
    text = rewrite("ground", text)
    found = pattern("on_background")
    return (found if found.search(text) else _BACKGROUND).sub("", text).strip(" ,，")


def without_transparency(text: str) -> str:
    """`text` without the words that ask for no background, which no sticker has."""
    return pattern("no_background").sub("", text).strip(" ,，")


def simplified(prompt: str) -> str:
    """A prompt in small letters and known colours, without words that ask for no background."""
    return without_transparency(without_implied(with_known_colours(prompt.lower())))


def named_style(text: str) -> str:
    """The style that is asked for by the longest of its words; "" for none. A blobfish is in no blob style."""
    found = [(length, name) for length, name, word in _STYLE_WORDS if word.search(text)]
    return max(found, default=(0, ""))[1]


@dataclass(frozen=True)
class Lettering:
    """Words to be written in the picture, the prompt without them, and that part of the prompt as it stands there."""

    words: str
    rest: str
    said: str


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
    found = find_lettering(prompt)
    return found.rest if found else prompt
