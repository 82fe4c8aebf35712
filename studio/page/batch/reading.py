"""Prompt files and pasted lines into a plan, by the very functions of `studio batch`."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from studio import settings
from studio.backends.registry import open_backend
from studio.batch.plan import Context, Job, Plan, plan
from studio.batch.sources import Problem, Source
from studio.files import make_folder, write_whole
from studio.page.frame import Frame
from studio.wildcards import Wildcards

JOBS = 20_000  # of one file: a page holds them all in memory until they are in line
ROWS = 100  # of the table at once


@dataclass(frozen=True)
class Read:
    """A prompt file that was looked through. `text` is what was pasted, "" for a file; `digest` names the model."""

    name: str
    text: str
    digest: str
    plan: Plan

    def rows(self, only_bad: bool) -> list[Job | Problem]:
        """What becomes of the lines, in their order."""
        good: list[Job | Problem] = [] if only_bad else list(self.plan.jobs)
        return sorted([*good, *self.plan.problems], key=lambda row: row.line)

    @property
    def bad(self) -> int:
        """Lines that can't be done."""
        return len(self.plan.problems) + self.plan.more


def read_file(frame: Frame, path: Path, name: str) -> Read:
    """Look a file through. Refused where it can't be read, or asks for more than JOBS."""
    return _read(frame, Source(name, path, frame.studio.home), "")


def read_text(frame: Frame, text: str, name: str) -> Read:
    """As `read_file`, what somebody pasted."""
    folder = settings.uploads(frame.studio.home)
    make_folder(folder)
    path = folder / f"lines-{uuid.uuid4().hex}"
    try:
        write_whole(path, text.encode(errors="replace"), "--home")
        return _read(frame, Source(name, path, frame.studio.home), text)
    finally:
        path.unlink(missing_ok=True)


def cells(job: Job) -> Iterator[str]:
    """A job as the row of a table; the same values, in the same words, as `studio batch --dry-run` prints."""
    one = job.request
    yield from (str(job.line), one.prompt, one.style or "-")
    yield from map(str, (one.count, one.seed, one.steps, f"{one.guidance:g}", one.scheduler))


def _read(frame: Frame, source: Source, text: str) -> Read:
    """Pictures that the lines name must lie in the home: who sends a file need not be who may read this computer's."""
    backend, home = open_backend(frame.model), frame.studio.home
    digest, lists = backend.digest(), Wildcards(settings.wildcards(home))
    context = Context(frame.model, backend.capabilities(), digest, lists, within=home, most=JOBS)
    return Read(source.name, text, digest, plan([source], context))
