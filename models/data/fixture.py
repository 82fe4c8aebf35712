"""A small world drawn by this file: twelve concepts in four styles, so that every test runs without the real pictures.

Each concept is a list of shapes on a 100 x 100 canvas; a style says how shapes are filled. Everything is drawn four
times as large and reduced by area while premultiplied.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from models.data.colours import main_colours
from models.data.pixels import SIZE
from models.data.splits import assign
from models.data.world import Picture, World

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
    shapes: tuple[tuple[str, str, tuple[float, ...]], ...]


def _star(points: int, outer: float, inner: float) -> tuple[float, ...]:
    angles = np.pi * (np.arange(2 * points) / points - 0.5)
    radii = np.where(np.arange(2 * points) % 2, inner, outer)
    return tuple(np.stack([50 + radii * np.cos(angles), 52 + radii * np.sin(angles)], 1).ravel().tolist())


def _drawing(
    english: str, chinese: str, keywords: str, chinese_keywords: str, group: str, colours: str, *shapes: tuple
) -> Drawing:
    body, second = (f"#{code}" for code in colours.split())
    words = {"en": tuple(keywords.split()), "zh": tuple(chinese_keywords.split())}
    return Drawing({"en": english, "zh": chinese}, words, group, body, second, shapes)


DRAWINGS = {
    "apple": _drawing(
        "apple", "苹果", "fruit food red diet", "水果 食物", "food-drink", "DD2E44 77B255",
        ("ellipse", "body", (14, 28, 60, 94)),
        ("ellipse", "body", (40, 28, 86, 94)),
        ("line", "dark", (50, 36, 56, 12, 5)),
        ("ellipse", "second", (56, 8, 84, 24)),
    ),
    "cat": _drawing(
        "cat", "猫", "pet animal kitten whiskers", "宠物 动物 小猫", "animals-nature", "F4900C FFE0B2",
        ("polygon", "body", (18, 52, 20, 10, 46, 30)),
        ("polygon", "body", (82, 52, 80, 10, 54, 30)),
        ("ellipse", "body", (14, 22, 86, 92)),
        ("ellipse", "second", (34, 60, 66, 86)),
        ("ellipse", "dark", (30, 44, 40, 58)),
        ("ellipse", "dark", (60, 44, 70, 58)),
        ("polygon", "dark", (45, 64, 55, 64, 50, 71)),
    ),
    "star": _drawing(
        "star", "星星", "night sky shine", "夜晚 天空 闪亮", "travel-places", "FFCC4D FFCC4D",
        ("polygon", "body", _star(5, 46, 19)),
    ),
    "heart": _drawing(
        "heart", "爱心", "love valentine romance", "爱 情人节", "smileys-emotion", "F678AA F678AA",
        ("ellipse", "body", (8, 14, 52, 58)),
        ("ellipse", "body", (48, 14, 92, 58)),
        ("polygon", "body", (11, 45, 89, 45, 50, 92)),
    ),
    "sun": _drawing(
        "sun", "太阳", "weather bright warm", "天气 晴天", "travel-places", "FFD23B F4900C",
        ("polygon", "second", _star(12, 48, 34)),
        ("ellipse", "body", (22, 24, 78, 80)),
    ),
    "fish": _drawing(
        "fish", "鱼", "sea animal swim ocean", "大海 动物 游泳", "animals-nature", "2C6BD8 8AD4FF",
        ("polygon", "second", (62, 50, 96, 24, 96, 76)),
        ("ellipse", "body", (6, 24, 76, 76)),
        ("ellipse", "light", (18, 38, 32, 52)),
        ("ellipse", "dark", (22, 42, 29, 49)),
    ),
    "house": _drawing(
        "house", "房子", "home building roof", "家 建筑", "travel-places", "FFE0B2 A0041E",
        ("rectangle", "body", (18, 44, 82, 92)),
        ("polygon", "second", (6, 50, 50, 8, 94, 50)),
        ("rectangle", "dark", (42, 62, 58, 92)),
    ),
    "tree": _drawing(
        "tree", "树", "plant forest nature", "植物 森林 自然", "animals-nature", "4CAF50 795548",
        ("rectangle", "second", (43, 66, 57, 96)),
        ("polygon", "body", (50, 4, 20, 42, 80, 42)),
        ("polygon", "body", (50, 24, 10, 72, 90, 72)),
    ),
    "flower": _drawing(
        "flower", "花", "plant blossom garden", "植物 花园 春天", "animals-nature", "8A4BC4 FFD23B",
        ("ellipse", "body", (34, 4, 66, 40)),
        ("ellipse", "body", (34, 60, 66, 96)),
        ("ellipse", "body", (4, 34, 40, 66)),
        ("ellipse", "body", (60, 34, 96, 66)),
        ("ellipse", "second", (34, 34, 66, 66)),
    ),
    "pig": _drawing(
        "pig", "猪", "animal farm pork", "动物 农场", "animals-nature", "F4ABBA EA7F97",
        ("polygon", "second", (16, 40, 20, 10, 44, 26)),
        ("polygon", "second", (84, 40, 80, 10, 56, 26)),
        ("ellipse", "body", (10, 16, 90, 92)),
        ("ellipse", "second", (32, 50, 68, 78)),
        ("ellipse", "dark", (40, 58, 46, 70)),
        ("ellipse", "dark", (54, 58, 60, 70)),
        ("ellipse", "dark", (28, 34, 38, 46)),
        ("ellipse", "dark", (62, 34, 72, 46)),
    ),
    "car": _drawing(
        "car", "汽车", "vehicle drive road", "车辆 驾驶 马路", "travel-places", "12A79B 88C9F9",
        ("polygon", "body", (24, 46, 34, 22, 68, 22, 80, 46)),
        ("rectangle", "body", (4, 44, 96, 74)),
        ("polygon", "light", (34, 44, 40, 29, 64, 29, 70, 44)),
        ("ellipse", "dark", (14, 60, 38, 84)),
        ("ellipse", "dark", (62, 60, 86, 84)),
    ),
    "grinning-face": _drawing(
        "grinning face", "嘿嘿", "happy smile cheerful joy", "开心 笑脸", "smileys-emotion", "FFC83D FFFFFF",
        ("ellipse", "body", (6, 6, 94, 94)),
        ("ellipse", "dark", (28, 28, 40, 48)),
        ("ellipse", "dark", (60, 28, 72, 48)),
        ("pieslice", "dark", (24, 40, 76, 84, 0, 180)),
        ("rectangle", "light", (32, 62, 68, 68)),
    ),
}  # fmt: skip


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


def draw(picture: Picture, size: int) -> np.ndarray:
    """One of the fixture's pictures in another size: premultiplied uint8 (size, size, 4)."""
    return _render(DRAWINGS[picture.concept], picture.style, size)


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
    draw: ImageDraw.ImageDraw, kind: str, where: tuple[float, ...], scale: float, fill: Fill, edge: str | None
) -> None:
    width = round(3 * scale) if edge else 0
    if kind == "line":
        draw.line([v * scale for v in where[:4]], fill=fill, width=round(where[4] * scale))
    elif kind == "pieslice":
        draw.pieslice([v * scale for v in where[:4]], where[4], where[5], fill=fill, outline=edge, width=width)
    elif kind == "polygon":
        draw.polygon([v * scale for v in where], fill=fill, outline=edge, width=width)
    elif kind == "ellipse":
        draw.ellipse([v * scale for v in where], fill=fill, outline=edge, width=width)
    else:
        draw.rectangle([v * scale for v in where], fill=fill, outline=edge, width=width)


def _shaded(canvas: Image.Image) -> Image.Image:
    """Darker towards the bottom, as a lit object is."""
    array = np.asarray(canvas).astype(np.float32)
    light = np.linspace(1.0, 0.88, len(array), dtype=np.float32)[:, None, None]
    array[..., :3] *= light
    return Image.fromarray(array.astype(np.uint8), "RGBa")
