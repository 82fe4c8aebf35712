"""A plan into pictures: groups of jobs drawn together, each picture whole on disk before its line in the journal."""

import sys
import traceback
from collections.abc import Generator, Hashable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from models.messages import Refused
from studio.backends.base import Backend
from studio.batch.folder import Folder, Record, sha256
from studio.batch.plan import Job, Plan, Problem
from studio.events import Done, Failed, Progress, Saved, Unknown
from studio.foreground import STOPPED
from studio.make import explain, make_together
from studio.requests import company
from studio.shelves import Folder as Shelf

TOGETHER = 64  # pictures of one group: a multiple of every shape, and what is asked anew where one of them fails


@dataclass
class Outcome:
    """What came of a batch. `problem` is what stopped it, where it could not go on."""

    plan: Plan
    status: dict[str, str] = field(default_factory=dict)  # by a job's first file: done, found or failed
    problems: list[Problem] = field(default_factory=list)
    unknown: dict[str, Unknown] = field(default_factory=dict)
    problem: str = ""
    stopped: bool = False

    def count(self, status: str) -> int:
        """Jobs of that status; a line that says the same as an earlier one finds the other's pictures."""
        own = sum(one == status for one in self.status.values())
        again = len(self.plan.jobs) - len({job.files[0] for job in self.plan.jobs})
        return own + again if status == "found" and not self.stopped and not self.problem else own

    @property
    def failed(self) -> int:
        """Lines and jobs that can't be done."""
        return len(self.problems) + self.plan.more

    @property
    def code(self) -> int:
        """0 done, 1 partly done, 2 nothing done, 130 stopped."""
        if self.stopped:
            return STOPPED
        if not self.failed and not self.problem:
            return 0
        return 1 if self.count("done") + self.count("found") else 2

    def as_dict(self) -> dict[str, Any]:
        """What `--json` prints. `total` counts jobs and lines that can't be one."""
        lines = len(self.plan.problems) + self.plan.more
        counts = {"done": self.count("done"), "found": self.count("found"), "failed": self.failed}
        errors = [asdict(problem) for problem in self.problems]
        return {"total": len(self.plan.jobs) + lines, **counts, "errors": errors, "problem": self.problem or None}


class Runner:
    """One run of a plan in its folder. `pictures` of the plan are whole, as far as is known."""

    def __init__(self, backend: Backend, folder: Folder, plan: Plan) -> None:
        self.backend, self.folder, self.plan = backend, folder, plan
        self.outcome = Outcome(plan, problems=list(plan.problems))
        self.records = folder.records()
        self.jobs = list({job.files[0]: job for job in plan.jobs}.values())
        for job in self.jobs:
            if all(name in self.records for name in job.files):
                self.outcome.status[job.files[0]] = "found"

    @property
    def total(self) -> int:
        """Pictures of the plan."""
        return sum(job.request.count for job in self.jobs)

    @property
    def pictures(self) -> int:
        """Pictures that are there."""
        return len(self.records)

    def run(self) -> Generator[float, None, None]:
        """Do what is missing; yields the pictures that are there, the one at work as a share.

        What comes of it is in `outcome`, and the files are in step with it however this ends: by itself, by a full
        disk, by Ctrl-C or by being closed.
        """
        try:
            for group in groups([job for job in self.jobs if job.files[0] not in self.outcome.status]):
                yield from self._group(group)
        except Refused as refusal:
            self.outcome.problem = str(refusal)
        finally:
            self._write()

    def _group(self, jobs: Sequence[Job]) -> Iterator[float]:
        """Where the model breaks down over a group, each of its jobs is asked for alone: what is there is found."""
        try:
            yield from self._draw(jobs)
        except Refused:
            raise
        except Exception as error:
            if len(jobs) > 1:
                for job in jobs:
                    if job.files[0] not in self.outcome.status:
                        yield from self._group([job])
                return
            traceback.print_exc(file=sys.stderr)
            self._fail(jobs[0], explain(error))

    def _draw(self, jobs: Sequence[Job]) -> Iterator[float]:
        files = {job.id: job.files for job in jobs}
        shelf = Shelf(self.folder.images, lambda job: files[job.id])
        made = set[int]()
        for number, event in make_together(self.backend, [job.request for job in jobs], shelf, previews=False):
            job = jobs[number]
            if isinstance(event, Progress):
                self.outcome.unknown |= {one.word: one for one in event.unknown}
                yield self.pictures + (event.step / event.total if event.total else 0)
            elif isinstance(event, Saved):
                self._save(job, event)
                made |= set() if event.found else {number}
                yield self.pictures
            elif isinstance(event, Failed):
                self._fail(job, event.sentence)
            elif isinstance(event, Done):
                self.outcome.status[job.files[0]] = "done" if number in made else "found"

    def _save(self, job: Job, saved: Saved) -> None:
        name = job.files[saved.index]
        if name not in self.records:
            path = Path(saved.path)
            self.records[name] = Record(name, job.id, saved.index, saved.seed, saved.score, sha256(path))
            self.folder.add(self.records[name])

    def _fail(self, job: Job, sentence: str) -> None:
        self.outcome.status[job.files[0]] = "failed"
        self.outcome.problems.append(Problem(job.file, job.line, sentence, id=job.id))

    def _write(self) -> None:
        """What follows from the journal, written anew. A disk that is full now was full before."""
        try:
            self.folder.save_metadata(self.jobs, self.records)
            self.folder.save_problems(self.outcome.problems)
            self.folder.save_jobs(self.plan.jobs, self.outcome.status)
        except Refused as refusal:
            self.outcome.problem = self.outcome.problem or str(refusal)


def groups(jobs: Sequence[Job]) -> Iterator[list[Job]]:
    """Jobs that may be drawn together, TOGETHER pictures or a little more at a time; no job twice, for one may be asked
    for under two names."""
    companies: dict[Hashable, list[Job]] = {}
    for job in jobs:
        companies.setdefault(company(job.request), []).append(job)
    for members in companies.values():
        group: list[Job] = []
        for job in members:
            if any(one.id == job.id for one in group):
                yield group
                group = []
            group.append(job)
            if sum(one.request.count for one in group) >= TOGETHER:
                yield group
                group = []
        if group:
            yield group
