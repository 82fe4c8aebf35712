"""Jobs that were asked for together: a prompt file, a set, a grid. A file in the home holds them, so that every page
finds them again.

    series/<name>.jsonl      what it is, then a line a job; written whole before the first one is put in line
    series/<name>.lined      how many of them have been put in line

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

from models.messages import Refused
from studio.files import make_folder, write_whole
from studio.gallery import Kept
from studio.queue import OPEN
from studio.requests import ImageRequest
from studio.studio import Studio

FOLDER = "series"
NAME = re.compile(r"[0-9a-f]{24}")
PIECE = 25  # jobs put in line between two notes of how many there are
IN_MEMORY = 8  # series whose jobs are kept at hand
COUNTED = 64  # whose jobs' ids are: more than any tab lists
# The queue's priorities: what somebody asked for alone goes first (0), then what a person looks at, then prompt files.
LOOKED_AT, BY_AND_BY = -1, -2


@dataclass(frozen=True)
class Member:
    """A job of a series: what it is called there, and the names of its pictures' files."""

    id: str
    label: str
    files: tuple[str, ...]
    request: ImageRequest


@dataclass(frozen=True)
class Series:
    """What is said of all its jobs together. `about` holds what only its own tab understands, plain values."""

    id: str
    kind: str
    title: str
    made: float
    jobs: int
    priority: int
    about: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Standing:
    """How many different jobs of a series are in which state. `outside` are not in line (yet); `sentence` says why."""

    done: int = 0
    failed: int = 0
    cancelled: int = 0
    open: int = 0
    outside: int = 0
    sentence: str = ""

    @property
    def total(self) -> int:
        """All of them."""
        return self.done + self.failed + self.cancelled + self.open + self.outside


class AllSeries:
    """The series of a studio. All methods may be called from any thread."""

    def __init__(self, studio: Studio) -> None:
        self.studio, self.folder = studio, studio.home / FOLDER
        self._lock, self._lining, self._sentences = threading.Lock(), set[str](), dict[str, str]()
        self._members = functools.lru_cache(IN_MEMORY)(self._read_members)
        self._job_ids = functools.lru_cache(COUNTED)(self._read_ids)

    # --- Asking and finding -------------------------------------------------------------------------------------------

    def begin(
        self, kind: str, title: str, members: Sequence[Member], priority: int, about: dict[str, Any] | None = None
    ) -> Series:
        """Keep a series and begin to put its jobs in line, in a thread. Refused where it can't be written."""
        name = f"{time.time_ns():016x}{secrets.token_hex(4)}"
        series = Series(name, kind, title, time.time(), len(members), priority, about or {})
        head = {key: value for key, value in vars(series).items() if key != "id"}
        rows = [head, *({**vars(one), "request": one.request.model_dump(mode="json")} for one in members)]
        make_folder(self.folder)
        write_whole(self._file(name), "".join(json.dumps(row) + "\n" for row in rows).encode(), "--home")
        self._line_up(series)
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
        """The ids of its jobs, in order: all that most looks need, and cheaper."""
        return self._job_ids(series.id)

    def change(self, series: Series, title: str | None = None, **about: Any) -> Series:
        """Another title, or other words of its own tab's; its jobs stay."""
        with self._lock:
            head, _, rows = self._file(series.id).read_bytes().partition(b"\n")
            said = json.loads(head)
            said["title"] = said["title"] if title is None else title
            said["about"] |= about
            write_whole(self._file(series.id), json.dumps(said).encode() + b"\n" + rows, "--home")
        return self.get(series.id)

    def remove(self, series: Series) -> None:
        """Forget it. Its pictures stay; jobs that wait are taken out of line."""
        self.stop(series)
        for path in (self._file(series.id), self._note(series.id)):
            path.unlink(missing_ok=True)

    # --- What became of it --------------------------------------------------------------------------------------------

    def standing(self, series: Series) -> Standing:
        """How far it is."""
        wanted = self._ids(series)
        sql = "SELECT state, count(*) AS count FROM jobs WHERE id IN (SELECT value FROM json_each(?)) GROUP BY state"
        counts = {row["state"]: row["count"] for row in self._rows(sql, wanted)}
        return Standing(
            counts.get("done", 0),
            counts.get("failed", 0) + counts.get("aside", 0),
            counts.get("cancelled", 0),
            sum(counts.get(state, 0) for state in OPEN),
            len(wanted) - sum(counts.values()),
            self._sentences.get(series.id, ""),
        )

    def failures(self, series: Series, limit: int) -> list[tuple[Member, str]]:
        """Jobs that failed or were put aside, each with the sentence that says why."""
        wrong = "state IN ('failed', 'aside') AND id IN (SELECT value FROM json_each(?))"
        rows = self._rows(f"SELECT id, sentence FROM jobs WHERE {wrong}", self._ids(series))
        why = {row["id"]: row["sentence"] for row in rows}
        return [(one, why[one.id]) for one in self.members(series) if one.id in why][:limit]

    def states(self, series: Series) -> dict[str, tuple[str, str]]:
        """State and sentence of its jobs that are in line or were, by id."""
        sql = "SELECT id, state, sentence FROM jobs WHERE id IN (SELECT value FROM json_each(?))"
        return {row["id"]: (row["state"], row["sentence"]) for row in self._rows(sql, self._ids(series))}

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
        """Go on with what a studio that was stopped had not put in line yet."""
        for path in self.folder.glob("*.jsonl"):
            try:
                series = self.get(path.stem)
            except KeyError:
                continue
            if series.kind == kind and self._lined(series.id) < series.jobs:
                self._line_up(series)

    def retry(self, series: Series) -> None:
        """Put in line again what failed or was set aside."""
        self.studio.queue.retry([one.id for one, _ in self.failures(series, series.jobs)])
        self.studio.open()

    def go_on(self, series: Series) -> None:
        """Put in line all that is not done: what was stopped, what failed, what never came there."""
        if not self.is_lining(series):
            self._take_note(series.id, 0)
            self._line_up(series)

    def stop(self, series: Series) -> None:
        """Put no more of it in line, and take out what waits or runs."""
        with self._lock:
            self._take_note(series.id, series.jobs)
            self.studio.queue.cancel(self._ids(series))

    def is_lining(self, series: Series) -> bool:
        """Whether jobs of it are being put in line just now, by this process."""
        return series.id in self._lining

    def _line_up(self, series: Series) -> None:
        with self._lock:
            if series.id in self._lining:
                return
            self._lining.add(series.id)
            self._sentences.pop(series.id, None)
        threading.Thread(target=self._put_in_line, args=(series,), daemon=True, name="studio-series").start()

    def _put_in_line(self, series: Series) -> None:
        try:
            while self._put_piece(series):
                pass
        except (Refused, KeyError, OSError) as problem:  # a full disk; the series was removed
            self._sentences[series.id] = str(problem)
        finally:
            self._lining.discard(series.id)

    def _put_piece(self, series: Series) -> bool:
        """The next few -> whether there may be more. Whatever stops this, the jobs are put in line once: an id is one
        job, however often it is asked for.
        """
        with self._lock:  # `stop` waits, or it would take out what is put in right after
            first = self._lined(series.id)
            piece = self.members(series)[first : first + PIECE]
            for one in piece:
                try:
                    self.studio.submit(one.request, series.priority)
                except Refused as refusal:  # a picture that it starts from is gone: the others go on
                    self._sentences[series.id] = str(refusal)
            if piece:
                self._take_note(series.id, first + len(piece))
            return bool(piece)

    # --- Files --------------------------------------------------------------------------------------------------------

    def _file(self, name: str) -> Path:
        if not NAME.fullmatch(name):
            raise KeyError(name)
        return self.folder / f"{name}.jsonl"

    def _note(self, name: str) -> Path:
        return self._file(name).with_suffix(".lined")

    def _take_note(self, name: str, lined: int) -> None:
        write_whole(self._note(name), str(lined).encode(), "--home")

    def _lined(self, name: str) -> int:
        try:
            return int(self._note(name).read_text())
        except (OSError, ValueError):
            return 0

    def _read_members(self, name: str) -> tuple[Member, ...]:
        try:
            with self._file(name).open("rb") as file:
                file.readline()
                return tuple(_member(json.loads(line)) for line in file)
        except (OSError, ValueError, TypeError) as error:
            raise KeyError(name) from error

    def _read_ids(self, name: str) -> tuple[str, ...]:
        try:
            with self._file(name).open("rb") as file:
                file.readline()
                return tuple(str(json.loads(line)["id"]) for line in file)
        except (OSError, ValueError, TypeError) as error:
            raise KeyError(name) from error

    def _ids(self, series: Series) -> list[str]:
        return list(dict.fromkeys(self.ids(series)))

    def _rows(self, sql: str, ids: Iterable[str], *values: object) -> list[Any]:
        return self.studio.house.database.rows(sql, json.dumps(list(ids)), *values)


def _member(row: dict[str, Any]) -> Member:
    request = ImageRequest.model_validate_json(json.dumps(row["request"]))
    return Member(row["id"], row["label"], tuple(row["files"]), request)
