"""Contact sheets of the world: what `python -m models.data show` draws."""

import numpy as np
from PIL import Image, ImageDraw

from models.compose.lettering import font_for, wrap
from models.data.captions import caption
from models.data.clips import FRAMES, make_clip
from models.data.pixels import png
from models.data.scenes import make_scene
from models.data.world import Sampler, World

COLUMNS = 8
CELL = 8  # pixels of a field of the board
LINES = 3  # of caption under each picture
CHECKER = ((255, 255, 255), (230, 230, 230))  # shows what is transparent


def picture_sheet(world: World, count: int, seed: int, split: str) -> Image.Image:
    """`count` pictures of a split as training would draw them, each with one of its captions."""
    rng = np.random.default_rng(seed)
    pictures = Sampler(world.split(split, allow_test=True)).draw(rng, count)
    return captioned([world.pixels[p.index] for p in pictures], [caption(p, seed + i) for i, p in enumerate(pictures)])


def scene_sheet(world: World, count: int, seed: int, split: str) -> Image.Image:
    scenes = [make_scene(world, seed + i, split=split) for i in range(count)]
    return captioned([s.render(world) for s in scenes], [s.caption(seed + i) for i, s in enumerate(scenes)])


def clip_sheet(world: World, count: int, seed: int, split: str) -> Image.Image:
    """`count` clips, COLUMNS frames of each in a row over its caption."""
    clips = [make_clip(world, seed + i, split=split) for i in range(count)]
    shown = np.linspace(0, FRAMES - 1, COLUMNS).round().astype(int)
    captions = [
        [clip.caption(world, seed), f"{clip.fps} fps, loop" if clip.loop else f"{clip.fps} fps"] for clip in clips
    ]
    frames = [frame for clip in clips for frame in clip.render(world)[shown]]
    return captioned(frames, [text for texts in captions for text in texts + [""] * (COLUMNS - len(texts))])


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
