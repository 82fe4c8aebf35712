"""A small world drawn by this file: twelve concepts in four styles, so that every test runs without the real pictures.

Each concept is a list of shapes on a 100 x 100 canvas; a style says how shapes are filled. Everything is drawn four
times as large and reduced by area while premultiplied.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from models.data.colours import main_colours
from models.data.pixels import SIZE
from models.data.world import Picture, World, assign, pictures_by_concept

OVERSAMPLING = 4
Fill = str | tuple[int, int, int, int]
FAMILIES = {"noto": "noto", "twemoji": "twemoji", "outline": "streamline", "black glyph": "fluent"}  # as in the world


@dataclass(frozen=True)
class Drawing:
    """One concept: its words, its two colours, and shapes (kind, role, coordinates in 0..100).

    Roles: "body" and "second" take the colours, "dark" and "light" are details such as eyes.
    """

    names: dict[str, str]
    keywords: dict[str, tuple[str, ...]]
    group: str
    body: str
    second: str
    shapes: tuple[tuple[str, str, Sequence[float]], ...]


def _star(points: int, outer: float, inner: float) -> tuple[float, ...]:
    angles = np.pi * (np.arange(2 * points) / points - 0.5)
    radii = np.where(np.arange(2 * points) % 2, inner, outer)
    return tuple(np.stack([50 + radii * np.cos(angles), 52 + radii * np.sin(angles)], 1).ravel().tolist())


def _drawing(row: dict[str, Any]) -> Drawing:
    """A row of the file; {"star": [points, outer, inner radius]} stands for the corners of a star."""
    shapes = ((kind, role, _star(*at["star"]) if isinstance(at, dict) else at) for kind, role, at in row.pop("shapes"))
    keywords = {language: tuple(words) for language, words in row.pop("keywords").items()}
    return Drawing(**row, keywords=keywords, shapes=tuple(shapes))


_ROWS: dict[str, Any] = json.loads(Path(__file__).with_name("fixture_world.json").read_text(encoding="utf-8"))
DRAWINGS = {concept: _drawing(row) for concept, row in _ROWS.items()}


@cache
def fixture_world() -> World:
    """48 pictures in memory, split by the same hash as the real ones; no split is empty. The same bits every time."""
    splits = assign((concept, family) for concept in DRAWINGS for family in FAMILIES.values())
    pixels = np.stack([_render(drawing, style) for drawing in DRAWINGS.values() for style in FAMILIES])
    pictures: list[Picture] = []
    for (concept, drawing), style in ((item, style) for item in DRAWINGS.items() for style in FAMILIES):
        index, family = len(pictures), FAMILIES[style]
        pictures.append(
            Picture(
                index=index, id=f"{style}/{concept}", source="fixture", style=style, family=family, concept=concept,
                names=drawing.names, keywords=drawing.keywords, group=drawing.group, skin=None, gender=None,
                colours=main_colours(pixels[index]), split=splits[concept, family],
            )
        )  # fmt: skip
    return World(tuple(pictures), pixels, hashlib.sha256(pixels.tobytes()).hexdigest())


def world_with_cooks(drawings: Sequence[tuple[str, str, str | None]]) -> World:
    """The fixture's world and a cook, drawn once for each (style, family, gender or None), each in another colour."""
    world = fixture_world()
    first, index = pictures_by_concept(world)["cat"][0], len(world.pixels)
    cooks = [
        replace(
            first, id=f"cook-{place}", index=index + place, concept="cook", style=style, family=family, gender=gender,
            skin=None, names={"en": f"{gender} cook" if gender else "cook"}, keywords={},
        )
        for place, (style, family, gender) in enumerate(drawings)
    ]  # fmt: skip
    drawn = np.zeros((len(cooks), *world.pixels.shape[1:]), np.uint8)
    drawn[:, 20:108, 20:108] = [[[[40 * place, 255 - 40 * place, 128, 255]]] for place in range(len(cooks))]
    return World([*world.pictures, *cooks], np.concatenate([world.pixels, drawn]), world.digest)


def draw(picture: Picture, size: int) -> np.ndarray:
    """One of the fixture's pictures in another size: premultiplied uint8 (size, size, 4)."""
    return _drawn(picture.concept, picture.style, size)


@cache
def _drawn(concept: str, style: str, size: int) -> np.ndarray:
    return _render(DRAWINGS[concept], style, size)


def _render(drawing: Drawing, style: str, size: int = SIZE) -> np.ndarray:
    """Premultiplied uint8 (size, size, 4) of one drawing in one style."""
    side = size * OVERSAMPLING
    canvas = Image.new("RGBa", (side, side))
    draw = ImageDraw.Draw(canvas)
    for kind, role, coordinates in drawing.shapes:
        fill, edge = _paint(drawing, style, role)
        _draw_shape(draw, kind, coordinates, side / 100, fill, edge)
    if style == "noto":
        canvas = _shaded(canvas)
    return np.asarray(canvas.resize((size, size), Image.Resampling.BOX)).copy()


def _paint(drawing: Drawing, style: str, role: str) -> tuple[Fill, str | None]:
    """Fill and outline of a role: colours as they are, lines on white, or a black shape with its details cut out."""
    if style == "black glyph":
        return ((0, 0, 0, 0) if role in ("dark", "light") else "#1B1B1F"), None
    if style == "outline":
        return ("#1B1B1F" if role == "dark" else "#FFFFFF"), "#1B1B1F"
    return {"body": drawing.body, "second": drawing.second, "dark": "#31262B", "light": "#FFFFFF"}[role], None


def _draw_shape(
    draw: ImageDraw.ImageDraw, kind: str, where: Sequence[float], scale: float, fill: Fill, edge: str | None
) -> None:
    width = round(3 * scale) if edge else 0
    at = [v * scale for v in where]
    if kind == "line":
        draw.line(at[:4], fill=fill, width=round(at[4]))
    elif kind == "pieslice":
        draw.pieslice(at[:4], where[4], where[5], fill=fill, outline=edge, width=width)
    else:
        getattr(draw, kind)(at, fill=fill, outline=edge, width=width)


def _shaded(canvas: Image.Image) -> Image.Image:
    array = np.asarray(canvas).astype(np.float32)
    light = np.linspace(1.0, 0.88, len(array), dtype=np.float32)[:, None, None]
    array[..., :3] *= light
    return Image.fromarray(array.astype(np.uint8), "RGBa")
