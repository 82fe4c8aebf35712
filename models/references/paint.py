"""Reference drawings in another colour: hues of things, black and white, and skin tones of people.

Sets draw each gesture and person six times: in the yellow of emoji, and in the five tones of Unicode's modifiers (UTS
51, 2.4). The store keeps the yellow ones, so skin is painted where a tone is asked for.
"""

import numpy as np

from models.data.colours import black_and_white, colour_shares, hue_shift, oklab, srgb
from models.data.pixels import SIZE, resized
from models.prompts.attributes import BLACK_AND_WHITE

MOSTLY = 0.6  # of the visible pixels in the colour asked for: with less of it neutral parts are painted too
# As the noto and blob sets have them: medians of their hands, sRGB; other sets' lie within 0.1 of OKLab's lightness.
TONES = {
    "light": (0xFA, 0xDC, 0xBC),
    "medium-light": (0xE0, 0xBB, 0x95),
    "medium": (0xBF, 0x8F, 0x68),
    "medium-dark": (0x9B, 0x64, 0x3C),
    "dark": (0x70, 0x53, 0x4A),
}
# Of who has golden hair, with skin of that tone; with lighter skin it stays.
HAIR = {"medium": (0x6B, 0x42, 0x2C), "medium-dark": (0x44, 0x2B, 0x22), "dark": (0x2B, 0x20, 0x1E)}
GOLD = 56  # degrees of hue from which hair is golden, up to the skin
WIDE = 4  # degrees of hue, a bar of the histogram that tells them apart
APART, SHARE = 9, 0.15  # degrees between hair and skin, and of both together the share of each, at least
VALLEY = 0.4  # of the lower of their bars, at most, the one between them
YELLOW = (68, 100)  # degrees of hue: sets' skin lies from 76 to 94
CHROMA, LIGHTNESS = 0.1, 0.6  # at least: 0.14 and 0.82 in all sets
ALIKE = 22  # degrees of hue within which shades of one skin lie; hair is further
LEAST = 0.02  # share of what is drawn: less than that is no skin


def painted(small: np.ndarray, paint: str) -> np.ndarray:
    """A drawing enlarged to premultiplied uint8 (128, 128, 4), in a colour, BLACK_AND_WHITE, or one of TONES. Training
    captions call a rocket with orange fins an orange rocket, and nobody who asks for one does: where the colour is not
    that of most of the drawing, its neutral parts are painted too."""
    drawing = enlarged(small)
    if paint in TONES:
        return toned(drawing, paint)
    if paint == BLACK_AND_WHITE:
        return black_and_white(drawing)
    if not paint:
        return drawing
    shifted = hue_shift(drawing, paint)
    if colour_shares(shifted).get(paint, 0) >= MOSTLY:
        return shifted
    return hue_shift(shifted, paint, whole=True)


def enlarged(small: np.ndarray) -> np.ndarray:
    """Premultiplied uint8 (128, 128, 4)."""
    return resized(small, SIZE, SIZE).copy()  # Pillow's memory may not be written to


def toned(pixels: np.ndarray, tone: str) -> np.ndarray:
    """Premultiplied uint8 (H, W, 4): the same with yellow skin in a tone, its light and shade kept, and golden hair in
    the colour that goes with it."""
    alpha = pixels[..., 3].astype(np.uint16)
    seen = alpha > 0
    straight = np.minimum((pixels[seen][:, :3].astype(np.uint16) * 255) // alpha[seen][:, None], 255).astype(np.uint8)
    lab = oklab(straight)
    chroma, hue = np.hypot(lab[:, 1], lab[:, 2]), np.degrees(np.arctan2(lab[:, 2], lab[:, 1]))
    bright = (chroma > CHROMA) & (lab[:, 0] > LIGHTNESS)
    edge = _hair_below(hue[(hue > GOLD) & (hue < YELLOW[1]) & bright])
    yellow = (hue > max(YELLOW[0], edge)) & (hue < YELLOW[1]) & bright
    if yellow.sum() <= LEAST * len(lab):
        return pixels
    base = np.median(lab[yellow], 0)
    strength, angle = np.hypot(base[1], base[2]), np.degrees(np.arctan2(base[2], base[1]))
    skin = (np.abs(hue - angle) < ALIKE) & (hue > edge) & (chroma > strength / 2) & (lab[:, 0] > LIGHTNESS)
    out, solid = pixels.copy(), pixels[seen]
    for part, colour in ((skin, TONES[tone]), ((hue > GOLD) & (hue <= edge) & bright, HAIR.get(tone))):
        if colour and part.any():
            rgb = _shaded(lab[part], colour)
            solid[part, :3] = (rgb * alpha[seen][part][:, None] + 127) // 255
    out[seen] = solid
    return out


def _shaded(lab: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """sRGB (N, 3) of a colour in the light and shade of what has `lab` (N, 3)."""
    base, target = np.median(lab, 0), oklab(np.array(colour, np.uint8))
    chroma = np.hypot(lab[:, 1], lab[:, 2]) / np.hypot(base[1], base[2])
    return srgb(np.clip(target * np.stack([lab[:, 0] / base[0], chroma, chroma], 1), [0, -1, -1], 1))


def _hair_below(hues: np.ndarray) -> float:
    """Degrees below which golden hair lies, of hair and yellow skin together; 0 where it is all skin. Otsu's threshold
    (1979), which makes the most of the variance between both, where they are APART and little lies between them: the
    shades of one skin are not."""
    count, edges = np.histogram(hues, np.arange(GOLD, YELLOW[1] + WIDE, WIDE))
    number, total = count.cumsum(), (count * (edges[:-1] + WIDE / 2)).cumsum()
    below, above = number[:-1], number[-1] - number[:-1]
    between = (total[-1] - total[:-1]) / np.maximum(above, 1) - total[:-1] / np.maximum(below, 1)
    cut = int((below * above * between**2).argmax())
    if between[cut] < APART or min(below[cut], above[cut]) < SHARE * number[-1]:
        return 0.0
    hair, skin = int(count[: cut + 1].argmax()), cut + 1 + int(count[cut + 1 :].argmax())
    valley = hair + int(count[hair : skin + 1].argmin())
    return float(edges[valley] + WIDE / 2) if count[valley] < VALLEY * min(count[hair], count[skin]) else 0.0
