"""What becomes of the words of a prompt. Imports no torch: the studio reads it, too."""

from dataclasses import dataclass
from typing import Literal

State = Literal["drawn", "left_out", "unknown"]


@dataclass(frozen=True)
class Part:
    """Words as they stand in a prompt, and what becomes of them."""

    text: str
    start: int  # their first character
    state: State
    drawn_as: str = ""  # the thing that they are drawn as, "" where they name none
    nearest: tuple[str, ...] = ()  # things that can be drawn in their place


@dataclass(frozen=True)
class Reading:
    """What becomes of a prompt."""

    text: str
    parts: tuple[Part, ...]  # in order, none over another
    instead: tuple[str, ...] = ()  # prompts to take where it names nothing that can be drawn
