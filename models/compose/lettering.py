"""Lettering: words set in a font on a drawn thing, as large as possible where it has most room for them.

Pictures are premultiplied uint8 (S, S, 4); lengths are pixels of the canvas.
"""

import contextlib
import functools
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from models.assets import assets
from models.compose.masks import SEEN, middle
from models.data.pixels import put, resized

DARK = 95.0  # mean level: a ground below it is dark
SHARP = 4  # letters are drawn so many times larger and averaged
LARGEST, SMALLEST = 0.36, 0.06  # size of the letters, in sides of the canvas
STEP = 0.92  # from one size that is tried to the next
LINE = 1.15  # from one line to the next, in sizes
BOLD = 0.03  # that is added around strokes, in sizes
MARGIN = 0.025  # to the edge of where they stand, in sides
WIDTHS = (0.95, 0.8, 0.65, 0.5, 0.4, 0.3)  # of lines, in sides of the canvas
SHADES = 32  # levels of 255: colours this close are counted as one, to find the most frequent one
UNLIKE = 60.0  # levels from that colour: what is further is not part of the ground
SMALL = 0.02  # size of marks on the ground that letters may cover, in sides
ROOM = 0.6  # radius of the largest disc in the ground, at least, as a share of that in the whole thing
HALO = 0.12  # around letters that stand on several colours, in sizes
INK, LIGHT = (38, 38, 42), (250, 250, 250)


# Ours has Latin letters, kana and the 6,763 Chinese characters of GB 2312; of rarer ones and other scripts the first of
# the system's that has them is used.
FONT = "fonts/NotoSansSC-GB2312.otf"
SYSTEM_FONTS = ("NotoSansCJK-Regular.ttc", "wqy-microhei.ttc", "PingFang.ttc", "msyh.ttc", "DejaVuSans.ttf")
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def font_for(text: str, size: int) -> Font:
    """The first font that has all of a text's characters, else our own, which draws boxes for those it lacks."""
    fonts = _fonts(size)
    return next((font for font in fonts if all(_has(font, c) for c in set(text) if not c.isspace())), fonts[0])


@functools.cache
def _fonts(size: int) -> list[Font]:
    """Ours and those of the system's that are there; Pillow's own where ours is missing."""
    fonts: list[Font] = []
    for name in (str(assets() / FONT), *SYSTEM_FONTS):
        with contextlib.suppress(OSError):
            fonts.append(ImageFont.truetype(name, size))
    return fonts or [ImageFont.load_default(size)]


@functools.lru_cache(4096)
def _has(font: Font, character: str) -> bool:
    """Whether a font has a character: it draws it otherwise than one that there is not."""
    return bytes(font.getmask(character)) != bytes(font.getmask("\uffff"))


def wrap(text: str, font: Font, width: float) -> list[str]:
    """Lines no wider than `width` pixels; breaks between words, and anywhere in a text without spaces."""
    lines = [""]
    for word in text.replace(" ", " \0").split("\0"):
        pieces = list(word) if not word.isascii() else [word]
        for piece in pieces:
            if lines[-1] and font.getlength(lines[-1] + piece.rstrip()) > width:
                lines.append("")
            lines[-1] += piece
    return lines


def write(canvas: np.ndarray, words: str, alpha: np.ndarray) -> None:
    """Write on the canvas where a thing with `alpha` (S, S) is visible; nothing where it is not."""
    whole = middle(alpha)
    if whole is None:
        return
    colour, even = _ground(canvas, alpha >= SEEN)
    room = middle(even.astype(np.uint8) * 255)
    is_even = room is not None and room[2] >= ROOM * whole[2]
    x, y, _ = room if room is not None and is_even else whole
    block = _fitting(words, _shrunk(even if is_even else alpha >= SEEN, MARGIN), x, y)
    left, top = (max(0, round(at - size / SHARP / 2)) for at, size in ((x, block.width), (y, block.height)))
    if is_even:
        _clear(canvas, even, colour, (left, top, left + block.width // SHARP, top + block.height // SHARP))
    else:
        put(canvas, block.drawn(LIGHT, HALO), left, top)
    put(canvas, block.drawn(LIGHT if is_even and colour.mean() < DARK else INK, BOLD), left, top)


@dataclass(frozen=True)
class Block:
    """Lines in a font of a size; all lengths are SHARP times those of the canvas, and whole pixels there."""

    lines: tuple[str, ...]
    font: Font
    size: int
    width: int
    height: int
    baseline: float  # of the first line, from the top

    @staticmethod
    def of(words: str, size: int, within: float) -> "Block":
        """Words in lines no wider than `within`, where they have spaces or are Chinese."""
        font = font_for(words, size)
        lines = tuple(filter(None, (line.strip() for line in wrap(words, font, within))))
        boxes = [font.getbbox(line, anchor="ls") for line in lines]
        edge = 1 + round(HALO * size)
        above = max(-box[1] - LINE * size * number for number, box in enumerate(boxes))
        below = max(box[3] + LINE * size * number for number, box in enumerate(boxes))
        wide, tall = max(box[2] - box[0] for box in boxes) + 2 * edge, above + below + 2 * edge
        width, height = (SHARP * -(-round(length) // SHARP) for length in (wide, tall))
        return Block(lines, font, size, width, height, above + edge)

    def drawn(self, colour: tuple[int, int, int], bold: float) -> np.ndarray:
        """The letters in a colour, with so much around their strokes, premultiplied and as large as on the canvas."""
        image = Image.new("L", (self.width, self.height))
        draw = ImageDraw.Draw(image)
        for number, line in enumerate(self.lines):
            at = self.width / 2, self.baseline + LINE * self.size * number
            draw.text(at, line, 255, self.font, anchor="ms", stroke_width=round(bold * self.size))
        share = np.repeat(np.asarray(image)[..., None], 4, -1)
        share = resized(np.ascontiguousarray(share), self.width // SHARP, self.height // SHARP) / 255.0
        return (share * (*colour, 255)).round().astype(np.uint8)


def _fitting(words: str, inside: np.ndarray, x: float, y: float) -> Block:
    """The largest letters whose lines stay within where they may stand; the smallest ones where none do."""
    side, size = len(inside), LARGEST
    while size > SMALLEST:
        for width in WIDTHS:
            block = Block.of(words, round(size * side * SHARP), width * side * SHARP)
            if _is_inside(block, inside, x, y):
                return block
        size *= STEP
    return Block.of(words, round(SMALLEST * side * SHARP), WIDTHS[2] * side * SHARP)


def _is_inside(block: Block, inside: np.ndarray, x: float, y: float) -> bool:
    wide, tall = block.width / SHARP, block.height / SHARP
    left, right, top, bottom = round(x - wide / 2), round(x + wide / 2), round(y - tall / 2), round(y + tall / 2)
    if min(left, top) < 0 or max(right, bottom) > len(inside):
        return False
    return bool(inside[top:bottom, left:right].all())


def _ground(canvas: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The most frequent colour (3,) of a thing, and where it has that, small marks included (S, S)."""
    colours = canvas[seen][:, :3].astype(float)
    _, which, counts = np.unique(colours // SHADES, axis=0, return_inverse=True, return_counts=True)
    colour: np.ndarray = np.median(colours[which.ravel() == np.argmax(counts)], 0)
    like = seen & (np.linalg.norm(canvas[..., :3] - colour, axis=-1) < UNLIKE)
    return colour, seen & ~_shrunk(~_shrunk(like, -SMALL), -SMALL)


def _clear(canvas: np.ndarray, even: np.ndarray, colour: np.ndarray, box: tuple[int, ...]) -> None:
    """Paint over the marks on the ground that letters would cover, in the ground's colour."""
    left, top, right, bottom = box
    below = canvas[top:bottom, left:right]
    marks = even[top:bottom, left:right] & (np.linalg.norm(below[..., :3] - colour, axis=-1) > UNLIKE)
    below[marks, :3] = (colour * (below[marks, 3:] / 255.0)).round().astype(np.uint8)


def _shrunk(mask: np.ndarray, share: float) -> np.ndarray:
    """A mask (S, S) eroded by a share of the side; dilated where the share is negative."""
    size = 2 * round(abs(share) * len(mask)) + 1
    image = Image.fromarray(mask.astype(np.uint8) * 255)
    return np.asarray(image.filter((ImageFilter.MinFilter if share > 0 else ImageFilter.MaxFilter)(size))) > 0
