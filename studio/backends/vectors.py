"""Vectors in the semantic space of the embedded model."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from studio.backends.given import given_frames
from studio.events import Vector
from studio.requests import EmbedRequest

if TYPE_CHECKING:
    from models.space import Embedder


def vectors(embedder: "Embedder", request: EmbedRequest) -> Iterator[Vector]:
    """Those of a resolved request, in its order."""
    if request.texts:
        for text, vector in zip(request.texts, embedder.text(request.texts).tolist(), strict=True):
            yield Vector("text", text, tuple(vector))
    if request.images:
        frames = [given_frames(picture) for picture in request.images]
        stills = iter(embedder.image(np.concatenate([frames[0][:0], *(one for one in frames if len(one) == 1)])))
        for picture, one in zip(request.images, frames, strict=True):
            kind, place = ("image", next(stills)) if len(one) == 1 else ("clip", embedder.clip([one])[0])
            yield Vector(kind, picture.path, tuple(place.tolist()))
