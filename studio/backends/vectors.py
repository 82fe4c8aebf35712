"""Vectors in a semantic space, and the space for models that have none."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from models.data.pixels import fit
from models.messages import Refused
from studio import settings
from studio.backends.base import open_backend
from studio.backends.inputs import EMBEDDED_FRAMES, given_frames
from studio.events import Vector
from studio.requests import EmbedRequest

if TYPE_CHECKING:
    from models.open_clip import OpenClip
    from models.space import Embedder

Read = Callable[[Image.Image], np.ndarray]  # a picture as an embedder reads it


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
