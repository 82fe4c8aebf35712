"""Text on pictures: lines that fit, in English and Chinese, without a font of the system's."""

from PIL import ImageDraw

from models.compose.fonts import Font, font_for, wrap

MORE = "…"


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
