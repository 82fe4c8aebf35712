"""Other views of a picture that show the same thing as truly: mirrored, moved, and in other colours or small.

Some 19,000 drawings are few for a generator (`models/train/LOG.md`). Pure functions of a picture and a seed.
"""

import re

import numpy as np
from PIL import Image

from models.data.combinations import is_material, paints_of
from models.data.grammar import stream
from models.data.pixels import SIZE
from models.data.scenes import Scene, object_of
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
AS_IT_IS, MIRRORED, MOVED, STAGED = range(4)
VIEWS = 4
SMALL_SHARE = 0.4  # of staged pictures
SMALL_SIDES = (40, 62)  # of 128: of the things in scenes of two, three and four
LEAST_SIZE = 0.88  # of a moved picture's side; the frame that is left is as wide as the sets' own frames differ


def can_be_mirrored(picture: Picture) -> bool:
    """Whether the mirrored picture shows what the names of the picture say."""
    return picture.group not in _ONE_WAY_GROUPS and not _ONE_WAY.search(picture.names["en"])


def mirrored(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 4) with left and right exchanged."""
    return np.ascontiguousarray(pixels[:, ::-1])


def moved(pixels: np.ndarray, picture: Picture, seed: int) -> np.ndarray:
    """Premultiplied uint8 (H, W, 4), at LEAST_SIZE or more of its size, anywhere in its frame."""
    rng, (height, width) = stream(picture.id, seed), pixels.shape[:2]
    share = rng.uniform(LEAST_SIZE, 1)
    inner = round(width * share), round(height * share)
    left, top = (rng.randint(0, outer - own) for outer, own in zip((width, height), inner, strict=True))
    small = np.asarray(Image.fromarray(pixels, "RGBa").resize(inner, Image.Resampling.BICUBIC))
    canvas = np.zeros_like(pixels)
    canvas[top : top + inner[1], left : left + inner[0]] = small
    canvas[..., :3] = np.minimum(canvas[..., :3], canvas[..., 3:])  # bicubic rings past alpha
    return canvas


def staged(picture: Picture, seed: int = 0) -> Scene | None:
    """The picture alone, told as composed scenes tell things: as large as it is, in a colour that training may give its
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


def view(pixels: np.ndarray, picture: Picture, number: int, seed: int = 0) -> np.ndarray:
    """View `number` of a picture in its own colours: as it is; mirrored where it may be; moved, half of them mirrored
    too. What can't be staged is moved once more instead. Another seed moves it elsewhere."""
    aside = number in (MOVED, STAGED)
    turned = number == MIRRORED or (aside and stream(picture.id, "side", seed).random() < 0.5)
    pixels = mirrored(pixels) if turned and can_be_mirrored(picture) else pixels
    return moved(pixels, picture, seed * VIEWS + number) if aside else pixels
