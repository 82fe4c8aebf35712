"""What a request tells the sticker pipeline: words, sense, and the picture to start from, read once."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from models.data.grammar import language_of
from models.data.styles import styled
from studio.backends.given import given_pixels, start
from studio.capabilities import Refused
from studio.requests import ImageRequest

if TYPE_CHECKING:
    from torch import Tensor

    from models.pipeline import StickerPipeline


@dataclass(frozen=True)
class Told:
    """The same for all pictures of a request.

    `vector` (1, 128) is their sense, None where it is that of the words. `start` (128, 128, 4) and `mask` (128, 128)
    are uint8, None where there is none.
    """

    text: str
    negative: str
    vector: "Tensor | None"
    start: np.ndarray | None
    mask: np.ndarray | None


def tell(pipeline: "StickerPipeline", request: ImageRequest) -> Told:
    """Read a resolved request. Refused where a picture changed since, or the parts of a mix cancel out."""
    text = phrase(request.prompt, request.style)
    parts = _parts(request, text)
    try:
        vector = pipeline.mix(parts) if parts else None
    except ValueError as error:
        raise Refused(f"{error}.") from error
    return Told(text, request.negative, vector, *start(request))


def phrase(prompt: str, style: str) -> str:
    """The prompt with its style as the captions of the training write it, in the prompt's language."""
    if not style:
        return prompt
    return styled(prompt, style, language_of(prompt) == "zh")


def _parts(request: ImageRequest, text: str) -> list[tuple[float, Any]]:
    """What the sense is mixed of, as (weight, text or pixels): the picture to be like and the mix; nothing where it is
    that of the words alone.

    What only takes away takes it from the words, or from the picture to start from; so does a start without words.
    """
    parts: list[tuple[float, Any]] = [(1.0, given_pixels(request.like))] if request.like else []
    for part in request.mix:
        parts.append((part.weight, given_pixels(part.picture) if part.picture else part.text))
    if any(weight > 0 for weight, _ in parts) or (request.prompt and not parts):
        return parts
    if request.prompt:
        return [(1.0, text), *parts]
    return [(1.0, given_pixels(request.image)), *parts] if request.image else parts
