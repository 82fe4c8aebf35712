"""Other views of a picture that show the same thing: mirrored, warped, and in other colours or small.

Some 19,000 drawings are few for a generator (`models/train/LOG.md`). Pure functions of a picture and a seed.
"""

import re
from itertools import product
from math import cos, exp, radians, sin
from random import Random

import numpy as np
from PIL import Image

from models.data.grammar import stream
from models.data.pixels import SIZE
from models.data.scenes import Scene, is_material, object_of, paints_of
from models.data.world import Picture

# Where a mirror makes another thing of it: signs, letters and flags, and icons that no group explains.
_ONE_WAY_GROUPS = frozenset({"symbols", "flags", "component", ""})
# Sides, turns and what is written. A moon's quarter tells its side, a clock its time; a note's tail hangs on the left.
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
LEAST_SIZE = 0.85  # of what is warped, by its longer side
TURN, SHEAR, STRETCH, SHIFT = 25.0, 0.25, 0.25, 16.0  # at most: degrees, share, natural logarithm of a side, pixels
WARP = 7  # numbers that tell a warp: whether it is mirrored, and the six of an affine map
WARP_UNIT = 0.2  # by which they are divided, so that their deviation is about 1
NO_WARP = np.zeros(WARP, np.float32)
_AFFINE = Image.Transform.AFFINE


def can_be_mirrored(picture: Picture) -> bool:
    """Whether the mirrored picture shows what the names of the picture say."""
    return picture.group not in _ONE_WAY_GROUPS and not _ONE_WAY.search(picture.names["en"])


def mirrored(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 4) with left and right exchanged."""
    return np.ascontiguousarray(pixels[:, ::-1])


def warped(pixels: np.ndarray, picture: Picture, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Premultiplied uint8 (SIZE, SIZE, 4), all of it turned, sheared, stretched, made smaller and moved; how, (6,).

    The numbers are those of the affine map from the picture to what is shown, around the middle and less the identity,
    the shift in halves of a side, all in units of WARP_UNIT. A network that is given them can be asked for pictures
    without a warp (EDM, arXiv 2206.00364, appendix F.2: augmentation that does not leak), so warps may be strong.
    """
    linear, shift = _warp(_corners(pixels), stream(picture.id, "warp", seed))
    affine = np.hstack([linear - np.eye(2), 2 / SIZE * shift[:, None]])
    return _moved(pixels, linear, shift), (affine.ravel() / WARP_UNIT).astype(np.float32)


def likewise(pixels: np.ndarray, warp: np.ndarray) -> np.ndarray:
    """Another picture in the view that `warp` (WARP,) tells of, as `view` does: mirrored where that is, then moved."""
    pixels = mirrored(pixels) if warp[0] else pixels
    if not warp[1:].any():
        return pixels
    affine = warp[1:].astype(float).reshape(2, 3) * WARP_UNIT
    return _moved(pixels, affine[:, :2] + np.eye(2), affine[:, 2] * SIZE / 2)


def _moved(pixels: np.ndarray, linear: np.ndarray, shift: np.ndarray) -> np.ndarray:
    back = np.linalg.inv(linear)
    origin = SIZE / 2 - back @ (SIZE / 2 + shift)
    data = tuple(np.hstack([back, origin[:, None]]).ravel().tolist())
    image = Image.fromarray(pixels, "RGBa").transform((SIZE, SIZE), _AFFINE, data, Image.Resampling.BICUBIC)
    shown = np.array(image)
    shown[..., :3] = np.minimum(shown[..., :3], shown[..., 3:])  # bicubic rings past alpha
    return shown


def _corners(pixels: np.ndarray) -> np.ndarray:
    """(4, 2): x and y from the middle, in pixels, of the box around what is not transparent."""
    spans = [np.flatnonzero(pixels[..., 3].any(axis))[[0, -1]] + [0, 1] for axis in (0, 1)]
    return np.array(list(product(*spans))) - SIZE / 2


def _warp(corners: np.ndarray, rng: Random) -> tuple[np.ndarray, np.ndarray]:
    """A linear map (2, 2) and a shift (2,), after which the corners are in the frame."""
    turn, stretch, shear = (rng.uniform(-most, most) for most in (radians(TURN), STRETCH / 2, SHEAR))
    linear = np.array([[cos(turn), -sin(turn)], [sin(turn), cos(turn)]])
    linear = linear @ [[1, shear], [0, 1]] @ np.diag([exp(stretch), exp(-stretch)])
    linear *= rng.uniform(LEAST_SIZE, 1) * np.ptp(corners, 0).max() / np.ptp(corners @ linear.T, 0).max()
    reached, shift = corners @ linear.T, [rng.uniform(-SHIFT, SHIFT) for _ in range(2)]
    return linear, np.clip(shift, -SIZE / 2 - reached.min(0), SIZE / 2 - reached.max(0))


def staged(picture: Picture, seed: int = 0) -> Scene | None:
    """The picture alone, captioned as composed scenes are: as large as it is, in a colour that training may give its
    concept, or in its own colours and small, anywhere. None where it is not what scenes are made of.

    Composed scenes alone teach such words badly: what has a colour is small in them, and two things are smaller still,
    so "a red umbrella" and "three stars" came without form while "umbrella, red" and "star" were plain
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
    """View `number` of a picture in its own colours: as it is; mirrored where it may be; warped, half of them mirrored
    before. What can't be staged is warped once more instead. Another seed warps it otherwise.

    With it comes what was done, (WARP,): 1 where it is mirrored, else 0, and the numbers of `warped`.
    """
    aside = number in (WARPED, STAGED)
    turned = number == MIRRORED or (aside and stream(picture.id, "side", seed).random() < 0.5)
    turned = turned and can_be_mirrored(picture)
    pixels = mirrored(pixels) if turned else pixels
    shown, warp = warped(pixels, picture, seed * VIEWS + number) if aside else (pixels, NO_WARP[1:])
    return shown, np.append(np.float32(turned), warp)
