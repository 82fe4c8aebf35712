"""How far running jobs are, for every process to see: the latest step and preview of each, gone once nobody asks."""

import json
from collections.abc import Iterable
from pathlib import Path

from studio.database import Database
from studio.events import Progress, Unknown
from studio.schema import LIVE


class Live:
    """Progress in a database that does not wait for the disk."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, LIVE, durable=False)

    def note(self, job: str, progress: Progress) -> None:
        """The latest of a job. Previews that it does not bring, and words said before, stay as they are."""
        unknown = json.dumps([[word.word, *word.nearest] for word in progress.unknown], ensure_ascii=False)
        with self._database.writing() as connection:
            revision = connection.execute(
                "INSERT INTO progress VALUES (?, ?, ?, ?, 1, ?) ON CONFLICT (job) DO UPDATE SET step = excluded.step,"
                " total = excluded.total, revision = revision + 1,"
                " unknown = iif(excluded.unknown = '[]', unknown, excluded.unknown),"
                " read_as = iif(excluded.read_as = '', read_as, excluded.read_as) RETURNING revision",
                (job, progress.step, progress.total, unknown, progress.read_as),
            ).fetchone()[0]
            connection.executemany(
                "REPLACE INTO previews VALUES (?, ?, ?, ?)",
                [(job, position, png, revision) for position, png in progress.previews.items()],
            )

    def read(self, job: str, since: int = 0) -> tuple[int, Progress | None]:
        """What is newer than revision `since`: (revision, progress with the previews that changed), or None."""
        rows = self._database.rows(  # one statement sees one moment: two would show a step with a later one's preview
            "SELECT step, total, unknown, read_as, progress.revision, position, png FROM progress"
            " LEFT JOIN previews ON previews.job = progress.job AND previews.revision > ?"
            " WHERE progress.job = ? AND progress.revision > ?",
            *(since, job, since),
        )
        if not rows:
            return since, None
        unknown = tuple(Unknown(word, tuple(nearest)) for word, *nearest in json.loads(rows[0]["unknown"]))
        shown = {row["position"]: row["png"] for row in rows if row["png"] is not None}
        now = Progress(rows[0]["step"], rows[0]["total"], shown, unknown, rows[0]["read_as"])
        return rows[0]["revision"], now

    def begin(self, job: str) -> None:
        """A try begins: what was shown of an earlier one is no longer true. Revisions go on counting."""
        with self._database.writing() as connection:
            connection.execute("DELETE FROM previews WHERE job = ?", (job,))
            connection.execute(
                "INSERT INTO progress VALUES (?, 0, 0, '[]', 1, '') ON CONFLICT (job) DO UPDATE SET step = 0,"
                " total = 0, unknown = '[]', read_as = '', revision = revision + 1",
                (job,),
            )

    def show_only(self, jobs: Iterable[str]) -> None:
        """Forget the previews of all but these; how far the others came, and words that they said, stays."""
        self._forget("previews", jobs)

    def keep_only(self, jobs: Iterable[str]) -> None:
        """Forget all but these."""
        kept = list(jobs)
        for table in ("progress", "previews"):
            self._forget(table, kept)

    def _forget(self, table: str, jobs: Iterable[str]) -> None:
        with self._database.writing() as connection:
            wanted = "SELECT value FROM json_each(?)"
            connection.execute(f"DELETE FROM {table} WHERE job NOT IN ({wanted})", (json.dumps(list(jobs)),))
