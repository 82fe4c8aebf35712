"""Pictures from outside the sticker world, made by code: noise, textures like photographs', pages of text, patterns."""

import numpy as np
from PIL import Image, ImageDraw

from models.compose.fonts import font_for
from models.data.pixels import SIZE


def outside_picture(number: int, seed: int = 0) -> np.ndarray:
    """One of them, the kinds in turn: premultiplied uint8 (128, 128, 4), opaque."""
    rng = np.random.default_rng((seed, number))
    rgb = (_noise, _texture, _page, _pattern)[number % 4](rng)
    return np.dstack([rgb, np.full((SIZE, SIZE), 255, np.uint8)])


def outside_pictures(count: int, seed: int = 0) -> np.ndarray:
    """(N, 128, 128, 4)."""
    return np.stack([outside_picture(number, seed) for number in range(count)])


def _noise(rng: np.random.Generator) -> np.ndarray:
    side = int(rng.choice((SIZE, 64, 32)))
    small = rng.integers(0, 256, (side, side, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize((SIZE, SIZE), Image.Resampling.NEAREST))


def _texture(rng: np.random.Generator) -> np.ndarray:
    """Noise whose amplitude falls with its frequency, as that of natural pictures does (D. Field, 1987)."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(SIZE), np.fft.rfftfreq(SIZE), indexing="ij"))
    falling = np.maximum(frequency, 1 / SIZE) ** -rng.uniform(0.9, 1.6)
    waves = np.stack([np.fft.irfft2(falling * np.fft.rfft2(rng.standard_normal((SIZE, SIZE)))) for _ in range(3)], -1)
    mixed = waves @ (np.eye(3) + rng.uniform(0.5, 2))  # channels of a photograph go together
    return np.clip(128 + 50 * (mixed - mixed.mean()) / mixed.std() + rng.uniform(-40, 40, 3), 0, 255).astype(np.uint8)


def _page(rng: np.random.Generator) -> np.ndarray:
    dark = rng.random() < 0.4
    page = Image.new("RGB", (SIZE, SIZE), "#1e1e24" if dark else "#ffffff")
    draw, size, y = ImageDraw.Draw(page), int(rng.integers(7, 12)), 4
    draw.rectangle((0, 0, SIZE, int(rng.integers(0, 18))), fill=tuple(int(x) for x in rng.integers(40, 220, 3)))
    while y < SIZE:
        words = ("".join(chr(97 + int(c)) for c in rng.integers(0, 26, rng.integers(2, 9))) for _ in range(7))
        text = " ".join(words)[: int(rng.integers(5, 30))]
        draw.text((4 + 8 * int(rng.integers(0, 3)), y), text, "#d0d0d0" if dark else "#222222", font_for(text, size))
        y += size + 3
    return np.asarray(page)


def _pattern(rng: np.random.Generator) -> np.ndarray:
    """Stripes or checks of two colours."""
    angle, period = rng.uniform(0, np.pi), rng.uniform(6, 40)
    y, x = np.indices((SIZE, SIZE))
    first = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / period) > 0
    second = np.sin((y * np.cos(angle) - x * np.sin(angle)) * 2 * np.pi / period) > 0
    chosen = first ^ second if rng.random() < 0.5 else first
    return rng.integers(0, 256, (2, 3), np.uint8)[chosen.astype(int)]
