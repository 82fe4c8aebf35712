"""Jobs done in this process, with a progress bar and the time left on stderr."""

import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, ProgressColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from models.messages import Message
from models.references.credits import Redraw
from studio.backends.base import Backend
from studio.events import Failed, Progress, Saved, Unknown, not_drawn
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
    redrawn: tuple[Redraw, ...] = ()

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
    batch, saved, words, parts = Batch(), dict[tuple[int, int], Saved](), dict[int, Progress](), [0.0] * len(jobs)
    try:
        with bar_on_stderr() as bar:
            task = bar.add_task("", total=len(jobs))
            for number, event in run_jobs(backend, jobs, sink or FolderSink(folder), previews=False):
                if isinstance(event, Saved):
                    saved[number, event.index] = event
                    sys.stderr.writelines(f"{Message('drawn.again', vars(thing))}\n" for thing in event.redrawn)
                elif isinstance(event, Failed):
                    batch.problems.append(event.sentence)
                elif isinstance(event, Progress):
                    parts[number] = event.step / event.total if event.total else 0.0
                    if (event.unknown or event.read_as) and number not in words:
                        words[number] = event
                        sys.stderr.writelines(f"{message}\n" for message in not_drawn(event.unknown))
                        sys.stderr.write(f"Read as: {event.read_as}\n" if event.read_as else "")
                title = jobs[number].request.title or "from pictures"
                shown = title if len(title) <= 40 else title[:39] + "…"
                bar.update(task, completed=sum(parts), description=escape(shown))
    except KeyboardInterrupt:
        batch.stopped = True
    except Exception as error:
        batch.problems.append(str(explain(error)))
    for (number, _), event in sorted(saved.items()):
        job, progress = jobs[number], words.get(number, Progress(0, 0))
        facts = (job.request.title, job.id, event.score, event.seconds, progress.unknown, progress.read_as)
        batch.rows.append(Row(event.path, event.seed, *facts, event.kind, event.text, event.redrawn))
    if not batch.rows:
        remove_empty(created)
    return batch


def bar_on_stderr(*more: ProgressColumn) -> Bar:
    """A bar with the share that is done, `more`, and the time left; nothing where stderr is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), *more, TimeRemainingColumn())
    console = Console(stderr=True)
    return Bar(*columns, console=console, transient=True, disable=not console.is_terminal)
