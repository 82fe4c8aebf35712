"""The pictures that a request names, read and checked against their sha256. Imports no torch."""

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

from models.compose.masks import expanded, fit_mask, levels
from models.data.pixels import SIZE, fit, read_picture
from models.messages import Refused
from studio.fields import Picture
from studio.requests import EnlargeRequest, ImageRequest


def given_pixels(picture: Picture) -> np.ndarray:
    """Premultiplied uint8 (128, 128, 4); Refused where the picture is another one by now."""
    return fit(_unchanged(picture))


def start(request: ImageRequest) -> tuple[np.ndarray | None, np.ndarray | None]:
    """What a resolved request starts from: pixels (128, 128, 4) and mask (128, 128), uint8; None where it has none."""
    if request.image is None:
        return None, None
    picture = _unchanged(request.image)
    if request.expand is not None:
        return expanded(picture, request.expand)
    return fit(picture), None if request.mask is None else fit_mask(levels(_unchanged(request.mask)))


def to_enlarge(request: EnlargeRequest) -> np.ndarray:
    """The picture of a resolved request: premultiplied uint8 (S, S, 4), as it is where it is square.

    S is 128 for what is smaller still, and at once the size asked for where it is not even half of it: a filter does
    that as well, and the network would make four times as much only to have it made smaller.
    """
    picture = _unchanged(request.image)
    longer = max(picture.size)
    return fit(picture, max(SIZE, longer) if 2 * longer <= request.size else request.size)


def _unchanged(picture: Picture) -> Image.Image:
    try:
        read, data = read_picture(picture.path), Path(picture.path).read_bytes()
    except OSError as error:
        raise Refused("picture.cant_read", path=picture.path, problem=error.strerror) from error
    if hashlib.sha256(data).hexdigest() != picture.sha256:
        raise Refused("picture.changed", path=picture.path)
    return read
