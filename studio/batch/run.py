"""A batch in its folder.

    run.json               what the run is: the sources' sha256, the model and its digest, versions, beginning and end
    errors.jsonl           lines and jobs that can't be done
    jobs.jsonl             the resolved jobs and their status; the last file written before work begins
    images/<name>.png      and images/metadata.jsonl, as `load_dataset("imagefolder")` reads them
    CREDITS.txt            the credits of the pictures

Every file is written whole. A picture says which job it belongs to, so a run that goes on finds the pictures of the
runs before it. jobs.jsonl's status, metadata.jsonl and CREDITS.txt are written anew at every end of a run.
"""

import contextlib
import datetime
import hashlib
import json
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from filelock import FileLock, Timeout

from models.messages import Refused
from models.prompts.weighting import plain
from models.references.credits import as_file
from studio.backends.base import Backend, Opener, open_backend
from studio.backends.cluster import opened as opened_on
from studio.batch.plan import Context, Job, Plan, plan, safe_name
from studio.batch.readers import Problem, Source, digest
from studio.events import Done, Failed, Progress, Saved, Unknown
from studio.files import ready_folder, remove_empty, sha256, why, write_whole
from studio.foreground import exit_code
from studio.metadata.files import credits_in
from studio.metadata.origin import version
from studio.run import FolderSink, explain, run_jobs
from studio.syntax import Wildcards

# --- The folder -------------------------------------------------------------------------------------------------------


class Folder:
    """An opened folder; use `opened`."""

    def __init__(self, path: Path) -> None:
        self.path, self.images = path, path / "images"

    def begun(self, run: dict[str, Any]) -> dict[str, Any] | None:
        """run.json of this run where it was begun here before, None where it begins. Refused for another run's, and
        where there are files that are none of a run.
        """
        before = self._run()
        if not before.get("source"):
            records = (self.path / name for name in ("run.json", "errors.jsonl", "jobs.jsonl"))
            if other := next(filter(Path.exists, (*self.images.glob("[!.]*"), *records)), None):
                raise Refused("batch.file_is_there", file=str(other))
            return None
        if wrong := [key for key in ("source", "digest") if before.get(key) != run[key]]:
            what = "prompts" if "source" in wrong else "model"
            raise Refused(f"batch.folder_of_other_{what}", folder=str(self.path))
        return before if (self.path / "jobs.jsonl").exists() else None

    def _run(self) -> dict[str, Any]:
        return next(_rows(self.path / "run.json"), {})

    def load_plan(self) -> Plan:
        """The planned jobs and the problems of the other lines; Refused where a file is damaged."""
        path = self.path / "jobs.jsonl"
        rows, digest = list(_rows(path)), str(self._run().get("digest"))
        try:
            jobs = [Job.of(row, digest) for row in rows]
            problems = [Problem.of(row) for row in _rows(self.path / "errors.jsonl") if row.get("id") is None]
            if len(rows) != len(path.read_bytes().splitlines()):
                raise ValueError("a line is no row")
        except (KeyError, TypeError, ValueError) as error:
            raise Refused("batch.damaged", file=str(path)) from error
        return Plan(jobs, problems)

    def save_run(self, run: dict[str, Any]) -> None:
        """run.json."""
        write_whole(self.path / "run.json", json.dumps(run, ensure_ascii=False).encode(errors="backslashreplace"))

    def save_plan(self, problems: Iterable[Problem], jobs: Iterable[Job], status: dict[str, str]) -> None:
        """errors.jsonl, then jobs.jsonl, with which a batch has begun; `status` by the job's first file."""
        _write(self.path / "errors.jsonl", (problem.as_dict() for problem in problems))
        rows = ({**job.as_dict(), "status": status.get(job.files[0], "pending")} for job in jobs)
        _write(self.path / "jobs.jsonl", rows)


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
    with held:
        for part in [*path.glob("images/.part-*"), *path.glob(".part-*")]:  # of a run that was killed
            part.unlink(missing_ok=True)
        yield Folder(path)


def _metadata(job: Job, saved: Saved) -> dict[str, Any]:
    """A row of metadata.jsonl: all of one schema, the caption second."""
    request, path = job.request, Path(saved.path)
    settings = {"negative": "", "style": "", "seed": None, "steps": None, "guidance": None, "scheduler": ""}
    return {
        "file_name": path.name,
        "text": saved.text or plain(request.title),
        "prompt": request.title,
        "source": Path(image.path).name if (image := getattr(request, "image", None)) else "",
        **{name: getattr(request, name, usual) for name, usual in settings.items()},
        "seed": saved.seed,
        "model": request.model,
        "score": saved.score,
        "job_id": job.id,
        "index": saved.index,
        "line": job.line,
        "sha256": sha256(path),
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

    `saved` are the pictures that are whole, by name; `status` of a job, by its first file, is done, found or failed;
    `problem` is what stopped the run, where it could not go on.
    """

    def __init__(self, backend: Backend, folder: Folder, plan: Plan) -> None:
        self.backend, self.folder, self.plan = backend, folder, plan
        self.problems, self.problem, self.stopped = list(plan.problems), "", False
        self.unknown: dict[str, Unknown] = {}
        self.jobs = list({job.files[0]: job for job in plan.jobs}.values())
        self.saved: dict[str, Saved] = {}
        self.status: dict[str, str] = {}
        self._drawn = set[str]()  # jobs of which this run made a picture

    def count(self, status: str) -> int:
        """The number of jobs with a status. A line equal to an earlier one counts as found."""
        count = sum(value == status for value in self.status.values())
        repeated = len(self.plan.jobs) - len(self.jobs)
        return count + repeated if status == "found" and not self.stopped and not self.problem else count

    @property
    def failed(self) -> int:
        """Lines and jobs that can't be done."""
        return len(self.problems)

    @property
    def code(self) -> int:
        """The command's exit code."""
        return exit_code(bool(self.failed or self.problem), self.count("done") + self.count("found") > 0, self.stopped)

    def as_dict(self) -> dict[str, Any]:
        """The document of `--json`. `total` counts jobs and lines that can't be one."""
        total = len(self.plan.jobs) + len(self.plan.problems)
        counts = {"done": self.count("done"), "found": self.count("found"), "failed": self.failed}
        errors = [problem.as_dict() for problem in self.problems]
        return {"total": total, **counts, "errors": errors, "problem": self.problem or None}

    def run(self) -> Generator[float, None, None]:
        """Do the missing jobs; yield the number of pictures, the one in progress as a fraction.

        The files match the results however this ends: by itself, by a full disk, by Ctrl-C or by being closed.
        """
        sink = FolderSink(self.folder.images, lambda job: cast(Job, job).files)
        try:
            with contextlib.closing(run_jobs(self.backend, self.jobs, sink, previews=False)) as events:
                for number, event in events:
                    yield self._note(self.jobs[number], event)
        except Exception as error:
            self.problem = str(explain(error))
        finally:
            self._write()

    def _note(self, job: Job, event: Progress | Saved | Done | Failed) -> float:
        if isinstance(event, Progress):
            self.unknown |= {unknown.word: unknown for unknown in event.unknown}
            return len(self.saved) + (event.step / event.total if event.total else 0)
        if isinstance(event, Saved):
            self.saved[Path(event.path).name] = event
            if not event.cached:
                self._drawn.add(job.files[0])
        elif isinstance(event, Failed):
            self.status[job.files[0]] = "failed"
            self.problems.append(Problem(job.file, job.line, event.message, id=job.id))
        else:
            self.status[job.files[0]] = "done" if job.files[0] in self._drawn else "found"
        return len(self.saved)

    def _write(self) -> None:
        """Write metadata.jsonl, CREDITS.txt and the status of jobs. A full disk was reported before."""
        rows: dict[str, dict[str, Any]] = {}
        try:
            for job in self.jobs:
                for name in job.files:
                    if name in self.saved and (self.folder.images / name).exists():  # nobody has removed it since
                        rows[name] = _metadata(job, self.saved[name])
            _write(self.folder.images / "metadata.jsonl", rows.values())
            owed = (credit for name in sorted(rows) for credit in credits_in(self.folder.images / name))
            for name, data in as_file(owed).items():
                write_whole(self.folder.path / name, data)
            self.folder.save_plan(self.problems, self.plan.jobs, self.status)
        except Refused as refusal:
            self.problem = self.problem or str(refusal)


Watch = Callable[[Runner], None]


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
    with opened_on(opener, model, cluster) as backend:
        sources = list(map(Source.open, files))
        context = Context(model, backend.capabilities(), backend.digest(), lists)
        facts: dict[str, Any] = {"source": digest(sources), "model": model, "digest": context.digest}
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
                folder.save_run(facts)
                folder.save_plan(work.problems, work.jobs, {})
            runner = Runner(backend, folder, work)
            watch(runner)
            ended = {"ended": _now(), "result": runner.as_dict() | {"errors": len(runner.problems)}}
            folder.save_run({**facts, **ended})
    return runner


def refuse_nothing(work: Plan) -> None:
    """Refuse a plan without jobs."""
    if not work.jobs and work.problems:
        more, first = len(work.problems) - 1, work.problems[0]
        if not more:
            raise Refused(first.placed)
        raise Refused("batch.and_more", first=first.placed, short=str(first.placed).rstrip("."), more=more)
    if not work.jobs:
        raise Refused("batch.nothing_to_do")


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
