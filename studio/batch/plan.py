"""Rows into jobs: requests with everything fixed, names for their files, and the lines that can't be done."""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from models.messages import Refused
from studio.batch.fields import Settings, settings
from studio.batch.readers import read
from studio.batch.rows import Fault, Row, Source, Wrong
from studio.capabilities import Capabilities
from studio.fields import Picture
from studio.requests import ImageRequest, apart, image_request, job_id, resolve
from studio.shelves import names
from studio.wildcards import Wildcards

JOBS = 100_000
PROBLEMS = 1_000  # told one by one; more are counted
NAME_BYTES = 100
MESSAGE = 400  # characters
DEVICES = re.compile(r"(?i)(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)")


@dataclass(frozen=True)
class Job:
    """A resolved request and the line that asked for it. `files` are the names of its pictures."""

    file: str
    line: int
    id: str
    files: tuple[str, ...]
    request: ImageRequest

    def as_dict(self) -> dict[str, Any]:
        """Plain values only."""
        return {**asdict(self), "request": self.request.model_dump(mode="json")}

    @staticmethod
    def of(row: dict[str, Any]) -> "Job":
        """From `as_dict`, whatever else the row holds; ValueError or KeyError where it is none."""
        files = tuple(map(str, row["files"]))
        if any(PurePosixPath(name).name != name for name in files):
            raise ValueError(f"{files} are no names of files in one folder")
        request = ImageRequest.model_validate_json(json.dumps(row["request"]))
        return Job(str(row["file"]), int(row["line"]), str(row["id"]), files, request)


@dataclass(frozen=True)
class Problem:
    """One sentence why a line, or the job `id` that it asked for, can't be done."""

    file: str
    line: int
    message: str
    column: int | None = None
    id: str | None = None

    def sentence(self) -> str:
        """With its place in front."""
        column = f", column {self.column}" if self.column else ""
        return f"{self.file}, line {self.line}{column}: {self.message}"


@dataclass
class Plan:
    """All that a batch is to do, and what it can't; `more` counts the problems that are not listed."""

    jobs: list[Job] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    more: int = 0
    ignored: Counter[str] = field(default_factory=Counter)

    def refuse(self, problem: Problem) -> None:
        """Take note of it, in words that a terminal can be shown."""
        said = "".join(c if c.isprintable() else "\ufffd" for c in problem.message[:MESSAGE])
        problem = replace(problem, message=said)
        if len(self.problems) < PROBLEMS:
            self.problems.append(problem)
        else:
            self.more += 1


@dataclass(frozen=True)
class Desk:
    """What every job of a batch has in common. Pictures that a line names must lie in `within`, where it is given; the
    sources may ask for `most` jobs.
    """

    model: str
    can: Capabilities
    digest: str
    wildcards: Wildcards
    within: Path | None = None
    most: int = JOBS


def plan(sources: Sequence[Source], desk: Desk) -> Plan:
    """Every job that the sources ask for. Refused where a source can't be read, or they ask for too many."""
    made, taken = Plan(), dict[str, str]()
    for source in sources:
        for item in read(source):
            if isinstance(item, Fault):
                made.refuse(Problem(source.name, item.line, item.message, item.column))
            else:
                _add(made, taken, source, item, desk)
    return made


def _add(made: Plan, taken: dict[str, str], source: Source, row: Row, desk: Desk) -> None:
    """The jobs of one row, all or none."""
    try:
        said = settings(row, source, desk.can.sizes)
        jobs = _named(_requests(said, desk), said, source, row.line, desk)
        _claim(jobs, taken)
    except Wrong as wrong:
        made.refuse(Problem(source.name, row.line, str(wrong), wrong.column))
    except Refused as refusal:
        made.refuse(Problem(source.name, row.line, str(refusal)))
    else:
        made.jobs += jobs
        made.ignored.update(said.ignored)
        if len(made.jobs) > desk.most:
            raise Refused(f"{source.name} asks for more than {desk.most:,} jobs; split it.")


def _requests(said: Settings, desk: Desk) -> list[ImageRequest]:
    """In the largest shape: so they are drawn together, and alike in whatever company."""
    fields = {"model": desk.model, "shape": max(desk.can.shapes), **said.fields}
    if fields["model"] != desk.model:
        raise Refused(f"the line asks for the model {fields['model']!r}; give --model, and one batch a model.")
    asked = [image_request(**fields, seed=seed) for seed in said.seeds]
    if desk.within:
        _check_places(asked[0], desk.within)
    return [resolve(one, desk.can, desk.wildcards) for request in asked for one in apart(request, desk.can)]


def _check_places(request: ImageRequest, folder: Path) -> None:
    named = [value for _, value in request if isinstance(value, Picture)]
    for picture in [*named, *(part.picture for part in request.mix if part.picture)]:
        if not Path(picture.path).resolve().is_relative_to(folder.resolve()):
            raise Refused(
                f"the picture {picture.path[:80]} is not in the studio's folder; only pictures there may be named."
            )


def _named(requests: list[ImageRequest], said: Settings, source: Source, line: int, desk: Desk) -> list[Job]:
    stem, count, jobs = safe_name(said.name), sum(request.count for request in requests), list[Job]()
    for request in requests:
        identity, first = job_id(request, desk.digest), sum(job.request.count for job in jobs)
        own = [stem if count == 1 else f"{stem}-{first + i}" for i in range(request.count)]
        files = [f"{name}.png" for name in own] if stem else names(request, identity)
        jobs.append(Job(source.name, line, identity, tuple(files), request))
    return jobs


def _claim(jobs: list[Job], taken: dict[str, str]) -> None:
    """No file belongs to two jobs, also where capitals don't count."""
    mine = {name.casefold(): job.id for job in jobs for name in job.files}
    for name, identity in mine.items():
        if taken.get(name, identity) != identity:
            raise Refused(f"another line makes a file {name} already; give another name.")
    taken |= mine


def safe_name(name: str) -> str:
    """A name as the name of a file without its ending, good on any system; "" where nothing of it is."""
    stem = PurePosixPath(name.replace("\\", "/")).name
    stem = re.sub(r"(?i)\.(png|webp|jpe?g)$", "", unicodedata.normalize("NFC", stem))
    kept = "".join(c if c in " ._-" or unicodedata.category(c)[0] in "LN" else "_" for c in stem)
    kept = kept.encode()[:NAME_BYTES].decode(errors="ignore").strip(" .")
    if not kept.strip("_- "):
        return ""
    return f"_{kept}" if DEVICES.match(kept) else kept
