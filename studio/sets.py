"""Sets: several stickers that belong together, as requests, each with a label.

All of a set have one seed and one shape: the noise that a picture grows from decides much of pose, size and colours,
so pictures from the same noise look like one family, and what differs is what the words say.
"""

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from models.data.captions import MOODS
from models.data.grammar import language_of
from models.messages import Refused, did_you_mean
from models.prompts.parsed import Reading
from studio.requests import SEEDS, ImageRequest, make_request

# Apart from each other, and frequent among the captions that the models learned from.
EMOTIONS = ("happy", "crying", "angry", "surprised", "in love", "sleepy")
SUBJECTS = ("cat", "dog", "panda", "fox", "frog", "rabbit")
SUBJECTS_ZH = ("猫", "狗", "熊猫", "狐狸", "青蛙", "兔子")
AFTER = ("in love", "rolling its eyes")  # English words that stand behind what they describe
MOST = 64
# What may be asked for by name: the kind, and what its first word is.
KINDS = {"emotions": "subject", "subjects": "emotion", "style": "style"}


@dataclass(frozen=True)
class Member:
    """A sticker of a set: its label, its request, and the thing that it shows."""

    label: str
    request: ImageRequest
    subject: str = ""


def make_set(kind: str, first: str, words: Sequence[str] = (), **fields: Any) -> list[Member]:
    """The set of a kind ("emotions", "subjects", "style") for its first word.

    "emotions" are of one subject; a Chinese one gets Chinese words, whichever were given. "subjects" show one emotion.
    Both have usual words where none are given. "style" is a list of things in one style. `fields` are those of an
    ImageRequest, for all of them. Refused where a word is missing; an unknown kind is told the kinds.
    """
    if kind not in KINDS:
        raise Refused("series.unknown_kind", kind=kind, hint=did_you_mean(kind, KINDS), kinds=list(KINDS))
    first = first.strip()
    if not first:
        raise Refused(f"series.no_{KINDS[kind]}")
    subjects = SUBJECTS_ZH if language_of(first) == "zh" else SUBJECTS
    usual: dict[str, Sequence[str]] = {"emotions": EMOTIONS, "subjects": subjects}
    words = _words(words or usual.get(kind, ()))
    if kind == "emotions":
        members = [(feeling(word, first), felt(word, first), first) for word in words]
    elif kind == "subjects":
        members = [(word, felt(first, word), word) for word in words]
    else:
        members, fields["style"] = [(word, word, word) for word in words], first
    seed = fields.get("seed")
    same = {**fields, "seed": secrets.randbelow(SEEDS) if seed is None else seed, "count": 1}
    return [Member(label, make_request(**{**same, "prompt": prompt}), subject) for label, prompt, subject in members]


def refuse_unknown(members: Sequence[Member], read: Callable[[Sequence[str]], Sequence[Reading]]) -> None:
    """Refuse a set, before anything is drawn, if a subject names nothing that can be drawn."""
    for reading in read(list(dict.fromkeys(one.subject for one in members))):
        if reading.instead:
            raise Refused("reading.nothing", text=reading.text, instead=list(reading.instead))


def felt(emotion: str, subject: str) -> str:
    """The prompt for a subject that feels something, in the subject's language, as the training's captions say it."""
    word = feeling(emotion, subject)
    if language_of(subject) == "zh":
        return f"{word}的{subject}" if language_of(word) == "zh" else f"{word} {subject}"
    return f"{subject} {word}" if word in AFTER else f"{word} {subject}"


def feeling(emotion: str, subject: str) -> str:
    """The emotion's word in the subject's language; as it was given where there is no word for it."""
    plain = emotion.casefold().removesuffix("的")
    same = (mood for mood in MOODS if plain in {*mood.en, *(word.removesuffix("的") for word in mood.zh)})
    mood = next(same, None)
    if language_of(subject) == language_of(emotion) or mood is None:
        return emotion.removesuffix("的")
    return mood.zh[0].removesuffix("的") if language_of(subject) == "zh" else mood.en[0]


def _words(words: Iterable[str]) -> list[str]:
    unique = list(dict.fromkeys(word.strip() for word in words if word.strip()))
    if not unique:
        raise Refused("series.no_words")
    if len(unique) > MOST:
        raise Refused("series.too_many", most=MOST, count=len(unique))
    return unique
