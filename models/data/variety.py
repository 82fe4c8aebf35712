"""Other views of a picture that show the same thing as truly: mirrored, a little smaller and aside, in another colour.

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
AS_IT_IS, MIRRORED, MOVED, PAINTED = range(4)
VIEWS = 4
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


def painted(picture: Picture, seed: int = 0) -> Scene | None:
    """The picture alone, as large as it is, in a colour that training may give its concept; None where it can't be.

    Composed scenes show what has a colour of its own small, so a generator that knows such words from them alone draws
    "a red umbrella" small and badly, and "umbrella, red" well (`models/train/LOG.md`).
    """
    paints = paints_of(picture.concept, "train")
    if not paints or not is_material(picture):
        return None
    colour = stream(picture.id, "paint", seed).choice(paints)
    return Scene("colour", "train", picture.index, (object_of(picture, (0, 0, SIZE, SIZE), colour=colour),))


def view(pixels: np.ndarray, picture: Picture, number: int, seed: int = 0) -> np.ndarray:
    """View `number` of a picture in its own colours: as it is; mirrored where it may be; moved, half of them mirrored
    too. What can't be painted is moved once more instead. Another seed moves it elsewhere."""
    aside, side = number in (MOVED, PAINTED), stream(picture.id, "side", seed).random()
    turned = can_be_mirrored(picture) and (number == MIRRORED or (aside and side < 0.5))
    pixels = mirrored(pixels) if turned else pixels
    return moved(pixels, picture, seed * VIEWS + number) if aside else pixels
