"""Pixels of exported pictures: any size, the white rim of a sticker, and traced outlines (SVG).

Everything is premultiplied, so transparent pixels never colour an edge. A picture that is needed in more pixels than it
has is drawn from a larger version of it where there is one (the upscaler's, or on the page the worker's), else by
Lanczos.
"""

import itertools
import math
import re
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import vtracer
from PIL import Image

from models.data.pixels import png, premultiply, unpremultiply
from models.references.credits import Credit
from studio.media import quick_png
from studio.metadata.files import xmp_packet

FINE = 1024  # pixels of the longer side, at least, in which distances are measured: edges come out smooth
SEEN = 8  # of 255: fainter pixels are nothing
MUCH = 1.25  # times as large: below that there is nothing to gain

Larger = Callable[[Path], Image.Image | None]  # a picture file -> it, larger, or None where nothing does that


def resized(pixels: np.ndarray, size: tuple[int, int], how: Image.Resampling = Image.Resampling.LANCZOS) -> np.ndarray:
    """Premultiplied uint8 (H, W, 4) -> (height, width, 4) for `size` (width, height), with `rgb <= alpha`."""
    if pixels.shape[1::-1] == size:
        return pixels
    out = np.array(Image.fromarray(pixels, "RGBa").resize(size, how, reducing_gap=3.0))
    out[..., :3] = np.minimum(out[..., :3], out[..., 3:])  # these filters ring past alpha
    return out


def indexed(picture: Image.Image, colours: int) -> Image.Image:
    """The picture (RGBA) in so many colours, one of them transparent: mode "P". They are chosen premultiplied: a faint
    pixel's colour hardly counts, and none of them can leave a dark rim.
    """
    pixels = premultiply(np.asarray(picture))
    chosen = Image.fromarray(pixels, "RGBA").quantize(max(1, colours - 1), Image.Quantize.FASTOCTREE)
    rows = np.where(pixels[..., 3] > 0, np.asarray(chosen).astype(int) + 1, 0)  # row 0 is nothing, and only that
    counts = np.maximum(np.bincount(rows.ravel(), minlength=colours), 1)
    sums = [np.bincount(rows.ravel(), pixels[..., band].ravel(), colours) for band in range(4)]
    table = np.rint(np.stack(sums, -1) / counts[:, None]).astype(np.uint8)[None]
    table = unpremultiply(table)[0]
    out = Image.fromarray(rows.astype(np.uint8), "P")
    out.putpalette(table[:, :3].tobytes())
    out.info["transparency"] = table[:, 3].tobytes()
    return out


def is_more(current: tuple[int, int], size: tuple[int, int]) -> bool:
    """Whether `size` (width, height) needs more pixels than a picture of the `current` size has."""
    return max(size[0] / current[0], size[1] / current[1]) > MUCH


def drawn(picture: Image.Image, size: tuple[int, int], larger: Image.Image | None = None) -> np.ndarray:
    """A picture (RGBA) in `size` (width, height): premultiplied uint8 (height, width, 4), of its `larger` version where
    there is one and more pixels are wanted.
    """
    source = larger if larger and is_more(picture.size, size) else picture
    return resized(premultiply(np.asarray(source)), size)


Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels


def outlined(picture: Image.Image, share: float = 0.04, box: Box | None = None) -> Image.Image:
    """The picture (RGBA, any size) with a white rim round all that is opaque, in the same size.

    `share` is the rim's width as a share of the longer side; the picture is made smaller and moved as far as the rim
    needs it, and not at all where it has the room. `box` is what is seen of all frames, where the picture is one.
    """
    pixels = premultiply(np.asarray(picture.convert("RGBA")))
    width = share * max(pixels.shape[:2])
    if not width or not (pixels[..., 3] >= SEEN).any():
        return png(pixels)
    content = _with_room(pixels, width, box).astype(np.float32)
    under = 255 * _cover(content[..., 3].astype(np.uint8), width)[..., None]
    return png(np.rint(content + under * (1 - content[..., 3:] / 255)).astype(np.uint8))


def seen_box(alpha: np.ndarray) -> Box:
    """(left, top, right, bottom) of what can be seen of an alpha channel (H, W) uint8; all of it where nothing can."""
    return Image.fromarray(alpha >= SEEN).getbbox() or (0, 0, *alpha.shape[::-1])


def _with_room(pixels: np.ndarray, width: float, seen: Box | None) -> np.ndarray:
    """The picture smaller where its content and a rim of `width` do not fit, and moved no further than they need."""
    (high, wide), box = pixels.shape[:2], seen or seen_box(pixels[..., 3])
    air = math.ceil(width) + 1  # a pixel for the rim's smooth edge
    scale = min(1.0, (wide - 2 * air) / (box[2] - box[0]), (high - 2 * air) / (box[3] - box[1]))
    if scale < 1:  # a smaller picture has its edges between pixels: up to two more on each side
        scale = max(0.0, min((wide - 2 * air - 2) / (box[2] - box[0]), (high - 2 * air - 2) / (box[3] - box[1])))
    size = max(1, int(wide * scale)), max(1, int(high * scale))
    small = resized(pixels, size)
    left, top, right, bottom = (
        seen_box(small[..., 3]) if seen is None else _scaled(seen, size[0] / wide, size[1] / high)
    )
    x = _clamped((wide - size[0]) // 2, left, right, wide, air)
    y = _clamped((high - size[1]) // 2, top, bottom, high, air)
    canvas = Image.new("RGBa", (wide, high))
    canvas.paste(Image.fromarray(small, "RGBa"), (x, y))  # what lies outside is cut off
    return np.array(canvas)


def _scaled(box: Box, x: float, y: float) -> Box:
    left, top, right, bottom = box
    return math.floor(left * x), math.floor(top * y), math.ceil(right * x), math.ceil(bottom * y)


def _clamped(start: int, low: int, high: int, side: int, air: int) -> int:
    """Where a picture begins as near `start` as can be with air on both sides of its content (`low` to `high`)."""
    least, most = air - low, side - air - high
    return min(max(start, least), most) if least <= most else (least + most) // 2


def _cover(alpha: np.ndarray, width: float) -> np.ndarray:
    """How much of each pixel lies within `width` pixels of what is opaque: float32 (H, W), 0 to 1."""
    high, wide = alpha.shape
    times = -(-FINE // max(high, wide)) if max(high, wide) < FINE else 1
    fine = Image.fromarray(alpha).resize((wide * times, high * times), Image.Resampling.BICUBIC)
    outside = (np.asarray(fine) <= 127).astype(np.uint8)
    far = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)  # pixels to the nearest opaque one
    cover = np.clip(width * times - far + 0.5, 0, 1)
    return cover.reshape(high, times, wide, times).mean((1, 3))


# --- SVG, traced by vtracer -------------------------------------------------------------------------------------------
#
# vtracer gives every shade of a soft edge its own shape and treats a half-transparent pixel as opaque: ragged rims,
# some of them dark. So its input has no soft edges: the picture is enlarged, its pixels are assigned to a few flat
# colours (`_labels`), and shades that only lead from one colour to another to their neighbours (`_without_rims`). Areas
# that are meant to be half transparent stay so, in groups with an opacity.
#
# Traced from 128 pixels and drawn at 512, against the art sets' own SVG at 512, PSNR on white, 144 pictures of nine
# sets: 30.1 dB (Lanczos 29.3); better in flat art (black glyph 27.5 against 24.1, blob 32.4 against 30.4), worse with
# gradients (fluent 27.6 against 29.7). The upscaler is better than both everywhere, so enlarged pixels are never taken
# from here. A document has 51 kB and takes 0.3 s of a core.

WORK = 768  # pixels of the longer side while tracing: vtracer's curves are about half a pixel too wide
COLOURS = 24  # more make larger files and no better ones
LEVELS = (51, 102, 153, 204)  # the alpha of half-transparent areas
LEVEL_SHARE = 0.01  # of what is visible: smaller areas of an alpha are edges
FLAT = 24  # difference to the neighbours, of 255, up to which a pixel is no edge
RIM = 9  # pixels: what is thinner than that may be a rim
NEARBY = 3 * (RIM // 2)  # pixels to each side: across an edge, and to the middle of a line
EXTREME = 0.1  # a rim's brightness lies further than this share from the darkest and the brightest nearby
NOTHING = 255  # the label of what is transparent
TRACING = tomllib.loads(Path(__file__).with_name("tracing.toml").read_text(encoding="utf-8"))


def svg(picture: Image.Image, credits: Sequence[Credit] = ()) -> str:
    """A picture (RGBA, any size) as an SVG document of its size in pixels, with its credits and no soft edge."""
    small = premultiply(np.asarray(picture.convert("RGBA")))
    height, width = small.shape[:2]
    scale = WORK / max(width, height)
    scale = round(scale) if scale > 1 else min(1.0, 1.5 * scale)  # up to 1,152 pixels are traced as they are
    fine = resized(small, (max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.BICUBIC)
    palette = _palette(small)  # (K, 4), straight
    labels = _without_rims(_labels(fine, palette), palette, fine)
    groups = "".join(_group(labels, palette, alpha) for alpha in sorted({int(alpha) for alpha in palette[:, 3]}))
    box = f"1 1 {fine.shape[1]} {fine.shape[0]}"  # the pixel of air that `_group` adds is left out again
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="{box}">'
    about = f"<metadata>{xmp_packet(credits=credits)}</metadata>" if credits else ""
    return f"{head}{about}{groups}</svg>\n"


def _palette(small: np.ndarray) -> np.ndarray:
    """The flat colours (K, 4), straight RGBA, of a premultiplied picture: of each alpha level the up to COLOURS
    main ones. Its edges have no say.
    """
    around = np.pad(small.astype(np.int16), ((1, 1), (1, 1), (0, 0)), "edge")
    here = around[1:-1, 1:-1]
    others = (around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:])
    flat = np.max([np.abs(here - other).max(-1) for other in others], 0) < FLAT
    straight, alpha = unpremultiply(small)[..., :3], small[..., 3]
    palettes = []
    for level, least, most in _levels(alpha[flat & (alpha > 0)]):
        inside = (alpha >= least) & (alpha <= most)
        colours = straight[inside & flat] if (inside & flat).sum() > 8 else straight[inside]
        if len(colours):
            row = Image.fromarray(np.ascontiguousarray(colours[None]), "RGB")
            row = row.quantize(COLOURS, Image.Quantize.MEDIANCUT, kmeans=8)
            table = np.array(row.getpalette() or [], np.uint8).reshape(-1, 3)
            palettes.append(np.insert(table[np.unique(np.asarray(row))], 3, level, axis=1))
    return np.concatenate(palettes) if palettes else np.zeros((0, 4), np.uint8)


def _levels(flat: np.ndarray) -> list[tuple[int, int, int]]:
    """(alpha, from, to) of the areas: those of `LEVELS` that are there, and opaque."""
    half = [level for level in LEVELS if (np.abs(flat.astype(int) - level) <= 25).sum() > LEVEL_SHARE * len(flat)]
    marks = [0, *half, 255]
    between = [0, *((a + b + 1) // 2 for a, b in itertools.pairwise(marks)), 256]
    return [(marks[i], between[i], between[i + 1] - 1) for i in range(1, len(marks))]


def _labels(fine: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Each pixel's colour as its row in the palette (H, W) uint8, NOTHING where it is transparent."""
    colours, alpha = unpremultiply(fine)[..., :3].astype(np.float32), fine[..., 3].astype(int)
    levels = np.array([0, *sorted({int(a) for a in palette[:, 3]})])
    level = levels[np.abs(alpha[..., None] - levels).argmin(-1)]
    labels = np.full(alpha.shape, NOTHING, np.uint8)
    for label_level in levels[1:]:
        place, rows = level == label_level, np.flatnonzero(palette[:, 3] == label_level)
        entries = palette[rows, :3].astype(np.float32)
        # The squared distance without what is the same for all entries: whole numbers below 2^24, so exact.
        labels[place] = rows[((entries**2).sum(-1) - 2 * colours[place] @ entries.T).argmin(-1)]
    return labels


def _without_rims(labels: np.ndarray, palette: np.ndarray, fine: np.ndarray) -> np.ndarray:
    """Labels without thin shapes whose brightness is only on the way from what is on one side to the other.

    A pixel of a rim goes to a neighbour of the side whose brightness is nearer to its own.
    """
    square, wide = (np.ones((side, side), np.uint8) for side in (RIM, 2 * NEARBY + 1))
    flat = cv2.erode(labels, square) == cv2.dilate(labels, square)
    broad = cv2.dilate(flat.astype(np.uint8), square) > 0
    light = _on_white(fine).round().astype(np.uint8)  # of each pixel; then of the darkest and the brightest nearby
    low, high = (extreme(light, wide).astype(np.float32) for extreme in (cv2.erode, cv2.dilate))
    light = light.astype(np.float32)
    margin = EXTREME * (high - low)
    settled = broad | (labels == NOTHING) | (light <= low + margin) | (light >= high - margin)
    side, half = np.where(light - low < high - light, low, high), (high - low) / 2
    entries = np.full(256, 255, np.float32)
    entries[: len(palette)] = _on_white(premultiply(palette[None]))[0]
    around, known = np.pad(labels, 1, constant_values=NOTHING), np.pad(settled, 1, constant_values=True)
    for _ in range(2 * RIM):
        rows, columns = np.nonzero(~known)
        sides = [(rows - 1, columns), (rows + 1, columns), (rows, columns - 1), (rows, columns + 1)]
        labelled = np.array([around[place] for place in sides])
        far = np.abs(entries[labelled] - side[rows - 1, columns - 1])
        far[~np.array([known[place] for place in sides])] = np.inf
        near, near_enough = far.argmin(0), far.min(0) < half[rows - 1, columns - 1]
        around[rows[near_enough], columns[near_enough]] = labelled[near[near_enough], np.flatnonzero(near_enough)]
        known[rows[near_enough], columns[near_enough]] = True
    return _commonest(around[1:-1, 1:-1], RIM)


def _commonest(labels: np.ndarray, side: int) -> np.ndarray:
    """The label that is commonest in the square of `side` pixels around each of (H, W), the lower one of equals."""
    commonest, most = np.zeros_like(labels), np.zeros_like(labels)
    for label in np.unique(labels):
        here = (labels == label).astype(np.uint8)
        count = cv2.boxFilter(here, -1, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT)
        commonest[count > most] = label
        most = np.maximum(most, count)
    return commonest


def _on_white(pixels: np.ndarray) -> np.ndarray:
    """Premultiplied RGBA (..., 4) -> its brightness on white (...), 0 to 255."""
    return (255 - pixels[..., 3:].astype(np.float32) + pixels[..., :3]) @ np.array([0.3, 0.59, 0.11], np.float32)


def _group(labels: np.ndarray, palette: np.ndarray, alpha: int) -> str:
    """The shapes of one alpha. A pixel of air around them, or vtracer takes transparent for black where it is rare."""
    table = np.zeros((256, 4), np.uint8)
    table[: len(palette)][palette[:, 3] == alpha] = palette[palette[:, 3] == alpha]
    table[:, 3] = np.where(table[:, 3] > 0, 255, 0)
    shown = Image.fromarray(table[np.pad(labels, 1, constant_values=NOTHING)], "RGBA")
    traced = vtracer.convert_raw_image_to_svg(quick_png(shown), "png", **TRACING)
    paths = "".join(re.findall(r"<path[^>]*/>", traced))
    return paths if alpha == 255 or not paths else f'<g opacity="{alpha / 255:.2f}">{paths}</g>'
