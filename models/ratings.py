"""Ratings of pairs: which pair is shown, on which side each picture stands, and pictures without their origin.

A pair is two pictures of one prompt. A tenth of the pairs shown repeat an earlier one with its sides swapped (does the
rater agree with himself?), a twentieth show one picture twice (does he prefer a side?). Imports no torch.
"""

import io
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from models.data.pixels import read_picture

Side = Literal["first", "second"]
Choice = Literal["first", "second", "tie", "bad"]  # "bad": neither is good
Kind = Literal["ordinary", "repeat", "equal"]
CHOICES: tuple[Choice, ...] = get_args(Choice)
REPEATS, EQUALS = 0.10, 0.05  # shares of the pairs shown
POOL = 64  # random unrated pairs, of which the most uncertain is shown
SHOWN = 256  # pixels of the longer side of a picture that is rated


@dataclass(frozen=True)
class Pair:
    """Two pictures of a prompt, each named by the sha256 of its file; `left_side` is the one shown on the left."""

    prompt: str
    first: str
    second: str
    left_side: Side = "first"
    kind: Kind = "ordinary"

    @property
    def key(self) -> frozenset[str]:
        return frozenset((self.first, self.second))

    @property
    def shown(self) -> tuple[str, str]:
        """The pictures from left to right."""
        return (self.first, self.second) if self.left_side == "first" else (self.second, self.first)

    def choice_of(self, pressed: str) -> Choice:
        """ "left", "right", "tie" or "bad" as a choice; ValueError for anything else."""
        sides: dict[str, Choice] = {"left": self.left_side, "right": "second" if self.left_side == "first" else "first"}
        sides |= {"tie": "tie", "bad": "bad"}
        if pressed not in sides:
            raise ValueError(f"no choice: {pressed[:20]!r}")
        return sides[pressed]


@dataclass(frozen=True)
class Rating(Pair):
    """A pair with its answer. `created` is seconds since the epoch, the digests are those of the models' weights."""

    choice: Choice = "tie"
    created: float = 0.0
    first_digest: str = ""
    second_digest: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def draw_pair(
    candidates: Sequence[Pair],
    ratings: Sequence[Rating],
    uncertainty: Callable[[Sequence[Pair]], Sequence[float]],
    rng: random.Random,
) -> Pair | None:
    """The next pair to show; None where every candidate was rated.

    Args:
        candidates: pairs whose pictures can be shown.
        ratings: those so far.
        uncertainty: of pairs (P,), higher where an answer teaches more.
    """
    rated, shown = {rating.key for rating in ratings}, {pair.key for pair in candidates}
    repeated = {rating.key for rating in ratings if rating.kind == "repeat"}
    again = [rating for rating in ratings if rating.kind == "ordinary" and rating.key in shown - repeated]
    unrated = [pair for pair in candidates if pair.key not in rated]
    if not unrated:
        return None
    drawn, side = rng.random(), rng.choice(get_args(Side))
    if drawn < REPEATS and again:
        before = rng.choice(again)
        swapped: Side = "second" if before.left_side == "first" else "first"
        return Pair(before.prompt, before.first, before.second, swapped, "repeat")
    if REPEATS <= drawn < REPEATS + EQUALS:
        pair = rng.choice(candidates)
        return Pair(pair.prompt, pair.first, pair.first, side, "equal")
    pool = rng.sample(unrated, min(POOL, len(unrated)))
    _, pair = max(zip(uncertainty(pool), pool, strict=True), key=lambda row: row[0])
    return Pair(pair.prompt, pair.first, pair.second, side)


def blind_png(path: Path) -> bytes:
    """The pixels of a picture file, at most SHOWN a side, as a PNG without metadata; errors as of `read_picture`."""
    picture, file = read_picture(path).convert("RGBA"), io.BytesIO()
    picture.info.clear()
    picture.thumbnail((SHOWN, SHOWN))
    picture.save(file, "PNG")
    return file.getvalue()
