"""Prompt files into rows and their settings: text with flags, tables, JSON and YAML.

    a smiling cat --n blurry --d 1,2 --s 20 --l 4 --f cat             a text line with short flags (sd-scripts)
    --prompt "a smiling cat" --negative_prompt blurry --steps 20      or with long ones (A1111's "Prompts from file")

A reader yields a `Row` or a `Problem` for each line and never stops at a bad one, unless it can't parse what follows.
A new format is a reader and a row of `READERS`. `settings` makes a row's own names and texts the fields of a request; a
row may name its `task`.
"""

import csv
import functools
import hashlib
import io
import itertools
import json
import re
import shlex
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from models.messages import Message, Refused, did_you_mean
from studio.capabilities import Capabilities
from studio.requests import Picture, fields_of, ingredient, media_tasks, spelled, types_in

FILE_BYTES = 64 * 2**20
LINE_BYTES = 64 * 1024
SEEDS_A_LINE = 1_000
UTF16 = (b"\xff\xfe", b"\xfe\xff")
YAML_LENGTH = 2**20  # characters: the parser is slow
YAML_KEYS = ("defaults", "jobs", "matrix")
_FLAG = re.compile(r"\s--(?=[A-Za-z]\w*(?:\s|$))")


# --- Files ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """A prompt file: its name, whose ending tells its format, its bytes in UTF-8, and the folder where relative paths
    begin, for a pipe the current one."""

    name: str
    data: bytes = field(repr=False)
    folder: Path

    @staticmethod
    def open(name: str) -> "Source":
        """A file, a pipe, or "-" for standard input; Refused where it can't be read or holds more than FILE_BYTES."""
        path = Path(name)
        try:
            if name == "-":
                name, path, data = "standard input", Path(), sys.stdin.buffer.read(FILE_BYTES + 1)
            elif path.is_file() or path.is_fifo():
                with path.open("rb") as file:
                    data = file.read(FILE_BYTES + 1)
            else:
                kind = "is_a_folder" if path.is_dir() else "is_no_file" if path.exists() else "missing"
                raise Refused(f"batch.{kind}", file=name)
        except ValueError as error:  # a zero byte in the name
            raise Refused("batch.missing", file=name) from error
        except OSError as error:
            raise Refused("batch.unreadable", file=name, why=error.strerror or str(error)) from error
        if len(data) > FILE_BYTES:
            raise Refused("batch.file_too_large", file=name, most=FILE_BYTES >> 20)
        if data.startswith(UTF16):
            data = data.decode("utf-16", "replace").encode()
        return Source(name, data, path.parent if path.is_file() else Path())


@dataclass(frozen=True)
class Problem:
    """Why a line of `file`, or its job `id`, can't be done. Lines and columns count from 1."""

    file: str
    line: int
    reason: Message
    column: int | None = None
    id: str | None = None

    @property
    def placed(self) -> Message:
        """The reason with its place in front."""
        code, column = ("batch.at_column", {"column": self.column}) if self.column else ("batch.at_line", {})
        return Message(code, {"file": self.file, "line": self.line, "problem": self.reason, **column})

    def as_dict(self) -> dict[str, Any]:
        """Plain values, the reason in English under `message`."""
        place = {"file": self.file, "line": self.line, "message": self.reason.text()}
        return {**place, "column": self.column, "id": self.id}

    @staticmethod
    def of(row: dict[str, Any]) -> "Problem":
        """From `as_dict`; KeyError or ValueError where it is none."""
        return Problem(row["file"], int(row["line"]), Message(str(row["message"])), row["column"], row["id"])


class BadRow(Refused):
    """An error of a row; `line` is set where it is not the line on which the row begins."""

    def __init__(self, code: str | Message, column: int | None = None, line: int | None = None, **values: Any) -> None:
        super().__init__(code, **values)
        self.column, self.line = column, line

    def at(self, source: Source, line: int) -> Problem:
        """The problem on a line of a file."""
        return Problem(source.name, self.line or line, self.message, self.column)


def digest(sources: Sequence[Source]) -> str:
    """sha256 of their contents, in order."""
    return hashlib.sha256(b"".join(hashlib.sha256(source.data).digest() for source in sources)).hexdigest()


def lines(source: Source) -> Iterator[tuple[int, str] | Problem]:
    """Each line with its number, from 1, without its end; a Problem for a line that is no text or is too long."""
    for number, line in enumerate(source.data.removeprefix("\ufeff".encode()).removesuffix(b"\n").split(b"\n"), 1):
        try:
            if len(line) > LINE_BYTES:
                raise BadRow("batch.line_too_long", most=LINE_BYTES >> 10)
            yield number, line.decode().rstrip("\r")
        except BadRow as error:
            yield error.at(source, number)
        except UnicodeDecodeError as error:
            yield BadRow("batch.not_utf8", error.start + 1, byte=error.start + 1).at(source, number)


def whole(source: Source) -> str:
    """All of a file as text; BadRow where it is none."""
    try:
        return source.data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRow("batch.not_utf8", byte=error.start + 1) from error


# --- Formats ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """A line's settings by its own names. Not `typed`: numbers are text. With `expand` braces are drawn."""

    line: int
    fields: dict[str, Any]
    typed: bool = True
    expand: bool = True


Reader = Callable[[Source], Iterator[Row | Problem]]


def read(source: Source) -> Iterator[Row | Problem]:
    """The rows and problems of a file, by its ending, else by how it begins."""
    return (READERS.get(Path(source.name).suffix.lower()) or READERS[_format(source)])(source)


def _format(source: Source) -> str:
    text = source.data[:4096].decode("utf-8-sig", "replace")
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    if re.match(r'\[\s*([{"\]]|$)|\{\s*("|$)', first):
        return ".jsonl" if first.startswith("{") and first.endswith("}") else ".json"
    if re.match(r"(---|defaults:|jobs:|matrix:)", first):
        return ".yaml"
    cells = first.split(_delimiter(first))
    return ".csv" if len(cells) > 1 and all(is_known(cell.strip()) for cell in cells) else ".txt"


def _by_line(source: Source, row_of: Callable[[int, str], Row | None]) -> Iterator[Row | Problem]:
    """The result of `row_of` for each line that is not empty."""
    for item in lines(source):
        if isinstance(item, Problem):
            yield item
        elif item[1].strip():
            try:
                row = row_of(*item)
            except BadRow as error:
                yield error.at(source, item[0])
            else:
                yield from [row] if row else []


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Pairs as a dictionary; BadRow where a name comes twice."""
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise BadRow("batch.twice", name=name)
        fields[name] = value
    return fields


def read_text(source: Source) -> Iterator[Row | Problem]:
    """Yield a row for each line that is neither empty nor a comment."""

    def row(number: int, line: str) -> Row | None:
        line = line.strip()
        flags = _long_flags if line.startswith("--") else _short_flags
        return None if line.startswith("#") else Row(number, _unique(flags(line)), typed=False)

    return _by_line(source, row)


def _short_flags(line: str) -> list[tuple[str, Any]]:
    prompt, *flags = _FLAG.split(line)
    pairs: list[tuple[str, Any]] = [("prompt", prompt.strip())]
    for flag in flags:
        name, _, value = flag.strip().partition(" ")
        if not value.strip():
            raise BadRow("batch.no_value", line.rfind(f"--{name}") + 1, flag=f"--{name}")
        pairs.append((name, value.strip()))
    return pairs


def _long_flags(line: str) -> list[tuple[str, Any]]:
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise BadRow("batch.open_quote", why=str(error).lower()) from error
    pairs = list(itertools.zip_longest(words[::2], words[1::2]))
    for name, value in pairs:
        if not name.startswith("--") or value is None:
            code = "batch.no_value" if name.startswith("--") else "batch.no_flag"
            raise BadRow(code, line.rfind(name) + 1 or None, flag=name[:40])
    return [(name[2:], value) for name, value in pairs]


def read_csv(source: Source) -> Iterator[Row | Problem]:
    """Rows of a table whose header names the settings; commas, semicolons or tabs, whichever the header has most of.

    A cell that looks like a formula is text.
    """
    line = 1
    try:
        text = whole(source)
        head = next(filter(str.strip, text.splitlines()), "")
        rows = csv.reader(io.StringIO(text), delimiter=_delimiter(head), strict=True)
        names = [name.strip() for name in next(filter(None, rows), [])]
        line = max(1, rows.line_num)
        for name in _unique([(name, None) for name in names if name]):
            check_name(name)
        if text.strip() and not any(names):
            raise BadRow("batch.empty_header")
    except (BadRow, csv.Error) as error:
        yield _table_problem(error, source, line)
        return
    while True:
        line = rows.line_num + 1
        try:
            cells = next(rows)
            for place, cell in enumerate(cells, 1):
                if cell.strip() and not "".join(names[place - 1 : place]):
                    raise BadRow("batch.no_column", place=place, cell=cell.strip()[:40])
            if fields := {name: cell for name, cell in zip(names, cells, strict=False) if cell.strip()}:
                yield Row(line, fields, typed=False)
        except StopIteration:
            return
        except (BadRow, csv.Error) as error:
            yield _table_problem(error, source, line)


def _table_problem(error: BadRow | csv.Error, source: Source, line: int) -> Problem:
    bad = error if isinstance(error, BadRow) else BadRow("batch.broken_table", why=str(error))
    return bad.at(source, line)


def _delimiter(header: str) -> str:
    return max(",;\t", key=header.count)


def read_jsonl(source: Source) -> Iterator[Row | Problem]:
    """Yield a row for each line, which is an object."""
    return _by_line(source, lambda line, text: _object_row(line, _parsed(text)))


def read_json(source: Source) -> Iterator[Row | Problem]:
    """Yield a row for each object of a list, or for one object; its line is the number of the item."""
    try:
        items = _parsed(whole(source))
    except BadRow as error:
        yield error.at(source, 1)
        return
    for number, value in enumerate(items if isinstance(items, list) else [items], 1):
        try:
            yield _object_row(number, value)
        except BadRow as error:
            yield error.at(source, number)


def _parsed(text: str) -> Any:
    """The value of a JSON text; BadRow has the place of an error."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = error.lineno if error.lineno > 1 else None
        raise BadRow("batch.no_json", error.colno, line, why=error.msg.lower()) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of brackets
        raise BadRow("batch.no_json", why=str(error).split(";")[0].lower()) from error


def _object_row(line: int, value: Any) -> Row:
    if not isinstance(value, dict):
        raise BadRow("batch.no_object")
    return _expanded(line, value, False)


def _expanded(line: int, fields: dict[str, Any], usual: bool) -> Row:
    """`expand: true` draws braces and wildcards, `false` lets them stand; a number would be a setting of that name."""
    switch = fields.get("expand")
    if not isinstance(switch, bool):
        return Row(line, fields, expand=usual)
    return Row(line, {name: value for name, value in fields.items() if name != "expand"}, expand=switch)


class _YamlLoader(yaml.SafeLoader):
    """Plain values alone, and no aliases, which multiply values."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise _at(self.peek_event().start_mark, Message("syntax.alias"))
        return super().compose_node(parent, index)


def _at(mark: yaml.Mark | None, problem: Message) -> BadRow:
    return BadRow(problem, mark.column + 1, mark.line + 1) if mark else BadRow(problem)


def _load_yaml(text: str) -> tuple[Any, Any]:
    """The document in `text` as plain values, and its node, which knows lines; both None where it is empty."""
    if len(text) > YAML_LENGTH:
        raise BadRow("syntax.too_long", most=YAML_LENGTH)
    try:
        loader = _YamlLoader(text)
        node = loader.get_single_node()
        return (None, None) if node is None else (loader.construct_document(node), node)
    except BadRow:
        raise
    except RecursionError as error:
        raise BadRow("syntax.too_deep") from error
    except Exception as error:  # a KeyError for `!!bool x`, an IndexError for `!!int ""`: whatever it stumbles over
        reason = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error) or "no plain value"
        problem = Message(f"{' '.join(str(reason).split())[:150].rstrip('.')}.")
        raise _at(getattr(error, "problem_mark", None), problem) from error


def read_yaml(source: Source) -> Iterator[Row | Problem]:
    """Yield a row for each job of `jobs` and combination of `matrix`; `defaults` fill in missing settings."""
    try:
        yield from _jobs(source)
    except BadRow as error:
        yield error.at(source, 1)


def _jobs(source: Source) -> Iterator[Row | Problem]:
    tree, node = _load_yaml(whole(source))
    parts, nodes = {"jobs": tree}, {"jobs": node}
    if isinstance(tree, dict):
        parts, nodes = tree, {str(key.value): value for key, value in node.value}
    for key in parts:
        if key not in YAML_KEYS:
            hint = did_you_mean(str(key), YAML_KEYS) or Message("syntax.there_are", {"names": list(YAML_KEYS)})
            raise BadRow("syntax.unknown_key", key=str(key), hint=hint)
    defaults, columns = _mapping(parts, "defaults"), _mapping(parts, "matrix")
    if wrong := [name for name, values in columns.items() if not isinstance(values, list) or not values]:
        raise BadRow("batch.no_column_list", name=wrong[0])
    if not isinstance(jobs := parts.get("jobs") or [], list):
        raise BadRow("batch.no_job_list")
    lines = [job.start_mark.line + 1 for job in nodes["jobs"].value] if jobs else [1]
    for line, job in zip(lines, jobs or ([{}] if columns else []), strict=False):
        fields = {"prompt": job} if isinstance(job, str) else job
        if not isinstance(fields, dict):
            yield BadRow("batch.no_job").at(source, line)
            continue
        fields = {str(key): value for key, value in fields.items()}
        for cells in itertools.product(*columns.values()):
            yield _expanded(line, {**defaults, **dict(zip(columns, cells, strict=True)), **fields}, True)


def _mapping(parts: dict[str, Any], name: str) -> dict[str, Any]:
    value = parts.get(name) or {}
    if not isinstance(value, dict):
        raise BadRow("batch.no_mapping", name=name)
    return {str(key): part for key, part in value.items()}


READERS: dict[str, Reader] = {
    ".txt": read_text,
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".json": read_json,
    ".csv": read_csv,
    ".tsv": read_csv,
    ".yaml": read_yaml,
    ".yml": read_yaml,
}


# --- Settings of a row ------------------------------------------------------------------------------------------------

_NAMES = tomllib.loads(Path(__file__).with_name("names.toml").read_text(encoding="utf-8"))
ALIASES = {alias: setting for setting, aliases in _NAMES["aliases"].items() for alias in aliases.split()}
SIDES = ("w", "h", "width", "height")  # other programs' two for our `size`
IGNORED = set(_NAMES["ignored"]["names"].split())


@dataclass
class Settings:
    """A row's task, the fields of its request, its seeds, its name, and the settings that were left out."""

    fields: dict[str, Any]
    task: str = "image"
    seeds: list[Any] = field(default_factory=list)
    name: str = ""
    ignored: list[str] = field(default_factory=list)


def known_settings() -> dict[str, Any]:
    """The types of all settings by name."""
    return _known_settings(tuple(media_tasks().values()))


@functools.lru_cache
def _known_settings(kinds: tuple[Any, ...]) -> dict[str, Any]:
    fields = (item for kind in reversed(kinds) for item in fields_of(kind, programs=True).items())
    return {name: info.annotation for name, info in fields} | {"name": str}


def is_known(name: str) -> bool:
    """Whether a row may use `name`."""
    return name in IGNORED or name in SIDES or ALIASES.get(name, name) in known_settings()


def check_name(name: str) -> None:
    """BadRow names the nearest setting where there is none of that name."""
    if not is_known(name):
        hint = did_you_mean(name[:40], [*known_settings(), *ALIASES])
        raise BadRow("batch.unknown_setting", name=name[:40], hint=hint)


def settings(row: Row, source: Source, can: Capabilities | None = None) -> Settings:
    """The settings of a row; BadRow where a name means nothing, comes twice, or its value can't be one. Other
    programs' width and height are left out where they name a size that the model does not make.
    """
    result, sides = Settings({}), dict[str, Any]()
    for name, value in row.fields.items():
        check_name(name)
        if name in IGNORED:
            result.ignored.append(name)
        elif value is not None and value != "":
            setting = ALIASES.get(name, name)
            if name in SIDES:
                sides[name] = value
            else:
                _put(result.fields, setting, name, _value(setting, value, row.typed, source))
    _put_size(result, sides, can)
    result.seeds = _seeds(result.fields.pop("seed", None), row.typed)
    result.task, result.name = str(result.fields.pop("task", "image")), result.fields.pop("name", "")
    if result.task not in (tasks := media_tasks()):
        task = result.task[:40]
        raise BadRow("request.unknown_task", task=task, hint=did_you_mean(task, tasks), tasks=list(tasks))
    if not isinstance(result.name, str):
        raise BadRow("batch.no_text", name="name", value=repr(result.name))
    return result


def _put(fields: dict[str, Any], setting: str, name: str, value: Any) -> None:
    """Set a field once. A `count` is multiplied: A1111 makes `n_iter` times `batch_size` pictures."""
    if setting not in fields:
        fields[setting] = value
    elif setting == "count" and isinstance(value, int) and isinstance(fields[setting], int):
        fields[setting] *= value
    else:
        raise BadRow("batch.twice_as", name=setting, alias=name)


def _put_size(result: Settings, sides: dict[str, Any], can: Capabilities | None) -> None:
    """Set the size from width and height; one of them suffices, and `size` has precedence."""
    given = {name[0]: str(value).strip() for name, value in sides.items()}
    both = [given.get("w") or given.get("h") or "", given.get("h") or given.get("w") or ""]
    size = spelled(*map(int, both)) if all(map(str.isdecimal, both)) else 0
    if "size" not in result.fields and can and can.makes(size):
        result.fields["size"] = size
    else:
        result.ignored += sides


def _value(setting: str, value: Any, typed: bool, source: Source) -> Any:
    types = types_in(known_settings().get(setting))
    if setting == "mix":
        return tuple(_ingredient(part, source) for part in (value if isinstance(value, list) else [value]))
    if Picture in types:
        return _picture(value, source)
    if typed or setting == "seed":
        return value
    number = next((kind for kind in (int, float) if kind in types and str not in types), None)
    return _number(setting, value, number) if number else value


def _number(setting: str, value: str, kind: type) -> Any:
    try:
        return kind(value)
    except ValueError as error:
        code = "batch.no_whole_number" if kind is int else "batch.no_number"
        raise BadRow(code, name=setting, value=value[:40]) from error


def _seeds(value: Any, typed: bool) -> list[Any]:
    """The seeds of a row; each makes a job. -1, as in A1111, and None stand for a random one."""
    several = value.split(",") if isinstance(value, str) and not typed else value
    several = several if isinstance(several, list) else [several]
    if len(several) > SEEDS_A_LINE:
        raise BadRow("batch.too_many_seeds", count=len(several), most=SEEDS_A_LINE)
    if not typed:
        several = [_number("seed", seed.strip(), int) if seed else seed for seed in several]
    return [None if seed == -1 else seed for seed in several]


def _picture(value: Any, source: Source) -> Any:
    """A picture from its path, which is relative to the prompt file."""
    path = value.get("path") if isinstance(value, dict) else value
    return {"path": str(source.folder / Path(path))} if isinstance(path, str) else value


def _ingredient(part: Any, source: Source) -> Any:
    part = ingredient(part) if isinstance(part, str) else part
    if isinstance(part, dict) and part.get("picture") is not None:
        return {**part, "picture": _picture(part["picture"], source)}
    return part
