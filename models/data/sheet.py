"""Contact sheets of the world: what `python -m models.data show` draws."""

import contextlib
import functools

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from models.assets import assets
from models.data.captions import caption
from models.data.pixels import png
from models.data.sampling import Sampler
from models.data.scenes import make_scene
from models.data.world import World

COLUMNS = 8
LINES = 3  # of caption under each picture
# Ours has Latin letters, kana and the 6,763 Chinese characters of GB 2312; of rarer ones and other scripts the first of
# the system's that has them is used.
FONT = "fonts/NotoSansSC-GB2312.otf"
SYSTEM_FONTS = ("NotoSansCJK-Regular.ttc", "wqy-microhei.ttc", "PingFang.ttc", "msyh.ttc", "DejaVuSans.ttf")
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
CHECKER = ((255, 255, 255), (230, 230, 230))  # shows what is transparent


def picture_sheet(world: World, count: int, seed: int, split: str) -> Image.Image:
    """`count` pictures of a split as training would draw them, each with one of its captions."""
    rng = np.random.default_rng(seed)
    pictures = Sampler(world.split(split, allow_test=True)).draw(rng, count)
    return captioned([world.pixels[p.index] for p in pictures], [caption(p, seed + i) for i, p in enumerate(pictures)])


def scene_sheet(world: World, count: int, seed: int, split: str) -> Image.Image:
    """`count` composed scenes with their captions."""
    scenes = [make_scene(world, seed + i, split=split) for i in range(count)]
    return captioned([s.render(world) for s in scenes], [s.caption(seed + i) for i, s in enumerate(scenes)])


def checkerboard(size: tuple[int, int], cell: int = 8) -> Image.Image:
    """A grey and white board (width, height)."""
    y, x = np.indices((size[1], size[0])) // cell
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


def font_for(text: str, size: int) -> Font:
    """The first font that has all of a text's characters, else our own, which draws boxes for those it lacks."""
    fonts = _fonts(size)
    return next((font for font in fonts if all(_has(font, c) for c in set(text) if not c.isspace())), fonts[0])


@functools.cache
def _fonts(size: int) -> list[Font]:
    """Ours and those of the system's that are there; Pillow's own where ours is missing."""
    found: list[Font] = []
    for name in (str(assets() / FONT), *SYSTEM_FONTS):
        with contextlib.suppress(OSError):
            found.append(ImageFont.truetype(name, size))
    return found or [ImageFont.load_default(size)]


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
