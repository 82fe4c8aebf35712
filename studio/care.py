"""Looking after a home: what is wrong with it (`inspect`), and making its database again from the files (`rebuild`)."""

import contextlib
import hashlib
import sqlite3
import time
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.capabilities import Refused
from studio.files import PART
from studio.gallery import Entry, Gallery, read_marks
from studio.house import DATABASE, House
from studio.metadata import read
from studio.schema import MIGRATIONS
from studio.vectors import DIM

PICTURES = (".png", ".webp", ".jpg", ".jpeg", ".avif")


@dataclass(frozen=True)
class Finding:
    """Something wrong: what `kind`, with which file, and what to do."""

    kind: str
    path: str
    advice: str


def inspect(house: House) -> Iterator[Finding]:
    """Everything that does not fit, file by file; changes nothing. Reads each picture once (sha256)."""
    known: set[Path] = set()
    for row in house.database.rows("SELECT * FROM pictures ORDER BY number"):
        path = house.root / row["file"]
        known.add(path)
        if finding := _wrong_file(path, row["bytes"], row["sha256"]):
            yield finding
    yield from _strays(house.gallery, known)
    with contextlib.suppress(Refused):
        if house.database.rows("PRAGMA quick_check(1)")[0][0] == "ok":
            return
    yield Finding("damaged database", str(house.database.path), "run: studio rebuild")


def _wrong_file(path: Path, size: int, digest: str) -> Finding | None:
    if path.is_symlink() or not path.is_file():
        return Finding("missing file", str(path), "make it again from the gallery, or run: studio rebuild")
    if path.stat().st_size != size:
        return Finding("cut short", str(path), "make it again: studio retry does")
    if _sha256(path) != digest:
        return Finding("altered or rotten", str(path), "restore it from a copy, or delete it and make it again")
    return None


def _strays(gallery: Gallery, known: set[Path]) -> Iterator[Finding]:
    for path in sorted(gallery.folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            continue
        if path.name.startswith(PART):
            yield Finding("unfinished file", str(path), "the next start of the studio removes it")
        elif path.suffix.lower() in PICTURES and path not in known:
            yield Finding("not in the gallery", str(path), "run: studio rebuild")


@dataclass
class Rebuilt:
    """What a rebuild found: pictures and jobs taken up, files left alone, and where the old database lies."""

    pictures: int = 0
    jobs: int = 0
    skipped: int = 0
    old: str = ""


def rebuild(root: Path) -> Rebuilt:
    """Make the database of the home `root` again from its files, and move the old one aside.

    Jobs that wait are in no file: they are saved from the old database as far as it can be read. Nothing is deleted.
    """
    path = root / DATABASE
    jobs, result = _saved_jobs(path), Rebuilt()
    if path.exists():
        result.old = str(_aside(path))
    house = House(root)
    with house.database.writing() as connection:
        for job in jobs:
            columns = ", ".join(job)
            marks = ", ".join("?" * len(job))
            connection.execute(f"INSERT OR IGNORE INTO jobs ({columns}) VALUES ({marks})", tuple(job.values()))
    result.jobs = len(jobs)
    for file in _by_age(house.gallery.folder):
        taken = _take_up(house.gallery, file)
        result.pictures += taken
        result.skipped += not taken
    return result


def _saved_jobs(path: Path) -> list[dict[str, Any]]:
    """The rows of the old table of jobs, as many as can be read, with what this version has columns for."""
    if not path.is_file():
        return []
    rows: list[dict[str, Any]] = []
    with contextlib.closing(sqlite3.connect(":memory:")) as fresh:
        fresh.executescript(MIGRATIONS[0])
        columns = {row[1] for row in fresh.execute("PRAGMA table_info(jobs)")} - {"number", "owner"}
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(path, timeout=1)) as old:
        old.row_factory = sqlite3.Row
        for row in old.execute("SELECT * FROM jobs ORDER BY number"):
            rows.append({name: row[name] for name in row.keys() if name in columns})  # noqa: SIM118 - a Row, not a dict
    for row in rows:
        row["state"] = "waiting" if row.get("state") == "running" else row.get("state")
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
    files = [p for p in folder.rglob("*") if p.suffix.lower() in PICTURES and p.is_file() and not p.is_symlink()]
    return sorted(files, key=lambda path: (path.stat().st_mtime_ns, path.name))


def _take_up(gallery: Gallery, path: Path) -> bool:
    """Enter a file that is whole and ours."""
    try:
        data = path.read_bytes()
        digest, origin = hashlib.sha256(data).hexdigest(), read(path)
        if path.stem != digest or "job_id" not in origin:
            return False
        gallery.enter(path, digest, data, _entry(origin, path.stat().st_mtime), read_marks(path))
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return True


def _entry(origin: dict[str, Any], made: float) -> Entry:
    request, vector = origin["request"], b64decode(origin.get("vector", ""))
    return Entry(
        job=str(origin["job_id"]),
        position=int(origin["index"]),
        seed=int(origin["seed"]),
        prompt=str(request.get("prompt", "")),
        style=str(request.get("style", "")),
        model=str(request.get("model", "")),
        digest=str(origin.get("digest", "")),
        score=origin.get("score"),
        made=made,
        space=str(origin.get("space", "")) if len(vector) == 2 * DIM else "",
        vector=vector if len(vector) == 2 * DIM else b"",
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
