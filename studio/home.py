"""What is in a home: queue, gallery, progress and search. Any number of processes may open it."""

import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from studio.database import Database, migrations
from studio.events import End, Progress, Saved, Unknown
from studio.gallery import Gallery
from studio.queue import Queue

if TYPE_CHECKING:
    from studio.search import Search

DATABASE = "studio.db"


class Home:
    """The folder `root`, made where it is not there. Refused with a sentence where it can't be used."""

    def __init__(self, root: Path, database: str = DATABASE) -> None:
        self.root = root
        self.database = Database(root / database, migrations("home"))
        self.queue, self.gallery = Queue(self.database), Gallery(root, self.database)
        self.progress = ProgressStore(root / "cache" / "live.db")

    @cached_property
    def search(self) -> "Search":
        """The vectors of the gallery's pictures."""
        from studio.search import Search

        return Search(self.gallery)


class ProgressStore:
    """The latest step and previews of each running job, for every process, in a database that waits for no disk."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, migrations("progress"), durable=False)

    def note(self, job: str, progress: Progress) -> None:
        """Store a job's latest progress. Previews and words that it does not contain stay."""
        unknown = json.dumps([[word.word, *word.nearest] for word in progress.unknown], ensure_ascii=False)
        with self._database.writing() as connection:
            revision = connection.execute(
                "INSERT INTO progress VALUES (?, ?, ?, ?, 1, ?) ON CONFLICT (job) DO UPDATE SET step = excluded.step,"
                " total = excluded.total, revision = revision + 1,"
                " unknown = iif(excluded.unknown = '[]', unknown, excluded.unknown),"
                " read_as = iif(excluded.read_as = '', read_as, excluded.read_as) RETURNING revision",
                (job, progress.step, progress.total, unknown, progress.read_as),
            ).fetchone()[0]
            shown = [(job, position, image, revision) for position, image in progress.previews.items()]
            connection.executemany("REPLACE INTO previews VALUES (?, ?, ?, ?)", shown)

    def read(self, job: str, since: int = 0) -> tuple[int, Progress | None]:
        """What is newer than revision `since`: (revision, progress with the previews that changed), or None."""
        rows = self._database.rows(  # one statement sees one moment: two would show a step with a later one's preview
            "SELECT step, total, unknown, read_as, progress.revision, position, image FROM progress"
            " LEFT JOIN previews ON previews.job = progress.job AND previews.revision > ?"
            " WHERE progress.job = ? AND progress.revision > ?",
            *(since, job, since),
        )
        if not rows:
            return since, None
        unknown = tuple(Unknown(word, tuple(nearest)) for word, *nearest in json.loads(rows[0]["unknown"]))
        shown = {row["position"]: row["image"] for row in rows if row["image"] is not None}
        now = Progress(rows[0]["step"], rows[0]["total"], shown, unknown, rows[0]["read_as"])
        return rows[0]["revision"], now

    def words(self, jobs: Iterable[str]) -> list[Unknown]:
        """The words of some jobs' prompts that were not drawn, each once."""
        among = "SELECT DISTINCT unknown FROM progress WHERE job IN (SELECT value FROM json_each(?))"
        rows = [json.loads(row["unknown"]) for row in self._database.rows(among, json.dumps(list(jobs)))]
        return list(dict.fromkeys(Unknown(word, tuple(nearest)) for row in rows for word, *nearest in row))

    def begin(self, job: str) -> None:
        """Reset the progress of a job that begins again. Revisions go on counting."""
        with self._database.writing() as connection:
            connection.execute("DELETE FROM previews WHERE job = ?", (job,))
            connection.execute(
                "INSERT INTO progress VALUES (?, 0, 0, '[]', 1, '') ON CONFLICT (job) DO UPDATE SET step = 0,"
                " total = 0, unknown = '[]', read_as = '', revision = revision + 1",
                (job,),
            )

    def keep_only(self, jobs: Iterable[str], tables: Sequence[str] = ("progress", "previews")) -> None:
        """Forget all jobs but these, in some tables."""
        names = json.dumps(list(jobs))
        for table in tables:
            self._database.write(f"DELETE FROM {table} WHERE job NOT IN (SELECT value FROM json_each(?))", names)


class JobEvents:
    """A job's events, polled: the state so far, then what is new, of progress the latest. KeyError for no such job."""

    def __init__(self, home: Home, job: str) -> None:
        self._home, self._job = home, job
        self._revision, self._reported, self.ended = 0, set[int](), False

    def poll(self) -> list[Progress | Saved | End]:
        """What is new since the last poll, the end last."""
        state = self._home.queue.job(self._job)  # before the artifacts: those of an ended job are all there
        news: list[Progress | Saved | End] = []
        if state.state != "waiting":  # what an earlier try came to is no longer true
            self._revision, progress = self._home.progress.read(self._job, self._revision)
            news += [progress] if progress else []
        saved = self._home.gallery.results(self._job, state)
        news += [saved[index] for index in saved if index not in self._reported]
        self._reported |= set(saved)
        if state.end:
            news.append(state.end)
            self.ended = True
        return news
