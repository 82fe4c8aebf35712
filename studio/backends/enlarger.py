"""Sizes beyond the models' own, by the part `upscaler` of the weights, which is read when it is first needed.

Weights without it are whole: then there is one size less, and a sentence that says why. torch comes in with `__call__`.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from models.data.compose import resized
from models.data.pixels import SIZE, png
from models.messages import Message, Refused
from models.weights import WeightsError, listed_parts, weights_digest, weights_root
from studio.backends.given import to_enlarge
from studio.requests import EnlargeRequest, ImageRequest

if TYPE_CHECKING:
    from models.upscaler import Upscaler

PART = "upscaler"  # models.upscaler.PART and SCALE, which can't be asked without torch
SCALE = 4


class Enlarger:
    """Makes pictures larger with the part under `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._loaded: tuple[str, Upscaler] | None = None

    def sizes(self) -> tuple[int, ...]:
        """Pixels a side that can be asked for, the models' own first."""
        return (SIZE, SCALE * SIZE) if self.digest() else (SIZE,)

    def beyond(self) -> Message:
        """Why there is no larger size, an empty message where there is."""
        if self.digest():
            return Message("")
        values = {"size": SCALE * SIZE, "part": PART, "root": str(weights_root(self.root))}
        return Message("weights.no_upscaler", values)

    def digest(self) -> str:
        """Of the part; nothing where it is not there, or where no weights are."""
        try:
            return weights_digest((PART,), self.root) if PART in listed_parts(self.root) else ""
        except WeightsError:  # whoever wants to draw will hear of it
            return ""

    def __call__(self, pixels: np.ndarray, request: ImageRequest | EnlargeRequest) -> np.ndarray:
        """Premultiplied uint8 (S, S, 4) in the size that a resolved request asks for.

        Refused where the part is missing, altered, or another one than when it was asked for.
        """
        size = request.size or SIZE
        if len(pixels) == size:
            return pixels
        if request.upscaler != self.digest():
            raise Refused("model.upscaler_replaced")
        enlarged = self._network(str(request.upscaler)).enlarge(pixels)
        return enlarged if len(enlarged) == size else resized(enlarged, size, size)

    def picture(self, request: EnlargeRequest) -> Image.Image:
        """The picture of a resolved request in the size that it asks for. Refused as above."""
        return png(self(to_enlarge(request), request))

    def _network(self, digest: str) -> "Upscaler":
        if self._loaded is None or self._loaded[0] != digest:
            import torch

            from models.hardware import native_dtype
            from models.upscaler import Upscaler
            from models.weights import load_part

            try:
                network = load_part(Upscaler, PART, self.root, native_dtype())
            except WeightsError as error:
                raise Refused("model.weights", problem=error.message) from error
            self._loaded = digest, network.to(memory_format=torch.channels_last)
        return self._loaded[1]
