"""Maintenance of a home: what is wrong with it (`inspect`), and rebuilding its database from the files (`rebuild`)."""

import contextlib
import hashlib
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from models.messages import Message, Refused
from studio import media
from studio.annotations import read_annotations
from studio.database import Database, remove, remove_sidecars
from studio.files import PART, is_plain, sha256
from studio.gallery import Gallery
from studio.home import DATABASE, Home
from studio.media import MEDIA_TYPES
from studio.metadata.files import read, strip
from studio.metadata.origin import placed
from studio.planner import Job
from studio.requests import stored_request

ENDINGS = tuple(MEDIA_TYPES)


@dataclass(frozen=True)
class Finding:
    """Something wrong: what `kind`, with which file, and what to do."""

    kind: str
    path: str
    message: Message


def inspect(home: Home) -> Iterator[Finding]:
    """Everything that does not fit, file by file; changes nothing. Reads each picture once (sha256)."""
    known: set[Path] = set()
    for row in home.database.rows("SELECT * FROM pictures ORDER BY number"):
        path = home.gallery.place(row)
        known.add(path)
        if finding := _wrong_file(path, home.root / str(row["file"]), row["bytes"], row["sha256"]):
            yield finding
    yield from _strays(home.gallery, known)
    with contextlib.suppress(Refused):
        if home.database.rows("PRAGMA quick_check(1)")[0][0] == "ok":
            return
    yield Finding("damaged database", str(home.database.path), Message("advice.rebuild"))


def _wrong_file(path: Path, named: Path, size: int, digest: str) -> Finding | None:
    if not is_plain(path):
        return Finding("missing file", str(named), Message("advice.missing"))
    if path.stat().st_size != size:
        return Finding("cut short", str(path), Message("advice.make_again"))
    if sha256(path) != digest:
        return Finding("altered or rotten", str(path), Message("advice.restore"))
    return None


def _strays(gallery: Gallery, known: set[Path]) -> Iterator[Finding]:
    for path in sorted(gallery.folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            continue
        if path.name.startswith(PART):
            yield Finding("unfinished file", str(path), Message("advice.next_start"))
        elif path.suffix.lower() in ENDINGS and path not in known:
            ours = is_plain(path) and path.stem == sha256(path)
            advice = "advice.rebuild" if ours else "advice.not_ours"
            yield Finding("not in the gallery", str(path), Message(advice))


@dataclass
class Rebuilt:
    """What a rebuild found: pictures and jobs taken up, files left alone, and where the old database lies."""

    pictures: int = 0
    jobs: int = 0
    skipped: int = 0
    old: str = ""


def rebuild(root: Path) -> Rebuilt:
    """Make the database of the home `root` again from its files; the old one takes another name when all is done.

    Jobs are in no file: they are saved from the old database as far as it can be read. Nothing is deleted, and a
    rebuild that is stopped changes nothing. Refused where the new one can't be written.
    """
    path, new = root / DATABASE, root / f"new-{DATABASE}"
    remove(new)  # of a rebuild that was stopped
    home, result = Home(root, new.name), Rebuilt()
    for table in ("settings", "jobs"):
        rows = _saved(path, table, home.database)
        with home.database.writing() as connection:
            for row in rows:
                columns, marks = ", ".join(row), ", ".join("?" * len(row))
                connection.execute(f"INSERT OR IGNORE INTO {table} ({columns}) VALUES ({marks})", tuple(row.values()))
    for file in _by_age(home.gallery.folder):
        taken = _take_up(home.gallery, file)
        result.pictures += taken
        result.skipped += not taken
    result.jobs = sum(home.queue.counts().values())
    _swap(home, path, result)
    return result


def _swap(home: Home, path: Path, result: Rebuilt) -> None:
    """The new database in the old one's place."""
    new = home.database
    with new.explained():
        new.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        new.close()
        if path.exists():
            result.old = str(_aside(path))
        remove_sidecars(new.path)
        new.path.replace(path)


def _saved(path: Path, table: str, new: Database) -> list[dict[str, Any]]:
    """The rows of an old table, as many as can be read, with what this version has columns for."""
    if not path.is_file():
        return []
    rows: list[dict[str, Any]] = []
    columns = {row["name"] for row in new.rows(f"PRAGMA table_info({table})")} - {"number", "owner"}
    unreadable = (sqlite3.Error, UnicodeDecodeError)  # the second where SQLite quotes damaged bytes
    with contextlib.suppress(*unreadable), contextlib.closing(sqlite3.connect(path, timeout=1)) as old:
        old.row_factory, old.text_factory = sqlite3.Row, lambda text: text.decode(errors="replace")
        for row in old.execute(f"SELECT * FROM {table} ORDER BY 1"):
            rows.append({name: row[name] for name in row.keys() if name in columns})  # noqa: SIM118 - a Row, not a dict
    for row in rows:
        if row.get("state") == "running":
            row |= {"state": "cancelled" if row.get("wish") else "waiting", "wish": ""}
    return rows


def _aside(path: Path) -> Path:
    """Move a database with what lies beside it to a name that is free."""
    target = path.with_name(f"{path.stem}.old-{time.strftime('%Y%m%d-%H%M%S')}-{time.monotonic_ns() % 10**6}.db")
    for suffix in ("-wal", "-shm", ""):  # the database last: beside a new one its log would be taken for that one's
        beside = path.with_name(path.name + suffix)
        if beside.exists():
            beside.replace(target.with_name(target.name + suffix))
    return target


def _by_age(folder: Path) -> list[Path]:
    files = [p for p in folder.rglob("*") if p.suffix.lower() in ENDINGS and is_plain(p)]
    return sorted(files, key=lambda path: (path.stat().st_mtime_ns, path.name))


def _take_up(gallery: Gallery, path: Path) -> bool:
    """Enter a file that is whole and ours. Refused where the database can't take it: that is no fault of the file."""
    try:
        data, origin = path.read_bytes(), read(path)
        digest = hashlib.sha256(data).hexdigest()
        if path.stem != digest or "job_id" not in origin:
            return False
        artifact = placed(media.read(strip(data, path), media.media_type_of(path)), origin)
        request = stored_request(origin["request"])
        job = Job(request, str(origin["job_id"]), str(origin.get("digest", "")))
    except (OSError, ValueError, KeyError, TypeError, SyntaxError, Image.DecompressionBombError):
        return False
    gallery.enter(path, digest, len(data), artifact, job, path.stat().st_mtime, read_annotations(path))
    return True
