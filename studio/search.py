"""Search among the gallery's pictures: by words, by a place in the semantic space, or by both, through any filter.

Words choose (all of them must be in prompt, note or tags; the last letters may be missing), the vector orders. Without
a vector the newest come first.
"""

import threading
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from studio.gallery import Filter, Gallery, Kept
from studio.vectors import DIM, from_bytes

SPARE = 32  # pictures asked for beyond those wanted, since some may be deleted


@dataclass(frozen=True)
class Hit:
    """A picture that was found; `score` is its cosine to the vector, None where there was none."""

    picture: Kept
    score: float | None


class Search:
    """Search in one gallery. The vectors are read once and kept; what was added since is read at the next search."""

    def __init__(self, gallery: Gallery) -> None:
        self._gallery, self._indexes = gallery, dict[str, _Index]()
        self._lock = threading.Lock()

    def __call__(
        self,
        words: str = "",
        vector: np.ndarray | None = None,
        space: str = "",
        wanted: Filter | None = None,
        k: int = 20,
    ) -> list[Hit]:
        """At most `k` pictures, best first. `vector` (128,) lies in `space`; pictures of other spaces are not found."""
        if vector is None:
            numbers = self._chosen(words, wanted or Filter(), "ORDER BY number DESC LIMIT ?", k)
            return [Hit(picture, None) for picture in self._gallery.numbered(numbers.tolist())]
        chosen = self._chosen(words, wanted or Filter()) if words.strip() or wanted not in (None, Filter()) else None
        with self._lock:
            index = self._indexes.setdefault(space, _Index(space))
            index.grow(self._gallery)
            return self._nearest(index, np.asarray(vector, np.float32), chosen, k)

    def mixed(
        self, words: str, vector: np.ndarray | None, space: str, wanted: Filter | None = None, k: int = 20
    ) -> list[Hit]:
        """Pictures that say the words, those nearest to `vector` first; then what is near it and does not say them."""
        if vector is None or not words.strip():
            return self(words, vector, space, wanted, k)
        found: dict[int, Hit] = {}
        # Those that say the words and lie in another space, or in none, come between.
        for said, place in ((words, vector), (words, None), ("", vector)):
            for hit in self(said, place, space, wanted, k) if len(found) < k else ():
                found.setdefault(hit.picture.number, hit)
        return list(found.values())[:k]

    def _nearest(self, index: "_Index", vector: np.ndarray, chosen: np.ndarray | None, k: int) -> list[Hit]:
        """Without a choice all are asked, and more than k: those deleted since still are in the index."""
        asked = k if chosen is not None else k + SPARE
        while True:
            scores, numbers = index.nearest(vector, chosen, asked)
            found = {
                p.number: p for p in self._gallery.numbered(numbers.tolist()) if chosen is not None or not p.deleted
            }
            pairs = zip(numbers.tolist(), scores.tolist(), strict=True)
            hits = [Hit(found[number], score) for number, score in pairs if number in found][:k]
            if len(hits) == k or len(numbers) < asked:
                return hits
            asked *= 4

    def _chosen(self, words: str, wanted: Filter, tail: str = "", *values: object) -> np.ndarray:
        """Numbers of the pictures that the filter and the words let through."""
        where, inside = replace(wanted, words=f"{wanted.words} {words}").where()
        rows = self._gallery.database.rows(f"SELECT number FROM pictures WHERE {where} {tail}", *inside, *values)
        return np.fromiter((row[0] for row in rows), np.int64, len(rows))


class _Index:
    """All vectors of one space in memory, each under its picture's number."""

    def __init__(self, space: str) -> None:
        import faiss  # a tenth of a second that only searching needs

        self._faiss: Any = faiss
        self._space, self._last = space, 0
        self._index: Any = faiss.IndexIDMap(faiss.IndexFlatIP(DIM))

    def grow(self, gallery: Gallery) -> None:
        """Read what was added since. Numbers are never given twice, so those of removed pictures do no harm."""
        sql = "SELECT picture, vector FROM vectors WHERE space = ? AND picture > ? ORDER BY picture"
        rows = gallery.database.rows(sql, self._space, self._last)
        rows = [row for row in rows if len(row["vector"]) == 2 * DIM]
        if rows:
            vectors = from_bytes(b"".join(row["vector"] for row in rows))
            numbers = np.array([row["picture"] for row in rows], np.int64)
            self._index.add_with_ids(vectors, numbers)
            self._last = int(numbers[-1])

    def nearest(self, vector: np.ndarray, chosen: np.ndarray | None, k: int) -> tuple[np.ndarray, np.ndarray]:
        """(scores, numbers) of the nearest among the chosen (None: all), best first."""
        if not self._index.ntotal or (chosen is not None and not len(chosen)):
            return np.zeros(0, np.float32), np.zeros(0, np.int64)
        select = None if chosen is None else self._faiss.IDSelectorBatch(chosen)
        among = None if select is None else self._faiss.SearchParameters(sel=select)
        scores, numbers = self._index.search(vector.reshape(1, DIM), min(k, self._index.ntotal), params=among)
        known = numbers[0] >= 0
        return scores[0][known], numbers[0][known]
