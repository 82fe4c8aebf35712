"""What a backend is given: the pictures that a request names, read and checked against their sha256, and the batches of
several requests. Imports no torch.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from models.compose.masks import expanded, fit_mask, levels
from models.data.pixels import SIZE, fit, read_picture
from models.messages import Refused
from studio.events import Progress
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


@dataclass(frozen=True)
class Slot:
    """What is to be drawn: the number of its request, the index of its picture in it, its seed."""

    number: int
    index: int
    seed: int


class Batches:
    """The batches of resolved requests of one batch key, in their order, each of the shape that they share.

    Raises ValueError where the batch keys differ.
    """

    def __init__(self, requests: Sequence[ImageRequest]) -> None:
        if len({request.batch_key() for request in requests}) > 1:
            raise ValueError("these requests can't share a batch; their batch keys differ")
        slots = [
            Slot(number, index, seed)
            for number, request in enumerate(requests)
            for index, seeds in enumerate(request.candidates())
            for seed in seeds
        ]
        self._wanted = [request.best_of or 1 for request in requests]
        self._drawn: dict[tuple[int, int], list[tuple[float, Any]]] = {}
        shape = (requests[0].shape or 1) if requests else 1
        self.batches = [slots[i : i + shape] for i in range(0, len(slots), shape)]
        self._turns: dict[int, list[int]] = {}  # the batches in which a request has pictures
        for k, batch in enumerate(self.batches):
            for number in dict.fromkeys(slot.number for slot in batch):
                self._turns.setdefault(number, []).append(k)

    def progress(self, k: int, step: int, steps: int, previews: Sequence[bytes] = ()) -> Iterator[tuple[int, Progress]]:
        """`step` of `steps` of batch `k` as progress of each request in it. `previews` are one a slot, or none."""
        batch, shown = self.batches[k], list(previews) or [b""] * len(self.batches[k])
        for number in dict.fromkeys(slot.number for slot in batch):
            turns = self._turns[number]
            mine = {s.index: image for s, image in zip(batch, shown, strict=True) if image and s.number == number}
            yield number, Progress(turns.index(k) * steps + step, len(turns) * steps, mine)

    def chosen(self, slot: Slot, score: float, drawn: Any) -> Any | None:
        """What was drawn for a slot's picture with the highest score, the first of equals, once the last candidate is
        there; None before.
        """
        key = slot.number, slot.index
        self._drawn.setdefault(key, []).append((score, drawn))
        if len(self._drawn[key]) < self._wanted[slot.number]:
            return None
        return max(self._drawn.pop(key), key=lambda one: one[0])[1]
