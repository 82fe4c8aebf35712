"""Comparison grids: one request with two of its settings varied, and all pictures on one labelled sheet.

The sheet says in its own file what it was made from, so it can be made again: `Grid.from_file`.
"""

import csv
import hashlib
import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from PIL import Image

from models.messages import Refused, did_you_mean
from studio.capabilities import FAST
from studio.grid_sheet import sheet_of
from studio.metadata import Provenance, content, encoded, texts, version
from studio.metadata.origin import a1111_text, nameless
from studio.requests import SEEDS, ImageRequest, make_request

KEYWORD = "studio-grid"  # of the chunk that holds what a sheet was made from
MOST = 32  # values of an axis
CELLS = 256
# What an axis may vary, and what its values are. "prompt" is search and replace: its first value is what the prompt
# says, the others stand in its place.
SETTINGS: dict[str, type] = {
    "prompt": str, "style": str, "seed": int, "steps": int, "guidance": float, "scheduler": str, "model": str,
    "strength": float,
}  # fmt: skip
_EXAMPLES = {str: "a, b", int: "1-4", float: "1-5 (+0.5)"}  # of values
UNSIGNED = r"(?:\d+\.?\d*|\.\d+)"
NUMBER = rf"[+-]?{UNSIGNED}"
RANGE = re.compile(rf"({NUMBER})\s*-\s*({NUMBER})\s*(?:\(\s*([+-]?\s*{UNSIGNED})\s*\)|\[\s*(\d{{1,6}})\s*\])?")

Value = str | int | float


@dataclass(frozen=True)
class Axis:
    """One of `SETTINGS` and the values it takes."""

    setting: str
    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        if self.setting not in SETTINGS:
            hint = did_you_mean(self.setting, SETTINGS)
            raise Refused("series.unknown_axis", setting=self.setting, hint=hint, settings=list(SETTINGS))
        if not self.values:
            raise Refused("series.no_values", setting=self.setting, example=_EXAMPLES[SETTINGS[self.setting]])
        if len(self.values) > MOST:
            raise Refused("series.too_many_values", most=MOST, setting=self.setting, count=len(self.values))

    @staticmethod
    def parse(text: str) -> "Axis":
        """`SETTING=VALUES`, the values written as for A1111's X/Y/Z plot.

        A list with commas (quotes round a value that has one); for numbers also `1-5`, `1-10 (+2)` with a step,
        `1-10 [5]` with a count, and all of them mixed.
        """
        setting, equals, values = text.partition("=")
        name = setting.strip().casefold()
        if not equals:
            raise Refused("series.no_axis", text=text)
        if name not in SETTINGS:
            return Axis(name, ())
        kind = SETTINGS[name]
        parts = _listed(values)
        return Axis(
            name, tuple(parts) if kind is str else tuple(n for part in parts for n in _numbers(name, part, kind))
        )

    def labels(self) -> list[str]:
        """The values as text."""
        return [f"{value:g}" if isinstance(value, float) else str(value) for value in self.values]


@dataclass(frozen=True)
class Grid:
    """A request, what varies along the columns (`x`) and, where given, along the rows (`y`).

    All pictures have the request's seed, unless that is what varies; where it has none, one is drawn here.
    """

    request: ImageRequest
    x: Axis
    y: Axis | None = None

    def __post_init__(self) -> None:
        if self.y and self.y.setting == self.x.setting != "prompt":
            raise Refused("series.same_axes", setting=self.x.setting)
        if len(self.x.values) * self._rows > CELLS:
            raise Refused("series.too_many_cells", most=CELLS, columns=len(self.x.values), rows=self._rows)
        seed = secrets.randbelow(SEEDS) if self.request.seed is None else self.request.seed
        object.__setattr__(self, "request", self.request.model_copy(update={"seed": seed, "count": 1}))
        for axis in (self.x, self.y):
            if axis and axis.setting == "prompt" and str(axis.values[0]) not in self._said():
                raise Refused("series.not_in_prompt", words=str(axis.values[0]))

    @property
    def _rows(self) -> int:
        return len(self.y.values) if self.y else 1

    def _said(self) -> str:
        return f"{self.request.prompt}\n{self.request.negative}"

    def requests(self) -> list[ImageRequest]:
        """One request a picture, row by row; Refused where a value won't do."""
        rows = [self._with(self.request, self.y, value) for value in (self.y.values if self.y else ("",))]
        return [self._own(self._with(row, self.x, value)) for row in rows for value in self.x.values]

    def _own(self, request: ImageRequest) -> ImageRequest:
        """The request, without what its scheduler leaves no choice of, unless that is what varies."""
        if request.scheduler != FAST:
            return request
        common = {"steps", "guidance"} - {axis.setting for axis in (self.x, self.y) if axis}
        return request.model_copy(update=dict.fromkeys(common))

    def _with(self, request: ImageRequest, axis: Axis | None, value: Value) -> ImageRequest:
        if axis is None:
            return request
        fields = {name: getattr(request, name) for name in ImageRequest.model_fields}
        if axis.setting == "prompt":
            said = {name: fields[name].replace(str(axis.values[0]), str(value)) for name in ("prompt", "negative")}
            return make_request(**{**fields, **said})
        return make_request(**{**fields, axis.setting: value})

    def sheet(self, pictures: Sequence[Image.Image | None]) -> Image.Image:
        """All pictures (RGBA, in the order of `requests`; None where there is none) with their labels, opaque RGBA."""
        if len(pictures) != len(self.x.values) * self._rows:
            raise ValueError(f"{len(pictures)} pictures for {len(self.x.values)} x {self._rows} places")
        rows = self.y.labels() if self.y else [""]
        axes = (self.x.setting, self.y.setting if self.y else "")
        return sheet_of(pictures, self.x.labels(), rows, axes, self.request.prompt, self._common())

    def file(self, pictures: Sequence[Image.Image | None]) -> bytes:
        """The sheet as a PNG file that says what it was made from, to us and, in A1111's words, to others."""
        return encoded(
            [self.sheet(pictures)], Provenance(self._parameters(), self.record(), KEYWORD), "png", optimize=True
        )

    def record(self) -> str:
        """What it takes to make the grid again, as JSON."""
        axes = {name: {axis.setting: list(axis.values)} for name, axis in (("x", self.x), ("y", self.y)) if axis}
        request = nameless(self.request.model_dump(mode="json", exclude_defaults=True))
        return json.dumps({"version": version(), "request": request, **axes}, ensure_ascii=False)

    @property
    def name(self) -> str:
        """A name for its file: the same for the same grid."""
        return f"grid-{hashlib.sha256(self.record().encode()).hexdigest()[:12]}.png"

    @staticmethod
    def from_file(path: Path) -> "Grid":
        """The grid that a sheet was made from; Refused where the file says nothing of one."""
        data = content(path)
        record = texts(data, path, frozenset({KEYWORD})).texts.get(KEYWORD, "")
        try:
            said = json.loads(record)
            axes = [_axis(said[name]) for name in ("x", "y") if name in said]
            request = make_request(**said["request"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            if isinstance(error, Refused):
                raise
            raise Refused("series.no_sheet", file=str(path)) from error
        return Grid(request, *axes)

    def _common(self) -> str:
        """What all pictures share, in a line."""
        varied = {self.x.setting, self.y.setting if self.y else ""}
        names = ("style", "seed", "steps", "guidance", "scheduler", "strength", "model")
        values = {name: getattr(self.request, name) for name in names if name not in varied}
        return "   ".join(f"{name} {value}" for name, value in values.items() if value not in ("", None))

    def _parameters(self) -> str:
        """A1111's text of an X/Y/Z plot."""
        settings: dict[str, object] = {"Seed": self.request.seed, "Model": self.request.model}
        settings |= {"Script": "X/Y/Z plot", "X Type": _THEIRS[self.x.setting], "X Values": ", ".join(self.x.labels())}
        if self.y:
            settings |= {"Y Type": _THEIRS[self.y.setting], "Y Values": ", ".join(self.y.labels())}
        settings["Version"] = f"Studio 128 {version()}"
        return a1111_text(self.request.prompt, self.request.negative, settings)


# The settings as A1111 calls them.
_THEIRS = {
    "prompt": "Prompt S/R", "style": "Styles", "seed": "Seed", "steps": "Steps", "guidance": "CFG Scale",
    "scheduler": "Sampler", "model": "Checkpoint name", "strength": "Denoising",
}  # fmt: skip


def _axis(said: dict[str, list[Value]]) -> Axis:
    (setting, values), *_ = said.items()
    return Axis(setting, tuple(values))


def _listed(text: str) -> list[str]:
    """The parts of a list with commas, Chinese ones where it has no others."""
    text = " ".join(text.split())
    if "," not in text:
        text = text.replace("，", ",").replace("、", ",")
    try:
        parts = next(csv.reader([text], skipinitialspace=True), [])
    except csv.Error as error:  # a field of more than 131,072 characters
        raise Refused("series.values_too_long") from error
    return [part.strip() for part in parts if part.strip()]


def _numbers(setting: str, part: str, kind: type) -> list[Value]:
    """A number or a range of them; in decimal, so that 0.1 steps end where they should."""
    match = RANGE.fullmatch(part)
    single = re.fullmatch(NUMBER, part)
    if not match and not single:
        raise Refused("series.no_value", value=part, setting=setting)
    numbers = [Decimal(part)] if not match else _range(setting, *match.groups())
    if kind is int and not match and numbers[0] != int(numbers[0]):
        raise Refused("series.no_whole_number", setting=setting, value=part)
    return [int(number) if kind is int else float(number) for number in numbers]


def _range(setting: str, first: str, last: str, step: str | None, count: str | None) -> list[Decimal]:
    """From `first` to `last`, with a step or so many; as A1111 does, a count of whole numbers is rounded down."""
    start, stop = Decimal(first), Decimal(last)
    if count:
        many = _enough(setting, int(count) - 1) + 1
        return [start] if many <= 1 else [start + (stop - start) * i / (many - 1) for i in range(many)]
    stride = Decimal(step.replace(" ", "")) if step else Decimal(1 if stop >= start else -1)
    if not stride or (stop - start) / stride < 0:
        raise Refused("series.empty_range", first=first, last=last, setting=setting, step=str(step))
    return [start + stride * i for i in range(_enough(setting, int((stop - start) / stride)) + 1)]


def _enough(setting: str, steps: int) -> int:
    if steps >= MOST:
        raise Refused("series.too_many_values", most=MOST, setting=setting, count=steps + 1)
    return steps
