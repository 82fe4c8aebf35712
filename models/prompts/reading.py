"""What becomes of the words of a prompt. Imports no torch: the studio reads it, too."""

from dataclasses import dataclass
from typing import Literal

State = Literal["drawn", "left_out", "unknown"]


@dataclass(frozen=True)
class Part:
    """Words as they stand in a prompt, from character `start` on, and what becomes of them.

    `drawn_as` is the thing that they are drawn as, "" where they name none; `nearest` are things that can be drawn in
    their place.
    """

    text: str
    start: int
    state: State
    drawn_as: str = ""
    nearest: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reading:
    """The parts of a prompt, in order, none over another; `instead` are prompts to take where it names nothing that can
    be drawn."""

    text: str
    parts: tuple[Part, ...]
    instead: tuple[str, ...] = ()
