"""Finished artifacts: files named by their content, with a row each.

The database can be rebuilt from the files alone: an artifact is written whole before its row, and annotations (star,
tags, note...) are written to a small file beside it before the row changes.
"""

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from sqlite3 import Connection, Row
from typing import Any, Literal

import numpy as np

from models.messages import Refused
from studio import media
from studio.database import Database
from studio.events import Saved
from studio.files import is_plain, make_folder, write_whole
from studio.media import MEDIA, Artifact, Medium, as_bytes, media_types
from studio.planner import Job
from studio.queue import QueuedJob
from studio.requests import visible

DIGEST = re.compile("[0-9a-f]{64}")
# Columns with the value of the artifact's field of that name.
FACTS = ("seed", "score", "kind", "media_type", "width", "height", "frames", "seconds", "text")
PAUSE = 0.005  # seconds between two transactions of one change
PAGE = 60  # artifacts of one query
RATINGS = range(6)  # 0 is none
WORDS_LIMIT = 32  # of a query; further words are ignored


@dataclass(frozen=True)
class Annotations:
    """A user's notes about an artifact.

    Attributes:
        deleted: since when it is in the bin, seconds since the epoch.
        caption: what it shows, in words: those of a model that was asked, or those of a person, which go before.
        sure: the model's probability that they are right, 0 where it says that it does not know; None of a person's.
        round_trip: cosine between these words and those that it was made from.
    """

    star: bool = False
    rating: int = 0
    note: str = ""
    tags: tuple[str, ...] = ()
    boards: tuple[str, ...] = ()
    deleted: float | None = None
    caption: str = ""
    sure: float | None = None
    round_trip: float | None = None

    def __post_init__(self) -> None:
        """Remove control characters, whoever wrote the texts."""
        for name in ("note", "caption"):
            object.__setattr__(self, name, visible(getattr(self, name)))
        for name in ("tags", "boards"):
            object.__setattr__(self, name, tuple(filter(None, map(visible, getattr(self, name)))))


@dataclass(frozen=True, kw_only=True)
class GalleryItem(Annotations):
    """An artifact of the gallery: its annotations, and its facts as in `studio.media.Artifact`.

    `created` is seconds since the epoch.
    """

    number: int
    sha256: str
    path: Path
    width: int
    height: int
    created: float
    job: str
    position: int
    seed: int
    score: float | None
    prompt: str
    style: str
    model: str
    kind: str = "image"
    media_type: str = "image/png"
    frames: int = 1
    seconds: float = 0.0
    text: str = ""

    @property
    def medium(self) -> Medium:
        return MEDIA[self.kind]

    @property
    def words(self) -> str:
        """The text of a caption, as corrected by a person."""
        return (self.text and self.caption) or self.text


@dataclass(frozen=True)
class Filter:
    """Conditions on artifacts; all that are given must hold. `deleted` selects the bin instead of the gallery.

    Each of `words` must begin a word of prompt, caption, note or tags. Artifacts with all words of `without`, whole,
    are excluded.
    """

    style: str = ""
    model: str = ""
    kind: str = ""
    tag: str = ""
    board: str = ""
    starred: bool = False
    rating: int = 0  # at least
    since: float | None = None
    until: float | None = None
    deleted: bool = False
    words: str = ""
    without: str = ""

    def where(self) -> tuple[str, list[object]]:
        """SQL that follows WHERE, and its values."""
        words, without = match(self.words), match(self.without, whole=True)
        tests: list[tuple[str, object]] = [
            ("style = ?", self.style),
            ("model = ?", self.model),
            ("kind = ?", self.kind),
            ("rating >= ?", self.rating),
            ("created >= ?", self.since),
            ("created < ?", self.until),
            ("star AND ?", self.starred),
            ("number IN (SELECT rowid FROM words WHERE words MATCH ?)", words),
            ("number NOT IN (SELECT rowid FROM words WHERE words MATCH ?)", without),
            ("number IN (SELECT artifact FROM labels WHERE kind = 'tag' AND name = ?)", self.tag),
            ("number IN (SELECT artifact FROM labels WHERE kind = 'board' AND name = ?)", self.board),
        ]
        given = [(sql, value) for sql, value in tests if value not in ("", 0, None)]
        parts = [f"deleted IS {'NOT ' * self.deleted}NULL", *(sql for sql, _ in given)]
        if self.words.strip() and not words:  # punctuation alone matches nothing
            parts.append("FALSE")
        return " AND ".join(parts), [value for _, value in given]


class Gallery:
    """The artifacts under `root`. All methods may be called from any thread and any process."""

    def __init__(self, root: Path, database: Database) -> None:
        self.root, self.folder, self.database = root, root / "pictures", database

    # --- Adding -------------------------------------------------------------------------------------------------------

    def add(self, data: bytes, artifact: Artifact, job: Job, created: float | None = None) -> Path:
        """Store the file `data` of an artifact -> its path. Equal bytes are stored once; an artifact that is made again
        with other bytes replaces the earlier one. `created` is seconds since the epoch, None: now.
        """
        created, digest = created or time.time(), hashlib.sha256(data).hexdigest()
        path = self.file(digest, artifact.suffix)
        if _size(path) != len(data):
            make_folder(path.parent)
            if path.parent.is_symlink():
                raise Refused("file.linked_folder", folder=str(path.parent))
            # The row of an artifact that is made again changes first: a reader between the two would call it cached.
            self.database.write("UPDATE artifacts SET created = ? WHERE sha256 = ?", created, digest)
            write_whole(path, data, "--home")
        sql = "SELECT * FROM artifacts WHERE job = ? AND position = ? AND sha256 != ?"
        earlier = self._items(self.database.rows(sql, job.id, artifact.index, digest))
        annotations = replace(_annotations_of(earlier[0]) if earlier else read_annotations(path), deleted=None)
        if earlier:
            write_annotations(path, annotations)
        self.enter(path, digest, len(data), artifact, job, created, annotations)
        for old in earlier:
            remove_artifact(old.path)
        return path

    def restore_job(self, job: str) -> None:
        """Take a job's artifacts out of the bin."""
        rows = self.database.rows("SELECT sha256 FROM artifacts WHERE job = ? AND deleted IS NOT NULL", job)
        self.restore([row["sha256"] for row in rows])

    def enter(
        self,
        path: Path,
        digest: str,
        size: int,
        artifact: Artifact,
        job: Job,
        created: float,
        annotations: Annotations,
    ) -> None:
        """Write the row of an existing file of `size` bytes."""
        request, thumbnail = job.request, media.thumbnail(artifact)
        row = {
            "sha256": digest,
            "file": path.relative_to(self.root).as_posix(),
            "bytes": size,
            "created": created,
            "job": job.id,
            "digest": job.digest,
            "model": request.model,
            "style": getattr(request, "style", ""),
            "position": artifact.index,
            "prompt": artifact.text or request.title,
            **{name: getattr(artifact, name) for name in FACTS},
        }
        with self.database.writing() as connection:
            known = "UPDATE artifacts SET created = ? WHERE sha256 = ?"
            if connection.execute(known, (created, digest)).rowcount:
                return
            _forget(connection, "job = ? AND position = ?", job.id, artifact.index)
            insert = f"INSERT INTO artifacts ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})"
            number = connection.execute(insert, tuple(row.values())).lastrowid or 0
            if thumbnail:
                connection.execute("INSERT INTO thumbnails VALUES (?, ?)", (number, thumbnail))
            if artifact.vector:
                values = (number, artifact.space, as_bytes(artifact.vector))
                connection.execute("INSERT INTO vectors VALUES (?, ?, ?)", values)
            _write_annotations(connection, number, str(row["prompt"]), annotations)

    def file(self, digest: str, suffix: str = ".png") -> Path:
        """The path of an artifact by its sha256; 256 folders, so that none grows too large to list."""
        return self.folder / digest[:2] / f"{digest}{suffix}"

    def path_of(self, row: Row) -> Path:
        """The path of a row's file, by its sha256 alone. A link, a pipe or another name counts as a missing file."""
        path = self.file(str(row["sha256"]), PurePath(str(row["file"])).suffix)
        is_named = DIGEST.fullmatch(path.stem) and path.suffix in media_types()
        is_valid = is_named and (is_plain(path) or not os.path.lexists(path))
        return path if is_valid else self.folder / "nowhere" / "nothing.png"

    def results(self, job: str, queued: QueuedJob | None = None) -> dict[int, Saved]:
        """A job's artifacts whose files are whole, by position.

        With the `queued` job they have the seconds since its start; those older than its submission are `cached`.
        """
        results = {}
        for row in self.database.rows("SELECT * FROM artifacts WHERE job = ? ORDER BY position", job):
            if _size(path := self.path_of(row)) == row["bytes"]:
                cached, seconds = queued is None or row["created"] < queued.submitted, 0.0
                if queued and not cached:
                    seconds = max(0.0, row["created"] - (queued.started or queued.submitted))
                facts = {name: row[name] for name in ("seed", "score", "kind", "media_type", "text", "frames")}
                results[row["position"]] = Saved(str(path), row["position"], seconds=seconds, cached=cached, **facts)
        return results

    # --- Reading ------------------------------------------------------------------------------------------------------

    def get(self, digest: str) -> GalleryItem:
        """KeyError for an unknown sha256."""
        rows = self.database.rows("SELECT * FROM artifacts WHERE sha256 = ?", digest)
        if not rows:
            raise KeyError(digest)
        return self._items(rows)[0]

    def known(self, digests: Iterable[str]) -> list[str]:
        """Those of `digests` that are in the gallery, each once, in the order given."""
        sql = "SELECT value FROM json_each(?) JOIN artifacts ON sha256 = value ORDER BY key"
        return [row["value"] for row in self.database.rows(sql, json.dumps(list(dict.fromkeys(digests))))]

    def page(self, wanted: Filter | None = None, before: int | None = None, limit: int = PAGE) -> list[GalleryItem]:
        """Artifacts, newest first, with numbers below `before`."""
        where, values = (wanted or Filter()).where()
        if before is not None:
            where, values = f"{where} AND number < ?", [*values, before]
        sql = f"SELECT * FROM artifacts WHERE {where} ORDER BY number DESC LIMIT ?"
        return self._items(self.database.rows(sql, *values, limit))

    def numbers(self, wanted: Filter) -> np.ndarray:
        """The numbers (N,) of all artifacts that a filter lets through."""
        where, values = wanted.where()
        rows = self.database.rows(f"SELECT number FROM artifacts WHERE {where}", *values)
        return np.fromiter((row[0] for row in rows), np.int64, len(rows))

    def count(self, wanted: Filter | None = None) -> int:
        where, values = (wanted or Filter()).where()
        row = self.database.row(f"SELECT count(*) AS count FROM artifacts WHERE {where}", *values)
        return row["count"] if row else 0

    def numbered(self, numbers: Sequence[int]) -> list[GalleryItem]:
        """Artifacts by their numbers, in the order given; removed ones are left out."""
        sql = "SELECT artifacts.* FROM json_each(?) JOIN artifacts ON number = value ORDER BY key"
        return self._items(self.database.rows(sql, json.dumps(list(numbers))))

    def thumbnail(self, digest: str) -> bytes:
        """A small WebP of an artifact, or its file where that is small; KeyError where there is none."""
        sql = "SELECT sha256, file, webp FROM artifacts LEFT JOIN thumbnails ON artifact = number WHERE sha256 = ?"
        row = self.database.row(sql, digest)
        if row is None:
            raise KeyError(digest)
        try:
            return bytes(row["webp"]) if row["webp"] else self.path_of(row).read_bytes()
        except OSError as error:
            raise KeyError(digest) from error

    def labels(self, kind: str) -> dict[str, int]:
        """The tags or boards (`kind` "tag", "board") in use, each with its number of artifacts."""
        sql = "SELECT name, count(*) AS count FROM labels WHERE kind = ? GROUP BY name ORDER BY name"
        return {row["name"]: row["count"] for row in self.database.rows(sql, kind)}

    # --- Changing -----------------------------------------------------------------------------------------------------

    def mark(self, digests: Iterable[str], **changes: Any) -> None:
        """Change annotations. KeyError for an unknown artifact, Refused for a bad value.

        A new caption without `sure` and `round_trip` forgets both.
        """
        if "caption" in changes:
            changes = {"sure": None, "round_trip": None, **changes}
        check(changes)
        self._change(digests, lambda annotations: replace(annotations, **changes))

    def label(self, digests: Iterable[str], kind: Literal["tags", "boards"], name: str, on: bool = True) -> None:
        """Add one tag or board, or remove it. Raises as `mark` does."""
        name = visible(name).strip()
        check({kind: (name,)})

        def changed(annotations: Annotations) -> Annotations:
            others = tuple(other for other in getattr(annotations, kind) if other != name)
            labels: dict[str, Any] = {kind: (*others, name) if on else others}
            return replace(annotations, **labels)

        self._change(digests, changed)

    def _change(self, digests: Iterable[str], change: Callable[[Annotations], Annotations]) -> None:
        for number, digest in enumerate(digests):
            if number:
                time.sleep(PAUSE)  # SQLite's writers don't queue: another one needs a gap to get in
            with self.database.writing() as connection:  # locked from reading to writing, so no change is lost
                item = self.get(digest)
                annotations = change(_annotations_of(item))
                write_annotations(item.path, annotations)
                _write_annotations(connection, item.number, item.prompt, annotations)

    def delete(self, digests: Iterable[str]) -> None:
        """Put artifacts in the bin; `restore` takes them out, `empty_bin` removes them."""
        self.mark(digests, deleted=time.time())

    def restore(self, digests: Iterable[str]) -> None:
        self.mark(digests, deleted=None)

    def empty_bin(self) -> int:
        """Remove the artifacts in the bin -> how many."""
        count = 0
        for row in self.database.rows("SELECT number, sha256, file FROM artifacts WHERE deleted IS NOT NULL"):
            with self.database.writing() as connection:  # the row first: a row always has a file
                removed = _forget(connection, "number = ? AND deleted IS NOT NULL", row["number"])
            if removed:  # it was not restored meanwhile
                with self.database.explained():
                    remove_artifact(self.path_of(row))
                count += 1
        return count

    def _items(self, rows: list[Row]) -> list[GalleryItem]:
        numbers = json.dumps([row["number"] for row in rows])
        labels: dict[tuple[int, str], list[str]] = {}
        sql = "SELECT * FROM labels WHERE artifact IN (SELECT value FROM json_each(?)) ORDER BY name"
        for label in self.database.rows(sql, numbers):
            labels.setdefault((label["artifact"], label["kind"]), []).append(label["name"])
        return [
            GalleryItem(
                **{
                    **{name: row[name] for name in row.keys() if name in GalleryItem.__dataclass_fields__},  # noqa: SIM118
                    "path": self.path_of(row),
                    "star": bool(row["star"]),
                    "tags": tuple(labels.get((row["number"], "tag"), ())),
                    "boards": tuple(labels.get((row["number"], "board"), ())),
                }
            )
            for row in rows
        ]


def labels_in(text: str) -> tuple[str, ...]:
    """The tags or boards that a person names in one line, with commas between them."""
    names = dict.fromkeys(name.strip() for name in text.replace("，", ",").split(","))
    return tuple(name for name in names if name)


def beside(path: Path) -> Path:
    """The file that holds a picture's annotations."""
    return path.with_suffix(path.suffix + ".json")


def read_annotations(path: Path) -> Annotations:
    """The annotations beside a picture file; none where there are none, or where they can't be read."""
    try:
        if not is_plain(beside(path)):
            return Annotations()
        stored = json.loads(beside(path).read_text(encoding="utf-8"))
        known = {name: stored[name] for name in Annotations.__dataclass_fields__ if name in stored}
        for name in ("tags", "boards"):
            known[name] = tuple(known.get(name, ()))
        check(known)
        return Annotations(**known)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return Annotations()


def check(changes: dict[str, Any]) -> None:
    unknown = set(changes) - set(Annotations.__dataclass_fields__)
    if unknown:
        raise TypeError(f"a picture has no {', '.join(sorted(unknown))}")
    if changes.get("rating", 0) not in RATINGS:
        raise Refused("annotation.rating", most=RATINGS[-1], rating=changes["rating"])
    for name in (*changes.get("tags", ()), *changes.get("boards", ())):
        if not isinstance(name, str) or not name.strip() or len(name) > 100:
            raise Refused("annotation.label")
    texts = [changes.get(name, "") for name in ("note", "caption")]
    if max(map(len, texts)) > 10_000:
        raise Refused("annotation.note")
    for text in (*texts, *changes.get("tags", ()), *changes.get("boards", ())):
        if not text.isascii() and text != text.encode(errors="replace").decode():
            raise Refused("annotation.surrogate")


def write_annotations(path: Path, annotations: Annotations) -> None:
    """Write the annotations of a picture to the file beside it; empty ones remove the file."""
    if annotations == Annotations():
        beside(path).unlink(missing_ok=True)
    else:
        write_whole(beside(path), json.dumps(vars(annotations), ensure_ascii=False).encode(), "--home")


def remove_artifact(path: Path) -> None:
    """Remove a picture after its annotations, which would otherwise belong to the same picture made again."""
    for gone in (beside(path), path):
        gone.unlink(missing_ok=True)


def _annotations_of(item: GalleryItem) -> Annotations:
    return Annotations(**{name: getattr(item, name) for name in Annotations.__dataclass_fields__})


def _write_annotations(connection: Connection, number: int, prompt: str, annotations: Annotations) -> None:
    counted = "INSERT INTO settings VALUES ('marked', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1"
    connection.execute(counted)  # open pages poll it to see that something changed
    row = {name: value for name, value in vars(annotations).items() if name not in ("tags", "boards")}
    columns = ", ".join(f"{name} = ?" for name in row)
    connection.execute(f"UPDATE artifacts SET {columns} WHERE number = ?", (*row.values(), number))
    connection.execute("DELETE FROM labels WHERE artifact = ?", (number,))
    for kind, names in (("tag", annotations.tags), ("board", annotations.boards)):
        rows = [(number, kind, name.strip()) for name in dict.fromkeys(names)]
        connection.executemany("INSERT OR IGNORE INTO labels VALUES (?, ?, ?)", rows)
    connection.execute("DELETE FROM words WHERE rowid = ?", (number,))
    connection.execute(
        "INSERT INTO words (rowid, prompt, note, tags) VALUES (?, ?, ?, ?)",
        (number, *map(spaced, (prompt, f"{annotations.note} {annotations.caption}", " ".join(annotations.tags)))),
    )


def _forget(connection: Connection, where: str, *values: object) -> int:
    rows = connection.execute(f"SELECT number FROM artifacts WHERE {where}", values).fetchall()
    for row in rows:
        connection.execute("DELETE FROM words WHERE rowid = ?", (row["number"],))
        connection.execute("DELETE FROM artifacts WHERE number = ?", (row["number"],))
    return len(rows)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if is_plain(path) else -1
    except OSError:
        return -1


def spaced(text: str) -> str:
    """Put spaces round each Chinese character: FTS5 reads a run of them as one word."""
    return "".join(f" {c} " if "\u3400" <= c <= "\u9fff" else c for c in text)


def match(words: str, whole: bool = False) -> str:
    """An FTS5 query of all words, as beginnings of words unless `whole`, without operators; "" where there is none."""
    printable = "".join(character if character.isprintable() else " " for character in words)  # NUL ends a C string
    phrases = [" ".join(spaced(word).split()) for word in printable.split()[:WORDS_LIMIT]]
    end = '"' if whole else '"*'
    return " ".join('"' + phrase.replace('"', '""') + end for phrase in phrases if any(map(str.isalnum, phrase)))
