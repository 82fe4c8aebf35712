"""A plan into pictures in its folder: groups of jobs drawn together, each picture whole on disk before its line in the
journal; and a batch from its sources to its end, as the command and the Python interface do it.
"""

import datetime
import hashlib
import sys
import traceback
from collections.abc import Callable, Generator, Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any

from models.messages import Message, Refused
from studio.backends.base import Backend, Opener, open_backend
from studio.backends.cluster import opened as opened_on
from studio.batch import sources
from studio.batch.folder import Folder, Record, opened
from studio.batch.plan import Context, Job, Plan, plan, safe_name
from studio.batch.sources import Problem, Source
from studio.events import Done, Failed, Progress, Saved, Unknown
from studio.files import sha256
from studio.foreground import exit_code
from studio.metadata.origin import version
from studio.planner import Job as Planned
from studio.run import explain, run_jobs
from studio.sinks import FolderSink
from studio.wildcards import Wildcards


class Runner:
    """One run of a plan in its folder, and what comes of it.

    `records` are the pictures that are whole, by name; `status` of a job, by its first file, is done, found or failed;
    `problem` is what stopped the run, where it could not go on.
    """

    def __init__(self, backend: Backend, folder: Folder, plan: Plan) -> None:
        self.backend, self.folder, self.plan = backend, folder, plan
        self.records, self.problems, self.problem, self.stopped = folder.records(), list(plan.problems), "", False
        self.unknown: dict[str, Unknown] = {}
        self.jobs = list({job.files[0]: job for job in plan.jobs}.values())
        whole = (job for job in self.jobs if all(name in self.records for name in job.files))
        self.status = {job.files[0]: "found" for job in whole}

    def count(self, status: str) -> int:
        """Jobs of that status; a line that says the same as an earlier one finds the other's pictures."""
        own = sum(one == status for one in self.status.values())
        again = len(self.plan.jobs) - len(self.jobs)
        return own + again if status == "found" and not self.stopped and not self.problem else own

    @property
    def failed(self) -> int:
        """Lines and jobs that can't be done."""
        return len(self.problems) + self.plan.more

    @property
    def code(self) -> int:
        made = self.count("done") + self.count("found")
        return exit_code(bool(self.failed or self.problem), made > 0, self.stopped)

    def as_dict(self) -> dict[str, Any]:
        """What `--json` prints. `total` counts jobs and lines that can't be one."""
        lines = len(self.plan.problems) + self.plan.more
        counts = {"done": self.count("done"), "found": self.count("found"), "failed": self.failed}
        errors = [problem.as_dict() for problem in self.problems]
        return {"total": len(self.plan.jobs) + lines, **counts, "errors": errors, "problem": self.problem or None}

    def run(self) -> Generator[float, None, None]:
        """Do what is missing; yields the pictures that are there, the one at work as a share.

        The files are in step with what comes of it however this ends: by itself, by a full disk, by Ctrl-C or by being
        closed.
        """
        try:
            for group in groups([job for job in self.jobs if job.files[0] not in self.status], self.backend):
                yield from self._group(group)
        except Refused as refusal:
            self.problem = str(refusal)
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
                    if job.files[0] not in self.status:
                        yield from self._group([job])
                return
            traceback.print_exc(file=sys.stderr)
            self._fail(jobs[0], explain(error))

    def _draw(self, jobs: Sequence[Job]) -> Iterator[float]:
        files = {job.id: job.files for job in jobs}
        sink = FolderSink(self.folder.images, lambda job: files[job.id])
        made, digest = set[int](), self.backend.digest()
        planned = [Planned(job.request, job.id, digest) for job in jobs]
        for number, event in run_jobs(self.backend, planned, sink, previews=False):
            job = jobs[number]
            if isinstance(event, Progress):
                self.unknown |= {one.word: one for one in event.unknown}
                yield len(self.records) + (event.step / event.total if event.total else 0)
            elif isinstance(event, Saved):
                name, path = job.files[event.index], Path(event.path)
                if name not in self.records:
                    facts = (job.id, event.index, event.seed, event.score, sha256(path), event.text)
                    self.records[name] = Record(name, *facts)
                    self.folder.add(self.records[name])
                made |= set() if event.found else {number}
                yield len(self.records)
            elif isinstance(event, Failed):
                self._fail(job, event.message)
            elif isinstance(event, Done):
                self.status[job.files[0]] = "done" if number in made else "found"

    def _fail(self, job: Job, reason: Message) -> None:
        self.status[job.files[0]] = "failed"
        self.problems.append(Problem(job.file, job.line, reason, id=job.id))

    def _write(self) -> None:
        """What follows from the journal, written anew. A disk that is full now was full before."""
        try:
            self.folder.save_metadata(self.jobs, self.records)
            self.folder.save_credits(sorted(self.records))
            self.folder.save_problems(self.problems)
            self.folder.save_jobs(self.plan.jobs, self.status)
        except Refused as refusal:
            self.problem = self.problem or str(refusal)


Watch = Callable[[Runner], None]


def groups(jobs: Sequence[Job], backend: Backend) -> Iterator[list[Job]]:
    """Jobs to be asked for together, the backend's `group` of artifacts or a little more, no job twice in one."""
    alike: dict[Hashable, list[Job]] = {}
    for job in jobs:
        alike.setdefault(backend.batch_key(job.request), []).append(job)
    for members in alike.values():
        group: list[Job] = []
        for job in members:
            if any(one.id == job.id for one in group):
                yield group
                group = []
            group.append(job)
            if sum(one.request.count for one in group) >= backend.group:
                yield group
                group = []
        if group:
            yield group


def run_files(
    files: Sequence[str],
    model: str,
    lists: Wildcards,
    out: Path | None,
    root: Path,
    watch: Watch,
    opener: Opener = open_backend,
    cluster: str | None = None,
) -> Runner:
    """Begin or resume a batch in the folder `out` (None: one in the home `root`), here or on the Ray cluster at that
    address. `watch` iterates the runner to its end, or stops it. Refused, and nothing written, for nothing to do.
    """
    with opened_on(opener, model, cluster) as backend, sources.opened(files) as read:
        context = Context(model, backend.capabilities(), backend.digest(), lists)
        return _run(backend, read, context, out, root, watch)


def _run(
    backend: Backend, read: Sequence[Source], context: Context, out: Path | None, root: Path, watch: Watch
) -> Runner:
    facts: dict[str, Any] = {"source": sources.digest(read), "model": context.model, "digest": context.digest}
    if out is None:  # the same for the same prompts and model, so that the same command goes on with the same batch
        same = hashlib.sha256((facts["source"] + facts["digest"]).encode()).hexdigest()[:12]
        out = root / "batches" / f"{safe_name(Path(read[0].name).stem) or 'batch'}-{same}"
    begun = (out / "jobs.jsonl").exists()
    asked = Plan() if begun else plan(read, context)
    if not begun:
        refuse_nothing(asked)
    facts |= {"version": version(), "files": [source.name for source in read], "argv": sys.argv[1:], "begun": _now()}
    with opened(out, sum(job.request.count for job in asked.jobs)) as folder:
        before = folder.begun(facts)
        if before is not None:
            facts["begun"], asked = before.get("begun"), folder.load_plan()
        else:
            folder.check_free(asked.jobs, facts)
            folder.save_run({**facts, "more_errors": asked.more})
            folder.save_problems(asked.problems)
            folder.save_jobs(asked.jobs, {})  # the last one: with it the batch has begun
        runner = Runner(backend, folder, asked)
        watch(runner)
        ended = {"ended": _now(), "result": runner.as_dict() | {"errors": len(runner.problems)}}
        folder.save_run({**facts, "more_errors": asked.more, **ended})
    return runner


def refuse_nothing(asked: Plan) -> None:
    """Refused where a plan holds nothing to do."""
    if not asked.jobs and asked.problems:
        more, first = len(asked.problems) + asked.more - 1, asked.problems[0]
        if not more:
            raise Refused(first.placed)
        raise Refused("batch.and_more", first=first.placed, short=str(first.placed).rstrip("."), more=more)
    if not asked.jobs:
        raise Refused("batch.nothing_to_do")


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
