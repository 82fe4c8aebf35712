"""What a person says about a picture, in a small file beside it: the files alone know all that the database knows."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.messages import Refused
from studio.files import write_whole

RATINGS = range(6)  # 0 is none


@dataclass(frozen=True)
class Marks:
    """What a person says about a picture."""

    star: bool = False
    rating: int = 0
    note: str = ""
    tags: tuple[str, ...] = ()
    boards: tuple[str, ...] = ()
    deleted: float | None = None


def labels_in(text: str) -> tuple[str, ...]:
    """The tags or boards that a person names in one line, with commas between them."""
    names = dict.fromkeys(name.strip() for name in text.replace("，", ",").split(","))
    return tuple(name for name in names if name)


def beside(path: Path) -> Path:
    """The file that holds a picture's marks."""
    return path.with_suffix(path.suffix + ".json")


def read_marks(path: Path) -> Marks:
    """The marks beside a picture file; none where there are none, or where they can't be read."""
    try:
        found = json.loads(beside(path).read_text(encoding="utf-8"))
        known = {name: found[name] for name in Marks.__dataclass_fields__ if name in found}
        for name in ("tags", "boards"):
            known[name] = tuple(known.get(name, ()))
        check(known)
        return Marks(**known)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return Marks()


def check(changes: dict[str, Any]) -> None:
    unknown = set(changes) - set(Marks.__dataclass_fields__)
    if unknown:
        raise TypeError(f"a picture has no {', '.join(sorted(unknown))}")
    if changes.get("rating", 0) not in RATINGS:
        raise Refused(f"a rating is 0 to {RATINGS[-1]}, not {changes['rating']}.")
    for name in (*changes.get("tags", ()), *changes.get("boards", ())):
        if not isinstance(name, str) or not name.strip() or len(name) > 100:
            raise Refused("a tag or a board has a name of 1 to 100 characters.")
    if len(changes.get("note", "")) > 10_000:
        raise Refused("a note has 10,000 characters at most.")
    for text in (changes.get("note", ""), *changes.get("tags", ()), *changes.get("boards", ())):
        if not text.isascii() and text != text.encode(errors="replace").decode():
            raise Refused("the text holds half a character (a surrogate); type it again.")


def write_marks(path: Path, marks: Marks) -> None:
    """Put the marks of a picture beside it, whole; nothing said, no file."""
    if marks == Marks():
        beside(path).unlink(missing_ok=True)
    else:
        write_whole(beside(path), json.dumps(vars(marks), ensure_ascii=False).encode(), "--home")


def remove_picture(path: Path) -> None:
    """Remove a picture and its marks. These first: without a picture they would fall on one made anew."""
    for gone in (beside(path), path):
        gone.unlink(missing_ok=True)
