"""The worker's side of the queue: claiming jobs, reporting on them, and putting back what a worker left.

All of it counts only while the worker holds the job under its name, the `owner`.
"""

import time
from sqlite3 import Connection, Row

from models.messages import Message
from studio.database import Database
from studio.events import Answer, Cancelled, Done, End, Failed
from studio.queue import ANSWERS, OPEN_STATES, Queue, QueuedJob, Wish, readable, stored

CRASHES = 2  # of workers, after which a job is quarantined
SLOT = 32  # characters of an owner's name before its slot
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
            rows = connection.execute(
                "WITH first AS (SELECT number, company FROM jobs WHERE state = 'waiting' AND NOT question"
                " ORDER BY priority DESC, place, number LIMIT 1)"
                " SELECT jobs.* FROM jobs JOIN first ON jobs.company = first.company WHERE jobs.state = 'waiting'"
                " AND NOT jobs.question"
                " ORDER BY jobs.number != first.number, jobs.priority DESC, jobs.place, jobs.number LIMIT ?",
                (MAX_CLAIM,),
            ).fetchall()
            return self._take(connection, _fitting(_readable(connection, rows)))

    def claim_interactive(self, between: str = "") -> QueuedJob | None:
        """Take the first interactive job, or one whose answer this worker could not store before.

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
            rows = connection.execute(first, values).fetchall()
            return next(iter(self._take(connection, _readable(connection, rows))), None)

    def _take(self, connection: Connection, jobs: list[QueuedJob]) -> list[QueuedJob]:
        connection.executemany(
            "UPDATE jobs SET state = 'running', owner = ?, wish = '', started = ?, ended = NULL, sentence = ''"
            " WHERE id = ?",
            [(self.owner, time.time(), job.id) for job in jobs],
        )
        return jobs

    def wishes(self) -> dict[str, Wish]:
        """The running jobs of a worker, each with what somebody asked of it."""
        held = "SELECT id, wish FROM jobs WHERE owner = ? AND state = 'running' AND NOT question"
        return {row["id"]: row["wish"] for row in self._database.rows(held, self.owner)}

    def end(self, job: str, end: End, answers: tuple[Answer, ...] | None = None) -> bool:
        """Store how a job ended, an interactive one with its `answers` -> whether this worker held it. One that was
        cancelled and submitted anew while it was being stopped goes back in line.
        """
        state = "done" if isinstance(end, Done) else "cancelled" if isinstance(end, Cancelled) else "failed"
        sentence = stored(end.message) if isinstance(end, Failed) else ""
        changed = self._database.write(
            "UPDATE jobs SET state = iif(? = 'cancelled' AND wish = '', 'waiting', ?), sentence = ?, answer = ?,"
            " ended = ?, owner = '', wish = '' WHERE id = ? AND owner = ? AND state = 'running'",
            *(state, state, sentence, None if answers is None else ANSWERS.dump_json(answers).decode()),
            *(time.time(), job, self.owner),
        )
        return changed == 1

    def clear_crashes(self, job: str) -> None:
        """An artifact of this job was saved: it is not what crashes workers."""
        self._database.write("UPDATE jobs SET deaths = 0 WHERE id = ? AND owner = ?", job, self.owner)

    def release(self, crash: Message | None = None) -> None:
        """Put a worker's jobs back in line. One that died in the middle of them says how (`crash`): the second time
        they are quarantined. Without, it was asked to stop, and they did nothing wrong.
        """
        self._put_back("owner = ?", crash)

    @property
    def slot(self) -> str:
        """Which of the home's workers it is: "" the first, ".1" the second. It ends the owner's name."""
        return self.owner[SLOT:]

    def slots(self) -> set[str]:
        """Of all that hold jobs."""
        sql = f"SELECT DISTINCT substr(owner, {SLOT} + 1) AS slot FROM jobs WHERE state = 'running'"
        return {row["slot"] for row in self._database.rows(sql)}

    def recover(self, slot: str = "") -> None:
        """Put back what other workers of a slot held; to be called by who holds its lock, so that there are none."""
        self._put_back(f"owner != ? AND substr(owner, {SLOT} + 1) = '{slot}'", Message("worker.vanished"))

    def _put_back(self, whose: str, crash: Message | None) -> None:
        """Running jobs go back to their place in line; cancelled where that was asked, quarantined after CRASHES."""
        held, crashes = f"state = 'running' AND {whose}", int(crash is not None)
        message = stored(Message("job.quarantined", {"how": crash or "", "times": CRASHES}))
        with self._database.writing() as connection:
            gone = "UPDATE jobs SET state = 'cancelled', owner = '', wish = '', ended = ?"
            connection.execute(f"{gone} WHERE {held} AND wish != ''", (time.time(), self.owner))
            connection.execute(
                f"UPDATE jobs SET deaths = deaths + ?, owner = '', state = iif(deaths + ? >= ?, 'aside', 'waiting'),"
                f" sentence = iif(deaths + ? >= ?, ?, '') WHERE {held}",
                (crashes, crashes, CRASHES, crashes, CRASHES, message, self.owner),
            )

    def fail_all(self, message: Message) -> None:
        """No worker can be started: what is open has failed, so that nobody waits in vain."""
        self._database.write(
            "UPDATE jobs SET state = 'failed', sentence = ?, ended = ?, owner = '', wish = ''"
            f" WHERE state IN ({OPEN_STATES})",
            *(stored(message), time.time()),
        )


def _readable(connection: Connection, rows: list[Row]) -> list[QueuedJob]:
    """The jobs of `rows`; those of another version's making have failed, or the line would stand still."""
    jobs, others = readable(rows)
    failed = "UPDATE jobs SET state = 'failed', owner = '', sentence = ? WHERE id = ?"
    connection.executemany(failed, [(stored(message), job) for job, message in others.items()])
    return jobs


def _fitting(jobs: list[QueuedJob]) -> list[QueuedJob]:
    """The first job, and those after it that fit into its shape. One that crashed a worker is done alone."""
    taken = jobs[:1]
    room = (taken[0].request.shape or 1) - taken[0].request.count if taken and not taken[0].crashes else 0
    for job in jobs[1:]:
        if job.request.count > room or job.crashes:
            break  # a smaller one further back would jump the line
        taken.append(job)
        room -= job.request.count
    return taken
