"""Rows into jobs: requests with everything fixed, names for their files, and the lines that can't be done."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from models.messages import Message, Refused
from studio.batch.readers import Problem, Row, Settings, Source, read, settings
from studio.capabilities import Capabilities
from studio.inputs import pictures_in
from studio.planner import Job as Planned
from studio.planner import plan_with, with_texts
from studio.requests import make_request, stored_request
from studio.run import file_names
from studio.syntax import Wildcards, literal

JOBS = 100_000
PROBLEMS = 1_000  # lines that can't be done; a file with more is no prompt file
NAME_BYTES = 100
VALUE = 200  # characters of a value in a message
DEVICES = re.compile(r"(?i)(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)")


@dataclass(frozen=True)
class Job(Planned):
    """A job of a line of `file`, and the names of its files."""

    file: str
    line: int
    files: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values only."""
        names = {name: getattr(self, name) for name in ("file", "line", "id", "files")}
        return {**names, "request": self.request.model_dump(mode="json")}

    @staticmethod
    def of(row: dict[str, Any], digest: str) -> "Job":
        """From `as_dict` and the model's digest; ValueError or KeyError where the row is none."""
        files = tuple(map(str, row["files"]))
        if any(PurePosixPath(name).name != name for name in files):
            raise ValueError(f"{files} are no names of files in one folder")
        request = stored_request(row["request"])
        return Job(request, str(row["id"]), digest, str(row["file"]), int(row["line"]), files)


@dataclass
class Plan:
    """The jobs of a batch, and the lines that can't be one."""

    jobs: list[Job] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)

    @property
    def left_out(self) -> str:
        """The ignored settings of other programs, with their counts."""
        return ", ".join(f"{name} ({count})" for name, count in self.ignored.most_common())

    def refuse(self, problem: Problem) -> None:
        """Note a problem, in text that is printable on a terminal. Refused where there are too many."""
        if len(self.problems) >= PROBLEMS:
            first = self.problems[0].placed
            raise Refused("batch.too_many_problems", first=first, short=str(first).rstrip("."), most=PROBLEMS)
        self.problems.append(replace(problem, reason=_printable(problem.reason)))


@dataclass(frozen=True)
class Context:
    """Shared by all jobs of a batch. Pictures that a line names must lie in `within`; there may be `most` jobs."""

    model: str
    can: Capabilities
    digest: str
    wildcards: Wildcards
    within: Path | None = None
    most: int = JOBS


def plan(sources: Sequence[Source], context: Context) -> Plan:
    """Plan every job of the sources. Refused where a source can't be read or has too many jobs."""
    result, taken = Plan(), dict[str, str]()
    for source in sources:
        for item in read(source):
            if isinstance(item, Problem):
                result.refuse(item)
                continue
            try:
                rows = _each_picture(item, source, context)
            except Refused as error:
                result.refuse(Problem(source.name, item.line, error.message))
                continue
            for row in rows:
                _add(result, taken, source, row, context)
    return result


def _each_picture(row: Row, source: Source, context: Context) -> list[Row]:
    """A row for each picture of a folder that is to be described, with its own name; else the row itself."""
    image, name = row.fields.get("image"), row.fields.get("name")
    if row.fields.get("task") != "caption" or not isinstance(image, str):
        return [row]
    folder = (source.folder / image).absolute()
    _check_within(folder, context)
    if not folder.is_dir():
        return [row]
    rows = []
    for number, path in enumerate(pictures_in(folder), 1):
        named = {"name": f"{name}-{number}"} if name else {}
        rows.append(replace(row, fields={**row.fields, "image": str(path), **named}))
    return rows


def _add(result: Plan, taken: dict[str, str], source: Source, row: Row, context: Context) -> None:
    """Add all jobs of a row, or its problem."""
    try:
        row_settings = settings(row, source, context.can)
        jobs = _named(_planned(row_settings, row.expand, context), row_settings.name, source, row.line)
        mine = {name.casefold(): job.id for job in jobs for name in job.files}  # capitals don't count on all systems
        for name, identity in mine.items():
            if taken.get(name, identity) != identity:
                raise Refused("batch.name_taken", file=name)
        taken |= mine
    except Refused as error:
        result.refuse(Problem(source.name, row.line, error.message, getattr(error, "column", None)))
    else:
        result.jobs += jobs
        result.ignored.update(row_settings.ignored)
        if len(result.jobs) > context.most:
            raise Refused("batch.too_many_jobs", file=source.name, most=context.most)


def _planned(row_settings: Settings, expand: bool, context: Context) -> list[Planned]:
    """Jobs in the largest batch shape: a line makes the same pictures whatever else is in the file."""
    fields = {"model": context.model, "shape": max(context.can.shapes), **row_settings.fields}
    if fields["model"] != context.model:
        raise Refused("batch.other_model", model=repr(fields["model"]))
    requests = [make_request(row_settings.task, **fields, seed=seed) for seed in row_settings.seeds]
    if not expand:  # braces and wildcards stand for themselves
        requests = [with_texts(one, {name: literal(text) for name, text in one.texts().items()}) for one in requests]
    for picture in requests[0].pictures():
        _check_within(Path(picture.path), context)
    return plan_with(requests, context.can, context.digest, context.wildcards)


def _check_within(path: Path, context: Context) -> None:
    try:
        inside = not context.within or path.resolve().is_relative_to(context.within.resolve())
    except (OSError, ValueError):  # this can't be the name of a file
        inside = False
    if not inside:
        raise Refused("batch.not_in_home", file=str(path)[:80])


def _named(planned: list[Planned], name: str, source: Source, line: int) -> list[Job]:
    """The jobs of a line with the names of their files: the line's own name and a number, else as the studio names."""
    stem, count, first, jobs = safe_name(name), sum(job.request.count for job in planned), 0, list[Job]()
    for job in planned:
        numbers = range(first, first + job.request.count)
        files = [f"{stem if count == 1 else f'{stem}-{n}'}{job.request.suffix}" for n in numbers]
        names = tuple(files if stem else file_names(job))
        jobs.append(Job(job.request, job.id, job.digest, source.name, line, names))
        first += job.request.count
    return jobs


def _printable(value: Any) -> Any:
    """The message with unprintable characters replaced and long values cut."""
    if isinstance(value, Message):
        return Message(_printable(value.code), {name: _printable(part) for name, part in value.values.items()})
    if isinstance(value, list | tuple):
        return [_printable(part) for part in value]
    return "".join(c if c.isprintable() else "\ufffd" for c in value[:VALUE]) if isinstance(value, str) else value


def safe_name(name: str) -> str:
    """Make a name valid as a file name, without ending, on any system; "" where nothing of it is valid."""
    stem = PurePosixPath(name.replace("\\", "/")).name
    stem = re.sub(r"(?i)\.(png|webp|jpe?g|txt)$", "", unicodedata.normalize("NFC", stem))
    stem = "".join(c if c in " ._-" or unicodedata.category(c)[0] in "LN" else "_" for c in stem)
    stem = stem.encode()[:NAME_BYTES].decode(errors="ignore").strip(" .")
    if not stem.strip("_- "):
        return ""
    return f"_{stem}" if DEVICES.match(stem) else stem
