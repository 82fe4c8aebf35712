"""The inputs of a backend: pictures and clips that a request names, read and checked against their sha256, and the
batches of several requests. Imports no torch.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from models.compose.masks import expanded, fit_mask, levels
from models.data.pixels import SIZE, fit
from models.messages import Refused
from studio.clips import Place, picture_of, pixels_of, resampled
from studio.events import Progress
from studio.files import sha256
from studio.requests import CaptionRequest, ClipRequest, EnlargeRequest, ImageRequest, Picture

R = TypeVar("R")

EMBEDDED_FRAMES = 16  # of a clip, evenly spread


def given_pixels(picture: Picture, place: Place = "first") -> np.ndarray:
    """Premultiplied uint8 (128, 128, 4), of a clip one frame; Refused where the file has changed."""
    return fit(unchanged(picture, place))


def given_frames(picture: Picture, read: Callable[[Image.Image], np.ndarray] = fit) -> np.ndarray:
    """Frames for an embedder: premultiplied uint8 (T, 128, 128, 4), or the result of `read`; T is 1 for a picture."""
    return _checked(picture, lambda: pixels_of(picture.path, EMBEDDED_FRAMES, read))


def as_it_is(picture: Image.Image) -> np.ndarray:
    """Premultiplied uint8 (H, W, 4)."""
    return np.asarray(picture.convert("RGBA").convert("RGBa"))


@dataclass(frozen=True)
class ClipEnds:
    """First and last frame of a resolved clip request: premultiplied uint8 (128, 128, 4), None where it names none.

    `before` (T, 128, 128, 4) is the clip that is continued, `first` its last frame and, where the whole is `closed` to
    a loop, `last` its first. `loop` says whether the new frames lead back to their own beginning.
    """

    first: np.ndarray | None
    last: np.ndarray | None
    loop: bool
    before: np.ndarray | None = None
    closed: bool = False

    @classmethod
    def of(cls, request: ClipRequest, comes_back: bool = True) -> "ClipEnds":
        """The clip loops only where its motion `comes_back`. Refused where a file has changed."""
        last, loop = given_pixels(request.last) if request.last else None, request.loop and comes_back
        if not request.image or not request.extend:
            return cls(given_pixels(request.image) if request.image else None, last, loop)
        path, fps = request.image.path, request.fps or 1
        before = _checked(request.image, lambda: resampled(path, fps))
        closed = loop and last is None
        return cls(before[-1], before[0] if closed else last, False, before, closed)

    def joined(self, frames: np.ndarray) -> np.ndarray:
        """The new frames (T, 128, 128, 4) after those of the continued clip, without the frames that both have."""
        return frames if self.before is None else np.concatenate([self.before, frames[1 : -1 if self.closed else None]])


def start(request: ImageRequest) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Start picture (128, 128, 4) and mask (128, 128) of a resolved request, uint8; None where it has none."""
    if request.image is None:
        return None, None
    picture = unchanged(request.image)
    if request.expand is not None:
        return expanded(picture, request.expand)
    return fit(picture), None if request.mask is None else fit_mask(levels(unchanged(request.mask)))


def to_describe(request: CaptionRequest) -> np.ndarray:
    """The request's picture, or clip's middle frame: premultiplied uint8 (128, 128, 4); Refused if transparent."""
    return fit(visible_picture(request))


def visible_picture(request: CaptionRequest) -> Image.Image:
    """The same in its own size."""
    picture = unchanged(request.image, "middle")
    if not np.asarray(picture.convert("RGBA"))[..., 3].any():
        raise Refused("picture.transparent", path=request.image.path)
    return picture


def to_enlarge(request: EnlargeRequest) -> np.ndarray:
    """The picture of a resolved request: premultiplied uint8 (S, S, 4), as it is where it is square.

    S is 128 for what is smaller still, and at once the size asked for where it is not even half of it: a filter does
    that as well, and the network would make four times as much only to have it made smaller.
    """
    picture = unchanged(request.image)
    longer = max(picture.size)
    return fit(picture, max(SIZE, longer) if 2 * longer <= request.size else request.size)


def unchanged(picture: Picture, place: Place = "first") -> Image.Image:
    """The picture in its own size, of a clip one frame; Refused where the file has changed."""
    return _checked(picture, lambda: picture_of(picture.path, place))


def _checked(picture: Picture, read: Callable[[], R]) -> R:
    """The result of `read`; Refused where the file can't be read, or has changed since the request was resolved."""
    try:
        content = read()
        digest = sha256(Path(picture.path))
    except OSError as error:
        raise Refused("picture.cant_read", path=picture.path, problem=error.strerror) from error
    if digest != picture.sha256:
        raise Refused("picture.changed", path=picture.path)
    return content


@dataclass(frozen=True)
class Slot:
    """A picture to draw: the number of its request, its index in that request, its seed."""

    number: int
    index: int
    seed: int


class Batches:
    """The batches of resolved requests of one batch key, in order, of their shape. ValueError for several keys."""

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
        """The best-scored drawing of a slot's picture, once its last candidate is there; None before."""
        key = slot.number, slot.index
        self._drawn.setdefault(key, []).append((score, drawn))
        if len(self._drawn[key]) < self._wanted[slot.number]:
            return None
        return max(self._drawn.pop(key), key=lambda one: one[0])[1]
