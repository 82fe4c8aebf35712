"""A batch in its folder: jobs that are drawn together, each picture whole on disk before its line in the journal.

    run.json               what the run is: the sources' sha256, the model and its digest, versions, beginning and end
    errors.jsonl           lines and jobs that can't be done
    jobs.jsonl             the resolved jobs and their status; the last file written before work begins
    journal.jsonl          a line a picture, once it is whole on disk
    images/<name>.png      and images/metadata.jsonl, as `load_dataset("imagefolder")` reads them
    CREDITS.txt            the credits of the pictures

All but the journal are written whole. The journal grows; a line that was cut off in the middle is left out when it is
read. jobs.jsonl's status and metadata.jsonl follow from the other files and are written anew at every end of a run.
"""

import contextlib
import datetime
import hashlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout

from models.messages import Message, Refused
from models.prompts.weighting import plain
from models.references.credits import as_file
from studio.backends.base import Backend, Opener, open_backend
from studio.backends.cluster import opened as opened_on
from studio.batch import readers
from studio.batch.plan import Context, Job, Plan, plan, safe_name
from studio.batch.readers import Problem
from studio.events import Done, Failed, Progress, Saved, Unknown
from studio.files import ready_folder, remove_empty, sha256, why, write_whole
from studio.foreground import exit_code
from studio.metadata.files import credits_in
from studio.metadata.origin import version
from studio.planner import Job as Planned
from studio.run import FolderSink, explain, holds_another, run_jobs
from studio.syntax import Wildcards

# --- The folder -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Record:
    """A file that is whole on disk. `text` is that of a caption."""

    file: str
    id: str
    index: int
    seed: int
    score: float | None
    sha256: str
    text: str = ""


class Folder:
    """An opened folder; use `opened`."""

    def __init__(self, path: Path) -> None:
        self.path, self.images = path, path / "images"
        self._journal: IO[bytes] | None = None

    def begun(self, run: dict[str, Any]) -> dict[str, Any] | None:
        """run.json of this run where it was begun here before, None for an empty folder; Refused for another run's."""
        if not (self.path / "jobs.jsonl").exists():
            return None
        before = self._run()
        if not _is_same(before, run):
            what = "prompts" if before.get("source") != run["source"] else "model"
            raise Refused(f"batch.folder_of_other_{what}", folder=str(self.path))
        return before

    def check_free(self, jobs: Iterable[Job], run: dict[str, Any]) -> None:
        """Refused where a run that begins would replace files that are not its own."""
        files = ((self.images / name, job.id) for job in jobs for name in job.files)
        pictures = (path for path, job in files if holds_another(path, job))
        records = [self.images / "metadata.jsonl"]
        if not _is_same(self._run(), run):  # else it was stopped before it began
            records += [self.path / "run.json", self.path / "errors.jsonl"]
        if other := next((file for file in (*filter(Path.exists, records), *pictures)), None):
            raise Refused("batch.file_is_there", file=str(other))

    def _run(self) -> dict[str, Any]:
        return next(_rows(self.path / "run.json"), {})

    def load_plan(self) -> Plan:
        """The jobs as they were fixed, and the lines that could not be; Refused where the file is damaged."""
        path = self.path / "jobs.jsonl"
        rows = list(_rows(path))
        try:
            jobs = [Job.of(row) for row in rows]
            problems = [Problem.of(row) for row in _rows(self.path / "errors.jsonl") if row.get("id") is None]
            if len(rows) != len(path.read_bytes().splitlines()):
                raise ValueError("a line is no row")
        except (KeyError, TypeError, ValueError) as error:
            raise Refused("batch.damaged", file=str(path)) from error
        return Plan(jobs, problems, int(self._run().get("more_errors", 0)))

    def save_run(self, run: dict[str, Any]) -> None:
        """run.json."""
        write_whole(self.path / "run.json", json.dumps(run, ensure_ascii=False).encode(errors="backslashreplace"))

    def save_problems(self, problems: Iterable[Problem]) -> None:
        """errors.jsonl."""
        _write(self.path / "errors.jsonl", (problem.as_dict() for problem in problems))

    def save_jobs(self, jobs: Iterable[Job], status: dict[str, str]) -> None:
        """jobs.jsonl; `status` by the job's first file."""
        rows = ({**job.as_dict(), "status": status.get(job.files[0], "pending")} for job in jobs)
        _write(self.path / "jobs.jsonl", rows)

    def records(self) -> dict[str, Record]:
        """By file, those of the journal whose picture is unchanged; a changed one is removed, to be drawn again."""
        journal = {}
        for row in _rows(self.path / "journal.jsonl"):
            with contextlib.suppress(TypeError):
                record = Record(**row)
                journal[record.file] = record
        unchanged = {name: record for name, record in journal.items() if self._is_unchanged(record)}
        _write(self.path / "journal.jsonl", map(asdict, unchanged.values()))
        for part in [*self.images.glob(".part-*"), *self.path.glob(".part-*")]:
            part.unlink(missing_ok=True)
        return unchanged

    def _is_unchanged(self, record: Record) -> bool:
        path = self.images / Path(record.file).name
        if not path.is_file():
            return False
        if same := sha256(path) == record.sha256:
            return same
        path.unlink()
        return False

    def add(self, record: Record) -> None:
        """Enter a picture into the journal."""
        line = json.dumps(asdict(record)).encode() + b"\n"
        try:
            if self._journal is None:
                self._journal = (self.path / "journal.jsonl").open("ab", buffering=0)
            self._journal.write(line)
            os.fsync(self._journal.fileno())
        except OSError as error:
            raise Refused(why(error, self.path)) from error

    def save_credits(self, names: Iterable[str]) -> None:
        """CREDITS.txt."""
        owed = (credit for name in names for credit in credits_in(self.images / name))
        for name, data in as_file(owed).items():
            write_whole(self.path / name, data)

    def save_metadata(self, jobs: Iterable[Job], records: dict[str, Record]) -> None:
        """images/metadata.jsonl, a row a picture that is there, all of one schema, the caption second."""
        rows: dict[str, dict[str, Any]] = {}
        for job in jobs:
            for index, name in enumerate(job.files):
                if name in records and name not in rows:
                    rows[name] = _metadata(job, index, records[name])
        _write(self.images / "metadata.jsonl", rows.values())

    def close(self) -> None:
        """Close the journal."""
        if self._journal:
            self._journal.close()


@contextlib.contextmanager
def opened(path: Path, pictures: int) -> Iterator[Folder]:
    """The folder at `path`, made where it is missing, and locked; Refused where that can't be."""
    new_folders, lock = ready_folder(path / "images", pictures), FileLock(path / ".lock", timeout=0)
    try:
        held = lock.acquire()
    except Timeout as error:
        raise Refused("batch.at_work", folder=str(path)) from error
    except OSError as error:
        remove_empty(new_folders)
        raise Refused(why(error, path)) from error
    with held, contextlib.closing(Folder(path)) as folder:
        yield folder


def _is_same(before: dict[str, Any], run: dict[str, Any]) -> bool:
    """Whether two runs are of the same prompts and model."""
    return all(before.get(key) == run[key] for key in ("source", "digest"))


def _metadata(job: Job, index: int, record: Record) -> dict[str, Any]:
    request = job.request
    settings = {"negative": "", "style": "", "seed": None, "steps": None, "guidance": None, "scheduler": ""}
    return {
        "file_name": record.file,
        "text": record.text or plain(request.title),
        "prompt": request.title,
        "source": Path(image.path).name if (image := getattr(request, "image", None)) else "",
        **{name: getattr(request, name, usual) for name, usual in settings.items()},
        "seed": record.seed,
        "model": request.model,
        "score": record.score,
        "job_id": job.id,
        "index": index,
        "line": job.line,
        "sha256": record.sha256,
    }


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file of JSON lines; what is no whole object is left out."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return
    except OSError as error:
        raise Refused("batch.unreadable", file=str(path), why=error.strerror or str(error)) from error
    for line in lines:
        with contextlib.suppress(ValueError, RecursionError):
            if isinstance(row := json.loads(line), dict):
                yield row


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_whole(path, text.encode(errors="backslashreplace"))


# --- A run ------------------------------------------------------------------------------------------------------------


class Runner:
    """One run of a plan in its folder, and its results.

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
        count = sum(value == status for value in self.status.values())
        repeated = len(self.plan.jobs) - len(self.jobs)
        return count + repeated if status == "found" and not self.stopped and not self.problem else count

    @property
    def failed(self) -> int:
        """Lines and jobs that can't be done."""
        return len(self.problems) + self.plan.more

    @property
    def code(self) -> int:
        """The command's exit code."""
        return exit_code(bool(self.failed or self.problem), self.count("done") + self.count("found") > 0, self.stopped)

    def as_dict(self) -> dict[str, Any]:
        """The document of `--json`. `total` counts jobs and lines that can't be one."""
        lines = len(self.plan.problems) + self.plan.more
        counts = {"done": self.count("done"), "found": self.count("found"), "failed": self.failed}
        errors = [problem.as_dict() for problem in self.problems]
        return {"total": len(self.plan.jobs) + lines, **counts, "errors": errors, "problem": self.problem or None}

    def run(self) -> Generator[float, None, None]:
        """Do what is missing; yields the pictures that are there, the one at work as a share.

        The files match the results however this ends: by itself, by a full disk, by Ctrl-C or by being closed.
        """
        try:
            for group in groups([job for job in self.jobs if job.files[0] not in self.status], self.backend):
                yield from self._group(group)
        except Refused as refusal:
            self.problem = str(refusal)
        finally:
            self._write()

    def _group(self, jobs: Sequence[Job]) -> Iterator[float]:
        """Where the model breaks down over a group, each of its jobs is tried alone: what is there is found."""
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
        drawn, digest = set[int](), self.backend.digest()
        planned = [Planned(job.request, job.id, digest) for job in jobs]
        for number, event in run_jobs(self.backend, planned, sink, previews=False):
            job = jobs[number]
            if isinstance(event, Progress):
                self.unknown |= {unknown.word: unknown for unknown in event.unknown}
                yield len(self.records) + (event.step / event.total if event.total else 0)
            elif isinstance(event, Saved):
                name, path = job.files[event.index], Path(event.path)
                if name not in self.records:
                    facts = (job.id, event.index, event.seed, event.score, sha256(path), event.text)
                    self.records[name] = Record(name, *facts)
                    self.folder.add(self.records[name])
                drawn |= set() if event.cached else {number}
                yield len(self.records)
            elif isinstance(event, Failed):
                self._fail(job, event.message)
            elif isinstance(event, Done):
                self.status[job.files[0]] = "done" if number in drawn else "found"

    def _fail(self, job: Job, reason: Message) -> None:
        self.status[job.files[0]] = "failed"
        self.problems.append(Problem(job.file, job.line, reason, id=job.id))

    def _write(self) -> None:
        """Write anew what follows from the journal. A disk that is full now was full before."""
        try:
            self.folder.save_metadata(self.jobs, self.records)
            self.folder.save_credits(sorted(self.records))
            self.folder.save_problems(self.problems)
            self.folder.save_jobs(self.plan.jobs, self.status)
        except Refused as refusal:
            self.problem = self.problem or str(refusal)


Watch = Callable[[Runner], None]


def groups(jobs: Sequence[Job], backend: Backend) -> Iterator[list[Job]]:
    """Jobs to be drawn together, the backend's `group` of artifacts or a little more, no job twice in a group."""
    alike: dict[Hashable, list[Job]] = {}
    for job in jobs:
        alike.setdefault(backend.batch_key(job.request), []).append(job)
    for members in alike.values():
        group: list[Job] = []
        for job in members:
            if any(other.id == job.id for other in group):
                yield group
                group = []
            group.append(job)
            if sum(member.request.count for member in group) >= backend.group:
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
    with opened_on(opener, model, cluster) as backend, readers.opened(files) as sources:
        context = Context(model, backend.capabilities(), backend.digest(), lists)
        facts: dict[str, Any] = {"source": readers.digest(sources), "model": model, "digest": context.digest}
        if out is None:  # the same for the same prompts and model, so that the same command resumes the same batch
            same = hashlib.sha256((facts["source"] + facts["digest"]).encode()).hexdigest()[:12]
            out = root / "batches" / f"{safe_name(Path(sources[0].name).stem) or 'batch'}-{same}"
        begun = (out / "jobs.jsonl").exists()
        work = Plan() if begun else plan(sources, context)
        if not begun:
            refuse_nothing(work)
        facts |= {"version": version(), "files": [source.name for source in sources], "argv": sys.argv[1:]}
        facts["begun"] = _now()
        with opened(out, sum(job.request.count for job in work.jobs)) as folder:
            before = folder.begun(facts)
            if before is not None:
                facts["begun"], work = before.get("begun"), folder.load_plan()
            else:
                folder.check_free(work.jobs, facts)
                folder.save_run({**facts, "more_errors": work.more})
                folder.save_problems(work.problems)
                folder.save_jobs(work.jobs, {})  # the last one: with it the batch has begun
            runner = Runner(backend, folder, work)
            watch(runner)
            ended = {"ended": _now(), "result": runner.as_dict() | {"errors": len(runner.problems)}}
            folder.save_run({**facts, "more_errors": work.more, **ended})
    return runner


def refuse_nothing(work: Plan) -> None:
    """Refused where a plan holds nothing to do."""
    if not work.jobs and work.problems:
        more, first = len(work.problems) + work.more - 1, work.problems[0]
        if not more:
            raise Refused(first.placed)
        raise Refused("batch.and_more", first=first.placed, short=str(first.placed).rstrip("."), more=more)
    if not work.jobs:
        raise Refused("batch.nothing_to_do")


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
