"""The jobs of a home, on disk: put in line by any process, done by one worker, seen by all.

A job is `waiting`, then `running`, then `done`, `failed` or `cancelled`; or it is put `aside`, where it ended its
worker twice without a picture in between. A worker holds its jobs by its name (`owner`): what it reports counts only
while it holds them, so that one that was given up for dead can't finish what another has taken over. Clocks are for
show: no decision reads one.

Questions (`studio.questions`) stand in the same table under the same laws; what is for everyone here does not see them.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from sqlite3 import Connection, Row
from typing import Literal

from pydantic import ValidationError

from models.messages import Refused
from studio.database import Database
from studio.events import Cancelled, Done, End, Failed
from studio.requests import ImageRequest

State = Literal["waiting", "running", "done", "failed", "cancelled", "aside"]
Wish = Literal["", "cancel", "finish"]
OPEN: tuple[State, ...] = ("waiting", "running")
DEATHS = 2  # of workers, after which a job is put aside
TOGETHER = 64  # jobs that one claim takes at most
FURTHEST = 1_000_000  # that a priority may be from the usual 0


@dataclass(frozen=True)
class QueuedJob:
    """A job as it stands. `sentence` says why it failed or was put aside; times are seconds since the epoch.

    `wish` is what somebody wishes of one that is running.
    """

    id: str
    number: int
    request: ImageRequest
    state: State
    priority: int
    sentence: str
    deaths: int
    submitted: float
    started: float | None
    ended: float | None
    wish: Wish = ""

    @property
    def end(self) -> End | None:
        """How it ended, None while it is open."""
        if self.state in OPEN:
            return None
        if self.state == "done":
            return Done()
        return Cancelled() if self.state == "cancelled" else Failed(self.sentence)


class Queue:
    """The jobs in a database. All methods may be called from any thread and any process."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # --- For everyone -------------------------------------------------------------------------------------------------

    def submit(self, request: ImageRequest, job: str, company: str, priority: int = 0, again: bool = False) -> None:
        """Put a resolved request in line under its id. An open job stays as it is; a done one too, unless `again`."""
        now = time.time()
        with self._database.writing() as connection:
            found = connection.execute("SELECT state FROM jobs WHERE id = ?", (job,)).fetchone()
            if found is None:
                connection.execute(
                    "INSERT INTO jobs (id, request, company, priority, place, submitted)"
                    " VALUES (?, ?, ?, ?, (SELECT ifnull(max(place), 0) + 1 FROM jobs), ?)",
                    (job, request.model_dump_json(), company, priority, now),
                )
            elif found["state"] not in OPEN and (found["state"] != "done" or again):
                _put_in_line(connection, [job], priority)
            elif found["state"] == "running":  # asked for anew while it is being stopped: `end` puts it back
                connection.execute("UPDATE jobs SET wish = '' WHERE id = ? AND wish != ''", (job,))
            else:  # what is older than this was found
                connection.execute("UPDATE jobs SET submitted = ? WHERE id = ? AND state = 'done'", (now, job))

    def job(self, job: str) -> QueuedJob:
        """One job; KeyError where nobody knows it."""
        row = self._database.row("SELECT * FROM jobs WHERE id = ? AND NOT question", job)
        if row is None:
            raise KeyError(job)
        return _job(row)

    def find(self, start: str) -> str:
        """The id that begins with `start`; Refused where there is none, or more than one."""
        sql = "SELECT id FROM jobs WHERE substr(id, 1, ?) = ? AND NOT question LIMIT 2"
        rows = self._database.rows(sql, len(start), start) if start.isprintable() else []  # else it is no UTF-8
        if len(rows) != 1 or not start:
            what = f"there is no job {start!r}" if not rows else f"more than one job begins with {start!r}"
            raise Refused(f"{what}; `studio queue` lists them.")
        return str(rows[0]["id"])

    def jobs(self, states: Iterable[State] = OPEN, limit: int = 1000) -> list[QueuedJob]:
        """Jobs in these states: running ones first, then in line, then those that ended, latest first.

        Those that another version put in line, and this one can't read, are left out.
        """
        wanted = list(states)
        rows = self._database.rows(
            f"SELECT * FROM jobs WHERE state IN ({', '.join('?' * len(wanted))}) AND NOT question"
            " ORDER BY state != 'running', state != 'waiting', iif(state = 'waiting', -priority, 0),"
            " iif(state = 'waiting', place, -number), number LIMIT ?",
            *wanted,
            limit,
        )
        return [job for job in map(_job_or_none, rows) if job]

    def latest(self, limit: int) -> list[QueuedJob]:
        """What was asked for as it is, not by the dozen: latest first, whatever became of it."""
        sql = "SELECT * FROM jobs WHERE priority = 0 AND NOT question ORDER BY submitted DESC, number DESC LIMIT ?"
        return [job for job in map(_job_or_none, self._database.rows(sql, limit)) if job]

    def counts(self) -> dict[State, int]:
        """How many jobs there are in each state."""
        rows = self._database.rows("SELECT state, count(*) AS count FROM jobs WHERE NOT question GROUP BY state")
        return {row["state"]: row["count"] for row in rows}

    def ahead(self, job: str) -> int:
        """How many open jobs come before this one."""
        row = self._database.row(
            "SELECT count(*) AS count FROM jobs AS other JOIN jobs AS this ON this.id = ? WHERE this.state = 'waiting'"
            " AND NOT other.question AND (other.state = 'running'"
            " OR (other.state = 'waiting' AND (other.priority > this.priority"
            " OR (other.priority = this.priority AND other.place < this.place))))",
            job,
        )
        return row["count"] if row else 0

    def cancel(self, jobs: Iterable[str] | None = None) -> int:
        """Take jobs (None: all open ones) out of line, or stop them at their next step -> how many were open."""
        with self._database.writing() as connection:
            wanted = _open(connection, jobs)
            connection.executemany(
                "UPDATE jobs SET wish = iif(state = 'running', 'cancel', ''),"
                " ended = iif(state = 'waiting', ?, NULL), state = iif(state = 'waiting', 'cancelled', state)"
                " WHERE id = ?",
                [(time.time(), job) for job in wanted],
            )
            return len(wanted)

    def finish_picture(self, job: str) -> None:
        """Stop a running job once the pictures being drawn are saved; one in line is taken out."""
        one = "WHERE id = ? AND state"
        with self._database.writing() as connection:
            connection.execute(f"UPDATE jobs SET wish = 'finish' {one} = 'running' AND wish = ''", (job,))
            connection.execute(f"UPDATE jobs SET state = 'cancelled', ended = ? {one} = 'waiting'", (time.time(), job))

    def retry(self, jobs: Iterable[str] | None = None) -> int:
        """Put jobs that failed, were cancelled or set aside in line again (None: all that failed or are aside)."""
        with self._database.writing() as connection:
            if jobs is None:
                failed = "SELECT id FROM jobs WHERE state IN ('failed', 'aside') AND NOT question ORDER BY number"
                rows = connection.execute(failed)
                wanted = [row["id"] for row in rows]
            else:
                wanted = [job for job in jobs if _state_of(connection, job) in ("failed", "cancelled", "aside")]
            _put_in_line(connection, wanted)
            return len(wanted)

    def move(self, job: str, before: str | None) -> None:
        """Put a waiting job before another one, with that one's priority; None is the end of its own."""
        with self._database.writing() as connection:
            if _state_of(connection, job) != "waiting" or (before and _state_of(connection, before) != "waiting"):
                raise Refused("only jobs that wait can be moved; this one has begun or ended.")
            if before is None:
                connection.execute("UPDATE jobs SET place = (SELECT max(place) + 1 FROM jobs) WHERE id = ?", (job,))
            elif before != job:
                _place_before(connection, job, before)

    def prioritise(self, job: str, priority: int) -> None:
        """Set a waiting job's priority; higher ones are done first."""
        with self._database.writing() as connection:
            if _state_of(connection, job) != "waiting":
                raise Refused("only jobs that wait can be moved; this one has begun or ended.")
            connection.execute("UPDATE jobs SET priority = ? WHERE id = ?", (priority, job))

    def pause(self, paused: bool = True) -> None:
        """Begin no more jobs (the running one goes on), or go on."""
        with self._database.writing() as connection:
            connection.execute("REPLACE INTO settings VALUES ('paused', ?)", (str(int(paused)),))

    def is_paused(self) -> bool:
        """Whether no more jobs are begun."""
        row = self._database.row("SELECT value FROM settings WHERE name = 'paused'")
        return row is not None and row["value"] == "1"

    def say(self, sentence: str) -> None:
        """The worker has something to say of itself."""
        with self._database.writing() as connection:
            connection.execute("REPLACE INTO settings VALUES ('notice', ?)", (sentence,))

    def notice(self) -> str:
        """The latest that the worker had to say."""
        row = self._database.row("SELECT value FROM settings WHERE name = 'notice'")
        return row["value"] if row else ""

    # --- For the worker -----------------------------------------------------------------------------------------------

    def claim(self, owner: str) -> list[QueuedJob]:
        """Take the first job in line, and those of its company that follow, while they fit into one batch of theirs."""
        if self.is_paused():
            return []
        with self._database.writing() as connection:
            taken = _fitting(_readable(connection, _first_in_line(connection)))
            connection.executemany(
                "UPDATE jobs SET state = 'running', owner = ?, wish = '', started = ?, ended = NULL, sentence = ''"
                " WHERE id = ?",
                [(owner, time.time(), job.id) for job in taken],
            )
        return taken

    def wishes(self, owner: str) -> dict[str, Wish]:
        """The running jobs of a worker, each with what somebody wishes of it."""
        held = "SELECT id, wish FROM jobs WHERE owner = ? AND state = 'running' AND NOT question"
        rows = self._database.rows(held, owner)
        return {row["id"]: row["wish"] for row in rows}

    def end(self, owner: str, job: str, end: End) -> bool:
        """Note how a job ended -> whether it was this worker's to say. One that was cancelled and asked for anew while
        it was being stopped goes back in line.
        """
        state = "done" if isinstance(end, Done) else "cancelled" if isinstance(end, Cancelled) else "failed"
        sentence = end.sentence if isinstance(end, Failed) else ""
        with self._database.writing() as connection:
            changed = connection.execute(
                "UPDATE jobs SET state = iif(? = 'cancelled' AND wish = '', 'waiting', ?), sentence = ?, ended = ?,"
                " owner = '', wish = '' WHERE id = ? AND owner = ? AND state = 'running'",
                (state, state, sentence, time.time(), job, owner),
            )
            return changed.rowcount == 1

    def alive(self, owner: str, job: str) -> None:
        """A picture of this job was saved: it is not what ends workers."""
        with self._database.writing() as connection:
            connection.execute("UPDATE jobs SET deaths = 0 WHERE id = ? AND owner = ? AND deaths > 0", (job, owner))

    def release(self, owner: str) -> None:
        """Put a worker's jobs back in line: it was asked to stop, and they did nothing wrong."""
        with self._database.writing() as connection:
            _put_back(connection, "owner = ?", owner, deaths=0, how="")

    def bury(self, owner: str, how: str) -> None:
        """A worker died in the middle of its jobs: put them back in line, or aside where it is the second time."""
        with self._database.writing() as connection:
            _put_back(connection, "owner = ?", owner, deaths=1, how=how)

    def give_up(self, sentence: str) -> None:
        """No worker can be started, and there is none: what is open has failed, so that nobody waits in vain."""
        with self._database.writing() as connection:
            connection.execute(
                "UPDATE jobs SET state = 'failed', sentence = ?, ended = ?, owner = '', wish = ''"
                " WHERE state IN ('waiting', 'running')",
                (sentence, time.time()),
            )

    def recover(self, owner: str) -> None:
        """Put back what other workers held; to be called by the only worker there can be, before its first claim."""
        with self._database.writing() as connection:
            _put_back(connection, "owner != ?", owner, deaths=1, how="ended without a word, as when the power goes")


def _job(row: Row) -> QueuedJob:
    try:
        request = ImageRequest.model_validate_json(row["request"])
    except ValidationError as error:
        raise Refused(f"job {row['id'][:16]} was put in line by another version of the studio; cancel it.") from error
    names = ("id", "number", "state", "priority", "sentence", "deaths", "submitted", "started", "ended", "wish")
    return QueuedJob(request=request, **{name: row[name] for name in names})


def _job_or_none(row: Row) -> QueuedJob | None:
    try:
        return _job(row)
    except Refused:
        return None


def _state_of(connection: Connection, job: str) -> str:
    row = connection.execute("SELECT state FROM jobs WHERE id = ?", (job,)).fetchone()
    return row["state"] if row else ""


def _open(connection: Connection, jobs: Iterable[str] | None) -> list[str]:
    if jobs is None:
        every = connection.execute("SELECT id FROM jobs WHERE state IN ('waiting', 'running') AND NOT question")
        return [row["id"] for row in every]
    return [job for job in jobs if _state_of(connection, job) in OPEN]


def _put_in_line(connection: Connection, jobs: Sequence[str], priority: int | None = None) -> None:
    """At the end, as if they had never been tried."""
    for job in jobs:
        connection.execute(
            "UPDATE jobs SET state = 'waiting', owner = '', wish = '', deaths = 0, sentence = '', started = NULL,"
            " ended = NULL, submitted = ?, priority = ifnull(?, priority), place = (SELECT max(place) + 1 FROM jobs)"
            " WHERE id = ?",
            (time.time(), priority, job),
        )


def _first_in_line(connection: Connection) -> list[Row]:
    """The first waiting job, then others of its company in their order."""
    return connection.execute(
        "WITH first AS (SELECT number, company FROM jobs WHERE state = 'waiting' AND NOT question"
        " ORDER BY priority DESC, place, number LIMIT 1)"
        " SELECT jobs.* FROM jobs JOIN first ON jobs.company = first.company WHERE jobs.state = 'waiting'"
        " AND NOT jobs.question"
        " ORDER BY jobs.number != first.number, jobs.priority DESC, jobs.place, jobs.number LIMIT ?",
        (TOGETHER,),
    ).fetchall()


def _readable(connection: Connection, rows: list[Row]) -> list[QueuedJob]:
    """The jobs of `rows`; those of another version's making have failed, or the line would stand still."""
    jobs = []
    for row in rows:
        try:
            jobs.append(_job(row))
        except Refused as refusal:
            connection.execute("UPDATE jobs SET state = 'failed', sentence = ? WHERE id = ?", (str(refusal), row["id"]))
    return jobs


def _fitting(jobs: list[QueuedJob]) -> list[QueuedJob]:
    """The first job, whatever its size, and those after it that fit beside it in one shape.

    One that a worker died of is done alone: its companions would be blamed with it.
    """
    taken = jobs[:1]
    room = (taken[0].request.shape or 1) - taken[0].request.count if taken and not taken[0].deaths else 0
    for job in jobs[1:]:
        if job.request.count > room or job.deaths:
            break  # a smaller one further back would jump the line
        taken.append(job)
        room -= job.request.count
    return taken


def _place_before(connection: Connection, job: str, before: str) -> None:
    there = connection.execute("SELECT priority, place, number FROM jobs WHERE id = ?", (before,)).fetchone()
    # A job that ran while others were moved comes back to its place, where another one may stand by now.
    left = connection.execute(
        "SELECT max(place) FROM jobs WHERE state = 'waiting' AND priority = ? AND (place, number) < (?, ?) AND id != ?",
        (there["priority"], there["place"], there["number"], job),
    ).fetchone()[0]
    place = (there["place"] + (there["place"] - 1 if left is None else left)) / 2
    if (
        left is not None and not left < place < there["place"]
    ):  # one place for two, or halved fifty times: no number is left between
        _renumber(connection)
        return _place_before(connection, job, before)
    connection.execute("UPDATE jobs SET priority = ?, place = ? WHERE id = ?", (there["priority"], place, job))
    return None


def _renumber(connection: Connection) -> None:
    rows = connection.execute("SELECT id FROM jobs WHERE state = 'waiting' ORDER BY place, number").fetchall()
    connection.executemany(
        "UPDATE jobs SET place = ? WHERE id = ?", [(float(n), row["id"]) for n, row in enumerate(rows)]
    )


def _put_back(connection: Connection, whose: str, owner: str, deaths: int, how: str) -> None:
    """Running jobs go back to their place in line; cancelled where that was wished, aside after DEATHS."""
    held = f"state = 'running' AND {whose}"
    gone = "UPDATE jobs SET state = 'cancelled', owner = '', wish = '', ended = ?"
    connection.execute(f"{gone} WHERE {held} AND wish != ''", (time.time(), owner))
    sentence = f"the worker {how} in the middle of this job, {DEATHS} times; retry it alone, or ask for less at once."
    connection.execute(
        f"UPDATE jobs SET deaths = deaths + ?, owner = '', state = iif(deaths + ? >= ?, 'aside', 'waiting'),"
        f" sentence = iif(deaths + ? >= ?, ?, '') WHERE {held}",
        (deaths, deaths, DEATHS, deaths, DEATHS, sentence, owner),
    )
