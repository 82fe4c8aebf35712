"""What people said who did not know which pictures were generated (`python -m eval rate`): nothing where nobody has."""

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np

from eval.context import Context
from eval.metrics import metric
from eval.rows import MissingError, Row, mean_row, share_row

RATINGS = "ratings.json"


@metric("ratings")
def rating_rows(context: Context) -> Iterator[Row]:
    """Stars of generated pictures beside real ones, pairs, and whether raters agree with each other and themselves."""
    path = context.cache and context.cache / RATINGS
    if not path or not path.is_file():
        raise MissingError("nobody has rated pictures; begin with: python -m eval rate MADE REAL")
    yield from rated(json.loads(path.read_text(encoding="utf-8"))["answers"])


def rated(answers: list[dict[str, Any]]) -> Iterator[Row]:
    """Of answers {rater, task, again, of, value}: `of` says where the task's pictures are from ("made", "real"),
    `value` is 1 to 5 stars, or of a pair whether the generated one is better."""
    stars, pairs = ([one for one in answers if len(one["of"]) == n] for n in (1, 2))
    raters = f"{len({one['rater'] for one in answers})} raters"
    own = {who: np.array([one["value"] for one in stars if one["of"] == [who]], float) for who in ("made", "real")}
    if len(own["made"]) and len(own["real"]):
        beside = (("real", float(own["real"].mean())),)
        yield mean_row("stars, of 5", own["made"], against=beside, note=f"{raters}; alpha {alpha(stars):.2f}")
    if pairs:
        better = [bool(one["value"]) for one in pairs]
        note = f"{raters}; alpha {alpha(pairs):.2f}"
        yield share_row("the generated one of a pair is better", better, against=(("chance", 0.5),), note=note)
    first = {(one["rater"], one["task"]): one["value"] for one in answers if not one["again"]}
    again = [one["value"] == first.get((one["rater"], one["task"])) for one in answers if one["again"]]
    if again:
        yield share_row("the same answer when asked again", again)


def alpha(answers: list[dict[str, Any]]) -> float:
    """Krippendorff's, of first answers: 1 where raters agree, 0 as by chance, NaN where no two were asked the same.
    Differences are squared, which for yes and no is nominal agreement."""
    units = defaultdict[str, list[float]](list)
    for one in answers:
        if not one["again"]:
            units[one["task"]].append(one["value"])
    shared = [values for values in units.values() if len(values) > 1]
    if not shared:
        return float("nan")
    apart = sum(len(values) * np.var(values, ddof=1) for values in shared)
    every = np.concatenate(shared)
    return 1 - float(apart / (len(every) * np.var(every, ddof=1))) if every.var() else 1.0
