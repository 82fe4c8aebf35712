"""What is suggested for a prompt. Imports no torch: the studio reads it, too."""

from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["complete", "enrich", "rewrite", "translate", "nearest"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Suggestion:
    """A prompt to take instead, made by completing, enriching, rewriting or translating one, or by putting the nearest
    thing that can be drawn in the place of a word that nobody taught."""

    kind: Kind
    text: str
    score: float  # its cosine to the prompt, -1 to 1, or that of the thing to the word
    lost: tuple[str, ...] = ()  # words that it leaves out
