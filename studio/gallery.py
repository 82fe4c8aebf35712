"""Finished artifacts: files named by their content, and rows that find them.

The files lead. An artifact is written whole before its row; what a person adds to it (star, tags, note...) is written
to a small file beside it before the row changes. So the database can be rebuilt from the files alone.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from sqlite3 import Connection, Row
from typing import Any, Literal

from studio import media
from studio.annotations import Annotations, check, read_annotations, remove_artifact, write_annotations
from studio.database import Database
from studio.events import Saved
from studio.files import make_folder, write_whole
from studio.fulltext import match, spaced
from studio.media import Artifact
from studio.queue import QueuedJob

COURTESY = 0.005  # seconds between two transactions of one change
# Of a row, what a `Kept` has under the same name.
COLUMNS = (
    *("number", "sha256", "width", "height", "made", "job", "position", "seed", "score", "prompt", "style", "model"),
    *("rating", "note", "deleted", "kind", "media_type", "frames", "seconds", "text"),
)
PAGE = 60  # pictures that are asked for at a time


@dataclass(frozen=True)
class Kept:
    """An artifact of the gallery. `path` is the file; `made` and `deleted` are seconds since the epoch; the facts are
    those of `studio.media.Artifact`.
    """

    number: int
    sha256: str
    path: Path
    width: int
    height: int
    made: float
    job: str
    position: int
    seed: int
    score: float | None
    prompt: str
    style: str
    model: str
    star: bool
    rating: int
    note: str
    deleted: float | None
    kind: str = "image"
    media_type: str = "image/png"
    frames: int = 1
    seconds: float = 0.0
    text: str = ""
    tags: tuple[str, ...] = ()
    boards: tuple[str, ...] = ()


@dataclass(frozen=True)
class Filter:
    """Which pictures: all that is given must hold. `deleted` shows the bin instead of the gallery.

    All `words` must be in prompt, note or tags; their last letters may be missing. Those that say all of `without`,
    to the letter, are left out.
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
        parts: list[str] = [f"deleted IS {'NOT ' * self.deleted}NULL"]
        values: list[object] = []
        for sql, value in (
            ("style = ?", self.style),
            ("model = ?", self.model),
            ("kind = ?", self.kind),
            ("rating >= ?", self.rating),
            ("made >= ?", self.since),
            ("made < ?", self.until),
        ):
            if value not in ("", 0, None):
                parts.append(sql)
                values.append(value)
        if self.starred:
            parts.append("star")
        if self.words.strip():
            query = match(self.words)  # of signs alone nothing is left to look for, and nothing is found
            parts.append("number IN (SELECT rowid FROM words WHERE words MATCH ?)" if query else "FALSE")
            values += [query] if query else []
        if query := match(self.without, whole=True):
            parts.append("number NOT IN (SELECT rowid FROM words WHERE words MATCH ?)")
            values.append(query)
        for kind, name in (("tag", self.tag), ("board", self.board)):
            if name:
                parts.append("number IN (SELECT picture FROM labels WHERE kind = ? AND name = ?)")
                values += [kind, name]
        return " AND ".join(parts), values


@dataclass(frozen=True)
class Entry:
    """What a row says besides the file: where the picture comes from, and its vector in `space`."""

    job: str
    position: int
    seed: int
    prompt: str
    style: str = ""
    model: str = ""
    digest: str = ""
    score: float | None = None
    made: float = field(default_factory=time.time)
    space: str = ""
    vector: bytes = b""  # 128 float16


class Gallery:
    """The pictures under `root`. All methods may be called from any thread and any process."""

    def __init__(self, root: Path, database: Database) -> None:
        self.root, self.folder, self.database = root, root / "pictures", database

    # --- Keeping ------------------------------------------------------------------------------------------------------

    def add(self, data: bytes, artifact: Artifact, entry: Entry) -> Path:
        """Keep the file `data` of an artifact. The same bytes are kept once; what a job makes anew takes the old row's
        place.
        """
        digest = hashlib.sha256(data).hexdigest()
        path = self.file(digest, artifact.suffix)
        if _size(path) != len(data):
            make_folder(path.parent)
            self._renew(digest, entry.made)
            write_whole(path, data, "--home")
        earlier = self._earlier(path, entry)
        annotations = replace(
            Annotations(**_annotations_of(earlier)) if earlier else read_annotations(path), deleted=None
        )
        if earlier:
            write_annotations(path, annotations)
        self.enter(path, digest, len(data), artifact, entry, annotations)
        if earlier:
            remove_artifact(earlier.path)
        return path

    def _renew(self, digest: str, made: float) -> None:
        """Of a picture that is made again the row is renewed first: who looks between the two would call it found."""
        if self.database.row("SELECT 1 FROM pictures WHERE sha256 = ?", digest):
            with self.database.writing() as connection:
                connection.execute("UPDATE pictures SET made = ? WHERE sha256 = ?", (made, digest))

    def _earlier(self, path: Path, entry: Entry) -> Kept | None:
        """The same picture of the same job when it held other bytes."""
        sql = "SELECT * FROM pictures WHERE job = ? AND position = ? AND file != ?"
        rows = self.database.rows(sql, entry.job, entry.position, path.relative_to(self.root).as_posix())
        return self._kept(rows)[0] if rows else None

    def take_out(self, job: str) -> None:
        """Take a job's pictures out of the bin: they are asked for again."""
        rows = self.database.rows("SELECT sha256 FROM pictures WHERE job = ? AND deleted IS NOT NULL", job)
        self.restore([row["sha256"] for row in rows])

    def enter(
        self, path: Path, digest: str, size: int, artifact: Artifact, entry: Entry, annotations: Annotations
    ) -> None:
        """Write the row of a file of `size` bytes that is there."""
        thumbnail = media.thumbnail(artifact)
        with self.database.writing() as connection:
            known = "UPDATE pictures SET made = ? WHERE sha256 = ?"
            if connection.execute(known, (entry.made, digest)).rowcount:
                return
            _forget(connection, "job = ? AND position = ?", entry.job, entry.position)
            number = connection.execute(
                "INSERT INTO pictures (sha256, file, bytes, width, height, made, job, position, seed, score, prompt,"
                " style, model, digest, kind, media_type, frames, seconds, text)"
                f" VALUES ({', '.join('?' * 19)})",
                (
                    *(digest, path.relative_to(self.root).as_posix(), size),
                    *(artifact.width, artifact.height, entry.made, entry.job),
                    *(entry.position, entry.seed, entry.score, entry.prompt, entry.style, entry.model, entry.digest),
                    *(artifact.kind, artifact.media_type, artifact.frames, artifact.seconds, artifact.text),
                ),
            ).lastrowid
            if thumbnail:
                connection.execute("INSERT INTO thumbnails VALUES (?, ?)", (number, thumbnail))
            if entry.vector:
                connection.execute("INSERT INTO vectors VALUES (?, ?, ?)", (number, entry.space, entry.vector))
            _write_annotations(connection, int(number or 0), entry.prompt, annotations)

    def file(self, digest: str, suffix: str = ".png") -> Path:
        """Where a picture lies; 256 folders, so that none grows too large to list."""
        return self.folder / digest[:2] / f"{digest}{suffix}"

    def found(self, job: str) -> dict[int, Saved]:
        """The pictures of a job that are here, by position; one whose file is gone or cut short is not."""
        return {row["position"]: _saved(self.root, row) for row in self._whole(job)}

    def made_by(self, job: QueuedJob) -> dict[int, Saved]:
        """As `found`, with the seconds since the job was begun; pictures older than its submission were found."""
        return {row["position"]: _saved(self.root, row, job) for row in self._whole(job.id)}

    def _whole(self, job: str) -> list[Row]:
        rows = self.database.rows("SELECT * FROM pictures WHERE job = ? ORDER BY position", job)
        return [row for row in rows if _size(self.root / row["file"]) == row["bytes"]]

    # --- Looking ------------------------------------------------------------------------------------------------------

    def get(self, digest: str) -> Kept:
        """One picture by the sha256 of its file; KeyError where it is not there."""
        rows = self.database.rows("SELECT * FROM pictures WHERE sha256 = ?", digest)
        if not rows:
            raise KeyError(digest)
        return self._kept(rows)[0]

    def known(self, digests: Iterable[str]) -> list[str]:
        """Those of `digests` that pictures here have, each once, in the order given."""
        sql = "SELECT sha256 FROM pictures WHERE sha256 IN (SELECT value FROM json_each(?))"
        given = list(dict.fromkeys(digests))
        here = {row["sha256"] for row in self.database.rows(sql, json.dumps(given))}
        return [digest for digest in given if digest in here]

    def page(self, wanted: Filter | None = None, before: int | None = None, limit: int = PAGE) -> list[Kept]:
        """Pictures, newest first, that came before number `before`."""
        where, values = (wanted or Filter()).where()
        if before is not None:
            where, values = f"{where} AND number < ?", [*values, before]
        sql = f"SELECT * FROM pictures WHERE {where} ORDER BY number DESC LIMIT ?"
        return self._kept(self.database.rows(sql, *values, limit))

    def count(self, wanted: Filter | None = None) -> int:
        """How many there are."""
        where, values = (wanted or Filter()).where()
        row = self.database.row(f"SELECT count(*) AS count FROM pictures WHERE {where}", *values)
        return row["count"] if row else 0

    def numbered(self, numbers: Sequence[int]) -> list[Kept]:
        """Pictures in the order of their numbers as given; those that are gone are left out."""
        sql = "SELECT * FROM pictures WHERE number IN (SELECT value FROM json_each(?))"
        kept = {row.number: row for row in self._kept(self.database.rows(sql, json.dumps(list(numbers))))}
        return [kept[number] for number in numbers if number in kept]

    def thumbnail(self, digest: str) -> bytes:
        """A small WebP of a picture, the file itself where that is small; KeyError where it is not there."""
        sql = "SELECT file, webp FROM pictures LEFT JOIN thumbnails ON picture = number WHERE sha256 = ?"
        row = self.database.row(sql, digest)
        if row is None:
            raise KeyError(digest)
        try:
            return bytes(row["webp"]) if row["webp"] else (self.root / row["file"]).read_bytes()
        except OSError as error:
            raise KeyError(digest) from error

    def labels(self, kind: str) -> dict[str, int]:
        """The tags or boards ("tag", "board") in use, each with its number of pictures."""
        sql = "SELECT name, count(*) AS count FROM labels WHERE kind = ? GROUP BY name ORDER BY name"
        return {row["name"]: row["count"] for row in self.database.rows(sql, kind)}

    # --- Marking ------------------------------------------------------------------------------------------------------

    def mark(self, digests: Iterable[str], **changes: Any) -> None:
        """Change star, rating (0 to 5), note, tags, boards of pictures; KeyError where one is not there.

        Refused where a value won't do.
        """
        check(changes)
        self._change(digests, lambda annotations: replace(annotations, **changes))

    def label(self, digests: Iterable[str], kind: Literal["tags", "boards"], name: str, on: bool = True) -> None:
        """Put a tag or board on pictures, or take it off; what else they have stays. Raises as `mark` does."""
        name = name.strip()
        check({kind: (name,)})

        def changed(annotations: Annotations) -> Annotations:
            others = tuple(one for one in getattr(annotations, kind) if one != name)
            labels: dict[str, Any] = {kind: (*others, name) if on else others}
            return replace(annotations, **labels)

        self._change(digests, changed)

    def _change(self, digests: Iterable[str], change: Callable[[Annotations], Annotations]) -> None:
        for number, digest in enumerate(digests):
            if number:
                time.sleep(COURTESY)  # SQLite's writers don't queue: whoever waits needs a gap to get in
            with self.database.writing() as connection:  # alone from reading to writing: nobody's change is lost
                kept = self.get(digest)
                annotations = change(Annotations(**_annotations_of(kept)))
                write_annotations(kept.path, annotations)
                _write_annotations(connection, kept.number, kept.prompt, annotations)

    def delete(self, digests: Iterable[str]) -> None:
        """Put pictures in the bin; `restore` takes them out, `empty_bin` ends them."""
        self.mark(digests, deleted=time.time())

    def restore(self, digests: Iterable[str]) -> None:
        """Take pictures out of the bin."""
        self.mark(digests, deleted=None)

    def empty_bin(self) -> int:
        """Remove the files of deleted pictures -> how many."""
        rows = self.database.rows("SELECT number, file FROM pictures WHERE deleted IS NOT NULL")
        count = 0
        for row in rows:
            with self.database.writing() as connection:  # the row first: a row without a file would be a lie
                gone = _forget(
                    connection, "number = ? AND deleted IS NOT NULL", row["number"]
                )  # not taken out meanwhile
            if gone:
                with self.database.explained():
                    remove_artifact(self.root / row["file"])
                count += 1
        return count

    def _kept(self, rows: list[Row]) -> list[Kept]:
        numbers = json.dumps([row["number"] for row in rows])
        labels: dict[tuple[int, str], list[str]] = {}
        sql = "SELECT * FROM labels WHERE picture IN (SELECT value FROM json_each(?)) ORDER BY name"
        for label in self.database.rows(sql, numbers):
            labels.setdefault((label["picture"], label["kind"]), []).append(label["name"])
        return [
            Kept(
                path=self.root / row["file"],
                star=bool(row["star"]),
                tags=tuple(labels.get((row["number"], "tag"), ())),
                boards=tuple(labels.get((row["number"], "board"), ())),
                **{name: row[name] for name in COLUMNS},
            )
            for row in rows
        ]


def _annotations_of(kept: Kept) -> dict[str, Any]:
    return {name: getattr(kept, name) for name in Annotations.__dataclass_fields__}


def _write_annotations(connection: Connection, number: int, prompt: str, annotations: Annotations) -> None:
    counted = "INSERT INTO settings VALUES ('marked', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1"
    connection.execute(counted)  # open pages see by it that something was changed
    connection.execute(
        "UPDATE pictures SET star = ?, rating = ?, note = ?, deleted = ? WHERE number = ?",
        (annotations.star, annotations.rating, annotations.note, annotations.deleted, number),
    )
    connection.execute("DELETE FROM labels WHERE picture = ?", (number,))
    for kind, names in (("tag", annotations.tags), ("board", annotations.boards)):
        rows = [(number, kind, name.strip()) for name in dict.fromkeys(names)]
        connection.executemany("INSERT OR IGNORE INTO labels VALUES (?, ?, ?)", rows)
    connection.execute("DELETE FROM words WHERE rowid = ?", (number,))
    connection.execute(
        "INSERT INTO words (rowid, prompt, note, tags) VALUES (?, ?, ?, ?)",
        (number, spaced(prompt), spaced(annotations.note), spaced(" ".join(annotations.tags))),
    )


def _forget(connection: Connection, where: str, *values: object) -> int:
    rows = connection.execute(f"SELECT number FROM pictures WHERE {where}", values).fetchall()
    for row in rows:
        connection.execute("DELETE FROM words WHERE rowid = ?", (row["number"],))
        connection.execute("DELETE FROM pictures WHERE number = ?", (row["number"],))
    return len(rows)


def _saved(root: Path, row: Row, job: QueuedJob | None = None) -> Saved:
    found = job is None or row["made"] < job.submitted
    seconds = 0.0 if found or job is None else max(0.0, row["made"] - (job.started or job.submitted))
    facts = {name: row[name] for name in ("kind", "media_type", "text")}
    return Saved(str(root / row["file"]), row["position"], row["seed"], row["score"], seconds, found, **facts)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
