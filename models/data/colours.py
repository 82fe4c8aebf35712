"""Colour by name: what colours a picture has, and the same picture in another colour.

All distances and shifts are made in OKLab (B. Ottosson, "A perceptual color space for image processing", 2020), where
equal steps look equal and a change of hue leaves lightness alone. Pictures are premultiplied uint8 HWC.
"""

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.data.grammar import Language, chinese_list, english_list
from models.data.pixels import SIZE
from models.lexicon import LEXICONS
from models.messages import Refused

MIN_SHARE = 0.12  # a colour on less of the picture is a detail
MAX_COLOURS = 3
ENDS = (2, 98)  # percentiles of lightness that are black and white where that is all there is
MOST = 2.5  # times the contrast that a picture has: what is plain stays so


@dataclass(frozen=True)
class Colour:
    en: str
    zh: str  # the whole word ("红色"), without 的
    # sRGB hex values that carry the name. Several, because a name covers a region that no ball around one point fits: a
    # pixel takes the name of its nearest shade.
    shades: tuple[str, ...]
    paint: str | None = None  # sRGB hex value that objects are recoloured with, None for names too close to another one


_TABLE: dict[str, dict[str, str]] = json.loads(Path(__file__).with_name("colours.json").read_text(encoding="utf-8"))
COLOURS: dict[str, Colour] = {
    name: Colour(name, LEXICONS["zh"].colours[name], tuple(row["shades"].split()), row.get("paint"))
    for name, row in _TABLE.items()
}
NAMES = tuple(COLOURS)
_GROUNDS = {"light blue": "BFE3FF", "beige": "F5E3C3"}  # sRGB hex values of backgrounds that have no paint
PAINTS = tuple(name for name, colour in COLOURS.items() if colour.paint)

_TO_LMS = np.array([
    [0.4122214708, 0.5363325363, 0.0514459929],
    [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005],
], np.float32)  # fmt: skip
_TO_LAB = np.array([
    [0.2104542553, 0.7936177850, -0.0040720468],
    [1.9779984951, -2.4285922050, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.8086757660],
], np.float32)  # fmt: skip
_FROM_LMS, _FROM_LAB = np.linalg.inv(_TO_LMS).astype(np.float32), np.linalg.inv(_TO_LAB).astype(np.float32)


# Between sRGB and linear light (IEC 61966-2-1). Powers are the dear part of the conversion: both ways go through
# tables. 4,096 linear steps leave dark values an error of one level in 255 at most.
_LEVELS, _STEPS = np.arange(256) / 255, np.arange(4096) / 4095
_LINEAR = np.where(_LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4).astype(np.float32)
_ENCODED = np.round(255 * np.where(_STEPS <= 0.0031308, 12.92 * _STEPS, 1.055 * _STEPS ** (1 / 2.4) - 0.055)).astype(
    np.uint8
)


def oklab(rgb: np.ndarray) -> np.ndarray:
    """Straight sRGB uint8 (..., 3) -> OKLab float32 (..., 3): L in [0, 1], a and b about [-0.4, 0.4]."""
    return np.cbrt(_LINEAR[rgb] @ _TO_LMS.T) @ _TO_LAB.T


def srgb(lab: np.ndarray) -> np.ndarray:
    """OKLab (..., 3) -> sRGB uint8 (..., 3); what lies outside sRGB is clipped by channel."""
    linear = (lab @ _FROM_LAB.T) ** 3 @ _FROM_LMS.T
    return _ENCODED[(np.clip(linear, 0, 1) * 4095 + 0.5).astype(np.int32)]


def _hex_lab(code: str) -> np.ndarray:
    return oklab(np.array([int(code[i : i + 2], 16) for i in (0, 2, 4)], np.uint8))


@functools.cache
def _name_table() -> np.ndarray:
    """(32, 32, 32) uint8: index into NAMES of each sRGB value kept to 5 bits a channel."""
    levels = np.arange(32, dtype=np.uint8) * 8 + 4
    grid = oklab(np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1)).reshape(-1, 3)
    nearest = np.full(len(grid), np.inf, np.float32)
    table = np.zeros(len(grid), np.uint8)
    for i, name in enumerate(NAMES):
        for shade in COLOURS[name].shades:
            distance = ((grid - _hex_lab(shade)) ** 2).sum(-1)
            table[distance < nearest] = i
            nearest = np.minimum(nearest, distance)
    return table.reshape(32, 32, 32)


def colour_shares(pixels: np.ndarray) -> dict[str, float]:
    """Share of the picture's opacity that each named colour holds; sums to 1, empty for a transparent picture."""
    step = 2 if pixels.shape[0] >= 96 else 1  # every fourth pixel gives the same shares within a percent
    sample = pixels[::step, ::step].reshape(-1, 4)
    sample = sample[sample[:, 3] > 0]
    alpha = sample[:, 3].astype(np.uint16)
    rgb = np.minimum(sample[:, :3].astype(np.uint16) * 255 // np.maximum(alpha, 1)[:, None], 255) >> 3
    names = _name_table()[rgb[:, 0], rgb[:, 1], rgb[:, 2]]
    mass = np.bincount(names, weights=alpha, minlength=len(NAMES))
    total = mass.sum()
    return {name: float(m / total) for name, m in zip(NAMES, mass, strict=True) if m} if total else {}


def main_colours(pixels: np.ndarray) -> tuple[str, ...]:
    """Names of COLOURS that a picture, premultiplied uint8 (H, W, 4), has, largest share first: at most 3, each on at
    least 12 % of it; empty only for a picture with nothing in it."""
    ranked = sorted(colour_shares(pixels).items(), key=lambda item: -item[1])
    return tuple(name for i, (name, share) in enumerate(ranked[:MAX_COLOURS]) if i == 0 or share >= MIN_SHARE)


@functools.cache
def paint_lab(colour: str) -> tuple[float, float, float]:
    """OKLab of the paint; Refused for a colour that nothing is painted with."""
    if colour not in PAINTS:
        raise Refused("prompts.no_paint", colour=colour, paints=list(PAINTS))
    lightness, a, b = _hex_lab(str(COLOURS[colour].paint)).tolist()
    return lightness, a, b


def hue_shift(pixels: np.ndarray, colour: str, whole: bool = False) -> np.ndarray:
    """The same picture, premultiplied uint8 (H, W, 4), painted in one of PAINTS, light and shade kept.

    Where most of the picture is coloured, its neutral parts (eyes, outlines, highlights) stay as they are, unless it is
    painted `whole`; a mostly black, grey or white picture is always tinted whole.
    """
    target = paint_lab(colour)
    return _with_lab(pixels, lambda lab, alpha: _painted(lab, alpha, target, whole))


def black_and_white(pixels: np.ndarray) -> np.ndarray:
    """The same picture, premultiplied uint8 (H, W, 4), without colour: its darkest parts black and its lightest white,
    unless they differ by little."""

    def grey(lab: np.ndarray, alpha: np.ndarray) -> np.ndarray:
        low, high = np.percentile(lab[:, 0], ENDS, weights=alpha, method="inverted_cdf")
        black, white = paint_lab("black")[0], paint_lab("white")[0]
        contrast = min((white - black) / max(high - low, 1e-3), MOST)
        middle, half = (low + high) / 2, contrast * (high - low) / 2
        lightness = np.clip(middle, black + half, white - half) + contrast * (lab[:, 0] - middle)
        return np.stack([np.clip(lightness, 0, 1), *[np.zeros_like(lightness)] * 2], 1)

    return _with_lab(pixels, grey)


def _with_lab(pixels: np.ndarray, change: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """The picture with what `change` makes of the OKLab (N, 3) and the alpha (N,) of all that is seen."""
    out = pixels.copy()
    seen = pixels[..., 3] > 0
    solid = pixels[seen]
    if not len(solid):
        return out
    alpha = solid[:, 3].astype(np.uint16)
    straight = np.minimum((solid[:, :3].astype(np.uint16) * 255 + (alpha // 2)[:, None]) // alpha[:, None], 255)
    rgb = srgb(change(oklab(straight), alpha.astype(np.float32)))
    solid[:, :3] = (rgb * alpha[:, None] + 127) // 255
    out[seen] = solid
    return out


def _painted(lab: np.ndarray, alpha: np.ndarray, target: tuple[float, float, float], whole: bool) -> np.ndarray:
    """OKLab (N, 3) with the target's hue and chroma, and lightness spread around the target's."""
    lightness, chroma = lab[:, 0], np.hypot(lab[:, 1], lab[:, 2])
    body = np.clip((chroma - 0.03) / 0.04, 0, 1)  # 0 for greys, 1 from the palest colour that one would name
    tinted_whole = whole or (alpha * body).sum() < 0.45 * alpha.sum()
    if tinted_whole:
        body = np.ones_like(chroma)
    weight = alpha * body / (alpha * body).sum()
    mean = (weight * lightness).sum()
    spread = np.sqrt((weight * (lightness - mean) ** 2).sum())
    # A light paint takes the body's light parts as its own and shades downwards; a dark one the other way round.
    pivot = mean + 2 * (target[0] - 0.6) * spread
    painted = np.empty_like(lab)
    # Black lines on white would spread over three names; contrasts are pressed into the range of one.
    contrast = min(0.6, 0.09 / max(spread, 0.01))
    painted[:, 0] = np.clip(target[0] + contrast * (lightness - pivot), 0.02, 1)
    # Pale parts stay paler; greys have no chroma to follow.
    scale = np.ones_like(chroma) if tinted_whole else np.clip(chroma / (weight * chroma).sum(), 0.7, 1.2)
    painted[:, 1], painted[:, 2] = scale * target[1], scale * target[2]
    return lab + body[:, None] * (painted - lab)


def ground(colours: tuple[str, ...]) -> np.ndarray:
    """A background alone, premultiplied uint8 (128, 128, 4): transparent, plain, or a gradient from top to bottom."""
    canvas = np.zeros((SIZE, SIZE, 4), np.uint8)
    if colours:
        codes = (_GROUNDS.get(colour) or str(COLOURS[colour].paint) for colour in (colours[0], colours[-1]))
        first, last = (np.array([int(code[i : i + 2], 16) for i in (0, 2, 4)], np.float32) for code in codes)
        ramp = np.linspace(0, 1, SIZE, dtype=np.float32)[:, None]
        canvas[..., :3] = np.round(first + ramp * (last - first)).astype(np.uint8)[:, None]
        canvas[..., 3] = 255
    return canvas


def colour_words(names: tuple[str, ...], language: Language) -> str:
    """Named colours as one phrase: "yellow and brown", "黄色和棕色"."""
    if language == "en":
        return english_list(names)
    return chinese_list([COLOURS[name].zh for name in names])
