"""What a person notes about an artifact, in a small file beside it: the database can be rebuilt from the files."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.messages import Refused
from studio.files import is_plain, write_whole
from studio.requests import visible

RATINGS = range(6)  # 0 is none


@dataclass(frozen=True)
class Annotations:
    """What is noted about one artifact.

    Attributes:
        deleted: since when it is in the bin, seconds since the epoch.
        caption: what it shows, in words: those of a model that was asked, or those of a person, which go before.
        sure: the model's probability that they are right, 0 where it says that it does not know; None of a person's.
        round_trip: cosine between these words and those that it was made from.
    """

    star: bool = False
    rating: int = 0
    note: str = ""
    tags: tuple[str, ...] = ()
    boards: tuple[str, ...] = ()
    deleted: float | None = None
    caption: str = ""
    sure: float | None = None
    round_trip: float | None = None

    def __post_init__(self) -> None:
        """Whoever wrote them: nothing that a terminal obeys or that turns text round."""
        for name in ("note", "caption"):
            object.__setattr__(self, name, visible(getattr(self, name)))
        for name in ("tags", "boards"):
            object.__setattr__(self, name, tuple(filter(None, map(visible, getattr(self, name)))))


def labels_in(text: str) -> tuple[str, ...]:
    """The tags or boards that a person names in one line, with commas between them."""
    names = dict.fromkeys(name.strip() for name in text.replace("，", ",").split(","))
    return tuple(name for name in names if name)


def beside(path: Path) -> Path:
    """The file that holds a picture's annotations."""
    return path.with_suffix(path.suffix + ".json")


def read_annotations(path: Path) -> Annotations:
    """The annotations beside a picture file; none where there are none, or where they can't be read."""
    try:
        if not is_plain(beside(path)):
            return Annotations()
        found = json.loads(beside(path).read_text(encoding="utf-8"))
        known = {name: found[name] for name in Annotations.__dataclass_fields__ if name in found}
        for name in ("tags", "boards"):
            known[name] = tuple(known.get(name, ()))
        check(known)
        return Annotations(**known)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return Annotations()


def check(changes: dict[str, Any]) -> None:
    unknown = set(changes) - set(Annotations.__dataclass_fields__)
    if unknown:
        raise TypeError(f"a picture has no {', '.join(sorted(unknown))}")
    if changes.get("rating", 0) not in RATINGS:
        raise Refused("annotation.rating", most=RATINGS[-1], rating=changes["rating"])
    for name in (*changes.get("tags", ()), *changes.get("boards", ())):
        if not isinstance(name, str) or not name.strip() or len(name) > 100:
            raise Refused("annotation.label")
    texts = [changes.get(name, "") for name in ("note", "caption")]
    if max(map(len, texts)) > 10_000:
        raise Refused("annotation.note")
    for text in (*texts, *changes.get("tags", ()), *changes.get("boards", ())):
        if not text.isascii() and text != text.encode(errors="replace").decode():
            raise Refused("annotation.surrogate")


def write_annotations(path: Path, annotations: Annotations) -> None:
    """Put the annotations of a picture beside it, whole; nothing said, no file."""
    if annotations == Annotations():
        beside(path).unlink(missing_ok=True)
    else:
        write_whole(beside(path), json.dumps(vars(annotations), ensure_ascii=False).encode(), "--home")


def remove_artifact(path: Path) -> None:
    """Remove a picture and its annotations. These first: without a picture they would fall on one made anew."""
    for gone in (beside(path), path):
        gone.unlink(missing_ok=True)
