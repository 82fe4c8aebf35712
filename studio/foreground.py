"""Several requests done one after another in this process, with a bar and the time left on stderr."""

import sys
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, ProgressColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from studio.backends.base import Backend
from studio.capabilities import Refused
from studio.events import Saved, Unknown
from studio.files import ready_folder, remove_empty
from studio.make import explain, make
from studio.requests import ImageRequest, job_id

STOPPED = 130


@dataclass(frozen=True)
class Row:
    """A picture that was made, as `--json` prints it."""

    path: str
    seed: int
    prompt: str
    job_id: str
    score: float | None
    seconds: float
    unknown: tuple[Unknown, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values only."""
        return {**asdict(self), "seconds": round(self.seconds, 3)}


@dataclass
class Batch:
    """What came of it: the pictures, the first problem as a sentence, and the exit code."""

    rows: list[Row] = field(default_factory=list)
    problem: str = ""
    stopped: bool = False

    @property
    def code(self) -> int:
        """0 done, 1 partly done, 2 nothing done, 130 stopped."""
        if self.stopped:
            return STOPPED
        return (1 if self.rows else 2) if self.problem else 0


def run(backend: Backend, requests: list[ImageRequest], folder: Path) -> Batch:
    """Do resolved requests into `folder`. Stopped with Ctrl-C, it leaves whole pictures only.

    Raises Refused where `folder` won't do, before any work.
    """
    made = ready_folder(folder, sum(request.count for request in requests))
    batch = Batch()
    try:
        with bar_on_stderr() as bar:
            task = bar.add_task("", total=len(requests))
            for number, request in enumerate(requests):
                bar.update(task, completed=number, description=_title(request))
                for part in _do(backend, request, folder, batch):
                    bar.update(task, completed=number + part)
    except KeyboardInterrupt:
        batch.stopped = True
    except Refused as refusal:
        batch.problem = str(refusal)
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        batch.problem = explain(error)
    if not batch.rows:
        remove_empty(made)
    return batch


def _do(backend: Backend, request: ImageRequest, folder: Path, batch: Batch) -> Iterator[float]:
    """One request, as the share of it that is done; its pictures join the batch as they are finished."""
    job = job_id(request, backend.digest())
    unknown: tuple[Unknown, ...] = ()
    for event in make(backend, request, folder):
        if isinstance(event, Saved):
            row = Row(event.path, event.seed, request.prompt, job, event.score, event.seconds, unknown)
            batch.rows.append(row)
        else:
            unknown = event.unknown or unknown
            yield event.step / event.total if event.total else 0
    for one in unknown:
        nearest = f"; nearest: {', '.join(one.nearest)}" if one.nearest else ""
        sys.stderr.write(f"I don't know {one.word}{nearest}.\n")


def bar_on_stderr(*more: ProgressColumn) -> Bar:
    """A bar with the share that is done, `more`, and the time left; nothing where stderr is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), *more, TimeRemainingColumn())
    console = Console(stderr=True)
    return Bar(*columns, console=console, transient=True, disable=not console.is_terminal)


def _title(request: ImageRequest) -> str:
    prompt = request.prompt or "from pictures"
    return escape(prompt if len(prompt) <= 40 else prompt[:39] + "…")
