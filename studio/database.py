"""SQLite, opened the same way by every process: what a commit survives is decided here.

A durable database is in WAL mode with `synchronous=FULL`: each commit is on disk before it returns. A fleeting one
(progress, previews) does not wait for the disk, and is thrown away where it is damaged.
"""

import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from models.messages import Refused

SIGNS = {  # what SQLite's errors say, in this order
    "store.full": ("full",),
    "store.read_only": ("readonly", "read-only"),
    "store.cant_open": ("unable to open",),
    "store.busy": ("locked", "busy"),
    "store.damaged": ("malformed", "not a database", "no such table", "no such column"),
}
BUSY_SECONDS = 30.0  # so long a writer waits for another process's transaction


class StoreTrouble(Refused):
    """The database can't be used now: the disk is full, or the file is damaged or locked."""


class Database:
    """One file, a connection a thread.

    `migrations` are scripts, the n-th brings a database of version n - 1 to version n. Raises Refused with a sentence
    where the file can't be opened, is damaged, or was written by a newer studio.
    """

    def __init__(self, path: Path, migrations: Sequence[str], durable: bool = True) -> None:
        self.path, self._migrations, self._durable = path, migrations, durable
        self._local = threading.local()
        with self.explained():
            path.parent.mkdir(0o700, parents=True, exist_ok=True)  # pictures are private
            self._migrate()

    @property
    def connection(self) -> sqlite3.Connection:
        """This thread's connection, in autocommit; use `writing` for a transaction."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection and self._gone():
            if self._durable:
                raise StoreTrouble("store.vanished", path=str(self.path))
            self.close()
            connection = None
        if connection is None:
            connection = self._local.connection = self._connect()
            self._local.files = {}
        return connection

    def _gone(self) -> bool:
        """Whether a file was removed or replaced: nobody would see what is written into it."""
        now = {path: _number(path) for path in (self.path, _beside(self.path, "-wal"))}
        self._local.files = {path: number for path, number in now.items() if number} | self._local.files
        return any(now[path] != number for path, number in self._local.files.items())

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that holds the write lock from its start: what it reads stays true until it ends."""
        with self.explained():
            connection = self.connection
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):  # the disk that failed the commit may fail this one too
                    connection.execute("ROLLBACK")
                raise

    def write(self, sql: str, *values: object) -> int:
        """One change, as a transaction -> how many rows it changed."""
        with self.writing() as connection:
            return connection.execute(sql, values).rowcount

    def rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        with self.explained():
            return self.connection.execute(sql, values).fetchall()

    def row(self, sql: str, *values: object) -> sqlite3.Row | None:
        return next(iter(self.rows(sql, *values)), None)

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Turn the errors of SQLite and the system into sentences."""
        try:
            yield
        except OSError as error:
            problem = str(error.strerror or error)
            raise StoreTrouble("store.unusable_folder", path=str(self.path.parent), problem=problem) from error
        except UnicodeDecodeError as error:  # in a text of the file, or in what SQLite quotes of it
            raise StoreTrouble("store.damaged", path=str(self.path)) from error
        except sqlite3.Error as error:
            problem = str(error).lower()
            known = (code for code, signs in SIGNS.items() if any(sign in problem for sign in signs))
            raise StoreTrouble(next(known, "store.unusable"), path=str(self.path), problem=str(error)) from error

    def close(self) -> None:
        """Close this thread's connection."""
        if connection := getattr(self._local, "connection", None):
            connection.close()
            self._local.connection = None

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
        connection.row_factory = sqlite3.Row
        connection.execute(f"PRAGMA synchronous={'FULL' if self._durable else 'OFF'}")
        connection.execute("PRAGMA foreign_keys=ON")
        _use_wal(connection)
        return connection

    def _migrate(self) -> None:
        if not self._durable:
            self._throw_away_what_is_damaged()
        connection, newest = self.connection, len(self._migrations)
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > newest and self._durable:
            raise Refused("store.newer", path=str(self.path), version=version, newest=newest)
        if version < newest:
            with self.writing():  # another process may have been faster: look again
                version = connection.execute("PRAGMA user_version").fetchone()[0]
                for number, script in enumerate(self._migrations[version:], version + 1):
                    for statement in statements(script):
                        connection.execute(statement)
                    connection.execute(f"PRAGMA user_version={number}")

    def _throw_away_what_is_damaged(self) -> None:
        try:
            connection = self.connection
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            healthy = connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok"
            if healthy and version <= len(self._migrations):
                return
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and "malformed" not in str(error):
                raise
        self.close()
        remove(self.path)


def migrations(name: str) -> tuple[str, ...]:
    """The scripts of a database, `schema/<name>-<version>.sql`; one that has shipped is never edited."""
    paths = (Path(__file__).parent / "schema").glob(f"{name}-*.sql")
    ordered = sorted(paths, key=lambda path: int(path.stem.rpartition("-")[2]))
    return tuple(path.read_text(encoding="utf-8") for path in ordered)


def statements(script: str) -> Iterator[str]:
    """The single statements of a script; `executescript` would commit in the middle of a transaction."""
    part = ""
    for line in script.splitlines():
        part += line + "\n"
        if sqlite3.complete_statement(part):
            yield part
            part = ""
    if part.strip():
        yield part


def remove(path: Path) -> None:
    """Remove a database and its logs."""
    remove_sidecars(path)
    path.unlink(missing_ok=True)


def remove_sidecars(path: Path) -> None:
    """Remove the log of a database that is closed: beside another one it would be taken for that one's."""
    for suffix in ("-wal", "-shm"):
        _beside(path, suffix).unlink(missing_ok=True)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _number(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL mode. It needs the file alone and does not wait: another process may be switching too."""
    deadline = time.monotonic() + BUSY_SECONDS
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
