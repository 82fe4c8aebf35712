"""Series: jobs submitted together (a prompt file, a set, a grid), stored in a file for each series.

    series/<name>.jsonl      a head, then a line for each job; written completely before the first job is queued
    series/<name>.lined      how many of the jobs have been queued

States and results of the jobs are in the queue and the gallery only.
"""

import contextlib
import functools
import itertools
import json
import re
import secrets
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from models.messages import Message, Refused
from studio.events import Unknown
from studio.files import make_folder, ready_folder, write_whole
from studio.gallery import GalleryItem
from studio.planner import Job
from studio.queue import OPEN, read_message
from studio.requests import stored_request
from studio.studio import Studio

FOLDER = "series"
NAME = re.compile(r"[0-9a-f]{24}")
CHUNK = 25  # jobs queued between two writes of the `.lined` file
MEMBERS_CACHED = 8  # series whose jobs are cached
WORDS = 20  # maximum of listed words that were not drawn
IDS_CACHED = 64  # series whose job ids are cached: more than any tab lists
# Priorities in the queue: single jobs have 0; series that a person watches come next, prompt files last.
WATCHED, BACKGROUND = -1, -2
AMONG = "IN (SELECT value FROM json_each(?))"  # the ids of a series

LATEST = 200  # jobs that the pace is measured on
# Jobs of one batch start and end together, and some results come from the gallery: only pictures created between the
# start and the end of their job count. `busy` counts the time of overlapping jobs once.
DRAWN = """
SELECT jobs.started, jobs.ended, count(*) * max(1, ifnull(json_extract(jobs.request, '$.steps'), 1)) AS work
FROM (SELECT * FROM jobs WHERE state = 'done' AND started IS NOT NULL ORDER BY number DESC LIMIT ?) AS jobs
JOIN artifacts ON artifacts.job = jobs.id AND artifacts.digest = ? AND created BETWEEN jobs.started AND jobs.ended
GROUP BY jobs.id ORDER BY jobs.started
"""


@dataclass(frozen=True)
class Member:
    """A job of a series: its label, and the file names of its pictures."""

    id: str
    label: str
    files: Sequence[str]
    request: Any


@dataclass(frozen=True)
class Series:
    """A series. `created` is in seconds since the epoch; `jobs` is a number; `about` holds JSON values of its tab."""

    id: str
    kind: str
    title: str
    created: float
    jobs: int
    priority: int
    about: dict[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Counts:
    """How many distinct jobs are in which state. `unqueued` jobs are not in the queue (yet): `problem` says why, and
    `queueing` whether a thread is queueing them. `left` is in seconds, None if unknown. `unknown` holds the words of
    the prompts that were not drawn.
    """

    done: int = 0
    failed: int = 0
    cancelled: int = 0
    open: int = 0
    unqueued: int = 0
    queueing: bool = False
    problem: str | Message = ""
    left: float | None = None
    paused: bool = False
    unknown: tuple[Unknown, ...] = ()

    @property
    def total(self) -> int:
        return self.done + self.failed + self.cancelled + self.open + self.unqueued

    @property
    def ahead(self) -> int:
        """Jobs that are still to be done."""
        return self.open + (self.unqueued if self.queueing else 0)

    @property
    def stopped(self) -> int:
        """Jobs that are done only if they are queued again."""
        return self.cancelled + (0 if self.queueing else self.unqueued)


class SeriesStore:
    """The series of a studio. Thread-safe.

    `members` returns the jobs of a series in order; `ids` returns their ids, which is faster.
    """

    def __init__(self, studio: Studio) -> None:
        self.studio, self.folder = studio, studio.home / FOLDER
        self._lock, self._queueing, self._problems = threading.Lock(), set[str](), dict[str, str | Message]()
        self.members = functools.lru_cache(MEMBERS_CACHED)(self._read_members)
        self.ids = functools.lru_cache(IDS_CACHED)(self._read_ids)

    def begin(
        self, kind: str, title: str, members: Sequence[Member], priority: int, about: dict[str, Any] | None = None
    ) -> Series:
        """Write a series and start to queue its jobs, in a thread. Refused if it can't be written."""
        ready_folder(self.studio.gallery.folder, sum(one.request.count for one in members))
        name = f"{time.time_ns():016x}{secrets.token_hex(4)}"
        series = Series(name, kind, title, time.time(), len(members), priority, about or {})
        head = {key: value for key, value in vars(series).items() if key != "id"}
        rows = [head, *({**vars(one), "request": one.request.model_dump(mode="json")} for one in members)]
        make_folder(self.folder)
        write_whole(self._file(name), "".join(json.dumps(row) + "\n" for row in rows).encode(), "--home")
        self._start_queueing(series)
        return series

    def get(self, name: str) -> Series:
        """A series by name, which may come from a browser; KeyError if there is none."""
        try:
            with self._file(name).open("rb") as file:
                head = json.loads(file.readline())
            head.setdefault("created", head.pop("made", 0.0))  # its name in older versions
            return Series(name, **head)
        except (OSError, ValueError, TypeError) as error:
            raise KeyError(name) from error

    def every(self) -> Iterator[Series]:
        """All series, newest first."""
        for path in sorted(self.folder.glob("*.jsonl"), reverse=True):
            with contextlib.suppress(KeyError):  # another process removed it just now
                yield self.get(path.stem)

    def latest(self, kind: str, limit: int) -> list[Series]:
        return list(itertools.islice((series for series in self.every() if series.kind == kind), limit))

    def change(self, series: Series, title: str = "", **about: Any) -> None:
        """Change the title, or values of `about`."""
        with self._lock:
            head, _, rows = self._file(series.id).read_bytes().partition(b"\n")
            record = json.loads(head)
            record["title"] = title or record["title"]
            record["about"] |= about
            write_whole(self._file(series.id), json.dumps(record).encode() + b"\n" + rows, "--home")

    def remove(self, series: Series) -> None:
        """Delete a series. Its pictures stay; its open jobs are cancelled."""
        self.stop(series)
        for suffix in (".jsonl", ".lined"):
            self._file(series.id, suffix).unlink(missing_ok=True)

    def counts(self, series: Series) -> Counts:
        """The states of its jobs, and the time left if no other jobs come between."""
        rows = self._rows(f"SELECT state, count(*) AS count FROM jobs WHERE id {AMONG} GROUP BY state", series)
        counts, left = Counter({row["state"]: row["count"] for row in rows}), None
        still = sum(counts[state] for state in OPEN)
        if still:
            requests = [one.request for one in self.members(series)]
            seconds = estimate(self.studio, str(series.about.get("digest", "")), requests)
            left = None if seconds is None else seconds * still / len(requests)
        failed, unqueued = counts["failed"] + counts["quarantined"], len(set(self.ids(series))) - counts.total()
        status = series.id in self._queueing, self._problems.get(series.id, ""), left, self.studio.queue.is_paused()
        words = tuple(self.studio.store.progress.words(self.ids(series)))[:WORDS]
        return Counts(counts["done"], failed, counts["cancelled"], still, unqueued, *status, words)

    def states(self, series: Series, where: str = "true") -> dict[str, tuple[str, Message]]:
        """State and message of its jobs that have been queued, by id."""
        rows = self._rows(f"SELECT id, state, message FROM jobs WHERE id {AMONG} AND {where}", series)
        return {row["id"]: (row["state"], read_message(row["message"])) for row in rows}

    def failures(self, series: Series, limit: int = sys.maxsize) -> list[tuple[Member, Message]]:
        """Jobs that failed or were quarantined, each with its message."""
        states = self.states(series, "state IN ('failed', 'quarantined')")
        return [(one, states[one.id][1]) for one in self.members(series) if one.id in states][:limit]

    def pictures(self, series: Series, limit: int = -1) -> list[GalleryItem]:
        """Its pictures in the gallery, newest first; `limit` -1 returns all."""
        sql = f"SELECT number FROM artifacts WHERE job {AMONG} AND deleted IS NULL ORDER BY number DESC LIMIT ?"
        return self.studio.gallery.numbered([row["number"] for row in self._rows(sql, series, limit)])

    def first_pictures(self, series: Series) -> dict[str, GalleryItem]:
        """The first picture of each job that has one, by job id."""
        return {one.job: one for one in self.pictures(series)}

    def files(self, series: Series) -> list[tuple[str, Path]]:
        """(name, file) of each picture in the gallery, in the order of the jobs."""
        paths = {(one.job, one.position): one.path for one in self.pictures(series)}
        named: dict[str, Path] = {}
        for member in self.members(series):
            for position, name in enumerate(member.files):
                if (member.id, position) in paths:
                    named.setdefault(name, paths[member.id, position])
        return list(named.items())

    def resume(self) -> None:
        """Continue to queue the series that were not queued completely when the studio stopped."""
        for series in self.every():
            if self._queued(series.id) < series.jobs:
                self._start_queueing(series)

    def retry(self, series: Series) -> None:
        """Queue failed and quarantined jobs again."""
        self.studio.queue.retry([one.id for one, _ in self.failures(series)])
        self.studio.open()

    def go_on(self, series: Series) -> None:
        """Queue all jobs that are not done: cancelled, failed, and never queued ones."""
        if series.id not in self._queueing:
            self._write_queued(series.id, 0)
            self._start_queueing(series)

    def stop(self, series: Series) -> None:
        """Stop queueing, and cancel waiting and running jobs."""
        with self._lock:
            self._write_queued(series.id, series.jobs)
            self.studio.queue.cancel(set(self.ids(series)))

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
            self._problems[series.id] = problem.message if isinstance(problem, Refused) else str(problem)
        finally:
            self._queueing.discard(series.id)

    def _queue_chunk(self, series: Series) -> bool:
        """Queue the next CHUNK jobs -> whether there may be more. Submitting a job again after an interruption does
        nothing: its id is in the queue.
        """
        with self._lock:  # `stop` waits, or jobs would be queued right after it
            first = self._queued(series.id)
            chunk = self.members(series)[first : first + CHUNK]
            for member in chunk:
                try:
                    self.studio.submit(Job(member.request, member.id, ""), series.priority)
                except Refused as refusal:  # a picture that it starts from is gone: the others go on
                    self._problems[series.id] = refusal.message
            if chunk:
                self._write_queued(series.id, first + len(chunk))
            return bool(chunk)

    def _file(self, name: str, suffix: str = ".jsonl") -> Path:
        if not NAME.fullmatch(name):
            raise KeyError(name)
        return self.folder / f"{name}{suffix}"

    def _write_queued(self, name: str, count: int) -> None:
        write_whole(self._file(name, ".lined"), str(count).encode(), "--home")

    def _queued(self, name: str) -> int:
        try:
            return int(self._file(name, ".lined").read_text())
        except (OSError, ValueError):
            return 0

    def _read_members(self, series: Series) -> tuple[Member, ...]:
        rows = [Member(**row) for row in self._read_jobs(series)]
        return tuple(replace(one, request=stored_request(one.request)) for one in rows)

    def _read_ids(self, series: Series) -> tuple[str, ...]:
        return tuple(str(row["id"]) for row in self._read_jobs(series))

    def _read_jobs(self, series: Series) -> list[dict[str, Any]]:
        try:
            with self._file(series.id).open("rb") as file:
                file.readline()
                return [json.loads(line) for line in file]
        except (OSError, ValueError) as error:
            raise KeyError(series.id) from error

    def _rows(self, sql: str, series: Series, *values: object) -> list[Any]:
        return self.studio.store.database.rows(sql, json.dumps(self.ids(series)), *values)


def pace(studio: Studio, digest: str) -> float | None:
    """Seconds for each step of a picture, measured on the model's latest jobs; None if there are none."""
    rows = studio.store.database.rows(DRAWN, LATEST, digest)
    work = sum(row["work"] for row in rows)
    return busy((row["started"], row["ended"]) for row in rows) / work if work else None


def busy(spans: Iterable[tuple[float, float]]) -> float:
    """Length of the union of `spans` (start, end), sorted by start, in seconds."""
    total, until = 0.0, float("-inf")
    for begin, end in spans:
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total


def estimate(studio: Studio, digest: str, requests: Iterable[Any]) -> float | None:
    """Seconds that `requests` take; None if the pace of the model is unknown."""
    speed = pace(studio, digest)
    return None if speed is None else speed * sum(one.count * (getattr(one, "steps", None) or 1) for one in requests)
