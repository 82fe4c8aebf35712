"""Search among the gallery's artifacts: by words, by a place in the semantic space, or by both, through any filter.

Words choose (all of them must be in prompt, caption, note or tags; the last letters may be missing), the vector orders.
Without a vector the newest come first.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from models.messages import Refused
from studio.events import Answer, Vector
from studio.gallery import Filter, Gallery, GalleryItem
from studio.media import from_bytes
from studio.requests import SUBTRACTED, EmbedRequest, SearchRequest, make_request

# Of 64 prompts and the pictures that were drawn for them, three in four are as near as this, and of pictures that were
# drawn for others one in twenty.
NEAR = 0.4
EMBED_BATCH = 32  # texts and pictures of one interactive job: as many as the space reads in one go
SPARE = 32  # pictures read beyond those wanted, since some may be deleted
MORE = 4  # times as many are read where too many are
INDEXED = "indexed"  # a setting that counts how often vectors were replaced
AT_ONCE = 65_536  # rows that are read at a time


def query_vector(request: SearchRequest, ask: Callable[[EmbedRequest], Sequence[Answer]]) -> np.ndarray | None:
    """The unit vector (D,) of a planned search: the weighted sum of the vectors of its words and pictures, which `ask`
    answers. None where nothing is added.
    """
    texts = [(weight, text) for weight, text in ((1.0, request.words), (SUBTRACTED, request.without)) if text]
    images = [(weight, picture) for weight, picture in ((1.0, request.like), (SUBTRACTED, request.unlike)) if picture]
    weights = [weight for weight, _ in (*texts, *images)]
    if max(weights, default=-1.0) < 0:
        return None
    fields = {"texts": tuple(text for _, text in texts), "images": tuple(picture for _, picture in images)}
    answers = ask(make_request("embed", **fields, model=request.model))
    vectors = np.array([answer.vector for answer in answers if isinstance(answer, Vector)], np.float64)
    total = np.array(weights) @ vectors
    if not np.isfinite(total).all():
        raise Refused("search.no_numbers")
    return (total / max(1e-6, float(np.linalg.norm(total)))).astype(np.float32)


def search_request(
    words: str, like: str | Path | None, without: str | Path, k: int = 20, meaning: bool = True, model: str = "embedded"
) -> SearchRequest:
    """A search as a request; `without` is words, or a picture where it is a Path. Refused where it makes no sense."""
    fields = {"words": words, "like": {"path": str(like)} if like else None, "k": k, "meaning": meaning}
    unlike = {"unlike": {"path": str(without)}} if isinstance(without, Path) else {"without": without}
    return make_request("search", **fields, **unlike, model=model)


def embed_parts(request: EmbedRequest) -> list[EmbedRequest]:
    """Split a planned request into parts of at most EMBED_BATCH texts and pictures, in order."""
    if len(request.texts) + len(request.images) <= EMBED_BATCH:
        return [request]
    texts = [(request.texts[i : i + EMBED_BATCH], ()) for i in range(0, len(request.texts), EMBED_BATCH)]
    images = [((), request.images[i : i + EMBED_BATCH]) for i in range(0, len(request.images), EMBED_BATCH)]
    return [request.model_copy(update={"texts": text, "images": image}) for text, image in [*texts, *images]]


@dataclass(frozen=True)
class Hit:
    """A result; `score` is its cosine to the query vector, None where there is none."""

    picture: GalleryItem
    score: float | None


class Search:
    """Search in one gallery. The vectors are read once and kept; what was added since is read at the next search."""

    def __init__(self, gallery: Gallery) -> None:
        self._gallery, self._lock = gallery, threading.Lock()
        self._indexed = 0
        # Of each: numbers (N,) ascending, vectors (N, D), the last number that was looked at.
        self._spaces: dict[str, tuple[np.ndarray, np.ndarray, int]] = {}

    def foreign(self, space: str) -> int:
        """How many artifacts outside the bin have a vector in another space, and are not found by what they mean."""
        there = "SELECT count(*) AS count FROM vectors JOIN artifacts ON number = artifact WHERE deleted IS NULL"
        row = self._gallery.database.row(f"{there} AND space != ?", space)
        return row["count"] if row else 0

    def find(
        self, request: SearchRequest, vector: np.ndarray | None, space: str, wanted: Filter | None = None
    ) -> list[Hit]:
        """At most `request.k` artifacts, best first: those that say the words, those nearest to the vector first; then
        what is near it and does not say them. Artifacts that say `request.without` are left out.
        """
        wanted, k = replace(wanted or Filter(), without=request.without), request.k
        if vector is None or not request.words.strip():
            return self(request.words, vector, space, wanted, k)
        hits: dict[int, Hit] = {}
        # Those that say the words and lie in another space, or in none, come between.
        for words, place in ((request.words, vector), (request.words, None), ("", vector)):
            for hit in self(words, place, space, wanted, k) if len(hits) < k else ():
                hits.setdefault(hit.picture.number, hit)
        return list(hits.values())[:k]

    def __call__(
        self,
        words: str = "",
        vector: np.ndarray | None = None,
        space: str = "",
        wanted: Filter | None = None,
        k: int = 20,
    ) -> list[Hit]:
        """At most `k` pictures, best first. `vector` (D,) lies in `space`; pictures of other spaces are not found."""
        wanted = wanted or Filter()
        wanted = replace(wanted, words=f"{wanted.words} {words}".strip())
        if vector is None:
            return [Hit(item, None) for item in self._gallery.page(wanted, limit=k)]
        numbers, vectors = self.vectors(space)
        if not len(numbers):
            return []
        scores, every = vectors @ np.asarray(vector, np.float32), wanted == Filter()
        if not every:
            chosen = np.isin(numbers, self._gallery.numbers(wanted), assume_unique=True)
            numbers, scores = numbers[chosen], scores[chosen]
        seen, count, hits = 0, k + SPARE, list[Hit]()
        while seen < len(scores) and len(hits) < k:
            first = best(scores, count)[seen:]
            seen, count = seen + len(first), MORE * count
            items = {item.number: item for item in self._gallery.numbered(numbers[first].tolist())}
            pairs = zip(numbers[first].tolist(), scores[first].tolist(), strict=True)
            # Without a filter, the bin and what was removed is left out here.
            hits += [
                Hit(items[number], score)
                for number, score in pairs
                if number in items and not (every and items[number].deleted)
            ]
        return hits[:k]

    def vectors(self, space: str) -> tuple[np.ndarray, np.ndarray]:
        """All vectors of a space (a million are 512 MB) with their numbers, which are never given twice: those of
        removed pictures do no harm. A damaged vector is left out; its picture is found by words alone."""
        database = self._gallery.database
        sql = "SELECT artifact, vector FROM vectors WHERE space = ? AND artifact > ? ORDER BY artifact LIMIT ?"
        with self._lock:
            again = database.row("SELECT value FROM settings WHERE name = ?", INDEXED)
            if self._indexed != (indexed := again["value"] if again else 0):
                self._spaces, self._indexed = {}, indexed
            if space not in self._spaces or not len(self._spaces[space][0]):
                # Vectors of another length than most are damaged.
                count = "SELECT length(vector) / 2 AS width FROM vectors WHERE space = ? AND length(vector) > 1"
                row = database.row(f"{count} GROUP BY width ORDER BY count(*) DESC LIMIT 1", space)
                self._spaces[space] = np.zeros(0, np.int64), np.zeros((0, row["width"] if row else 0), np.float32), 0
            numbers, vectors, last = self._spaces[space]
            parts = [(numbers, vectors)]
            while rows := database.rows(sql, space, last, AT_ONCE):
                last = rows[-1]["artifact"]
                whole = [row for row in rows if len(row["vector"]) == 2 * vectors.shape[1]]
                more = from_bytes(b"".join(row["vector"] for row in whole), vectors.shape[1])
                sound = np.isfinite(more).all(1)
                parts.append((np.array([row["artifact"] for row in whole], np.int64)[sound], more[sound]))
            if len(parts) > 1:
                numbers, vectors = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
                self._spaces[space] = numbers, vectors, last
            return numbers, vectors


def best(scores: np.ndarray, count: int) -> np.ndarray:
    """Indices of the `count` highest scores (N,), highest first, equal ones in their order. For a million it takes a
    hundredth of the time of sorting."""
    if count < len(scores):
        least = np.partition(scores, len(scores) - count)[len(scores) - count]
        places = np.flatnonzero(scores >= least)
    else:
        places = np.arange(len(scores))
    return places[np.argsort(-scores[places], kind="stable")][:count]
