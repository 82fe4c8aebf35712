"""The jobs of a home, on disk: submitted by any process, done by one worker, seen by all.

A job is `waiting`, then `running`, then `done`, `failed` or `cancelled`; or it is quarantined (`aside`), where it
crashed its worker twice without an artifact in between. A worker holds its jobs by its name (`owner`): what it reports
counts only while it holds them, so that one that was given up for dead can't finish what another has taken over.
No decision reads a clock.

Interactive jobs are asked for their answer (vectors, an enlarged picture) by somebody who waits. They go before all
others and through a pause, no list and no count shows them, and the answer lies in the row, so that the answer and the
news of it are one commit. The latest KEPT_ANSWERS stay and answer the same request at once.
"""

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from sqlite3 import Connection, Row
from typing import Any, Literal

from pydantic import TypeAdapter

from models.messages import Message, Refused
from studio.database import Database
from studio.events import Answer, Cancelled, Done, End, Failed
from studio.planner import Job
from studio.requests import stored_request

State = Literal["waiting", "running", "done", "failed", "cancelled", "aside"]
Wish = Literal["", "cancel", "finish"]
OPEN: tuple[State, ...] = ("waiting", "running")
OPEN_STATES = "'waiting', 'running'"
MAX_PRIORITY = 1_000_000  # above or below the usual 0
KEPT_ANSWERS = 64  # one of 32 vectors takes 80 kB, one of a picture 150 kB
ANSWERS: TypeAdapter[tuple[Answer, ...]] = TypeAdapter(tuple[Answer, ...])
NEXT_PLACE = "(SELECT ifnull(max(place), 0) + 1 FROM jobs)"  # the end of the line


@dataclass(frozen=True)
class QueuedJob:
    """A job as it stands: `message` says why it failed, `wish` what somebody asked of it; times are epoch seconds."""

    id: str
    number: int
    request: Any
    state: State
    priority: int
    message: Message
    crashes: int
    submitted: float
    started: float | None
    ended: float | None
    wish: Wish = ""

    @property
    def sentence(self) -> str:
        return self.message.text()

    @property
    def end(self) -> End | None:
        """How it ended, None while it is open."""
        if self.state in OPEN:
            return None
        if self.state == "done":
            return Done()
        return Cancelled() if self.state == "cancelled" else Failed(self.message)


class Queue:
    """The jobs in a database. All methods may be called from any thread and any process."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def submit(self, planned: Job, priority: int = 0, again: bool = False) -> None:
        """Put a job in line. An open job stays as it is; a done one too, unless `again`."""
        now, job = time.time(), planned.id
        with self._database.writing() as connection:
            found = connection.execute("SELECT state FROM jobs WHERE id = ?", (job,)).fetchone()
            if found is None:
                connection.execute(
                    "INSERT INTO jobs (id, request, company, priority, place, submitted)"
                    f" VALUES (?, ?, ?, ?, {NEXT_PLACE}, ?)",
                    (job, planned.request.model_dump_json(), repr(planned.batch_key), priority, now),
                )
            elif found["state"] not in OPEN and (found["state"] != "done" or again):
                _put_in_line(connection, [job], priority)
            elif found["state"] == "running":  # asked for anew while it is being stopped: `end` puts it back
                connection.execute("UPDATE jobs SET wish = '' WHERE id = ?", (job,))
            else:  # what is older than this was found
                connection.execute("UPDATE jobs SET submitted = ? WHERE id = ? AND state = 'done'", (now, job))

    # --- Looking ------------------------------------------------------------------------------------------------------

    def job(self, job: str) -> QueuedJob:
        """One job; KeyError where nobody knows it."""
        row = self._database.row("SELECT * FROM jobs WHERE id = ? AND NOT question", job)
        if row is None:
            raise KeyError(job)
        return read_job(row)

    def find(self, start: str) -> str:
        """The id that begins with `start`; Refused where there is none, or more than one."""
        sql = "SELECT id FROM jobs WHERE substr(id, 1, ?) = ? AND NOT question LIMIT 2"
        rows = self._database.rows(sql, len(start), start) if start.isprintable() else []  # else it is no UTF-8
        if len(rows) != 1 or not start:
            raise Refused("job.ambiguous" if rows else "job.unknown", job=start)
        return str(rows[0]["id"])

    def jobs(self, states: Iterable[State] = OPEN, limit: int = 1000) -> list[QueuedJob]:
        """Jobs in these states: running ones first, then in line, then those that ended, latest first.

        Those that another version put in line, and this one can't read, are left out.
        """
        return self._readable(
            "SELECT * FROM jobs WHERE state IN (SELECT value FROM json_each(?)) AND NOT question"
            " ORDER BY state != 'running', state != 'waiting', iif(state = 'waiting', -priority, 0),"
            " iif(state = 'waiting', place, -number), number LIMIT ?",
            *(json.dumps(list(states)), limit),
        )

    def latest(self, limit: int) -> list[QueuedJob]:
        """What was asked for as it is, not by the dozen: latest first, whatever became of it."""
        sql = "SELECT * FROM jobs WHERE priority = 0 AND NOT question ORDER BY submitted DESC, number DESC LIMIT ?"
        return self._readable(sql, limit)

    def _readable(self, sql: str, *values: object) -> list[QueuedJob]:
        return readable(self._database.rows(sql, *values))[0]

    def counts(self) -> dict[State, int]:
        rows = self._database.rows("SELECT state, count(*) AS count FROM jobs WHERE NOT question GROUP BY state")
        return {row["state"]: row["count"] for row in rows}

    def line(self) -> dict[str, int]:
        """The jobs that wait, each with how many open ones come before it."""
        rows = self._database.rows(
            "SELECT id, state, row_number() OVER (ORDER BY state != 'running', -priority, place, number) - 1 AS ahead"
            f" FROM jobs WHERE state IN ({OPEN_STATES}) AND NOT question"
        )
        return {row["id"]: row["ahead"] for row in rows if row["state"] == "waiting"}

    def ahead(self, job: str) -> int:
        """How many open jobs come before this one, if it waits."""
        return self.line().get(job, 0)

    # --- Changing -----------------------------------------------------------------------------------------------------

    def cancel(self, jobs: Iterable[str] | None = None, wish: Wish = "cancel") -> int:
        """Take jobs (None: all open ones) out of line, or stop them at their next step -> how many were open."""
        with self._database.writing() as connection:
            wanted = _among(connection, jobs, OPEN)
            connection.executemany(
                "UPDATE jobs SET wish = iif(state = 'waiting', '', iif(wish = 'cancel', wish, ?)),"
                " ended = iif(state = 'waiting', ?, NULL), state = iif(state = 'waiting', 'cancelled', state)"
                " WHERE id = ?",
                [(wish, time.time(), job) for job in wanted],
            )
            return len(wanted)

    def finish_picture(self, job: str) -> None:
        """Stop a running job once the pictures being drawn are saved; one in line is taken out."""
        self.cancel([job], "finish")

    def retry(self, jobs: Iterable[str] | None = None) -> int:
        """Put jobs that failed, were cancelled or set aside in line again (None: all that failed or are aside)."""
        states: tuple[State, ...] = ("failed", "aside") if jobs is None else ("failed", "aside", "cancelled")
        with self._database.writing() as connection:
            wanted = _among(connection, jobs, states)
            _put_in_line(connection, wanted)
            return len(wanted)

    def move(self, job: str, before: str | None) -> None:
        """Put a waiting job before another one, with that one's priority; None is the end of its own."""
        with self._database.writing() as connection:
            _check_waiting(connection, job, before or job)
            if before is None:
                connection.execute(f"UPDATE jobs SET place = {NEXT_PLACE} WHERE id = ?", (job,))
            elif before != job:
                sql = "SELECT priority, place, number FROM jobs WHERE id = ?"
                priority, place, number = connection.execute(sql, (before,)).fetchone()
                # All from there on make room: a job that came back after others were moved may share its place.
                later = "UPDATE jobs SET place = place + 1 WHERE state = 'waiting' AND (place, number) >= (?, ?)"
                connection.execute(later, (place, number))
                moved = "UPDATE jobs SET priority = ?, place = ? WHERE id = ?"
                connection.execute(moved, (priority, place + 0.5, job))

    def prioritise(self, job: str, priority: int) -> None:
        """Set a waiting job's priority; higher ones are done first."""
        with self._database.writing() as connection:
            _check_waiting(connection, job)
            connection.execute("UPDATE jobs SET priority = ? WHERE id = ?", (priority, job))

    # --- The worker's state -------------------------------------------------------------------------------------------

    def pause(self, paused: bool = True) -> None:
        """Begin no more jobs (the running one goes on), or go on."""
        self._set("paused", str(int(paused)))

    def is_paused(self) -> bool:
        """Whether no more jobs are begun."""
        return self._setting("paused") == "1"

    def set_notice(self, message: Message) -> None:
        """Note what the worker reports of itself."""
        self._set("notice", stored(message))

    def notice(self) -> Message:
        """The latest report of the worker; empty where there is none."""
        return read_message(self._setting("notice"))

    def _set(self, name: str, value: str) -> None:
        self._database.write("REPLACE INTO settings VALUES (?, ?)", name, value)

    def _setting(self, name: str) -> str:
        row = self._database.row("SELECT value FROM settings WHERE name = ?", name)
        return row["value"] if row else ""

    # --- Interactive jobs ---------------------------------------------------------------------------------------------

    def ask(self, request: Any, job: str) -> None:
        """Submit an interactive request under its id. An open one stays as it is, an answered one too."""
        values = (job, request.model_dump_json(), request.model, time.time())
        with self._database.writing() as connection:
            connection.execute("DELETE FROM jobs WHERE id = ? AND state IN ('failed', 'cancelled', 'aside')", (job,))
            connection.execute(
                "INSERT INTO jobs (id, request, company, place, submitted, question)"
                f" VALUES (?, ?, ?, {NEXT_PLACE}, ?, 1)"
                " ON CONFLICT (id) DO UPDATE SET place = excluded.place"  # else it might be forgotten just now
                f" WHERE state NOT IN ({OPEN_STATES})",
                values,
            )
            connection.execute(
                f"DELETE FROM jobs WHERE question AND state NOT IN ({OPEN_STATES}) AND place <="
                " (SELECT place FROM jobs WHERE question ORDER BY place DESC LIMIT 1 OFFSET ?)",
                (KEPT_ANSWERS,),
            )

    def answer(self, job: str) -> tuple[Answer, ...] | None:
        """The answer, None while there is none yet; Refused with the reason where there will be none."""
        row = self._database.row("SELECT state, sentence, answer FROM jobs WHERE id = ? AND question", job)
        if row is None:
            raise Refused("job.answer_forgotten")
        if row["state"] in OPEN:
            return None
        if row["state"] == "cancelled":
            raise Refused("job.answer_cancelled")
        if row["state"] != "done":
            raise Refused(read_message(row["sentence"]))
        return ANSWERS.validate_json(row["answer"])


def read_job(row: Row) -> QueuedJob:
    """A job from its row; Refused where another version wrote it."""
    try:
        request = stored_request(row["request"])
    except ValueError as error:
        raise Refused("job.other_version", job=row["id"][:16]) from error
    names = ("id", "number", "state", "priority", "submitted", "started", "ended", "wish")
    message, crashes = read_message(row["sentence"]), row["deaths"]
    return QueuedJob(request=request, message=message, crashes=crashes, **{name: row[name] for name in names})


def readable(rows: Iterable[Row]) -> tuple[list[QueuedJob], dict[str, Message]]:
    """The jobs of rows; and what is wrong with those that can't be read, by id."""
    jobs, unreadable = [], {}
    for row in rows:
        try:
            jobs.append(read_job(row))
        except Refused as refusal:
            unreadable[row["id"]] = refusal.message
    return jobs, unreadable


def _among(connection: Connection, jobs: Iterable[str] | None, states: Sequence[State]) -> list[str]:
    """Those of `jobs` (None: of all) that are in these states, in the order given."""
    wanted = None if jobs is None else list(jobs)
    which = "" if wanted is None else " AND id IN (SELECT value FROM json_each(?))"
    rows = connection.execute(
        f"SELECT id FROM jobs WHERE state IN (SELECT value FROM json_each(?)) AND NOT question{which} ORDER BY number",
        [json.dumps(names) for names in (states, wanted) if names is not None],
    )
    found = dict.fromkeys(row["id"] for row in rows)
    return list(found) if wanted is None else [job for job in wanted if job in found]


def _check_waiting(connection: Connection, *jobs: str) -> None:
    if len(_among(connection, jobs, ["waiting"])) < len(jobs):
        raise Refused("job.not_waiting")


def _put_in_line(connection: Connection, jobs: Sequence[str], priority: int | None = None) -> None:
    """At the end, as if they had never been tried."""
    connection.executemany(
        "UPDATE jobs SET state = 'waiting', owner = '', wish = '', deaths = 0, sentence = '', started = NULL,"
        f" ended = NULL, submitted = ?, priority = ifnull(?, priority), place = {NEXT_PLACE} WHERE id = ?",
        [(time.time(), priority, job) for job in jobs],
    )


def stored(message: Message) -> str:
    """A message as a column keeps it."""
    return json.dumps(message.as_json(), ensure_ascii=False)


def read_message(text: str) -> Message:
    """A message from a column; older versions kept the English sentence."""
    try:
        return Message.from_json(json.loads(text) if text.startswith('{"code"') else text)
    except (ValueError, TypeError, KeyError):  # damaged
        return Message(text)
