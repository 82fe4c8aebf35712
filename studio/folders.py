"""Pictures in folders of the user's own, found like those of the gallery; and the gallery's own, looked at anew.

Their vectors lie in the home's cache: what is thrown away there is looked at again.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Row

from models.messages import Refused
from studio.database import Database, migrations
from studio.media import as_bytes, from_bytes
from studio.metadata.files import read
from studio.requests import PICTURES
from studio.search import EMBED_BATCH, INDEXED, search_request
from studio.studio import Studio


@dataclass(frozen=True)
class FolderHit:
    """A picture file; `score` is its cosine to the query, `prompt` that of its metadata."""

    path: Path
    score: float
    prompt: str


@dataclass(frozen=True)
class Step:
    """`done` of `total` new pictures are indexed; `problem` says why one could not be."""

    done: int
    total: int
    problem: str = ""


class Folders:
    """The indexed folders of a studio, in the space of `model`. Refused where that is not installed."""

    def __init__(self, studio: Studio, model: str = "embedded") -> None:
        self._studio, self._model = studio, model
        self._space = studio.space(model)
        self._database = Database(studio.home / "cache" / "folders.db", migrations("folders"), durable=False)

    def index(self, folder: Path) -> Iterator[Step]:
        """Index the pictures below `folder` that are new or changed, and forget those that are gone."""
        there = _pictures(folder)
        known = {row["path"]: (row["bytes"], row["modified"]) for row in self._rows(folder)}
        with self._database.writing() as connection:
            gone = [(path, self._space) for path in known if path not in there]
            connection.executemany("DELETE FROM pictures WHERE path = ? AND space = ?", gone)
        new = [path for path, stat in there.items() if known.get(path) != (stat.st_size, stat.st_mtime_ns)]
        yield Step(0, len(new))
        for start in range(0, len(new), EMBED_BATCH):
            part = new[start : start + EMBED_BATCH]
            try:
                self._look(part, there)
            except Refused:  # one that can't be read spoils the question for all
                for path in part:
                    try:
                        self._look([path], there)
                    except Refused as refusal:
                        yield Step(start, len(new), str(refusal))
            yield Step(start + len(part), len(new))

    def search(
        self, folder: Path, words: str = "", like: str | Path | None = None, without: str | Path = "", k: int = 20
    ) -> list[FolderHit]:
        """At most `k` pictures below an indexed `folder`, best first: those whose name or prompt has all words, then
        those that mean it. Arguments are those of `Studio.search`.
        """
        request = search_request(words, like, without, k, model=self._model)
        place, _ = self._studio.query_vector(request)
        if place is None:
            raise Refused("request.search_empty")
        rows = self._rows(folder)
        scores = from_bytes(b"".join(row["vector"] for row in rows), len(place)) @ place
        hits = [
            FolderHit(Path(row["path"]), float(score), row["prompt"]) for row, score in zip(rows, scores, strict=True)
        ]
        hits.sort(key=lambda one: (not _says(one, request.words), -one.score))
        return [one for one in hits if not _says(one, request.without) and one.path.is_file()][:k]

    def _rows(self, folder: Path) -> list[Row]:
        start = f"{folder.resolve()}{os.sep}"
        sql = "SELECT * FROM pictures WHERE space = ? AND substr(path, 1, ?) = ? ORDER BY path"
        return self._database.rows(sql, self._space, len(start), start)

    def _look(self, paths: Sequence[str], there: dict[str, os.stat_result]) -> None:
        places = self._studio.embed(pictures=paths, model=self._model)
        with self._database.writing() as connection:
            for path, place in zip(paths, places, strict=True):
                size, modified = there[path].st_size, there[path].st_mtime_ns
                values = (path, self._space, size, modified, _prompt(path), as_bytes(place.vector))
                connection.execute("REPLACE INTO pictures VALUES (?, ?, ?, ?, ?, ?)", values)


def index_gallery(studio: Studio, model: str = "embedded") -> Iterator[Step]:
    """Index the gallery's artifacts that have no vector of `model`. Refused where that is not installed."""
    space, gallery = studio.space(model), studio.gallery
    sql = "SELECT number FROM artifacts LEFT JOIN vectors ON artifact = number WHERE space IS NOT ? ORDER BY number"
    numbers = [row["number"] for row in gallery.database.rows(sql, space)]
    yield Step(0, len(numbers))
    for done, number in enumerate(numbers, 1):
        problem = ""
        for item in gallery.numbered([number]):
            given = {"pictures": [item.path]} if item.medium.visual else {"texts": [item.text or item.prompt]}
            try:
                (place,) = studio.embed(**given, model=model)
                with gallery.database.writing() as connection:  # the artifact may be gone by now
                    change = "REPLACE INTO vectors SELECT number, ?, ? FROM artifacts WHERE number = ?"
                    connection.execute(change, (space, as_bytes(place.vector), number))
                    counted = "INSERT INTO settings VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET value = value + 1"
                    connection.execute(counted, (INDEXED,))  # searches read the vectors anew
            except Refused as refusal:
                problem = str(refusal)
        yield Step(done, len(numbers), problem)


def _pictures(folder: Path) -> dict[str, os.stat_result]:
    """The picture files below a folder, each with its size and age."""
    if not folder.is_dir():
        raise Refused("folder.no_folder", folder=str(folder))
    files = (path for path in sorted(folder.resolve().rglob("*")) if path.suffix.lower() in PICTURES)
    return {str(path): path.stat() for path in files if path.is_file()}


def _says(hit: FolderHit, words: str) -> bool:
    text = f"{hit.path.stem} {hit.prompt}".casefold()
    return bool(words) and all(word in text for word in words.casefold().split())


def _prompt(path: str) -> str:
    try:
        return str(read(Path(path)).get("request", {}).get("prompt", ""))
    except Refused:
        return ""
