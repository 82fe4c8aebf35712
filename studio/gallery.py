"""Finished artifacts: files named by their content, and rows that find them.

The files lead. An artifact is written whole before its row; what a person adds to it (star, tags, note...) is written
to a small file beside it before the row changes. So the database can be rebuilt from the files alone.
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

from models.messages import Refused
from studio import media
from studio.annotations import Annotations, check, read_annotations, remove_artifact, write_annotations
from studio.database import Database
from studio.events import Saved
from studio.files import is_plain, make_folder, write_whole
from studio.media import SUFFIXES, Artifact, as_bytes
from studio.planner import Job
from studio.queue import QueuedJob
from studio.requests import visible

NAME = re.compile(rf"([0-9a-f]{{64}})({'|'.join(map(re.escape, SUFFIXES.values()))})")
# What a row says as the artifact does.
FACTS = ("seed", "score", "kind", "media_type", "width", "height", "frames", "seconds", "text")
COURTESY = 0.005  # seconds between two transactions of one change
PAGE = 60  # pictures that are asked for at a time
WORDS_LIMIT = 32  # words of a query that are looked at


@dataclass(frozen=True, kw_only=True)
class Kept(Annotations):
    """An artifact of the gallery: annotations, and facts as `studio.media.Artifact` has them. `made`: epoch seconds."""

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
    kind: str = "image"
    media_type: str = "image/png"
    frames: int = 1
    seconds: float = 0.0
    text: str = ""

    @property
    def words(self) -> str:
        """What it says: of a caption that a person corrected, their words."""
        return (self.kind == "text" and self.caption) or self.text


@dataclass(frozen=True)
class Filter:
    """Which pictures: all that is given must hold. `deleted` shows the bin instead of the gallery.

    All `words` must be in prompt, caption, note or tags; their last letters may be missing. Those that say all of
    `without`, to the letter, are left out.
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
            ("made >= ?", self.since),
            ("made < ?", self.until),
            ("star AND ?", self.starred),
            ("number IN (SELECT rowid FROM words WHERE words MATCH ?)", words),
            ("number NOT IN (SELECT rowid FROM words WHERE words MATCH ?)", without),
            ("number IN (SELECT picture FROM labels WHERE kind = 'tag' AND name = ?)", self.tag),
            ("number IN (SELECT picture FROM labels WHERE kind = 'board' AND name = ?)", self.board),
        ]
        given = [(sql, value) for sql, value in tests if value not in ("", 0, None)]
        parts = [f"deleted IS {'NOT ' * self.deleted}NULL", *(sql for sql, _ in given)]
        if self.words.strip() and not words:  # of signs alone nothing is left to look for, and nothing is found
            parts.append("FALSE")
        return " AND ".join(parts), [value for _, value in given]


class Gallery:
    """The pictures under `root`. All methods may be called from any thread and any process."""

    def __init__(self, root: Path, database: Database) -> None:
        self.root, self.folder, self.database = root, root / "pictures", database

    # --- Keeping ------------------------------------------------------------------------------------------------------

    def add(self, data: bytes, artifact: Artifact, job: Job, made: float | None = None) -> Path:
        """Keep the file `data` of an artifact of a job. The same bytes are kept once; what a job makes anew takes the
        old row's place. `made` is seconds since the epoch, None now.
        """
        made, digest = made or time.time(), hashlib.sha256(data).hexdigest()
        path = self.file(digest, artifact.suffix)
        if _size(path) != len(data):
            make_folder(path.parent)
            if path.parent.is_symlink():
                raise Refused("file.linked_folder", folder=str(path.parent))
            # Of a picture that is made again the row is renewed first: who looks between the two would call it found.
            if self.known([digest]):
                self.database.write("UPDATE pictures SET made = ? WHERE sha256 = ?", made, digest)
            write_whole(path, data, "--home")
        sql = "SELECT * FROM pictures WHERE job = ? AND position = ? AND sha256 != ?"
        earlier = self._kept(self.database.rows(sql, job.id, artifact.index, digest))  # when it held other bytes
        annotations = replace(_annotations_of(earlier[0]) if earlier else read_annotations(path), deleted=None)
        if earlier:
            write_annotations(path, annotations)
        self.enter(path, digest, len(data), artifact, job, made, annotations)
        for old in earlier:
            remove_artifact(old.path)
        return path

    def take_out(self, job: str) -> None:
        """Take a job's pictures out of the bin: they are asked for again."""
        rows = self.database.rows("SELECT sha256 FROM pictures WHERE job = ? AND deleted IS NOT NULL", job)
        self.restore([row["sha256"] for row in rows])

    def enter(
        self,
        path: Path,
        digest: str,
        size: int,
        artifact: Artifact,
        job: Job,
        made: float,
        annotations: Annotations,
    ) -> None:
        """Write the row of a file of `size` bytes that is there."""
        request, thumbnail = job.request, media.thumbnail(artifact)
        row = {
            "sha256": digest,
            "file": path.relative_to(self.root).as_posix(),
            "bytes": size,
            "made": made,
            "job": job.id,
            "digest": job.digest,
            "model": request.model,
            "style": getattr(request, "style", ""),
            "position": artifact.index,
            "prompt": artifact.text or request.title,
            **{name: getattr(artifact, name) for name in FACTS},
        }
        with self.database.writing() as connection:
            known = "UPDATE pictures SET made = ? WHERE sha256 = ?"
            if connection.execute(known, (made, digest)).rowcount:
                return
            _forget(connection, "job = ? AND position = ?", job.id, artifact.index)
            insert = f"INSERT INTO pictures ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})"
            number = connection.execute(insert, tuple(row.values())).lastrowid or 0
            if thumbnail:
                connection.execute("INSERT INTO thumbnails VALUES (?, ?)", (number, thumbnail))
            if artifact.vector:
                place = (number, artifact.space, as_bytes(artifact.vector))
                connection.execute("INSERT INTO vectors VALUES (?, ?, ?)", place)
            _write_annotations(connection, number, str(row["prompt"]), annotations)

    def file(self, digest: str, suffix: str = ".png") -> Path:
        """Where a picture lies; 256 folders, so that none grows too large to list."""
        return self.folder / digest[:2] / f"{digest}{suffix}"

    def place(self, row: Row) -> Path:
        """Where a row's file lies, by its sha256 alone. A link, a pipe or another name counts as no file at all."""
        path = self.file(str(row["sha256"]), PurePath(str(row["file"])).suffix)
        ours = NAME.fullmatch(path.name) and (is_plain(path) or not os.path.lexists(path))
        return path if ours else self.folder / "nowhere" / "nothing.png"

    def found(self, job: str, queued: QueuedJob | None = None) -> dict[int, Saved]:
        """The pictures of a job that are here, by position; one whose file is gone or cut short is not.

        With the `queued` job come the seconds since it was begun; pictures older than its submission were found.
        """
        rows = self.database.rows("SELECT * FROM pictures WHERE job = ? ORDER BY position", job)
        whole = (row for row in rows if _size(self.place(row)) == row["bytes"])
        return {row["position"]: _saved(self.place(row), row, queued) for row in whole}

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
        sql = "SELECT sha256, file, webp FROM pictures LEFT JOIN thumbnails ON picture = number WHERE sha256 = ?"
        row = self.database.row(sql, digest)
        if row is None:
            raise KeyError(digest)
        try:
            return bytes(row["webp"]) if row["webp"] else self.place(row).read_bytes()
        except OSError as error:
            raise KeyError(digest) from error

    def labels(self, kind: str) -> dict[str, int]:
        """The tags or boards ("tag", "board") in use, each with its number of pictures."""
        sql = "SELECT name, count(*) AS count FROM labels WHERE kind = ? GROUP BY name ORDER BY name"
        return {row["name"]: row["count"] for row in self.database.rows(sql, kind)}

    # --- Marking ------------------------------------------------------------------------------------------------------

    def mark(self, digests: Iterable[str], **changes: Any) -> None:
        """Change annotations; a caption comes with how `sure` it is. KeyError for no picture, Refused for a bad one."""
        if "caption" in changes:
            changes = {"sure": None, "round_trip": None, **changes}
        check(changes)
        self._change(digests, lambda annotations: replace(annotations, **changes))

    def label(self, digests: Iterable[str], kind: Literal["tags", "boards"], name: str, on: bool = True) -> None:
        """Put a tag or board on pictures, or take it off; what else they have stays. Raises as `mark` does."""
        name = visible(name).strip()
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
                annotations = change(_annotations_of(kept))
                write_annotations(kept.path, annotations)
                _write_annotations(connection, kept.number, kept.prompt, annotations)

    def delete(self, digests: Iterable[str]) -> None:
        """Put pictures in the bin; `restore` takes them out, `empty_bin` ends them."""
        self.mark(digests, deleted=time.time())

    def restore(self, digests: Iterable[str]) -> None:
        self.mark(digests, deleted=None)

    def empty_bin(self) -> int:
        """Remove the files of deleted pictures -> how many."""
        count = 0
        for row in self.database.rows("SELECT number, sha256, file FROM pictures WHERE deleted IS NOT NULL"):
            with self.database.writing() as connection:  # the row first: a row without a file would be a lie
                gone = _forget(connection, "number = ? AND deleted IS NOT NULL", row["number"])
            if gone:  # it was not taken out meanwhile
                with self.database.explained():
                    remove_artifact(self.place(row))
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
                **{
                    **{name: row[name] for name in row.keys() if name in Kept.__dataclass_fields__},  # noqa: SIM118
                    "path": self.place(row),
                    "star": bool(row["star"]),
                    "tags": tuple(labels.get((row["number"], "tag"), ())),
                    "boards": tuple(labels.get((row["number"], "board"), ())),
                }
            )
            for row in rows
        ]


def _annotations_of(kept: Kept) -> Annotations:
    return Annotations(**{name: getattr(kept, name) for name in Annotations.__dataclass_fields__})


def _write_annotations(connection: Connection, number: int, prompt: str, annotations: Annotations) -> None:
    counted = "INSERT INTO settings VALUES ('marked', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1"
    connection.execute(counted)  # open pages see by it that something was changed
    noted = {name: value for name, value in vars(annotations).items() if name not in ("tags", "boards")}
    columns = ", ".join(f"{name} = ?" for name in noted)
    connection.execute(f"UPDATE pictures SET {columns} WHERE number = ?", (*noted.values(), number))
    connection.execute("DELETE FROM labels WHERE picture = ?", (number,))
    for kind, names in (("tag", annotations.tags), ("board", annotations.boards)):
        rows = [(number, kind, name.strip()) for name in dict.fromkeys(names)]
        connection.executemany("INSERT OR IGNORE INTO labels VALUES (?, ?, ?)", rows)
    connection.execute("DELETE FROM words WHERE rowid = ?", (number,))
    connection.execute(
        "INSERT INTO words (rowid, prompt, note, tags) VALUES (?, ?, ?, ?)",
        (number, *map(spaced, (prompt, f"{annotations.note} {annotations.caption}", " ".join(annotations.tags)))),
    )


def _forget(connection: Connection, where: str, *values: object) -> int:
    rows = connection.execute(f"SELECT number FROM pictures WHERE {where}", values).fetchall()
    for row in rows:
        connection.execute("DELETE FROM words WHERE rowid = ?", (row["number"],))
        connection.execute("DELETE FROM pictures WHERE number = ?", (row["number"],))
    return len(rows)


def _saved(path: Path, row: Row, job: QueuedJob | None = None) -> Saved:
    found = job is None or row["made"] < job.submitted
    seconds = 0.0 if found or job is None else max(0.0, row["made"] - (job.started or job.submitted))
    facts = {name: row[name] for name in ("kind", "media_type", "text", "frames")}
    return Saved(str(path), row["position"], row["seed"], row["score"], seconds, found, **facts)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if is_plain(path) else -1
    except OSError:
        return -1


def spaced(text: str) -> str:
    """Chinese characters as words of their own: FTS5 takes a run of them for one word."""
    return "".join(f" {c} " if "\u3400" <= c <= "\u9fff" else c for c in text)


def match(words: str, whole: bool = False) -> str:
    """An FTS5 query of all words, as beginnings of words unless `whole`, without operators; "" where there is none."""
    seen = "".join(character if character.isprintable() else " " for character in words)  # NUL ends a C string
    phrases = [" ".join(spaced(word).split()) for word in seen.split()[:WORDS_LIMIT]]
    end = '"' if whole else '"*'
    return " ".join('"' + phrase.replace('"', '""') + end for phrase in phrases if any(map(str.isalnum, phrase)))
