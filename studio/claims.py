"""The worker's side of the queue: claiming jobs, reporting on them, and putting back what a worker left.

All of it counts only while the worker holds the job under its name, the `owner`.
"""

import time
from sqlite3 import Connection, Row
from typing import Any

from pydantic import ValidationError

from models.messages import Message, Refused
from studio.database import Database
from studio.events import Answer, Cancelled, Done, End, Failed
from studio.queue import ANSWERS, OPEN_STATES, Queue, QueuedJob, Wish, read_job, stored
from studio.requests import ANY_REQUEST

CRASHES = 2  # of workers, after which a job is quarantined
MAX_CLAIM = 64  # jobs that one claim takes at most


class Claims:
    """What the worker named `owner` does with the jobs in a database. From any thread and any process."""

    def __init__(self, database: Database, owner: str) -> None:
        self._database, self.owner = database, owner

    def claim(self) -> list[QueuedJob]:
        """Take the first job in line, and those of its batch key that follow, as many as fit into one batch."""
        if Queue(self._database).is_paused():
            return []
        with self._database.writing() as connection:
            taken = _fitting(_readable(connection, _first_in_line(connection)))
            connection.executemany(
                "UPDATE jobs SET state = 'running', owner = ?, wish = '', started = ?, ended = NULL, sentence = ''"
                " WHERE id = ?",
                [(self.owner, time.time(), job.id) for job in taken],
            )
        return taken

    def claim_interactive(self, between: str = "") -> tuple[str, Any] | None:
        """Take the first interactive job, or one whose answer this worker could not store before -> (id, request).

        In the middle of other work, with the model `between` in memory, only one for that model, and none that
        crashed a worker: the other work would be blamed with it.
        """
        mine = f"question AND state IN ({OPEN_STATES}) AND (state = 'waiting' OR owner = ?)"
        values: list[object] = [self.owner]
        if between:
            mine, values = f"{mine} AND company = ? AND deaths = 0", [*values, between]
        first = f"SELECT * FROM jobs WHERE {mine} ORDER BY place LIMIT 1"
        if self._database.row(first, *values) is None:  # asked often: mostly it need not wait for the writer's place
            return None
        with self._database.writing() as connection:
            row = connection.execute(first, values).fetchone()
            if row is None:
                return None
            try:
                request = ANY_REQUEST.validate_json(row["request"])
            except ValidationError:
                failed = "UPDATE jobs SET state = 'failed', owner = '', sentence = ? WHERE id = ?"
                connection.execute(failed, (stored(Message("job.other_version_asked")), row["id"]))
                return None
            taken = "UPDATE jobs SET state = 'running', owner = ?, wish = '', started = ? WHERE id = ?"
            connection.execute(taken, (self.owner, time.time(), row["id"]))
            return row["id"], request

    def end_interactive(self, job: str, answers: tuple[Answer, ...]) -> bool:
        """Store the answer -> whether this worker held the job."""
        with self._database.writing() as connection:
            changed = connection.execute(
                "UPDATE jobs SET state = 'done', answer = ?, sentence = '', ended = ?, owner = '', wish = ''"
                " WHERE id = ? AND owner = ? AND state = 'running'",
                (ANSWERS.dump_json(answers).decode(), time.time(), job, self.owner),
            )
            return changed.rowcount == 1

    def wishes(self) -> dict[str, Wish]:
        """The running jobs of a worker, each with what somebody asked of it."""
        held = "SELECT id, wish FROM jobs WHERE owner = ? AND state = 'running' AND NOT question"
        rows = self._database.rows(held, self.owner)
        return {row["id"]: row["wish"] for row in rows}

    def end(self, job: str, end: End) -> bool:
        """Store how a job ended -> whether this worker held it. One that was cancelled and submitted anew while it was
        being stopped goes back in line.
        """
        state = "done" if isinstance(end, Done) else "cancelled" if isinstance(end, Cancelled) else "failed"
        sentence = stored(end.message) if isinstance(end, Failed) else ""
        with self._database.writing() as connection:
            changed = connection.execute(
                "UPDATE jobs SET state = iif(? = 'cancelled' AND wish = '', 'waiting', ?), sentence = ?, ended = ?,"
                " owner = '', wish = '' WHERE id = ? AND owner = ? AND state = 'running'",
                (state, state, sentence, time.time(), job, self.owner),
            )
            return changed.rowcount == 1

    def clear_crashes(self, job: str) -> None:
        """An artifact of this job was saved: it is not what crashes workers."""
        with self._database.writing() as connection:
            connection.execute(
                "UPDATE jobs SET deaths = 0 WHERE id = ? AND owner = ? AND deaths > 0", (job, self.owner)
            )

    def release(self) -> None:
        """Put a worker's jobs back in line: it was asked to stop, and they did nothing wrong."""
        with self._database.writing() as connection:
            _put_back(connection, "owner = ?", self.owner)

    def report_crash(self, how: Message) -> None:
        """A worker died in the middle of its jobs: put them back in line, or quarantine them the second time."""
        with self._database.writing() as connection:
            _put_back(connection, "owner = ?", self.owner, how)

    def fail_all(self, message: Message) -> None:
        """No worker can be started: what is open has failed, so that nobody waits in vain."""
        with self._database.writing() as connection:
            connection.execute(
                "UPDATE jobs SET state = 'failed', sentence = ?, ended = ?, owner = '', wish = ''"
                " WHERE state IN ('waiting', 'running')",
                (stored(message), time.time()),
            )

    def recover(self) -> None:
        """Put back what other workers held; to be called by the only worker there can be, before its first claim."""
        with self._database.writing() as connection:
            _put_back(connection, "owner != ?", self.owner, Message("worker.vanished"))


def _first_in_line(connection: Connection) -> list[Row]:
    """The first waiting job, then others of its batch key in their order."""
    return connection.execute(
        "WITH first AS (SELECT number, company FROM jobs WHERE state = 'waiting' AND NOT question"
        " ORDER BY priority DESC, place, number LIMIT 1)"
        " SELECT jobs.* FROM jobs JOIN first ON jobs.company = first.company WHERE jobs.state = 'waiting'"
        " AND NOT jobs.question"
        " ORDER BY jobs.number != first.number, jobs.priority DESC, jobs.place, jobs.number LIMIT ?",
        (MAX_CLAIM,),
    ).fetchall()


def _readable(connection: Connection, rows: list[Row]) -> list[QueuedJob]:
    """The jobs of `rows`; those of another version's making have failed, or the line would stand still."""
    jobs = []
    for row in rows:
        try:
            jobs.append(read_job(row))
        except Refused as refusal:
            failed = "UPDATE jobs SET state = 'failed', sentence = ? WHERE id = ?"
            connection.execute(failed, (stored(refusal.message), row["id"]))
    return jobs


def _fitting(jobs: list[QueuedJob]) -> list[QueuedJob]:
    """The first job, whatever its size, and those after it that fit beside it in one shape.

    One that crashed a worker is done alone: the others would be blamed with it.
    """
    taken = jobs[:1]
    room = (taken[0].request.shape or 1) - taken[0].request.count if taken and not taken[0].crashes else 0
    for job in jobs[1:]:
        if job.request.count > room or job.crashes:
            break  # a smaller one further back would jump the line
        taken.append(job)
        room -= job.request.count
    return taken


def _put_back(connection: Connection, whose: str, owner: str, crash: Message | None = None) -> None:
    """Running jobs go back to their place in line; cancelled where that was asked, quarantined after CRASHES."""
    held, crashes = f"state = 'running' AND {whose}", int(crash is not None)
    gone = "UPDATE jobs SET state = 'cancelled', owner = '', wish = '', ended = ?"
    connection.execute(f"{gone} WHERE {held} AND wish != ''", (time.time(), owner))
    message = stored(Message("job.quarantined", {"how": crash or "", "times": CRASHES}))
    connection.execute(
        f"UPDATE jobs SET deaths = deaths + ?, owner = '', state = iif(deaths + ? >= ?, 'aside', 'waiting'),"
        f" sentence = iif(deaths + ? >= ?, ?, '') WHERE {held}",
        (crashes, crashes, CRASHES, crashes, CRASHES, message, owner),
    )
