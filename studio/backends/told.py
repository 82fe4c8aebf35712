"""How a request becomes a condition: what the sticker pipeline is to parse, blend or start from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from models.data.grammar import language_of, styled
from models.prompts.weighting import QUOTED
from studio.backends.given import given_frames, given_pixels, start
from studio.requests import ImageRequest, Picture, summands

if TYPE_CHECKING:
    from torch import Tensor

    from models.pipelines.image import StickerPipeline
    from models.sampling.condition import ComposedCondition


@dataclass(frozen=True)
class Told:
    """The same for all pictures of a request.

    `read` is what is understood of the prompt, "" where that is its very words. `vector` (1, 128) takes the place of
    the prompt's own semantic vector, a `blend` that of the whole condition; None where there is none. `start`
    (128, 128, 4) and `mask` (128, 128) are uint8, None where there is none.
    """

    text: str
    read: str
    negative: str
    vector: "Tensor | None"
    blend: "ComposedCondition | None"
    start: np.ndarray | None
    mask: np.ndarray | None


def tell(pipeline: "StickerPipeline", request: ImageRequest) -> Told:
    """The condition of a resolved request. Refused where a picture changed since, or the parts of a mix cancel out."""
    parts, several = _parts(request)
    if several:
        texts = [what for weight, what in parts if isinstance(what, str) and weight > 0]
        text, blend = _together(pipeline, request, parts)
        left = None if blend else pipeline.parse_beside(text, request.negative)
        read = left.description if left and not left.layout else _understood(pipeline, texts)  # of two only one
        return Told(text, read, request.negative, None, blend, *start(request))
    vector = pipeline.mix(parts) if parts else None
    text = phrase(request.prompt, request.style)
    alone = vector is None and request.image is None
    read = _understood(pipeline, [text], request.negative, composite=alone)
    return Told(text, read, request.negative, vector, None, *start(request))


def _together(
    pipeline: "StickerPipeline", request: ImageRequest, parts: list[tuple[float, Any]]
) -> tuple[str, "ComposedCondition | None"]:
    """The prompt and the blend of several things in one picture."""
    if not (request.image or _given(request)):
        return pipeline.together(_words(request))
    return "", pipeline.blend(parts, phrase("", request.style), references=request.image is None)


def _understood(pipeline: "StickerPipeline", texts: Sequence[str], negative: str = "", composite: bool = False) -> str:
    """What is drawn of the texts beside a negative prompt, "" where that is what they say; `composite`: nothing else is
    drawn with them."""
    parsed = [pipeline.parse_beside(text, negative) for text in texts]
    found = [prompt.description if composite else prompt.encoded for prompt in parsed]
    return "" if found == list(texts) else " + ".join(found)


def phrase(prompt: str, style: str) -> str:
    """The prompt with its style as training captions have it, in its language; inside of quotation marks, if quoted."""
    if not style:
        return prompt
    if QUOTED.fullmatch(prompt):
        opened, said, closed = prompt.strip()[0], prompt.strip()[1:-1], prompt.strip()[-1]
        return f"{opened}{phrase(said, style)}{closed}"
    return styled(prompt, style, language_of(prompt) == "zh")


def _parts(request: ImageRequest) -> tuple[list[tuple[float, Any]], bool]:
    """What the semantic vector is mixed of, as (weight, text or pixels), nothing where it is that of the prompt alone;
    and whether that is several things in one picture: what the prompt adds up, or likeness and mix without a prompt.

    What only takes away takes it from the prompt, or from the picture to start from; so does a start without a prompt.
    """
    given = _given(request)
    words = [(1.0, one) for one in _words(request)]
    if any(weight > 0 for weight, _ in given):
        return given, not words and sum(weight > 0 for weight, _ in given) > 1
    if len(words) > 1 or (words and given):
        return words + given, len(words) > 1
    if request.image and not words:
        return [(1.0, given_pixels(request.image)), *given], False
    return given, False


def _words(request: ImageRequest) -> list[str]:
    """What the prompt adds up, each in the style of the request, or in that which is said of the last of them."""
    from models.prompts.normalise import named_style

    words = summands(request.prompt)
    said = named_style(words[-1]) if len(words) > 1 else ""
    return [phrase(one, request.style or ("" if named_style(one) else said)) for one in words]


def _given(request: ImageRequest) -> list[tuple[float, Any]]:
    """The picture to be like and the mix; what is added in words is in the request's style."""
    parts: list[tuple[float, Any]] = [(1.0, _whole(request.like))] if request.like else []
    for part in request.mix:
        text = phrase(part.text, request.style if part.weight > 0 else "")
        parts.append((part.weight, _whole(part.picture) if part.picture else text))
    return parts


def _whole(picture: Picture) -> np.ndarray:
    """A picture (128, 128, 4), or all that stands for a clip (T, 128, 128, 4)."""
    frames = given_frames(picture)
    return frames[0] if len(frames) == 1 else frames
