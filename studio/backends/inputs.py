"""The inputs of a backend: pictures and clips that a request names, read and checked against their sha256, the batches
of several requests, and vectors of inputs. Imports no torch.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from PIL import Image

from models.compose.masks import expanded, fit_mask, levels
from models.data.pixels import SIZE, fit
from models.messages import Refused
from studio import settings
from studio.backends.base import open_backend
from studio.clips import Place, picture_of, pixels_of, resampled
from studio.events import Progress, Vector
from studio.files import sha256
from studio.requests import CaptionRequest, ClipRequest, EmbedRequest, EnlargeRequest, ImageRequest, Picture

if TYPE_CHECKING:
    from models.open_clip import OpenClip
    from models.space import Embedder

R = TypeVar("R")
Read = Callable[[Image.Image], np.ndarray]  # a picture as an embedder reads it

EMBEDDED_FRAMES = 16  # of a clip, evenly spread


def given_pixels(picture: Picture, place: Place = "first") -> np.ndarray:
    """Premultiplied uint8 (128, 128, 4), of a clip one frame; Refused where the file has changed."""
    return fit(unchanged(picture, place))


def given_frames(picture: Picture, read: Read = fit) -> np.ndarray:
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

    S is at least 128. A picture that is larger than half of the requested size gets that size at once: a filter does
    that as well as the network, whose fourfold output would only be scaled down.
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


# --- Vectors ----------------------------------------------------------------------------------------------------------


def vectors(embedder: "Embedder | OpenClip", request: EmbedRequest, read: Read = fit) -> Iterator[Vector]:
    """The vectors of a resolved request, in its order; pictures of one size share a batch."""
    if request.texts:
        for text, vector in zip(request.texts, embedder.text(request.texts).tolist(), strict=True):
            yield Vector("text", text, tuple(vector))
    frames = [given_frames(picture, read) for picture in request.images]
    by_number: dict[int, Any] = {n: embedder.clip([one])[0] for n, one in enumerate(frames) if len(one) > 1}
    for size in dict.fromkeys(one.shape[1:] for one in frames):
        same = [n for n, one in enumerate(frames) if len(one) == 1 and one.shape[1:] == size]
        by_number |= zip(same, embedder.image(np.concatenate([frames[n] for n in same])), strict=True) if same else ()
    for number, picture in enumerate(request.images):
        kind = "image" if len(frames[number]) == 1 else "clip"
        yield Vector(kind, picture.path, tuple(by_number[number].tolist()))


class SemanticSpace:
    """The semantic space of the model that `settings.embedder` names; its encoder is loaded when a vector is wanted."""

    def __init__(self) -> None:
        self._backend = open_backend(settings.embedder())
        if not hasattr(self._backend, "embedder"):
            raise Refused("model.no_embedder", model=settings.embedder())

    def space(self) -> str:
        """Its name, "" without the studio's weights; Refused where another model is named and missing."""
        try:
            return self._backend.space()
        except Refused:
            if settings.embedder() != "embedded":
                raise
            return ""

    @cached_property
    def _embedder(self) -> Any:
        return self._backend.embedder()  # type: ignore[attr-defined]

    def vectors(self, request: EmbedRequest) -> Iterator[Vector]:
        """The vectors of a resolved request."""
        yield from vectors(self._embedder, request, self._read)

    def facts(self, prompt: str, frames: Sequence[Image.Image] = ()) -> dict[str, Any]:
        """Facts of an artifact: the vector of its frames, else of its words, and the cosine of frames and prompt."""
        if not (space := self.space()):
            return {}
        words = self._embedder.text([prompt])[0] if prompt else None
        if not frames:
            return {"vector": tuple(words.tolist()), "space": space} if words is not None else {}
        sampled = [frames[n * len(frames) // EMBEDDED_FRAMES] for n in range(EMBEDDED_FRAMES)] if frames[1:] else frames
        pixels = np.stack([self._read(frame) for frame in sampled])
        vector = self._embedder.clip([pixels])[0] if pixels[1:].size else self._embedder.image(pixels)[0]
        score = {} if words is None else {"score": round(float(vector @ words), 6)}
        return {"vector": tuple(vector.tolist()), "space": space, **score}

    @property
    def _read(self) -> Read:
        return getattr(self._backend, "read", fit)
