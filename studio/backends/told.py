"""What a request tells the sticker pipeline: words, sense, and the pictures that it names, read once."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.data.pixels import load_picture
from models.data.styles import STYLES
from studio.capabilities import Refused
from studio.requests import ImageRequest, Picture

if TYPE_CHECKING:
    from torch import Tensor

    from models.pipeline import StickerPipeline

CHINESE = re.compile(r"[\u3400-\u9fff]")


@dataclass(frozen=True)
class Told:
    """The same for all pictures of a request. `vector` (1, 128) is their sense, which the score measures too."""

    text: str
    negative: str
    vector: "Tensor"


def tell(pipeline: "StickerPipeline", request: ImageRequest) -> Told:
    """Read a resolved request. Refused where a picture changed since, or the parts of a mix cancel out."""
    text = phrase(request.prompt, request.style)
    vector = _sense(pipeline, request)
    return Told(text, request.negative, pipeline.embedder.text([text]) if vector is None else vector)


def phrase(prompt: str, style: str) -> str:
    """The prompt with its style as the captions of the training write it, in the prompt's language."""
    if not style:
        return prompt
    if CHINESE.search(prompt):
        return f"{prompt}，{STYLES[style].zh[0]}风格"
    return f"{prompt}, {style} style" if prompt else f"{style} style"


def given_pixels(picture: Picture) -> np.ndarray:
    """The picture as it was when the request was resolved; Refused where it is another one by now."""
    try:
        pixels, data = load_picture(picture.path), Path(picture.path).read_bytes()
    except (ValueError, OSError) as error:
        raise Refused(f"{error}.") from error
    if hashlib.sha256(data).hexdigest() != picture.sha256:
        raise Refused(f"{picture.path} was changed after the job was put in line; ask again.")
    return pixels


def _sense(pipeline: "StickerPipeline", request: ImageRequest) -> "Tensor | None":
    """The vector that stands in for the words' own: that of the picture to be like, or of the mix, or of both."""
    parts: list[tuple[float, Any]] = [(1.0, given_pixels(request.like))] if request.like else []
    for part in request.mix:
        parts.append((part.weight, given_pixels(part.picture) if part.picture else part.text))
    try:
        return pipeline.mix(parts) if parts else None
    except ValueError as error:
        raise Refused(f"{error}.") from error
