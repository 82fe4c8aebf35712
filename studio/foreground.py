"""Jobs done in this process, with a progress bar and the time left on stderr."""

import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, ProgressColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from studio.backends.base import Backend
from studio.events import Done, Failed, Progress, Saved, Unknown, not_drawn
from studio.files import ready_folder, remove_empty
from studio.planner import Job
from studio.run import FolderSink, Sink, explain, run_jobs

STOPPED = 130


@dataclass(frozen=True)
class Row:
    """A saved artifact, as `--json` prints it. `text` is that of a caption."""

    path: str
    seed: int
    prompt: str
    job_id: str
    score: float | None
    seconds: float
    unknown: tuple[Unknown, ...] = ()
    read_as: str = ""
    kind: str = "image"
    text: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values only."""
        return {**asdict(self), "seconds": round(self.seconds, 3)}


@dataclass
class Batch:
    """The saved artifacts, the problems as sentences, and the exit code."""

    rows: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    stopped: bool = False

    @property
    def code(self) -> int:
        return exit_code(bool(self.problems), bool(self.rows), self.stopped)


def exit_code(wrong: bool, any_done: bool, stopped: bool) -> int:
    """0 done, 1 partly done, 2 nothing done, 130 stopped."""
    return STOPPED if stopped else (1 if any_done else 2) if wrong else 0


def run(backend: Backend, jobs: list[Job], folder: Path, sink: Sink | None = None) -> Batch:
    """Do planned jobs into `sink`, which lies in `folder` (None: files in that folder).

    One that fails does not spoil the others. Stopped with Ctrl-C, it leaves whole
    files only. Raises Refused where `folder` won't do, before any work.
    """
    created = ready_folder(folder, sum(job.request.count for job in jobs))
    batch, rows = Batch(), dict[tuple[int, int], Row]()
    try:
        with bar_on_stderr() as bar:
            _follow(run_jobs(backend, jobs, sink or FolderSink(folder), previews=False), jobs, rows, batch, bar)
    except KeyboardInterrupt:
        batch.stopped = True
    except Exception as error:
        batch.problems.append(str(explain(error)))
    batch.rows = [rows[place] for place in sorted(rows)]
    if not batch.rows:
        remove_empty(created)
    return batch


def _follow(
    events: Iterator[tuple[int, Progress | Saved | Done | Failed]],
    jobs: list[Job],
    rows: dict[tuple[int, int], Row],
    batch: Batch,
    bar: Bar,
) -> None:
    """Collect events. A saved artifact is a row at once, so that it counts when the next one fails."""
    task, parts = bar.add_task("", total=len(jobs)), [0.0] * len(jobs)
    unknown: dict[int, tuple[Unknown, ...]] = {}
    read_as: dict[int, str] = {}
    for number, event in events:
        title = jobs[number].request.title
        if isinstance(event, Saved):
            facts = (title, jobs[number].id, event.score, event.seconds)
            words = unknown.get(number, ()), read_as.get(number, "")
            rows[number, event.index] = Row(event.path, event.seed, *facts, *words, event.kind, event.text)
        elif isinstance(event, Failed):
            batch.problems.append(event.sentence)
        elif isinstance(event, Progress):
            parts[number] = event.step / event.total if event.total else 0.0
            if event.unknown and number not in unknown:
                unknown[number] = event.unknown
                sys.stderr.writelines(f"{one}\n" for one in not_drawn(event.unknown))
            if event.read_as and number not in read_as:
                read_as[number] = event.read_as
                sys.stderr.write(f"Read as: {event.read_as}\n")
        shown = title or "from pictures"
        bar.update(task, completed=sum(parts), description=escape(shown if len(shown) <= 40 else shown[:39] + "…"))


def bar_on_stderr(*more: ProgressColumn) -> Bar:
    """A bar with the share that is done, `more`, and the time left; nothing where stderr is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), *more, TimeRemainingColumn())
    console = Console(stderr=True)
    return Bar(*columns, console=console, transient=True, disable=not console.is_terminal)
