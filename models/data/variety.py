"""Augmentation: views of a picture that keep its meaning (mirrored, warped, painted, small), and unrelated pictures.

Some 19,000 drawings are few for a generator (`models/train/LOG.md`). All are pure functions of a picture and a seed.
"""

import re
from itertools import product
from math import cos, exp, radians, sin

import numpy as np
from PIL import Image, ImageDraw

from models.compose.lettering import font_for
from models.data.grammar import stream
from models.data.pixels import SIZE
from models.data.scenes import Scene, is_material, object_of, paints_of
from models.data.world import Picture

# Groups whose pictures change their meaning in a mirror: signs, letters, flags, and icons without a group.
_ONE_WAY_GROUPS = frozenset({"symbols", "flags", "component", ""})
# Names with sides, turns and writing. A moon's quarter has its side, a clock its time, a note's tail hangs on the left.
_ONE_WAY = re.compile(
    r"left|right|clockwise|o.clock|-thirty|clock|moon|facing|pointing|index|note\b|musical|question|mark\b|arrow|flag"
    r"|calendar|newspaper|banknote|receipt|ticket|medal|8 ball|die\b|mahjong|playing cards|button|sign\b|\bOK\b|ATM|ZZZ"
    r"|speech|hundred|map of|globe|keyboard|writing|memo|dna|chart|yo-yo|\d",
    re.IGNORECASE,
)
AS_IT_IS, MIRRORED, WARPED, STAGED = range(4)
VIEWS = 4
SMALL_SHARE = 0.4  # of staged pictures
SMALL_SIDES = (40, 62)  # of 128: of the things in scenes of two, three and four, and less
LEAST_SIZE = 0.85  # of a warped picture's longer side
TURN, SHEAR, STRETCH, SHIFT = 25.0, 0.25, 0.25, 16.0  # at most: degrees, share, natural logarithm of a side, pixels
WARP = 7  # numbers that describe a view: whether it is mirrored, and the six of an affine map
WARP_UNIT = 0.2  # unit of the map's numbers, so that their deviation is about 1
NO_WARP = np.zeros(WARP, np.float32)
_AFFINE = Image.Transform.AFFINE


def can_be_mirrored(picture: Picture) -> bool:
    """Whether the mirrored picture shows what the names of the picture say."""
    return picture.group not in _ONE_WAY_GROUPS and not _ONE_WAY.search(picture.names["en"])


def mirrored(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 4) with left and right exchanged."""
    return np.ascontiguousarray(pixels[:, ::-1])


def warped(pixels: np.ndarray, picture: Picture, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture turned, sheared, stretched, shrunk and moved, premultiplied uint8 (SIZE, SIZE, 4), and its warp (6,).

    The warp is the affine map from the picture to the result, around the middle and minus the identity, the shift in
    halves of a side, all in units of WARP_UNIT. A network conditioned on it can be asked for pictures without a warp
    (EDM, arXiv 2206.00364, appendix F.2: augmentation that does not leak), so warps may be strong.
    """
    rng = stream(picture.id, "warp", seed)
    spans = [np.flatnonzero(pixels[..., 3].any(axis))[[0, -1]] + [0, 1] for axis in (0, 1)]
    corners = np.array(list(product(*spans))) - SIZE / 2  # (4, 2), of the box around what is not transparent
    turn, stretch, shear = (rng.uniform(-most, most) for most in (radians(TURN), STRETCH / 2, SHEAR))
    linear = np.array([[cos(turn), -sin(turn)], [sin(turn), cos(turn)]])
    linear = linear @ [[1, shear], [0, 1]] @ np.diag([exp(stretch), exp(-stretch)])
    linear *= rng.uniform(LEAST_SIZE, 1) * np.ptp(corners, 0).max() / np.ptp(corners @ linear.T, 0).max()
    moved, shift = corners @ linear.T, np.array([rng.uniform(-SHIFT, SHIFT) for _ in range(2)])
    shift = np.clip(shift, -SIZE / 2 - moved.min(0), SIZE / 2 - moved.max(0))  # the corners stay in the frame
    affine = np.hstack([linear - np.eye(2), 2 / SIZE * shift[:, None]])
    return _transformed(pixels, linear, shift), (affine.ravel() / WARP_UNIT).astype(np.float32)


def likewise(pixels: np.ndarray, warp: np.ndarray) -> np.ndarray:
    """Another picture in the same view: mirrored and warped as `warp` (WARP,) describes."""
    pixels = mirrored(pixels) if warp[0] else pixels
    if not warp[1:].any():
        return pixels
    affine = warp[1:].astype(float).reshape(2, 3) * WARP_UNIT
    return _transformed(pixels, affine[:, :2] + np.eye(2), affine[:, 2] * SIZE / 2)


def _transformed(pixels: np.ndarray, linear: np.ndarray, shift: np.ndarray) -> np.ndarray:
    back = np.linalg.inv(linear)
    origin = SIZE / 2 - back @ (SIZE / 2 + shift)
    data = tuple(np.hstack([back, origin[:, None]]).ravel().tolist())
    image = Image.fromarray(pixels, "RGBa").transform((SIZE, SIZE), _AFFINE, data, Image.Resampling.BICUBIC)
    shown = np.array(image)
    shown[..., :3] = np.minimum(shown[..., :3], shown[..., 3:])  # bicubic rings past alpha
    return shown


def staged(picture: Picture, seed: int = 0) -> Scene | None:
    """The picture as a scene of one object: in full size and repainted in a training colour of its concept, or small in
    its original colours at any place. None where it is no scene material.

    Composed scenes alone teach such words badly: painted things are small in them, and two things are smaller still,
    so "a red umbrella" and "three stars" came out without form while "umbrella, red" and "star" were plain
    (`models/train/LOG.md`).
    """
    paints = paints_of(picture.concept, "train")
    if not paints or not is_material(picture):
        return None
    rng = stream(picture.id, "stage", seed)
    if rng.random() < SMALL_SHARE:
        side = rng.randint(*SMALL_SIDES)
        shown = object_of(picture, (rng.randint(0, SIZE - side), rng.randint(0, SIZE - side), side, side), size="small")
    else:
        shown = object_of(picture, (0, 0, SIZE, SIZE), colour=rng.choice(paints))
    return Scene("colour", "train", picture.index, (shown,))


def view(pixels: np.ndarray, picture: Picture, number: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """View `number` of a picture in its original colours, and its warp (WARP,): 1 where mirrored, else 0, then the
    numbers of `warped`.

    Views: as it is; mirrored where possible; warped, half of the time mirrored before. A picture that can't be staged
    is warped once more instead. Another seed gives another warp.
    """
    warps = number in (WARPED, STAGED)
    flip = number == MIRRORED or (warps and stream(picture.id, "side", seed).random() < 0.5)
    flip = flip and can_be_mirrored(picture)
    pixels = mirrored(pixels) if flip else pixels
    shown, warp = warped(pixels, picture, seed * VIEWS + number) if warps else (pixels, NO_WARP[1:])
    return shown, np.append(np.float32(flip), warp)


# --- Pictures from outside the world ---------------------------------------------------------------------------------


def outside_picture(number: int, seed: int = 0) -> np.ndarray:
    """A picture that shows nothing of the world, premultiplied uint8 (128, 128, 4), opaque.

    The kinds take turns: noise, textures like photographs', pages of text, patterns.
    """
    rng = np.random.default_rng((seed, number))
    rgb = (_noise, _texture, _page, _pattern)[number % 4](rng)
    return np.dstack([rgb, np.full((SIZE, SIZE), 255, np.uint8)])


def outside_pictures(count: int, seed: int = 0) -> np.ndarray:
    """`count` such pictures, (N, 128, 128, 4)."""
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
