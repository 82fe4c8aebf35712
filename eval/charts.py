"""What the page of figures draws (`report.html.j2`), in per cent of each plot: intervals, curves; and sheets.

Everything is made from the JSON document but the sheets, which are pictures.
"""

import base64
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from PIL import Image

from eval.rows import Strip
from models.data.pixels import png

OTHER = "the other run"
POINTS = 200  # of a curve, at most
SHOWN = 6  # pictures a strip
COUNTERS = {"step", "seconds", "samples", "progress", "samples_per_second"}  # of a training's lines; the rest is drawn


@dataclass(frozen=True)
class Axis:
    """A line from the least value to the greatest."""

    low: float
    high: float

    @classmethod
    def over(cls, values: Iterable[float], zero: bool = True) -> "Axis":
        every = [*values, *([0.0] if zero else [])]
        return cls(min(every), max(every))

    def at(self, value: float) -> float:
        return round(100 * (value - self.low) / (self.high - self.low or 1), 2)


def bar(row: dict[str, Any]) -> dict[str, Any]:
    """Where a row's figure, its interval, its goal, the other run's figure and the controls stand on one line."""
    other, against = row.get("other") or {}, [one for one in row["against"] if one[0] != OTHER]
    spans = {"own": row["interval"], "other": other.get("interval")}
    single = {"value": row["value"], "goal": row["goal"], "other_value": other.get("value")}
    there = [value for value in single.values() if value is not None]
    line = Axis.over([*there, *(end for span in spans.values() for end in span or ()), *(v for _, v in against)])
    return {
        "against": [(name, line.at(value)) for name, value in against],
        "spans": {name: [line.at(end) for end in span] for name, span in spans.items() if span},
        **{name: line.at(value) for name, value in single.items() if value is not None},
    }


def difference(row: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """Another run's figure beside a row's, how much more this one is, whether intervals part (None where unknown)."""
    own, its = row["interval"], before.get("interval")
    apart = (own[0] > its[1] or its[0] > own[1]) if own and its else None
    return {"value": before["value"], "interval": its, "difference": row["value"] - before["value"], "apart": apart}


def curves(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each quantity of a training's lines over its steps: those of the steps, and those of evaluations."""
    series: dict[str, list[tuple[int, float]]] = {}
    for line in lines:
        measured = line.get("evaluation")
        for name, value in (measured or line).items():
            if name not in COUNTERS and isinstance(value, int | float) and isfinite(value):
                series.setdefault(f"{name}, evaluated" if measured else name, []).append((line["step"], float(value)))
    return [curve(name, points) for name, points in sorted(series.items())]


def curve(name: str, points: Sequence[tuple[int, float]]) -> dict[str, Any]:
    """A polyline through points (step, value), as the page draws it."""
    across, up = Axis.over((x for x, _ in points), zero=False), Axis.over((y for _, y in points), zero=False)
    thin = [*points[:: -(-len(points) // POINTS)], points[-1]]
    drawn = " ".join(f"{across.at(x)},{100 - up.at(y)}" for x, y in thin)
    ends = {"first": points[0][1], "last": points[-1][1]}
    return {"name": name, "points": drawn, "across": vars(across), "up": vars(up), **ends}


def strips(
    values: np.ndarray, picture: np.ndarray | Callable[[int], Image.Image], lower_is_better: bool = False
) -> tuple[Strip, ...]:
    """The best, the median and the worst pictures by their values (N,), each from a file as small as can be. `picture`
    is uint8 (N, H, W, 4) premultiplied, or gives one by its number. Right and wrong answers have no median."""
    names = ("best", "worst", "median")[: len(np.unique(values))]
    order = np.argsort(np.asarray(values, float) * (1 if lower_is_better else -1), kind="stable").tolist()
    middle = max(0, (len(order) - SHOWN) // 2)
    rows = {"best": order[:SHOWN], "median": order[middle : middle + SHOWN], "worst": order[-SHOWN:][::-1]}
    return tuple(
        Strip(
            name, tuple(float(values[n]) for n in row),
            _joined([picture(n) if callable(picture) else png(picture[n]) for n in row]),
        )
        for name, row in rows.items() if name in names
    )  # fmt: skip


def _joined(pictures: Sequence[Image.Image], side: int = 96) -> str:
    """Side by side, as a data URI."""
    row = Image.new("RGBA", (side * len(pictures), side))
    for number, one in enumerate(pictures):
        row.paste(one.convert("RGBA").resize((side, side), Image.Resampling.LANCZOS), (number * side, 0))
    file = io.BytesIO()
    row.save(file, "WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
