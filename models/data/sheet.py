"""Contact sheets: pictures on a checkerboard over their captions."""

import numpy as np
from PIL import Image, ImageDraw

from models.compose.lettering import font_for, wrap
from models.data.pixels import png

COLUMNS = 8
CELL = 8  # pixels of a field of the board
LINES = 3  # of caption under each picture
CHECKER = ((255, 255, 255), (230, 230, 230))  # shows what is transparent


def checkerboard(size: tuple[int, int]) -> Image.Image:
    """A grey and white board (width, height)."""
    y, x = np.indices((size[1], size[0])) // CELL
    return Image.fromarray(np.array(CHECKER, np.uint8)[(x + y) % 2])


def captioned(pictures: list[np.ndarray], captions: list[str], columns: int = COLUMNS) -> Image.Image:
    """Premultiplied uint8 pictures (N of H x W x 4), each on a checkerboard over its caption."""
    side = pictures[0].shape[0]
    line = 12
    cell = (side, side + LINES * line + 4)
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * cell[0], rows * cell[1]), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (picture, text) in enumerate(zip(pictures, captions, strict=True)):
        x, y = i % columns * cell[0], i // columns * cell[1]
        drawn = png(picture)
        board = checkerboard(drawn.size)
        board.paste(drawn, mask=drawn)
        sheet.paste(board, (x, y))
        font = font_for(text, 10)
        for k, part in enumerate(wrap(text, font, side - 4)[:LINES]):
            draw.text((x + 2, y + side + 2 + k * line), part, "black", font)
    return sheet
