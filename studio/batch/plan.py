"""Rows into jobs: requests with everything fixed, names for their files, and the lines that can't be done."""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from models.messages import Message, Refused
from studio.batch.fields import Settings, settings
from studio.batch.readers import Row, read
from studio.batch.sources import Problem, Source
from studio.capabilities import Capabilities
from studio.inputs import pictures_in
from studio.planner import Job as Planned
from studio.planner import plan_with
from studio.requests import ANY_REQUEST, make_request
from studio.sinks import file_names
from studio.wildcards import Wildcards

JOBS = 100_000
PROBLEMS = 1_000  # that are listed; more are counted
NAME_BYTES = 100
VALUE = 200  # characters of a value in a message
DEVICES = re.compile(r"(?i)(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)")


@dataclass(frozen=True)
class Job:
    """A resolved request and the line that asked for it. `files` are the names of the files that it makes."""

    file: str
    line: int
    id: str
    files: tuple[str, ...]
    request: Any

    def as_dict(self) -> dict[str, Any]:
        """Plain values only."""
        return {**asdict(self), "request": self.request.model_dump(mode="json")}

    @staticmethod
    def of(row: dict[str, Any]) -> "Job":
        """From `as_dict`, whatever else the row holds; ValueError or KeyError where it is none."""
        files = tuple(map(str, row["files"]))
        if any(PurePosixPath(name).name != name for name in files):
            raise ValueError(f"{files} are no names of files in one folder")
        request = ANY_REQUEST.validate_json(json.dumps(row["request"]))
        return Job(str(row["file"]), int(row["line"]), str(row["id"]), files, request)


@dataclass
class Plan:
    """All that a batch is to do, and what it can't; `more` counts the problems that are not listed."""

    jobs: list[Job] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    more: int = 0
    ignored: Counter[str] = field(default_factory=Counter)

    @property
    def left_out(self) -> str:
        """Settings of other programs, each with how often it was met."""
        return ", ".join(f"{name} ({count})" for name, count in self.ignored.most_common())

    def refuse(self, problem: Problem) -> None:
        """Take note of it, in words that a terminal can be shown."""
        if len(self.problems) < PROBLEMS:
            self.problems.append(replace(problem, reason=_printable(problem.reason)))
        else:
            self.more += 1


@dataclass(frozen=True)
class Context:
    """What all jobs of a batch share. Pictures that a line names must lie in `within`; there may be `most` jobs."""

    model: str
    can: Capabilities
    digest: str
    wildcards: Wildcards
    within: Path | None = None
    most: int = JOBS


def plan(sources: Sequence[Source], context: Context) -> Plan:
    """Every job that the sources ask for. Refused where a source can't be read, or they ask for too many."""
    made, taken = Plan(), dict[str, str]()
    for source in sources:
        for item in read(source):
            if isinstance(item, Problem):
                made.refuse(item)
                continue
            try:
                rows = _each_picture(item, source, context)
            except Refused as error:
                made.refuse(Problem(source.name, item.line, error.message))
                continue
            for row in rows:
                _add(made, taken, source, row, context)
    return made


def _each_picture(row: Row, source: Source, context: Context) -> list[Row]:
    """A row for each picture of a folder that is to be described, with a name of its own; else the row itself."""
    image, name = row.fields.get("image"), row.fields.get("name")
    if row.fields.get("task") != "caption" or not isinstance(image, str):
        return [row]
    folder = (source.folder / image).absolute()
    _check_within(folder, context)
    if not folder.is_dir():
        return [row]
    found = pictures_in(folder)
    names = [{"name": f"{name}-{number}"} if name else {} for number in range(1, len(found) + 1)]
    return [
        replace(row, fields={**row.fields, "image": str(path), **own}) for path, own in zip(found, names, strict=True)
    ]


def _add(made: Plan, taken: dict[str, str], source: Source, row: Row, context: Context) -> None:
    """The jobs of one row, all or none."""
    try:
        said = settings(row, source, context.can)
        jobs = _named(_planned(said, context), said, source, row.line)
        _claim(jobs, taken)
    except Refused as error:
        made.refuse(Problem(source.name, row.line, error.message, getattr(error, "column", None)))
    else:
        made.jobs += jobs
        made.ignored.update(said.ignored)
        if len(made.jobs) > context.most:
            raise Refused("batch.too_many_jobs", file=source.name, most=context.most)


def _planned(said: Settings, context: Context) -> list[Planned]:
    """In the largest batch shape, whatever they are drawn together with: so the same line makes the same pictures."""
    fields = {"model": context.model, "shape": max(context.can.shapes), **said.fields}
    if fields["model"] != context.model:
        raise Refused("batch.other_model", model=repr(fields["model"]))
    asked = [make_request(said.task, **fields, seed=seed) for seed in said.seeds]
    for picture in asked[0].pictures():
        _check_within(Path(picture.path), context)
    return plan_with(asked, context.can, context.digest, context.wildcards)


def _check_within(path: Path, context: Context) -> None:
    if context.within and not path.resolve().is_relative_to(context.within.resolve()):
        raise Refused("batch.not_in_home", file=str(path)[:80])


def _named(planned: list[Planned], said: Settings, source: Source, line: int) -> list[Job]:
    stem, count, first, jobs = safe_name(said.name), sum(one.request.count for one in planned), 0, list[Job]()
    for one in planned:
        numbers = range(first, first + one.request.count)
        own = [f"{stem if count == 1 else f'{stem}-{n}'}{one.request.suffix}" for n in numbers]
        jobs.append(Job(source.name, line, one.id, tuple(own if stem else file_names(one)), one.request))
        first += one.request.count
    return jobs


def _claim(jobs: list[Job], taken: dict[str, str]) -> None:
    """No file belongs to two jobs, also where capitals don't count."""
    mine = {name.casefold(): job.id for job in jobs for name in job.files}
    for name, identity in mine.items():
        if taken.get(name, identity) != identity:
            raise Refused("batch.name_taken", file=name)
    taken |= mine


def _printable(value: Any) -> Any:
    """A message, with all text in it as a terminal can be shown it."""
    if isinstance(value, Message):
        return Message(_printable(value.code), {name: _printable(one) for name, one in value.values.items()})
    if isinstance(value, list | tuple):
        return [_printable(one) for one in value]
    return "".join(c if c.isprintable() else "\ufffd" for c in value[:VALUE]) if isinstance(value, str) else value


def safe_name(name: str) -> str:
    """A name as the name of a file without its ending, good on any system; "" where nothing of it is."""
    stem = PurePosixPath(name.replace("\\", "/")).name
    stem = re.sub(r"(?i)\.(png|webp|jpe?g|txt)$", "", unicodedata.normalize("NFC", stem))
    kept = "".join(c if c in " ._-" or unicodedata.category(c)[0] in "LN" else "_" for c in stem)
    kept = kept.encode()[:NAME_BYTES].decode(errors="ignore").strip(" .")
    if not kept.strip("_- "):
        return ""
    return f"_{kept}" if DEVICES.match(kept) else kept
