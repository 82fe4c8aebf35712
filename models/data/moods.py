"""Moods: what people ask a face to show, and the CLDR keywords that say a picture shows it."""

import functools
from dataclasses import dataclass

from models.lexicon import CONCEPTS, LEXICONS


@dataclass(frozen=True)
class Mood:
    """Adjectives that fit "a ... face" in both languages, and CLDR name words or keywords (`signs`) that mean it."""

    en: tuple[str, ...]
    zh: tuple[str, ...]
    signs: frozenset[str]


MOODS = tuple(
    Mood(LEXICONS["en"].moods[mood], LEXICONS["zh"].moods[mood], frozenset(row["keywords"].split()))
    for mood, row in CONCEPTS["moods"].items()
)


@functools.cache
def moods_of(name: str, keywords: tuple[str, ...], group: str) -> tuple[Mood, ...]:
    """What a face shows, from its English name and keywords; empty for anything that is no face.

    A mood that the name itself speaks of comes alone: "crying face" has "awful" and "sad" among its keywords, but is
    asked for as crying.
    """
    words = frozenset(name.lower().replace("-", " ").split())
    if group != "smileys-emotion" or not words & {"face", "cat", "head"}:
        return ()
    named = tuple(mood for mood in MOODS if mood.signs & words)
    return named or tuple(mood for mood in MOODS if mood.signs & frozenset(keywords))
