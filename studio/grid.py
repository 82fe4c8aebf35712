"""Comparison grids: one request with one or two of its settings varied, and all pictures on one labelled sheet."""

import csv
import hashlib
import json
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from PIL import Image, ImageDraw

from models.compose.lettering import Font, font_for, wrap
from models.data.pixels import fit, png
from models.data.sheet import checkerboard
from models.messages import Refused, did_you_mean
from models.references.credits import Credit
from studio.capabilities import FAST
from studio.metadata.files import encoded
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
A1111_NAMES = {
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
INK = "#111"
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
        columns, *rows = ([_label(axis.setting, text) for text in axis.labels()] for axis in self.axes)
        return sheet_of(pictures, columns, rows[0] if rows else [""], self.request.prompt, self._common())

    def file(self, pictures: Sequence[Image.Image | None], credits: Iterable[Credit] = ()) -> bytes:
        """The sheet as a PNG file with its record, A1111's text and its credits."""
        provenance = Provenance(self._parameters(), self.record(), KEYWORD, tuple(dict.fromkeys(credits)))
        return encoded(self.sheet(pictures), provenance, "png", optimize=True)

    def record(self) -> str:
        """The request and the axes as JSON."""
        axes = {name: {axis.setting: list(axis.values)} for name, axis in zip("xy", self.axes, strict=False)}
        request = nameless(self.request.model_dump(mode="json", exclude_defaults=True))
        return json.dumps({"version": version(), "request": request, **axes}, ensure_ascii=False)

    @property
    def name(self) -> str:
        """A name for its file: the same for the same grid."""
        return f"grid-{hashlib.sha256(self.record().encode()).hexdigest()[:12]}.png"

    @staticmethod
    def from_record(record: str) -> "Grid":
        """The grid of a `record`."""
        fields = json.loads(record)
        axes = [Axis(setting, tuple(values)) for name in "xy" for setting, values in fields.get(name, {}).items()]
        return Grid(make_request(**fields["request"]), *axes)

    def _common(self) -> str:
        """The settings that all pictures share, in a line."""
        varied = [axis.setting for axis in self.axes]
        names = ("style", "seed", "steps", "guidance", "scheduler", "strength", "model")
        values = {name: getattr(self.request, name) for name in names if name not in varied}
        return "   ".join(f"{name} {value}" for name, value in values.items() if value not in ("", None))

    def _parameters(self) -> str:
        """A1111's text of an X/Y/Z plot."""
        settings: dict[str, object] = {"Seed": self.request.seed, "Model": self.request.model}
        settings["Script"] = "X/Y/Z plot"
        for name, axis in zip("XY", self.axes, strict=False):
            settings |= {f"{name} Type": A1111_NAMES[axis.setting], f"{name} Values": ", ".join(axis.labels())}
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
    """A number or a range of them, in decimal, so that steps of 0.1 end where they should. As in A1111, numbers of a
    range are rounded down where the setting has whole ones.
    """
    if match := RANGE.fullmatch(part):
        first, last, step, count = match.groups()
        start, stop = Decimal(first), Decimal(last)
        if count:
            steps, stride = int(count) - 1, (stop - start) / max(1, int(count) - 1)
        else:
            stride = Decimal(step.replace(" ", "")) if step else Decimal(1 if stop >= start else -1)
            if not stride or (stop - start) / stride < 0:
                raise Refused("series.empty_range", first=first, last=last, setting=setting, step=str(step))
            steps = int((stop - start) / stride)
        if steps >= MOST:
            raise Refused("series.too_many_values", most=MOST, setting=setting, count=steps + 1)
        numbers = [start + stride * i for i in range(max(0, steps) + 1)]
    elif re.fullmatch(NUMBER, part):
        numbers = [Decimal(part)]
        if kind is int and numbers[0] != int(numbers[0]):
            raise Refused("series.no_whole_number", setting=setting, value=part)
    else:
        raise Refused("series.no_value", value=part, setting=setting)
    return [kind(number) for number in numbers]


# --- How a sheet looks ------------------------------------------------------------------------------------------------


def sheet_of(
    pictures: Sequence[Image.Image | None], columns: list[str], rows: list[str], title: str, note: str
) -> Image.Image:
    """The sheet, opaque RGBA: `pictures` row by row (None: a crossed place), labels, title and note."""
    side = max([SMALLEST, *(min(max(picture.size), LARGEST) for picture in pictures if picture)])
    widest = max(font_for(text, TEXT).getlength(text) for text in rows)
    left = EDGE + (min(ROW_LABELS, int(widest) + 1 + GAP) if widest else 0)
    width = max(left + len(columns) * (side + GAP) - GAP + EDGE, 360)
    heads = [
        (*_wrapped(text, size, width - 2 * EDGE, TITLE_LINES), colour)
        for text, size, colour in ((title, TITLE, INK), (note, NOTE, GREY))
        if text
    ]
    labels = [_wrapped(text, TEXT, side, LABEL_LINES) for text in columns]
    top = EDGE + sum(_height(text, font) for text, font, _ in heads)
    below = top + max(_height(*label) for label in labels)
    sheet = Image.new("RGBA", (width, below + len(rows) * (side + GAP) - GAP + EDGE), "white")
    draw, y = ImageDraw.Draw(sheet), EDGE
    for text, font, colour in heads:
        draw.multiline_text((EDGE, y), text, colour, font)
        y += _height(text, font)
    for i, (text, font) in enumerate(labels):
        middle = (left + i * (side + GAP) + side / 2, (top + below - GAP) / 2)
        draw.multiline_text(middle, text, INK, font, anchor="mm", align="center")
    for k, row in enumerate(rows):
        y = below + k * (side + GAP)
        text, font = _wrapped(row, TEXT, left - EDGE - GAP, LABEL_LINES)
        draw.multiline_text(((EDGE + left - GAP) / 2, y + side / 2), text, INK, font, anchor="mm", align="center")
        for i in range(len(columns)):
            _put(sheet, pictures[k * len(columns) + i], left + i * (side + GAP), y, side)
    return sheet


def _label(setting: str, text: str) -> str:
    """A value with the name of its setting, where the value alone would not say it."""
    return f"{setting} {text}" if setting in ("seed", "steps", "guidance", "strength") else text


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


def _wrapped(text: str, size: int, width: int, most: int) -> tuple[str, Font]:
    """Text in up to `most` lines no wider than `width` pixels, and its font; an ellipsis stands for what is cut."""
    font = font_for(text, size)
    lines = wrap(text, font, width)
    lines = [*lines[: most - 1], "".join(lines[most - 1 :])]
    return "\n".join(_cut(line.rstrip(), font, width) for line in lines), font


def _cut(line: str, font: Font, width: int) -> str:
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(line + MORE) > width:
        line = line[:-1]
    return line.rstrip() + MORE


def _height(text: str, font: Font) -> int:
    """Pixels that a text takes, with a gap below."""
    box = ImageDraw.Draw(Image.new("L", (1, 1))).multiline_textbbox((0, 0), text or " ", font)
    return round(box[3]) + GAP
