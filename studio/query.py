"""What a search looks for: words to match, and a vector in the semantic space made of texts and pictures."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from studio.events import Answer, Vector
from studio.gallery import Filter
from studio.requests import EmbedRequest, SearchRequest, make_request
from studio.search import Hit, Search

SUBTRACTED = -0.5  # the weight of what is taken away
EMBED_BATCH = 32  # texts and pictures of one interactive job: as many as the space reads in one go


@dataclass(frozen=True)
class Query:
    """A search, ready to run: `embed` asks for the vectors whose weighted sum is looked for in the space named `space`.

    `embed` is None where only words are matched. Artifacts that say `without` are left out.
    """

    words: str = ""
    without: str = ""
    space: str = ""
    weights: tuple[float, ...] = ()
    embed: EmbedRequest | None = None

    def hits(self, search: Search, answers: Sequence[Answer], wanted: Filter | None, k: int) -> list[Hit]:
        """At most `k` artifacts, best first; `answers` are those to `embed`."""
        wanted = replace(wanted or Filter(), without=self.without)
        return search.mixed(self.words, self.vector(answers) if self.embed else None, self.space, wanted, k)

    def vector(self, answers: Sequence[Answer]) -> np.ndarray:
        """The unit vector (128,) that is looked for; `answers` are those to `embed`."""
        vectors = np.array([answer.vector for answer in answers if isinstance(answer, Vector)], np.float64)
        total = np.array(self.weights) @ vectors
        return (total / max(1e-6, float(np.linalg.norm(total)))).astype(np.float32)


def query(asked: SearchRequest, space: str) -> Query:
    """A planned search as a query; words alone where `space` is ""."""
    texts = [(weight, text) for weight, text in ((1.0, asked.words), (SUBTRACTED, asked.without)) if text]
    pictures = [(weight, one) for weight, one in ((1.0, asked.like), (SUBTRACTED, asked.unlike)) if one]
    weights = (*(weight for weight, _ in texts), *(weight for weight, _ in pictures))
    if not space or max(weights, default=-1.0) < 0:
        return Query(asked.words, asked.without)
    fields = {"texts": tuple(text for _, text in texts), "images": tuple(one for _, one in pictures)}
    return Query(asked.words, asked.without, space, weights, make_request("embed", **fields, model=asked.model))


def search_request(
    words: str, like: str | Path | None, without: str | Path, k: int = 20, meaning: bool = True, model: str = "embedded"
) -> SearchRequest:
    """A search as a request; `without` is words, or a picture where it is a Path. Refused where it makes no sense."""
    unlike = {"path": str(without)} if isinstance(without, Path) else None
    found: SearchRequest = make_request(
        "search",
        words=words,
        like={"path": str(like)} if like else None,
        without="" if unlike else without,
        unlike=unlike,
        k=k,
        meaning=meaning,
        model=model,
    )
    return found


def embed_parts(asked: EmbedRequest) -> list[EmbedRequest]:
    """A planned request as several, each small enough to be answered in one go, in the same order."""
    if len(asked.texts) + len(asked.images) <= EMBED_BATCH:
        return [asked]
    texts = [(asked.texts[i : i + EMBED_BATCH], ()) for i in range(0, len(asked.texts), EMBED_BATCH)]
    images = [((), asked.images[i : i + EMBED_BATCH]) for i in range(0, len(asked.images), EMBED_BATCH)]
    return [asked.model_copy(update={"texts": text, "images": image}) for text, image in [*texts, *images]]
