"""Comparison grids: one request with two of its settings varied, and all pictures on one labelled sheet.

The sheet says in its own file what it was made from, so it can be made again: `Grid.from_file`.
"""

import csv
import hashlib
import json
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from PIL import Image, ImageDraw

from models.compose.lettering import Font, font_for, wrap
from models.data.pixels import fit, png
from models.data.sheet import checkerboard
from models.messages import Refused, did_you_mean
from models.references.credits import Credit
from studio.capabilities import FAST
from studio.metadata.files import content, encoded, texts
from studio.metadata.origin import Provenance, a1111_text, nameless, version
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
# As A1111 calls them.
THEIRS = {
    "prompt": "Prompt S/R", "style": "Styles", "seed": "Seed", "steps": "Steps", "guidance": "CFG Scale",
    "scheduler": "Sampler", "model": "Checkpoint name", "strength": "Denoising",
}  # fmt: skip
_EXAMPLES = {str: "a, b", int: "1-4", float: "1-5 (+0.5)"}  # of values
UNSIGNED = r"(?:\d+\.?\d*|\.\d+)"
NUMBER = rf"[+-]?{UNSIGNED}"
RANGE = re.compile(rf"({NUMBER})\s*-\s*({NUMBER})\s*(?:\(\s*([+-]?\s*{UNSIGNED})\s*\)|\[\s*(\d{{1,6}})\s*\])?")
SMALLEST, LARGEST = 128, 256  # pixels a side of a picture on the sheet
MORE = "…"  # in place of what does not fit
GAP, EDGE = 8, 16  # pixels
TEXT, TITLE, NOTE = 14, 18, 12  # pixels of letters
LABEL_LINES, TITLE_LINES = 3, 2
ROW_LABELS = 170  # pixels at most
GREY = "#5a5a5a"  # on white 6.9:1, above what WCAG AA asks of text

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
        columns, rows = self.size
        if self.y and self.y.setting == self.x.setting != "prompt":
            raise Refused("series.same_axes", setting=self.x.setting)
        if columns * rows > CELLS:
            raise Refused("series.too_many_cells", most=CELLS, columns=columns, rows=rows)
        seed = secrets.randbelow(SEEDS) if self.request.seed is None else self.request.seed
        object.__setattr__(self, "request", self.request.model_copy(update={"seed": seed, "count": 1}))
        words = f"{self.request.prompt}\n{self.request.negative}"
        for axis in self.axes:
            if axis.setting == "prompt" and str(axis.values[0]) not in words:
                raise Refused("series.not_in_prompt", words=str(axis.values[0]))

    @property
    def axes(self) -> list[Axis]:
        """What varies: along the columns, then along the rows."""
        return [self.x, self.y] if self.y else [self.x]

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        return len(self.x.values), len(self.y.values) if self.y else 1

    @property
    def labels(self) -> tuple[list[str], list[str]]:
        """Of the columns and of the rows; of the only row, none."""
        return self.x.labels(), self.y.labels() if self.y else [""]

    def requests(self) -> list[ImageRequest]:
        """One request a picture, row by row; Refused where a value won't do."""
        requests = [self.request]
        for axis in reversed(self.axes):
            requests = [_with(request, axis, value) for request in requests for value in axis.values]
        # What a scheduler leaves no choice of is left out, unless that is what varies.
        common = {"steps", "guidance"} - {axis.setting for axis in self.axes}
        return [one.model_copy(update=dict.fromkeys(common)) if one.scheduler == FAST else one for one in requests]

    def sheet(self, pictures: Sequence[Image.Image | None]) -> Image.Image:
        """All pictures (RGBA, in the order of `requests`; None where there is none) with their labels, opaque RGBA."""
        columns, rows = self.labels
        if len(pictures) != len(columns) * len(rows):
            raise ValueError(f"{len(pictures)} pictures for {len(columns)} x {len(rows)} places")
        axes = (self.x.setting, self.y.setting if self.y else "")
        return sheet_of(pictures, columns, rows, axes, self.request.prompt, self._common())

    def file(self, pictures: Sequence[Image.Image | None], credits: Iterable[Credit] = ()) -> bytes:
        """The sheet as a PNG file that says what it was made from, in our words and A1111's, and its credits."""
        provenance = Provenance(self._parameters(), self.record(), KEYWORD, tuple(dict.fromkeys(credits)))
        return encoded(self.sheet(pictures), provenance, "png", optimize=True)

    def record(self) -> str:
        """What it takes to make the grid again, as JSON."""
        axes = {name: {axis.setting: list(axis.values)} for name, axis in zip("xy", self.axes, strict=False)}
        request = nameless(self.request.model_dump(mode="json", exclude_defaults=True))
        return json.dumps({"version": version(), "request": request, **axes}, ensure_ascii=False)

    @property
    def name(self) -> str:
        """A name for its file: the same for the same grid."""
        return f"grid-{hashlib.sha256(self.record().encode()).hexdigest()[:12]}.png"

    @staticmethod
    def from_record(record: str) -> "Grid":
        """The grid that `record` tells of; some ValueError, KeyError or TypeError where it tells of none."""
        fields = json.loads(record)
        axes = [Axis(setting, tuple(values)) for name in "xy" for setting, values in fields.get(name, {}).items()]
        return Grid(make_request(**fields["request"]), *axes)

    @staticmethod
    def from_file(path: Path) -> "Grid":
        """The grid that a sheet was made from; Refused where the file says nothing of one."""
        record = texts(content(path), path, frozenset({KEYWORD})).texts.get(KEYWORD, "")
        try:
            return Grid.from_record(record)
        except Refused:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise Refused("series.no_sheet", file=str(path)) from error

    def _common(self) -> str:
        """What all pictures share, in a line."""
        varied = [axis.setting for axis in self.axes]
        names = ("style", "seed", "steps", "guidance", "scheduler", "strength", "model")
        values = {name: getattr(self.request, name) for name in names if name not in varied}
        return "   ".join(f"{name} {value}" for name, value in values.items() if value not in ("", None))

    def _parameters(self) -> str:
        """A1111's text of an X/Y/Z plot."""
        settings: dict[str, object] = {"Seed": self.request.seed, "Model": self.request.model}
        settings["Script"] = "X/Y/Z plot"
        for name, axis in zip("XY", self.axes, strict=False):
            settings |= {f"{name} Type": THEIRS[axis.setting], f"{name} Values": ", ".join(axis.labels())}
        settings["Version"] = f"Studio 128 {version()}"
        return a1111_text(self.request.prompt, self.request.negative, settings)


def _with(request: ImageRequest, axis: Axis, value: Value) -> ImageRequest:
    fields = {name: getattr(request, name) for name in ImageRequest.model_fields}
    if axis.setting != "prompt":
        return make_request(**{**fields, axis.setting: value})
    replaced = {name: fields[name].replace(str(axis.values[0]), str(value)) for name in ("prompt", "negative")}
    return make_request(**{**fields, **replaced})


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


# --- How a sheet looks ------------------------------------------------------------------------------------------------


def sheet_of(
    pictures: Sequence[Image.Image | None],
    columns: list[str],
    rows: list[str],
    axes: tuple[str, str],
    title: str,
    note: str,
) -> Image.Image:
    """The sheet, opaque RGBA: `pictures` row by row, labels, the names of both `axes`, title and note. None: empty."""
    side = max([SMALLEST, *(min(max(one.size), LARGEST) for one in pictures if one)])
    columns, rows = ([_named(axis, text) for text in texts] for axis, texts in zip(axes, (columns, rows), strict=True))
    widest = max(font_for(text, TEXT).getlength(text) for text in rows)
    left = EDGE + (min(ROW_LABELS, int(widest) + 1 + GAP) if widest else 0)
    width = max(left + len(columns) * (side + GAP) - GAP + EDGE, 360)
    heads = [(text, size, colour) for text, size, colour in ((title, TITLE, "#111"), (note, NOTE, GREY)) if text]
    heights = [_height(text, size, width - 2 * EDGE, TITLE_LINES) for text, size, _ in heads]
    top = EDGE + sum(heights)
    label = max(_height(text, TEXT, side, LABEL_LINES) for text in columns)
    sheet = Image.new("RGBA", (width, top + label + len(rows) * (side + GAP) - GAP + EDGE), "white")
    draw, y = ImageDraw.Draw(sheet), EDGE
    for (text, size, colour), height in zip(heads, heights, strict=True):
        write(draw, text, (EDGE, y, width - 2 * EDGE, height), size, colour=colour)
        y += height
    for i, text in enumerate(columns):
        write(draw, text, (left + i * (side + GAP), top, side, label - GAP), TEXT, middle=True)
    for k, text in enumerate(rows):
        y = top + label + k * (side + GAP)
        write(draw, text, (EDGE, y, left - EDGE - GAP, side), TEXT, middle=True)
        for i in range(len(columns)):
            _put(sheet, pictures[k * len(columns) + i], left + i * (side + GAP), y, side)
    return sheet


def _named(axis: str, text: str) -> str:
    """A label with the name of what varies, where the value alone would not say it."""
    return f"{axis} {text}" if axis in ("seed", "steps", "guidance", "strength") else text


def _height(text: str, size: int, width: int, most: int) -> int:
    """Pixels that a text takes in up to `most` lines, with a gap below."""
    return len(lines_of(text, font_for(text, size), width, most)) * line_height(size) + GAP


def _put(sheet: Image.Image, picture: Image.Image | None, x: int, y: int, side: int) -> None:
    """A picture on a checkerboard, which shows what is transparent; a crossed place where there is none."""
    if picture is None:
        draw, right, low = ImageDraw.Draw(sheet), x + side - 1, y + side - 1
        draw.rectangle((x, y, right, low), outline="#bbb")
        for line in ((x, y, right, low), (x, low, right, y)):
            draw.line(line, fill="#bbb")
        return
    board = checkerboard((side, side)).convert("RGBA")
    shown = picture.convert("RGBA")
    board.alpha_composite(shown if shown.size == (side, side) else png(fit(shown, side)))
    sheet.paste(board, (x, y))


def lines_of(text: str, font: Font, width: int, most: int) -> list[str]:
    """Up to `most` lines no wider than `width` pixels; what is left over is cut with an ellipsis."""
    lines = [part for line in wrap(text, font, width) for part in _broken(line.rstrip(), font, width)]
    if len(lines) <= most:
        return lines
    last = lines[most - 1]
    while last and font.getlength(last + MORE) > width:
        last = last[:-1]
    return [*lines[: most - 1], last.rstrip() + MORE]


def write(
    draw: ImageDraw.ImageDraw,
    text: str,
    box: tuple[int, int, int, int],
    size: int,
    middle: bool = False,
    colour: str = "#111",
) -> None:
    """Text in a box (left, top, width, height), at its top left or, with `middle`, in its middle."""
    left, top, width, height = box
    font, line = font_for(text, size), line_height(size)
    lines = lines_of(text, font, width, max(1, height // line))
    if middle:
        top += (height - len(lines) * line) // 2
    for number, part in enumerate(lines):
        x = left + int((width - font.getlength(part)) / 2) if middle else left
        draw.text((x, top + number * line), part, colour, font)


def line_height(size: int) -> int:
    """Pixels from one line to the next."""
    return round(size * 1.4)


def _broken(line: str, font: Font, width: int) -> list[str]:
    """A line whose one word is too wide, in pieces."""
    pieces = [""]
    for character in line:
        if pieces[-1] and font.getlength(pieces[-1] + character) > width:
            pieces.append("")
        pieces[-1] += character
    return pieces
