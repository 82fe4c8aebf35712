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
from studio.database import Database, migrations, remove, remove_sidecars
from studio.files import PART, is_plain, sha256
from studio.gallery import Gallery, read_annotations
from studio.home import DATABASE, Home
from studio.metadata.files import read, strip
from studio.metadata.origin import placed
from studio.planner import Job
from studio.queue import Claims
from studio.requests import stored_request


@dataclass(frozen=True)
class Finding:
    """A problem: its `kind`, its file, and what to do."""

    kind: str
    path: str
    message: Message


def inspect(home: Home) -> Iterator[Finding]:
    """Yield all problems; changes nothing. Reads each picture once (sha256)."""
    known: set[Path] = set()
    for row in home.database.rows("SELECT * FROM artifacts ORDER BY number"):
        path = home.gallery.path_of(row)
        known.add(path)
        if not is_plain(path):
            yield Finding("missing file", str(home.root / str(row["file"])), Message("advice.missing"))
        elif path.stat().st_size != row["bytes"]:
            yield Finding("cut short", str(path), Message("advice.make_again"))
        elif sha256(path) != row["sha256"]:
            yield Finding("altered or rotten", str(path), Message("advice.restore"))
    for path in sorted(home.gallery.folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            continue
        if path.name.startswith(PART):
            yield Finding("unfinished file", str(path), Message("advice.next_start"))
        elif path.suffix.lower() in media.media_types() and path not in known:
            advice = "advice.rebuild" if is_plain(path) and path.stem == sha256(path) else "advice.not_ours"
            yield Finding("not in the gallery", str(path), Message(advice))
    with contextlib.suppress(Refused):
        if home.database.rows("PRAGMA quick_check(1)")[0][0] == "ok":
            return
    yield Finding("damaged database", str(home.database.path), Message("advice.rebuild"))


@dataclass
class Rebuilt:
    """What a rebuild found: pictures and jobs taken up, files left alone, and where the old database lies."""

    pictures: int = 0
    jobs: int = 0
    skipped: int = 0
    old: str = ""


def rebuild(root: Path) -> Rebuilt:
    """Make the database of the home `root` again from its files; the old one takes another name when all is done.

    Jobs and ratings are in no file: they are saved from the old database as far as it can be read. Nothing is deleted,
    and a rebuild that is stopped changes nothing. Refused where the new one can't be written.
    """
    path, new = root / DATABASE, root / f"new-{DATABASE}"
    remove(new)  # of a rebuild that was stopped
    _salvage(path, new)
    home, result = Home(root, new.name), Rebuilt()
    Claims(home.database, "").release()
    files = [p for p in home.gallery.folder.rglob("*") if p.suffix.lower() in media.media_types() and is_plain(p)]
    for file in sorted(files, key=lambda path: (path.stat().st_mtime_ns, path.name)):
        taken = _take_up(home.gallery, file)
        result.pictures += taken
        result.skipped += not taken
    result.jobs = sum(home.queue.counts().values())
    with home.database.explained():
        home.database.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        home.database.close()
        if path.exists():
            result.old = str(_rename_old(path))
        remove_sidecars(new)
        new.replace(path)
    return result


IN_NO_FILE = ("settings", "jobs", "ratings", "downloads")  # tables


def _salvage(old: Path, new: Path) -> None:
    """Copy the tables IN_NO_FILE, as much as can be read, into a new database of the old one's version."""
    steps, rows = migrations("home"), {name: list[dict[str, Any]]() for name in IN_NO_FILE}
    version, unreadable = len(steps), (sqlite3.Error, UnicodeDecodeError)  # SQLite may quote damaged bytes
    if not old.is_file():
        return
    with contextlib.suppress(*unreadable), contextlib.closing(sqlite3.connect(old, timeout=1)) as source:
        source.row_factory, source.text_factory = sqlite3.Row, lambda text: text.decode(errors="replace")
        stored = source.execute("PRAGMA user_version").fetchone()[0]
        version = stored if 0 < stored < version else version
        for table, copies in rows.items():
            with contextlib.suppress(*unreadable):
                copies.extend(map(dict, source.execute(f"SELECT * FROM {table} ORDER BY 1")))
    target = Database(new, steps[:version])
    with target.writing() as connection:
        for table, copies in rows.items():
            columns = {row["name"] for row in connection.execute(f"PRAGMA table_info({table})")} - {"number", "owner"}
            for copy in copies:
                values = {name: value for name, value in copy.items() if name in columns}
                names, marks = ", ".join(values), ", ".join("?" * len(values))
                insert = f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})"
                connection.execute(insert, tuple(values.values()))
    target.close()


def _rename_old(path: Path) -> Path:
    """Move a database and its logs to a free name."""
    target = path.with_name(f"{path.stem}.old-{time.strftime('%Y%m%d-%H%M%S')}-{time.monotonic_ns() % 10**6}.db")
    for suffix in ("-wal", "-shm", ""):  # the database last: beside a new one its log would be taken for that one's
        beside = path.with_name(path.name + suffix)
        if beside.exists():
            beside.replace(target.with_name(target.name + suffix))
    return target


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
