"""What a search looks for: words that pictures say, and the place in the semantic space of words and pictures."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from studio.events import Answer, Vector
from studio.fields import Picture
from studio.gallery import Filter
from studio.questions import Question
from studio.requests import EmbedRequest, SearchRequest, embed_request, resolve_embed
from studio.search import Hit, Search

WITHOUT = -0.5  # the weight of what is taken away
AT_ONCE = 32  # texts and pictures of one question: as many as the space reads in one go


@dataclass(frozen=True)
class Sense:
    """What is looked for in the space named `space`, as a weighted sum of the vectors that `request` asks for.

    `request` is None where words alone are looked for. Pictures that say `without` are left out.
    """

    words: str = ""
    without: str = ""
    space: str = ""
    weights: tuple[float, ...] = ()
    request: Question | None = None

    def hits(self, search: Search, answers: Sequence[Answer], wanted: Filter | None, k: int) -> list[Hit]:
        """At most `k` pictures, best first; `answers` are those to `request`."""
        wanted = replace(wanted or Filter(), without=self.without)
        return search.mixed(self.words, self.vector(answers) if self.request else None, self.space, wanted, k)

    def vector(self, answers: Sequence[Answer]) -> np.ndarray:
        """The place (128,) that is looked for; `answers` are those to `request`."""
        places = np.array([answer.vector for answer in answers if isinstance(answer, Vector)], np.float64)
        place = np.array(self.weights) @ places
        return (place / max(1e-6, float(np.linalg.norm(place)))).astype(np.float32)


def sense(asked: SearchRequest, space: str) -> Sense:
    """What a search looks for; words alone where `space` is "". Refused where a picture can't be read."""
    texts = [(weight, text) for weight, text in ((1.0, asked.words), (WITHOUT, asked.without)) if text]
    pictures = [(weight, one) for weight, one in ((1.0, asked.like), (WITHOUT, asked.unlike)) if one]
    weights = (*(weight for weight, _ in texts), *(weight for weight, _ in pictures))
    if not space or max(weights, default=-1.0) < 0:
        return Sense(asked.words, asked.without)
    fields = {"texts": tuple(text for _, text in texts), "pictures": tuple(one for _, one in pictures)}
    request = anywhere(resolve_embed(embed_request(**fields, model=asked.model)))
    return Sense(asked.words, asked.without, space, weights, request)


def anywhere(request: EmbedRequest) -> EmbedRequest:
    """The resolved request with whole paths, for who answers may stand in another folder."""
    pictures = (Picture(path=str(Path(one.path).absolute()), sha256=one.sha256) for one in request.pictures)
    return request.model_copy(update={"pictures": tuple(pictures)})


def questions_of(
    texts: Sequence[str], pictures: Sequence[str | Path], model: str
) -> tuple[list[str], list[EmbedRequest]]:
    """What is to be placed, as it was said, and the questions for it; Refused where a picture can't be read."""
    said = [*texts, *map(str, pictures)]
    fields = {"texts": tuple(texts), "pictures": tuple({"path": str(path)} for path in pictures)}
    whole = anywhere(resolve_embed(embed_request(**fields, model=model)))
    parts: list[dict[str, Any]] = [
        {"texts": whole.texts[i : i + AT_ONCE], "pictures": ()} for i in range(0, len(texts), AT_ONCE)
    ]
    parts += [{"texts": (), "pictures": whole.pictures[i : i + AT_ONCE]} for i in range(0, len(pictures), AT_ONCE)]
    return said, [whole] if len(said) <= AT_ONCE else [whole.model_copy(update=part) for part in parts]


def as_said(said: Sequence[str], answers: Sequence[Answer]) -> list[Vector]:
    """The places, each by what it is the place of, in the words of who asked."""
    places = [answer for answer in answers if isinstance(answer, Vector)]
    return [replace(place, input=text) for text, place in zip(said, places, strict=True)]
