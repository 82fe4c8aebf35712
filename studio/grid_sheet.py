"""How a comparison grid looks: pictures in a table, what varies along its edges, what they share above; and text on
pictures, in English and Chinese, without a font of the system's.
"""

from collections.abc import Sequence

from PIL import Image, ImageDraw

from models.compose.lettering import Font, font_for, wrap
from models.data.pixels import fit, png
from models.data.sheet import checkerboard

SMALLEST, LARGEST = 128, 256  # pixels a side of a picture on the sheet
MORE = "…"  # in place of what does not fit
GAP, EDGE = 8, 16  # pixels
TEXT, TITLE, NOTE = 14, 18, 12  # pixels of letters
LABEL_LINES, TITLE_LINES = 3, 2
ROW_LABELS = 170  # pixels at most
GREY = "#5a5a5a"  # on white 6.9:1, above what WCAG AA asks of text


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
