"""Series: jobs that were asked for together (a prompt file, a set, a grid), each in a file that every page finds again.

    series/<name>.jsonl      what it is, then a line a job; written whole before the first one is queued
    series/<name>.lined      how many of them have been queued

What became of the jobs is in the queue and the gallery, and nowhere else.
"""

import functools
import json
import re
import secrets
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.messages import Message, Refused
from studio.files import make_folder, write_whole
from studio.gallery import Kept
from studio.page.context import PageContext
from studio.planner import Job
from studio.queue import OPEN, read_message
from studio.requests import ANY_REQUEST

FOLDER = "series"
NAME = re.compile(r"[0-9a-f]{24}")
CHUNK = 25  # jobs that are queued between two writes of how many there are
MEMBERS_CACHED = 8  # series whose jobs are kept in memory
IDS_CACHED = 64  # series whose job ids are: more than any tab lists
# Priorities in the queue: single jobs go first (0), then what a person looks at, then prompt files.
WATCHED, BACKGROUND = -1, -2


@dataclass(frozen=True)
class Member:
    """A job of a series: its label there, and the file names of its pictures."""

    id: str
    label: str
    files: tuple[str, ...]
    request: Any


@dataclass(frozen=True)
class Series:
    """A series. `made` is in seconds since the epoch, `jobs` counts them, `about` holds plain values of its own tab."""

    id: str
    kind: str
    title: str
    made: float
    jobs: int
    priority: int
    about: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Counts:
    """How many different jobs are in which state. `unqueued` are not in the queue (yet); `problem` says why."""

    done: int = 0
    failed: int = 0
    cancelled: int = 0
    open: int = 0
    unqueued: int = 0
    problem: str | Message = ""

    @property
    def total(self) -> int:
        """All of them."""
        return self.done + self.failed + self.cancelled + self.open + self.unqueued


class SeriesStore:
    """The series of a studio. All methods may be called from any thread."""

    def __init__(self, context: PageContext) -> None:
        self.context, self.studio, self.folder = context, context.studio, context.studio.home / FOLDER
        self._lock, self._queueing, self._problems = threading.Lock(), set[str](), dict[str, str | Message]()
        self._members = functools.lru_cache(MEMBERS_CACHED)(self._read_members)
        self._job_ids = functools.lru_cache(IDS_CACHED)(self._read_ids)

    # --- Asking and finding -------------------------------------------------------------------------------------------

    def begin(
        self, kind: str, title: str, members: Sequence[Member], priority: int, about: dict[str, Any] | None = None
    ) -> Series:
        """Write a series and begin to queue its jobs, in a thread. Refused where it can't be written."""
        name = f"{time.time_ns():016x}{secrets.token_hex(4)}"
        series = Series(name, kind, title, time.time(), len(members), priority, about or {})
        head = {key: value for key, value in vars(series).items() if key != "id"}
        rows = [head, *({**vars(one), "request": one.request.model_dump(mode="json")} for one in members)]
        make_folder(self.folder)
        write_whole(self._file(name), "".join(json.dumps(row) + "\n" for row in rows).encode(), "--home")
        self._start_queueing(series)
        return series

    def get(self, name: str) -> Series:
        """One of them; KeyError where there is none of that name, which may come from a browser."""
        try:
            with self._file(name).open("rb") as file:
                return Series(name, **json.loads(file.readline()))
        except (OSError, ValueError, TypeError) as error:
            raise KeyError(name) from error

    def latest(self, kind: str, limit: int) -> list[Series]:
        """Those of a kind, newest first."""
        found: list[Series] = []
        for path in sorted(self.folder.glob("*.jsonl"), reverse=True):
            try:
                series = self.get(path.stem)
            except KeyError:
                continue  # another process removed it just now
            if series.kind == kind:
                found.append(series)
            if len(found) == limit:
                break
        return found

    def members(self, series: Series) -> tuple[Member, ...]:
        """Its jobs, in order."""
        return self._members(series.id)

    def ids(self, series: Series) -> tuple[str, ...]:
        """The ids of its jobs, in order: cheaper than the jobs themselves."""
        return self._job_ids(series.id)

    def change(self, series: Series, title: str | None = None, **about: Any) -> Series:
        """Another title, or other values of `about`; its jobs stay."""
        with self._lock:
            head, _, rows = self._file(series.id).read_bytes().partition(b"\n")
            said = json.loads(head)
            said["title"] = said["title"] if title is None else title
            said["about"] |= about
            write_whole(self._file(series.id), json.dumps(said).encode() + b"\n" + rows, "--home")
        return self.get(series.id)

    def remove(self, series: Series) -> None:
        """Delete its file. Its pictures stay; jobs that wait are cancelled."""
        self.stop(series)
        for path in (self._file(series.id), self._queued_file(series.id)):
            path.unlink(missing_ok=True)

    # --- What became of it --------------------------------------------------------------------------------------------

    def counts(self, series: Series) -> Counts:
        """How many of its jobs are in which state."""
        wanted = self._ids(series)
        sql = "SELECT state, count(*) AS count FROM jobs WHERE id IN (SELECT value FROM json_each(?)) GROUP BY state"
        counts = {row["state"]: row["count"] for row in self._rows(sql, wanted)}
        return Counts(
            counts.get("done", 0),
            counts.get("failed", 0) + counts.get("aside", 0),
            counts.get("cancelled", 0),
            sum(counts.get(state, 0) for state in OPEN),
            len(wanted) - sum(counts.values()),
            self._problems.get(series.id, ""),
        )

    def failures(self, series: Series, limit: int) -> list[tuple[Member, Message]]:
        """Jobs that failed or were quarantined, each with the message that says why."""
        failed = "state IN ('failed', 'aside') AND id IN (SELECT value FROM json_each(?))"
        rows = self._rows(f"SELECT id, sentence FROM jobs WHERE {failed}", self._ids(series))
        why = {row["id"]: read_message(row["sentence"]) for row in rows}
        return [(one, why[one.id]) for one in self.members(series) if one.id in why][:limit]

    def states(self, series: Series) -> dict[str, tuple[str, Message]]:
        """State and message of its jobs that are or were in the queue, by id."""
        sql = "SELECT id, state, sentence FROM jobs WHERE id IN (SELECT value FROM json_each(?))"
        return {row["id"]: (row["state"], read_message(row["sentence"])) for row in self._rows(sql, self._ids(series))}

    def pictures(self, series: Series, limit: int = -1) -> list[Kept]:
        """Its pictures that are in the gallery, newest first; -1 is all of them."""
        sql = (
            "SELECT number FROM pictures WHERE job IN (SELECT value FROM json_each(?)) AND deleted IS NULL"
            " ORDER BY number DESC LIMIT ?"
        )
        rows = self._rows(sql, self._ids(series), limit)
        return self.studio.gallery.numbered([row["number"] for row in rows])

    def files(self, series: Series) -> list[tuple[str, Path]]:
        """(name, file) of each picture that is there, in the order of the jobs."""
        kept = {(one.job, one.position): one.path for one in self.pictures(series)}
        named: dict[str, Path] = {}
        for one in self.members(series):
            for position, name in enumerate(one.files):
                if (one.id, position) in kept:
                    named.setdefault(name, kept[one.id, position])
        return list(named.items())

    # --- Going on -----------------------------------------------------------------------------------------------------

    def resume(self, kind: str) -> None:
        """Go on with the series that were not queued whole when the studio stopped."""
        for path in self.folder.glob("*.jsonl"):
            try:
                series = self.get(path.stem)
            except KeyError:
                continue
            if series.kind == kind and self._queued(series.id) < series.jobs:
                self._start_queueing(series)

    def retry(self, series: Series) -> None:
        """Queue again what failed or was quarantined."""
        self.studio.queue.retry([one.id for one, _ in self.failures(series, series.jobs)])
        self.studio.open()

    def go_on(self, series: Series) -> None:
        """Queue all that is not done: what was cancelled, what failed, what was never queued."""
        if not self.is_queueing(series):
            self._write_queued(series.id, 0)
            self._start_queueing(series)

    def stop(self, series: Series) -> None:
        """Queue no more of it, and cancel what waits or runs."""
        with self._lock:
            self._write_queued(series.id, series.jobs)
            self.studio.queue.cancel(self._ids(series))

    def is_queueing(self, series: Series) -> bool:
        """Whether this process is queueing jobs of it just now."""
        return series.id in self._queueing

    def _start_queueing(self, series: Series) -> None:
        with self._lock:
            if series.id in self._queueing:
                return
            self._queueing.add(series.id)
            self._problems.pop(series.id, None)
        threading.Thread(target=self._queue_all, args=(series,), daemon=True, name="studio-series").start()

    def _queue_all(self, series: Series) -> None:
        try:
            while self._queue_chunk(series):
                pass
        except (Refused, KeyError, OSError) as problem:  # a full disk; the series was removed
            self._problems[series.id] = _said(problem)
        finally:
            self._queueing.discard(series.id)

    def _queue_chunk(self, series: Series) -> bool:
        """Queue the next CHUNK jobs -> whether there may be more. Whatever interrupts this, each job is queued once: an
        id is one job, however often it is asked for.
        """
        with self._lock:  # `stop` waits, or jobs would be queued right after it
            first = self._queued(series.id)
            chunk = self.members(series)[first : first + CHUNK]
            for one in chunk:
                try:
                    self.studio.submit(Job(one.request, one.id, ""), series.priority)
                except Refused as refusal:  # a picture that it starts from is gone: the others go on
                    self._problems[series.id] = refusal.message
            if chunk:
                self._write_queued(series.id, first + len(chunk))
            return bool(chunk)

    # --- Files --------------------------------------------------------------------------------------------------------

    def _file(self, name: str) -> Path:
        if not NAME.fullmatch(name):
            raise KeyError(name)
        return self.folder / f"{name}.jsonl"

    def _queued_file(self, name: str) -> Path:
        return self._file(name).with_suffix(".lined")

    def _write_queued(self, name: str, count: int) -> None:
        write_whole(self._queued_file(name), str(count).encode(), "--home")

    def _queued(self, name: str) -> int:
        try:
            return int(self._queued_file(name).read_text())
        except (OSError, ValueError):
            return 0

    def _read_members(self, name: str) -> tuple[Member, ...]:
        return tuple(map(_member, self._read_rows(name)))

    def _read_ids(self, name: str) -> tuple[str, ...]:
        return tuple(str(row["id"]) for row in self._read_rows(name))

    def _read_rows(self, name: str) -> list[dict[str, Any]]:
        try:
            with self._file(name).open("rb") as file:
                file.readline()
                return [json.loads(line) for line in file]
        except (OSError, ValueError) as error:
            raise KeyError(name) from error

    def _ids(self, series: Series) -> list[str]:
        return list(dict.fromkeys(self.ids(series)))

    def _rows(self, sql: str, ids: Iterable[str], *values: object) -> list[Any]:
        return self.context.rows(sql, json.dumps(list(ids)), *values)


def _said(problem: Exception) -> str | Message:
    return problem.message if isinstance(problem, Refused) else str(problem)


def _member(row: dict[str, Any]) -> Member:
    request = ANY_REQUEST.validate_json(json.dumps(row["request"]))
    return Member(row["id"], row["label"], tuple(row["files"]), request)
