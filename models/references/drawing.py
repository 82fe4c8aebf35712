"""The drawing that a picture is drawn from: stored drawings aligned, morphed into one, and painted.

Alignment: artists agree on what a pencil looks like and not on where it points, so the plain mean of their drawings is
a cross. Each drawing is brought to one box, mirrored where only its mirror image agrees with the others, and left out
where it does not agree at all. The most typical drawing agrees most with all others.

Morphing: dense optical flow maps each drawing to the first, which leads. Its shape goes most of the way to those of the
others (Beier and Neely, SIGGRAPH 1992), and its large areas take the mean colours of all. Its lines and outline stay
its own: a mean of lines is haze, and a mean without flow shows two pairs of wings. `LOG.md` has what was measured.

Paint: hues of things, black and white, and skin tones. Sets draw each gesture and person in the yellow of emoji and in
the five tones of Unicode's modifiers (UTS 51, 2.4). The store keeps the yellow ones, and skin is painted on request.

Pictures are premultiplied uint8 (S, S, 4).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from models.data.colours import black_and_white, colour_shares, hue_shift, oklab, srgb
from models.data.pixels import SIZE, put, resized
from models.prompts.parsed import BLACK_AND_WHITE

# DIS (arXiv 1603.03590) cuts a picture into as many stripes as there are threads, and flows differ where stripes meet.
cv2.setNumThreads(1)

SEEN = 16  # alpha of 255 from which a pixel is part of a drawing
COARSE = 32  # pixels a side are enough to compare
FLIPPED = 0.8  # a mirror image disagrees less than this share of what the drawing itself does, or it is no better
OTHER = 0.3  # disagreement from which a drawing shows something else, or another side of it
ODD = 1.35  # times the median disagreement: with more a drawing is an outlier
STRETCH = 1.25  # a drawing is stretched to the common box up to this change of its proportions


LINE = 0.1  # change of colour from a pixel to the next, of a line that outlives encoding, decoding and the flat finish
FAINT = 0.5  # of the mean share of lines in drawings of one thing: one with less has lost them


def clear(drawings: Sequence[np.ndarray]) -> list[int]:
    """Numbers of the drawings of one thing, each (S, S, 4), that show as many lines inside their outline as the others
    do, FAINT or more of the mean; at least the two that show most, in order."""
    shares = [_lines(drawing) for drawing in drawings]
    least = min(FAINT * sum(shares) / len(shares), *sorted(shares)[-2:])
    return [number for number, share in enumerate(shares) if share >= least]


def _lines(drawing: np.ndarray) -> float:
    """Share of the inside of a drawing (S, S, 4) that lies on lines."""
    colours, alpha = np.split(drawing.astype(np.float32) / 255, [3], -1)
    inside = cv2.erode((alpha[..., 0] > 0.98).astype(np.uint8), np.ones((3, 3)))[:-1, :-1] > 0
    across, down = np.diff(colours, axis=1)[:-1], np.diff(colours, axis=0)[:, :-1]
    edges = (across**2 + down**2).sum(-1) >= LINE**2
    return float(edges[inside].mean()) if inside.any() else 0.0


def typical(drawings: np.ndarray) -> list[int]:
    """Numbers of those of `drawings` (N, S, S, 4), N > 0, that agree: the most typical one first (of equals the first),
    then the others in order."""
    return _compared(drawings).agreeing


def aligned(drawings: np.ndarray, shares: Sequence[float] | None = None) -> tuple[list[int], np.ndarray]:
    """Which of `drawings` (N, S, S, 4) agree, and those (K, S, S, 4): mirrored as the most typical one is, each in the
    box that is the mean of theirs, weighted by the `shares` (N,)."""
    compared = _compared(drawings)
    if len(compared.agreeing) < 2:
        return compared.agreeing, drawings[compared.agreeing]
    weights = None if shares is None else np.array(shares)[compared.agreeing]
    box = np.round(np.average([compared.boxes[number] for number in compared.agreeing], 0, weights)).astype(int)
    cuts = ((_cut(drawings[number], compared.boxes[number]), compared.flipped[number]) for number in compared.agreeing)
    return compared.agreeing, np.stack(
        [_placed(cut[:, :: -1 if turn else 1], box, len(drawings[0])) for cut, turn in cuts]
    )


@dataclass(frozen=True)
class _Compared:
    """Numbers of the drawings that agree, the most typical one first. Of all: their boxes, and whether it is
    their mirror images that agree."""

    agreeing: list[int]
    boxes: list[tuple[int, int, int, int]]
    flipped: np.ndarray


def _compared(drawings: np.ndarray) -> _Compared:
    boxes = [Image.fromarray(drawing[..., 3] >= SEEN).getbbox() or (0, 0, 0, 0) for drawing in drawings]
    flipped, there = np.zeros(len(drawings), bool), [number for number, box in enumerate(boxes) if any(box)]
    if len(there) < 2:
        return _Compared([there[0] if there else 0], boxes, flipped)
    coarse = np.stack([resized(_cut(drawings[number], boxes[number]), COARSE, COARSE) for number in there])
    plain, mirrored = disagreement(coarse, coarse), disagreement(coarse, coarse[:, :, ::-1])
    turned = mirrored < FLIPPED * plain
    apart = np.where(turned, mirrored, plain)
    main = int(np.argmin(apart.sum(1)))
    flipped[there] = turned[main]
    others = apart[main][apart[main] > 0]
    most = min(OTHER, ODD * float(np.median(others))) if len(others) > 1 else OTHER
    agreeing = sorted(np.flatnonzero(apart[main] <= most).tolist(), key=lambda number: number != main)
    return _Compared([there[number] for number in agreeing], boxes, flipped)


def disagreement(pictures: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Of each picture to each other one |a - b|^2 / (|a|^2 + |b|^2): 0 is equal, 1 is no pixel in common."""
    a, b = (some.reshape(len(some), -1).astype(np.float32) / 255 for some in (pictures, others))
    total = np.square(a).sum(1)[:, None] + np.square(b).sum(1)
    return np.round(1 - 2 * (a @ b.T) / np.maximum(total, 1e-6), 5)  # of equals the first is taken, not the rounded


def _cut(drawing: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    left, top, right, bottom = box
    return np.ascontiguousarray(drawing[top:bottom, left:right])


def _placed(cut: np.ndarray, box: np.ndarray, side: int) -> np.ndarray:
    """The drawing in the box: stretched to it, or fitted into it where that would change its proportions too much."""
    left, top, right, bottom = (int(edge) for edge in box)
    room, size = np.array([right - left, bottom - top]), np.array(cut.shape[1::-1])
    ratio = (room[0] / room[1]) / (size[0] / size[1])
    if max(ratio, 1 / ratio) > STRETCH:
        room = np.maximum(np.round(size * (room / size).min()), 1).astype(int)
    width, height = (int(length) for length in room)
    canvas = np.zeros((side, side, 4), np.uint8)
    put(canvas, resized(np.ascontiguousarray(cut), width, height), left + (right - left - width) // 2, bottom - height)
    return canvas


# --- Morphing ---

COLOUR, GROUND = 0.5, 0.35  # weights of lightness and of what is clear: edges count on white and on black
OTHER_PARTS = 0.18  # disagreement after the flow from which a drawing has other parts: three in four lie below it
BLUR, SMOOTH = 1.5, 3.0  # pixels, of the pictures before and of the flow after: lines differ, parts are to agree
# Share of the first drawing, least and most: with more, pictures are copies of it; with less, its lines are bent.
LEAD = 0.25, 0.5
EMPHASIS, NEAR = 0.7, 4.0  # added share of what differs from the mean nearby, and pixels of its blur
BENT, TINTED = 8.0, 10.0  # pixels, of the blur of the change of shape and of colours: so the first keeps its lines


def morphed(
    drawings: np.ndarray, shares: Sequence[float], keeps_look: bool = False
) -> tuple[np.ndarray, tuple[int, ...]]:
    """The drawing between `drawings` (K, S, S, 4), of which the first leads, and which of them have a share in it: that
    one alone, where no other agrees with it.

    Args:
        shares: K positive numbers, of each drawing in shape and colours; that of the first is brought into LEAD.
        keeps_look: whether the colours are those of the first, too.
    """
    agreeing, placed = aligned(drawings, shares)
    if len(agreeing) < 2 or 0 not in agreeing:
        return drawings[0], (0,)
    lead = placed[agreeing.index(0)]
    flows = {row: _flow(lead, one) for row, one in zip(agreeing, placed, strict=True)}
    warped = {row: _warped(one, flows[row]) for row, one in zip(agreeing, placed, strict=True)}
    agreed = [row for row in agreeing if row == 0 or _agree(lead, warped[row])]
    if len(agreed) < 2:
        return lead, (0,)
    weights = np.array([shares[row] for row in agreed], np.float64)
    weights, is_first = weights / weights.sum(), np.array(agreed) == 0
    first = LEAD[0] + (LEAD[1] - LEAD[0]) * weights[is_first]
    weights = np.where(is_first, first, (1 - first) * weights / weights[~is_first].sum())
    shape: np.ndarray = sum(share * flows[row] for share, row in zip(weights, agreed, strict=True))
    shape = cv2.GaussianBlur(shape, (0, 0), BENT)
    if keeps_look:
        return _warped(lead, -shape), tuple(agreed)
    mean: np.ndarray = sum(share * warped[row].astype(np.float32) for share, row in zip(weights, agreed, strict=True))
    return _warped(_tinted(lead, mean), -shape), tuple(agreed)


def _tinted(picture: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The picture in the colours of the other, as far as they differ over large areas."""
    (colours, alpha), (others, other_alpha) = (np.split(one.astype(np.float32), [3], -1) for one in (picture, other))
    both = alpha * other_alpha
    change = both * (others / np.maximum(other_alpha, 1) - colours / np.maximum(alpha, 1))
    near = [cv2.GaussianBlur(part, (0, 0), TINTED) for part in (change, both)]
    tinted = colours + alpha * near[0] / np.maximum(near[1], 1)[..., None]
    return np.concatenate([np.clip(tinted, 0, alpha), alpha], -1).round().astype(np.uint8)


def emphasised(drawing: np.ndarray) -> np.ndarray:
    """The drawing (S, S, 4) with more contrast inside its outline (unsharp mask): packing, encoding and the flat finish
    each take some of it, and lines between yellow fingers have little."""
    colours, alpha = np.split(drawing.astype(np.float32), [3], -1)
    near = [cv2.GaussianBlur(part, (0, 0), NEAR) for part in (colours, alpha)]
    inside = cv2.erode((drawing[..., 3] > 250).astype(np.float32), np.ones((5, 5)))
    change = colours - alpha * near[0] / np.maximum(near[1], 1)[..., None]
    strong = colours + EMPHASIS * cv2.GaussianBlur(inside, (0, 0), 1)[..., None] * change
    return np.concatenate([np.clip(strong, 0, alpha), alpha], -1).round().astype(np.uint8)


def _agree(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether a drawing and another, laid on it by the flow, show the same parts, in whatever colours."""
    coarse = [resized(drawing, COARSE, COARSE) for drawing in (first, second)]
    light = [np.stack([drawing[..., :3].mean(-1), drawing[..., 3]], -1)[None] for drawing in coarse]
    return bool(disagreement(*light)[0, 0] <= OTHER_PARTS)


def _flow(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(S, S, 2) float32: how far, in x and y, from a place of one picture its like lies in the other; 0 of itself."""
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = search.calc(_seen(source), _seen(target), None)  # type: ignore[call-overload]
    return cv2.GaussianBlur(flow, (0, 0), SMOOTH)


def _seen(picture: np.ndarray) -> np.ndarray:
    """What the flow is looked for in, (S, S) uint8."""
    light = COLOUR * picture[..., :3].mean(-1, dtype=np.float32) + GROUND * (255 - picture[..., 3].astype(np.float32))
    return cv2.GaussianBlur(light.astype(np.uint8), (0, 0), BLUR)


def _warped(picture: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """The picture with each place taken from where `flow` leads from it; what lies outside is clear."""
    y, x = np.mgrid[: len(picture), : len(picture)].astype(np.float32)
    dx, dy = np.moveaxis(flow.astype(np.float32), -1, 0)
    return cv2.remap(picture, x + dx, y + dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)


# --- Paint ---

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
