"""What a reader makes of a line."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Source:
    """A prompt file: how it is called to people, where it can be read, and where paths in it begin."""

    name: str
    path: Path
    folder: Path


@dataclass(frozen=True)
class Row:
    """What one line asks for, by the names that it uses.

    `typed` is false where numbers are still text; `expand` says whether braces and wildcards are drawn.
    """

    line: int
    fields: dict[str, Any]
    typed: bool = True
    expand: bool = True


@dataclass(frozen=True)
class Fault:
    """A line that can't be done: one sentence why, and the column where there is one. Both count from 1."""

    line: int
    message: str
    column: int | None = None


class Wrong(ValueError):
    """What is wrong with a line, before its number is known."""

    def __init__(self, message: str, column: int | None = None) -> None:
        super().__init__(message)
        self.column = column

    def at(self, line: int) -> Fault:
        """It, on line `line`."""
        return Fault(line, str(self), self.column)


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Pairs as a dictionary; Wrong where a name comes twice."""
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise Wrong(f"{name} is given twice.")
        fields[name] = value
    return fields
