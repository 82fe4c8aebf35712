"""A batch's folder: the jobs as they were fixed before the first picture, what became of them, and the pictures.

    run.json               what the run is: the sources' sha256, the model and its digest, versions, beginning and end
    errors.jsonl           lines and jobs that can't be done
    jobs.jsonl             the resolved jobs; the last file written before work begins
    journal.jsonl          a line a picture, once it is whole on disk
    images/<name>.png      and images/metadata.jsonl, as `load_dataset("imagefolder")` reads them
    CREDITS.txt            whom the pictures are owed to

All but the journal are written whole. The journal grows; a line that was cut off in the middle is left out when it is
read. jobs.jsonl's status and metadata.jsonl follow from the other files and are written anew at every end of a run.
"""

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout

from models.messages import Refused
from models.prompts.weighting import plain
from models.references.credits import as_file
from studio.batch.plan import Job, Plan
from studio.batch.sources import Problem
from studio.files import ready_folder, remove_empty, sha256, why, write_whole
from studio.metadata.files import credits_in
from studio.sinks import holds_another

IDENTITY = ("source", "digest")


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

    # --- the plan ---------------------------------------------------------------------------------------------------

    def begun(self, run: dict[str, Any]) -> dict[str, Any] | None:
        """What run.json says where this very run was begun here before, None where none was; Refused where another."""
        if not (self.path / "jobs.jsonl").exists():
            return None
        before = self._run()
        if any(before.get(key) != run[key] for key in IDENTITY):
            what = "prompts" if before.get("source") != run["source"] else "model"
            raise Refused(f"batch.folder_of_other_{what}", folder=str(self.path))
        return before

    def check_free(self, jobs: Iterable[Job], run: dict[str, Any]) -> None:
        """Refused where a run that begins would replace files that are not its own."""
        own = all(self._run().get(key) == run[key] for key in IDENTITY)  # stopped before it began
        files = ((self.images / name, job.id) for job in jobs for name in job.files)
        pictures = (path for path, job in files if holds_another(path, job))
        records = [self.images / "metadata.jsonl"]
        records += [] if own else [self.path / "run.json", self.path / "errors.jsonl"]
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

    # --- the pictures -----------------------------------------------------------------------------------------------

    def records(self) -> dict[str, Record]:
        """By file, those of the journal whose picture is unchanged; a changed one is removed, to be made again."""
        found = {}
        for row in _rows(self.path / "journal.jsonl"):
            with contextlib.suppress(TypeError):
                record = Record(**row)
                found[record.file] = record
        kept = {name: record for name, record in found.items() if self._unchanged(record)}
        _write(self.path / "journal.jsonl", map(asdict, kept.values()))
        for part in [*self.images.glob(".part-*"), *self.path.glob(".part-*")]:
            part.unlink(missing_ok=True)
        return kept

    def _unchanged(self, record: Record) -> bool:
        path = self.images / Path(record.file).name
        there = path.is_file()
        same = there and sha256(path) == record.sha256
        if there and not same:
            path.unlink()
        return same

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

    def save_credits(self, records: Iterable[str]) -> None:
        """CREDITS.txt: whom the pictures are owed to."""
        owed = (one for name in records for one in credits_in(self.images / name))
        for name, data in as_file(owed).items():
            write_whole(self.path / name, data)

    def save_metadata(self, jobs: Iterable[Job], records: dict[str, Record]) -> None:
        """images/metadata.jsonl, a row a picture that is there, all of one schema, the caption second."""
        rows: dict[str, dict[str, Any]] = {}
        for job in jobs:
            for index, name in enumerate(job.files):
                if name in records and name not in rows:
                    rows[name] = _described(job, index, records[name])
        _write(self.images / "metadata.jsonl", rows.values())

    def close(self) -> None:
        """Done with the journal."""
        if self._journal:
            self._journal.close()


@contextlib.contextmanager
def opened(path: Path, pictures: int) -> Iterator[Folder]:
    """The folder at `path`, made where it is missing, and locked; Refused where that can't be."""
    made, lock = ready_folder(path / "images", pictures), FileLock(path / ".lock", timeout=0)
    try:
        held = lock.acquire()
    except Timeout as error:
        raise Refused("batch.at_work", folder=str(path)) from error
    except OSError as error:
        remove_empty(made)
        raise Refused(why(error, path)) from error
    with held, contextlib.closing(Folder(path)) as folder:
        yield folder


def _described(job: Job, index: int, record: Record) -> dict[str, Any]:
    asked = job.request
    settings = {"negative": "", "style": "", "seed": None, "steps": None, "guidance": None, "scheduler": ""}
    return {
        "file_name": record.file,
        "text": record.text or plain(asked.title),
        "prompt": asked.title,
        "source": Path(image.path).name if (image := getattr(asked, "image", None)) else "",
        **{name: getattr(asked, name, usual) for name, usual in settings.items()},
        "seed": record.seed,
        "model": asked.model,
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
