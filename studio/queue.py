"""The jobs of a home, on disk. Any process submits them and reads them (`Queue`); workers claim and do them (`Claims`).

A job is `waiting`, then `running`, then `done`, `failed` or `cancelled`. A job that crashed its worker twice without an
artifact in between is `quarantined`. The column `owner` names the worker that holds a job: its reports count only while
it holds the job, so a worker that was given up for dead can't finish what another one has taken over. No decision reads
a clock.

An interactive job has an answer (vectors, an enlarged picture) that somebody waits for. Interactive jobs go before all
others and through a pause, and no list or count shows them. The answer is stored in the row, so it is there in the
commit that ends the job. The latest MAX_ANSWERS stay and answer the same request at once.
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

State = Literal["waiting", "running", "done", "failed", "cancelled", "quarantined"]
OPEN: tuple[State, ...] = ("waiting", "running")
FAILED: tuple[State, ...] = ("failed", "quarantined")
OPEN_STATES = "'waiting', 'running'"
MAX_ANSWERS = 64  # one of 32 vectors takes 80 kB, one of a picture 150 kB
ANSWERS: TypeAdapter[tuple[Answer, ...]] = TypeAdapter(tuple[Answer, ...])
MAX_CRASHES = 2  # of workers, after which a job is quarantined
MAX_CLAIM = 64  # jobs that one claim takes at most
NEXT_POSITION = "(SELECT ifnull(max(position), 0) + 1 FROM jobs)"  # the end of the line


@dataclass(frozen=True)
class QueuedJob:
    """A row of the queue. `message` says why the job failed. Times are seconds since the epoch."""

    id: str
    number: int
    request: Any
    state: State
    priority: int
    message: Message
    crash_count: int
    submitted: float
    started: float | None
    ended: float | None
    stop_request: str = ""  # not empty where it is to be stopped

    @property
    def sentence(self) -> str:
        return self.message.text()

    @property
    def end(self) -> End | None:
        """Its end, None while it is open."""
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
            row = connection.execute("SELECT state FROM jobs WHERE id = ?", (job,)).fetchone()
            if row is None:
                connection.execute(
                    "INSERT INTO jobs (id, request, batch_key, priority, position, submitted)"
                    f" VALUES (?, ?, ?, ?, {NEXT_POSITION}, ?)",
                    (job, planned.request.model_dump_json(), repr(planned.batch_key), priority, now),
                )
            elif row["state"] not in OPEN and (row["state"] != "done" or again):
                _enqueue(connection, [job], priority)
            elif row["state"] == "running":  # submitted again while it is being stopped: `end` puts it back
                connection.execute("UPDATE jobs SET stop_request = '' WHERE id = ?", (job,))
            else:  # artifacts older than this count as cached
                connection.execute("UPDATE jobs SET submitted = ? WHERE id = ? AND state = 'done'", (now, job))

    # --- Looking ------------------------------------------------------------------------------------------------------

    def job(self, job: str) -> QueuedJob:
        """KeyError for an unknown id."""
        row = self._database.row("SELECT * FROM jobs WHERE id = ? AND NOT interactive", job)
        if row is None:
            raise KeyError(job)
        return read_job(row)

    def find(self, start: str) -> str:
        """The id that begins with `start`; Refused where there is none, or more than one."""
        sql = "SELECT id FROM jobs WHERE substr(id, 1, ?) = ? AND NOT interactive LIMIT 2"
        rows = self._database.rows(sql, len(start), start) if start.isprintable() else []  # else it is no UTF-8
        if len(rows) != 1 or not start:
            raise Refused("job.ambiguous" if rows else "job.unknown", job=start)
        return str(rows[0]["id"])

    def jobs(self, states: Iterable[State] = OPEN, limit: int = 1000) -> list[QueuedJob]:
        """Jobs in these states: running ones, then waiting ones in their order, then ended ones, latest first.

        Jobs of another version that can't be read are left out.
        """
        return _read_jobs(
            self._database.rows(
                "SELECT * FROM jobs WHERE state IN (SELECT value FROM json_each(?)) AND NOT interactive"
                " ORDER BY state != 'running', state != 'waiting', iif(state = 'waiting', -priority, 0),"
                " iif(state = 'waiting', position, -number), number LIMIT ?",
                *(json.dumps(list(states)), limit),
            )
        )[0]

    def latest(self, limit: int) -> list[QueuedJob]:
        """Jobs of the usual priority in any state, those submitted last first. Members of a series have a lower one."""
        sql = "SELECT * FROM jobs WHERE priority = 0 AND NOT interactive ORDER BY submitted DESC, number DESC LIMIT ?"
        return _read_jobs(self._database.rows(sql, limit))[0]

    def counts(self) -> dict[State, int]:
        rows = self._database.rows("SELECT state, count(*) AS count FROM jobs WHERE NOT interactive GROUP BY state")
        return {row["state"]: row["count"] for row in rows}

    def line(self) -> dict[str, int]:
        """The number of open jobs before each waiting one, by id."""
        rows = self._database.rows(
            "SELECT id, state, row_number() OVER (ORDER BY state != 'running', -priority, position, number) - 1"
            f" AS ahead FROM jobs WHERE state IN ({OPEN_STATES}) AND NOT interactive"
        )
        return {row["id"]: row["ahead"] for row in rows if row["state"] == "waiting"}

    def ahead(self, job: str) -> int:
        """The number of open jobs before a waiting one; 0 for any other."""
        return self.line().get(job, 0)

    # --- Changing -----------------------------------------------------------------------------------------------------

    def cancel(self, jobs: Iterable[str] | None = None) -> int:
        """Cancel waiting jobs, and stop running ones at their next step -> how many were open. None: all open jobs."""
        with self._database.writing() as connection:
            wanted = _among(connection, jobs, OPEN)
            connection.executemany(
                "UPDATE jobs SET stop_request = iif(state = 'waiting', '', 'cancel'),"
                " ended = iif(state = 'waiting', ?, NULL), state = iif(state = 'waiting', 'cancelled', state)"
                " WHERE id = ?",
                [(time.time(), job) for job in wanted],
            )
            return len(wanted)

    def retry(self, jobs: Iterable[str] | None = None) -> int:
        """Queue failed, quarantined and cancelled jobs again. None: all that failed or are quarantined."""
        states = FAILED if jobs is None else (*FAILED, "cancelled")
        with self._database.writing() as connection:
            wanted = _among(connection, jobs, states)
            _enqueue(connection, wanted)
            return len(wanted)

    def move(self, job: str, before: str | None) -> None:
        """Put a waiting job before another one, with that one's priority; None: at the end of its own priority."""
        with self._database.writing() as connection:
            if len(_among(connection, {job, before or job}, ["waiting"])) < len({job, before or job}):
                raise Refused("job.not_waiting")
            if before is None:
                connection.execute(f"UPDATE jobs SET position = {NEXT_POSITION} WHERE id = ?", (job,))
            elif before != job:
                sql = "SELECT priority, position, number FROM jobs WHERE id = ?"
                priority, position, number = connection.execute(sql, (before,)).fetchone()
                # All later ones make room: a job that came back after others were moved may have the same position.
                later = (
                    "UPDATE jobs SET position = position + 1 WHERE state = 'waiting' AND (position, number) >= (?, ?)"
                )
                connection.execute(later, (position, number))
                moved = "UPDATE jobs SET priority = ?, position = ? WHERE id = ?"
                connection.execute(moved, (priority, position + 0.5, job))

    # --- The worker's state -------------------------------------------------------------------------------------------

    def pause(self, paused: bool = True) -> None:
        """Begin no more jobs, or begin them again. Running ones go on."""
        self._database.write("REPLACE INTO settings VALUES ('paused', ?)", str(int(paused)))

    def is_paused(self) -> bool:
        row = self._database.row("SELECT value FROM settings WHERE name = 'paused'")
        return row is not None and row["value"] == "1"

    # --- Interactive jobs ---------------------------------------------------------------------------------------------

    def ask(self, request: Any, job: str) -> None:
        """Submit an interactive request under its id. One that is open or answered stays as it is."""
        values = (job, request.model_dump_json(), request.model, time.time())
        with self._database.writing() as connection:
            connection.execute(
                "DELETE FROM jobs WHERE id = ? AND state IN ('failed', 'cancelled', 'quarantined')", (job,)
            )
            connection.execute(
                "INSERT INTO jobs (id, request, batch_key, position, submitted, interactive)"
                f" VALUES (?, ?, ?, {NEXT_POSITION}, ?, 1)"
                " ON CONFLICT (id) DO UPDATE SET position = excluded.position"  # or the next statement might delete it
                f" WHERE state NOT IN ({OPEN_STATES})",
                values,
            )
            connection.execute(
                f"DELETE FROM jobs WHERE interactive AND state NOT IN ({OPEN_STATES}) AND position <="
                " (SELECT position FROM jobs WHERE interactive ORDER BY position DESC LIMIT 1 OFFSET ?)",
                (MAX_ANSWERS,),
            )

    def answer(self, job: str) -> tuple[Answer, ...] | None:
        """The answer, None while the job is open; Refused with the reason where it failed."""
        row = self._database.row("SELECT state, message, answer FROM jobs WHERE id = ? AND interactive", job)
        if row is None:
            raise Refused("job.answer_forgotten")
        if row["state"] in OPEN:
            return None
        if row["state"] == "cancelled":
            raise Refused("job.answer_cancelled")
        if row["state"] != "done":
            raise Refused(read_message(row["message"]))
        return ANSWERS.validate_json(row["answer"])


class Claims:
    """The worker's side of the queue: it claims jobs under the name `owner`, reports on them and puts them back.

    All methods may be called from any thread and any process.
    """

    def __init__(self, database: Database, owner: str) -> None:
        self._database, self.owner = database, owner

    def claim(self) -> list[QueuedJob]:
        """Claim the first waiting job, and those of its batch key that follow, as many as fit into one batch."""
        if Queue(self._database).is_paused():
            return []
        with self._database.writing() as connection:
            rows = connection.execute(
                "WITH first AS (SELECT number, batch_key FROM jobs WHERE state = 'waiting' AND NOT interactive"
                " ORDER BY priority DESC, position, number LIMIT 1)"
                " SELECT jobs.* FROM jobs JOIN first ON jobs.batch_key = first.batch_key WHERE jobs.state = 'waiting'"
                " AND NOT jobs.interactive"
                " ORDER BY jobs.number != first.number, jobs.priority DESC, jobs.position, jobs.number LIMIT ?",
                (MAX_CLAIM,),
            ).fetchall()
            return self._take(connection, _fitting(_jobs_or_failed(connection, rows)))

    def claim_interactive(self, between: str = "") -> QueuedJob | None:
        """Claim the first interactive job, or one whose answer this worker could not store before.

        `between` names the model in memory when this is called in the middle of other work. Then only a job of that
        model is claimed, and none that crashed a worker, since a crash would count against the other work too.
        """
        mine = f"interactive AND state IN ({OPEN_STATES}) AND (state = 'waiting' OR owner = ?)"
        values: list[object] = [self.owner]
        if between:
            mine, values = f"{mine} AND batch_key = ? AND crash_count = 0", [*values, between]
        first = f"SELECT * FROM jobs WHERE {mine} ORDER BY position LIMIT 1"
        if self._database.row(first, *values) is None:  # as mostly: no wait for the writer's lock
            return None
        with self._database.writing() as connection:
            rows = connection.execute(first, values).fetchall()
            return next(iter(self._take(connection, _jobs_or_failed(connection, rows))), None)

    def _take(self, connection: Connection, jobs: list[QueuedJob]) -> list[QueuedJob]:
        connection.executemany(
            "UPDATE jobs SET state = 'running', owner = ?, stop_request = '', started = ?, ended = NULL, message = ''"
            " WHERE id = ?",
            [(self.owner, time.time(), job.id) for job in jobs],
        )
        return jobs

    def active(self) -> set[str]:
        """The ids of this worker's running jobs that nobody has asked to stop; what is not here may be another's."""
        held = "owner = ? AND state = 'running' AND stop_request = '' AND NOT interactive"
        return {row["id"] for row in self._database.rows(f"SELECT id FROM jobs WHERE {held}", self.owner)}

    def end(self, job: str, end: End, answers: tuple[Answer, ...] | None = None) -> bool:
        """Store how a job ended, an interactive one with its `answers` -> whether this worker held it. One that was
        cancelled, and submitted again while it was being stopped, waits again.
        """
        state = "done" if isinstance(end, Done) else "cancelled" if isinstance(end, Cancelled) else "failed"
        message = stored(end.message) if isinstance(end, Failed) else ""
        changed = self._database.write(
            "UPDATE jobs SET state = iif(? = 'cancelled' AND stop_request = '', 'waiting', ?), message = ?, answer = ?,"
            " ended = ?, owner = '', stop_request = '' WHERE id = ? AND owner = ? AND state = 'running'",
            *(state, state, message, None if answers is None else ANSWERS.dump_json(answers).decode()),
            *(time.time(), job, self.owner),
        )
        return changed == 1

    def clear_crashes(self, job: str) -> None:
        """Forget the crashes of a job: an artifact of it was saved, so it does not crash every worker."""
        self._database.write("UPDATE jobs SET crash_count = 0 WHERE id = ? AND owner = ?", job, self.owner)

    def release(self, crash: Message | None = None) -> None:
        """Put this worker's jobs back in line. `crash` says how the worker died: at MAX_CRASHES they are quarantined.
        None: it was asked to stop, and that does not count.
        """
        self._put_back("owner = ?1", crash)

    def recover(self) -> None:
        """Put back the jobs of former workers. The caller holds the home's lock, so none of them lives."""
        self._put_back("owner != ?1", Message("worker.vanished"))

    def _put_back(self, whose: str, crash: Message | None) -> None:
        """Running jobs wait again at their position, are cancelled on request, or are quarantined at MAX_CRASHES."""
        held, crashes = f"state = 'running' AND {whose}", int(crash is not None)
        message = stored(Message("job.quarantined", {"how": crash or "", "times": MAX_CRASHES}))
        with self._database.writing() as connection:
            gone = "UPDATE jobs SET state = 'cancelled', owner = '', stop_request = '', ended = ?2"
            connection.execute(f"{gone} WHERE {held} AND stop_request != ''", (self.owner, time.time()))
            connection.execute(
                f"UPDATE jobs SET owner = '', crash_count = crash_count + ?2,"
                " state = iif(crash_count + ?2 >= ?3, 'quarantined', 'waiting'),"
                f" message = iif(crash_count + ?2 >= ?3, ?4, '') WHERE {held}",
                (self.owner, crashes, MAX_CRASHES, message),
            )

    def fail_all(self, message: Message) -> None:
        """All open jobs fail: no worker can be started."""
        self._database.write(
            "UPDATE jobs SET state = 'failed', message = ?, ended = ?, owner = '', stop_request = ''"
            f" WHERE state IN ({OPEN_STATES})",
            *(stored(message), time.time()),
        )


def _jobs_or_failed(connection: Connection, rows: list[Row]) -> list[QueuedJob]:
    """The jobs of rows. Those that can't be read fail, or the queue would stand still."""
    jobs, unreadable = _read_jobs(rows)
    failed = "UPDATE jobs SET state = 'failed', owner = '', message = ? WHERE id = ?"
    connection.executemany(failed, [(stored(message), job) for job, message in unreadable.items()])
    return jobs


def _fitting(jobs: list[QueuedJob]) -> list[QueuedJob]:
    """The first job and those after it that fit into its batch shape. One that crashed a worker is done alone."""
    taken = jobs[:1]
    room = (taken[0].request.shape or 1) - taken[0].request.count if taken and not taken[0].crash_count else 0
    for job in jobs[1:]:
        if job.request.count > room or job.crash_count:
            break  # a smaller one behind it would jump the queue
        taken.append(job)
        room -= job.request.count
    return taken


def read_job(row: Row) -> QueuedJob:
    """A job from its row; Refused where another version wrote it."""
    try:
        request = stored_request(row["request"])
    except ValueError as error:
        raise Refused("job.other_version", job=row["id"][:16]) from error
    names = ("id", "number", "state", "priority", "submitted", "started", "ended", "stop_request", "crash_count")
    return QueuedJob(request=request, message=read_message(row["message"]), **{name: row[name] for name in names})


def _read_jobs(rows: Iterable[Row]) -> tuple[list[QueuedJob], dict[str, Message]]:
    """The jobs of rows, and the messages for those that can't be read, by id."""
    jobs, unreadable = [], {}
    for row in rows:
        try:
            jobs.append(read_job(row))
        except Refused as refusal:
            unreadable[row["id"]] = refusal.message
    return jobs, unreadable


def _among(connection: Connection, jobs: Iterable[str] | None, states: Sequence[State]) -> list[str]:
    """The ids in `jobs` (None: of all jobs) that are in these states, in the order given."""
    wanted = None if jobs is None else list(jobs)
    which = "" if wanted is None else " AND id IN (SELECT value FROM json_each(?))"
    rows = connection.execute(
        f"SELECT id FROM jobs WHERE state IN (SELECT value FROM json_each(?)){which} AND NOT interactive"
        " ORDER BY number",
        [json.dumps(names) for names in (states, wanted) if names is not None],
    )
    matches = dict.fromkeys(row["id"] for row in rows)
    return list(matches) if wanted is None else [job for job in wanted if job in matches]


def _enqueue(connection: Connection, jobs: Sequence[str], priority: int | None = None) -> None:
    """Put jobs at the end of the queue, as if they had never run."""
    connection.executemany(
        "UPDATE jobs SET state = 'waiting', owner = '', stop_request = '', crash_count = 0, message = '',"
        " started = NULL, ended = NULL, submitted = ?, priority = ifnull(?, priority),"
        f" position = {NEXT_POSITION} WHERE id = ?",
        [(time.time(), priority, job) for job in jobs],
    )


def stored(message: Message) -> str:
    """A message as JSON, as columns hold it."""
    return json.dumps(message.as_json(), ensure_ascii=False)


def read_message(text: str) -> Message:
    """A message from a column; what is no JSON is the sentence itself."""
    try:
        return Message.from_json(json.loads(text) if text.startswith('{"code"') else text)
    except (ValueError, TypeError, KeyError):  # damaged
        return Message(text)
