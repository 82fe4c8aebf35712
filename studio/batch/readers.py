"""Prompt files into rows: text with flags, tables, JSON and YAML. A new format is a reader and a row of READERS.

    a smiling cat --n blurry --d 1,2 --s 20 --l 4 --f cat             a text line with short flags (sd-scripts)
    --prompt "a smiling cat" --negative_prompt blurry --steps 20      or with long ones (A1111's "Prompts from file")

A reader yields a Row or a Problem for each line and never stops at a bad one, unless nothing after it makes sense.
"""

import contextlib
import csv
import itertools
import json
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from models.messages import Refused
from studio.batch.fields import check_name, is_known
from studio.batch.sources import BadRow, Problem, Source, lines, reading, whole
from studio.yaml_file import TEXT_LIMIT, Tree, read_tree

LOOKED_AT = 4096  # bytes that tell the format of a file without an ending
LIST_BYTES = 16 * 2**20
_FLAG = re.compile(r"\s--(?=[A-Za-z]\w*(?:\s|$))")
_SPACE = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True)
class Row:
    """What a line asks for, by its own names: not `typed` where numbers are text; `expand`: braces are drawn."""

    line: int
    fields: dict[str, Any]
    typed: bool = True
    expand: bool = True


Reader = Callable[[Source], Iterator[Row | Problem]]


def read(source: Source) -> Iterator[Row | Problem]:
    """The rows and problems of a file, by its ending, else by how it begins. Refused where it can't be read at all."""
    reader = READERS.get(source.path.suffix.lower())
    return (reader or READERS[_kind(source)])(source)


def _kind(source: Source) -> str:
    with reading(source) as file:
        text = file.read(LOOKED_AT).decode("utf-8-sig", "replace")
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    if re.match(r'\[\s*([{"\]]|$)', first):
        return ".json"
    if re.match(r'\{\s*("|$)', first):
        with contextlib.suppress(ValueError, RecursionError):
            json.loads(first)
            return ".jsonl"
        return ".json"
    if re.match(r"(---|defaults:|jobs:|matrix:)", first):
        return ".yaml"
    cells = [cell.strip().strip('"') for cell in first.split(_delimiter(first))]
    return ".csv" if len(cells) > 1 and all(is_known(cell) for cell in cells) else ".txt"


def _by_line(source: Source, row_of: Callable[[int, str], Row | None]) -> Iterator[Row | Problem]:
    """What `row_of` makes of each line that is not empty."""
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


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Pairs as a dictionary; BadRow where a name comes twice."""
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise BadRow("batch.twice", name=name)
        fields[name] = value
    return fields


# --- Text -------------------------------------------------------------------------------------------------------------


def read_text(source: Source) -> Iterator[Row | Problem]:
    """A row a line that is neither empty nor a comment."""

    def row(number: int, line: str) -> Row | None:
        line = line.strip()
        flags = _long_flags if line.startswith("--") else _short_flags
        return None if line.startswith("#") else Row(number, _once(flags(line)), typed=False)

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


# --- Tables: the header names the settings. A cell that looks like a formula is just text. ----------------------------


def read_csv(source: Source) -> Iterator[Row | Problem]:
    """Rows of a table; commas, semicolons or tabs, whichever the header has most of."""
    problems = list[Problem]()  # lines that are no text: empty ones to `csv.reader`
    feed = _text_lines(source, problems)
    header, first = next(((text, line) for line, text in enumerate(feed, 1) if text.strip()), ("", 0))
    names = [name.strip().strip('"') for name in header.rstrip("\n").split(_delimiter(header))]
    rows = csv.reader(feed, delimiter=_delimiter(header), strict=True)
    try:
        _once([(name, None) for name in names if name])
        for name in filter(None, names):
            check_name(name)
        if not any(names):
            raise BadRow("batch.empty_header")
    except BadRow as error:
        yield from [*problems, *([error.at(source, first)] if header else [])]
        return
    while True:
        line = first + rows.line_num + 1
        try:
            fields = _cells(names, next(rows))
            found: list[Row | Problem] = [Row(line, fields, typed=False)] if fields else []
        except StopIteration:
            break
        except csv.Error as error:
            found = [BadRow("batch.broken_table", why=str(error)).at(source, line)]
        except BadRow as error:
            found = [error.at(source, line)]
        yield from [*problems, *found]
        problems.clear()
    yield from problems


def _text_lines(source: Source, problems: list[Problem]) -> Iterator[str]:
    for item in lines(source):
        if isinstance(item, Problem):
            problems.append(item)
        yield "\n" if isinstance(item, Problem) else item[1] + "\n"


def _delimiter(header: str) -> str:
    return max(",;\t", key=header.count)


def _cells(names: list[str], cells: list[str]) -> dict[str, str]:
    """The cells that hold something, by name; BadRow where one is under no name."""
    fields: dict[str, str] = {}
    for place, (name, cell) in enumerate(itertools.zip_longest(names[: len(cells)], cells, fillvalue=""), 1):
        if cell.strip() and not name:
            raise BadRow("batch.no_column", place=place, cell=cell.strip()[:40])
        fields |= {name: cell} if cell.strip() else {}
    return fields


# --- JSON, one object a line or a list of them ------------------------------------------------------------------------


def read_jsonl(source: Source) -> Iterator[Row | Problem]:
    """A row a line."""
    return _by_line(source, lambda line, text: _object_row(line, _parsed(text)[0]))


def read_json(source: Source) -> Iterator[Row | Problem]:
    """A row an item of the list. What follows broken JSON can't be made sense of."""
    try:
        text = whole(source, LIST_BYTES)
    except BadRow as error:
        yield Problem(source.name, 1, error.message)
        return
    line = 1
    try:
        for line, value in _items(text):
            try:
                yield _object_row(line, value)
            except BadRow as error:
                yield error.at(source, line)
    except BadRow as error:
        if error.column:  # a place in the whole text
            at = error.column - 1
            line, error.column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
        yield error.at(source, line)


def _items(text: str) -> Iterator[tuple[int, Any]]:
    """The items of a JSON list, each with the line on which it begins; one object is a list of one."""
    at, line, counted = _past_space(text, 0), 1, 0
    listed = text.startswith("[", at)
    at = _past_space(text, at + 1) if listed else at
    while not (listed and text.startswith("]", at)):
        value, end = _parsed(text, at)
        line, counted = line + text.count("\n", counted, at), at
        yield line, value
        at = _past_space(text, end)
        if not listed:
            break
        if not text.startswith(("]", ","), at):
            raise BadRow("batch.no_comma", at + 1)
        at = _past_space(text, at + 1) if text[at] == "," else at
    if (at := _past_space(text, at + listed)) < len(text):
        raise BadRow("batch.after_end", at + 1)


def _past_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _parsed(text: str, at: int | None = None) -> tuple[Any, int]:
    """The JSON value of a text, or the one at `at`, and where it ends; BadRow says what is wrong where."""
    decoder = json.JSONDecoder(object_pairs_hook=_json_object)
    try:
        if at is None:
            return decoder.decode(text), len(text)
        return decoder.raw_decode(text, at)
    except json.JSONDecodeError as error:
        raise BadRow("batch.no_json", error.pos + 1, why=error.msg.lower()) from error
    except RecursionError as error:
        raise BadRow("batch.deep_json") from error
    except ValueError as error:  # a number of thousands of digits
        raise BadRow("batch.no_json", why=str(error).split(";")[0].lower()) from error


def _json_object(pairs: list[tuple[str, Any]]) -> Any:
    """An object; one with a key that comes twice is the error that says so, so that the text after it is read."""
    try:
        return _once(pairs)
    except BadRow as error:
        return error


def _object_row(line: int, value: Any) -> Row:
    if isinstance(value, BadRow):
        raise value
    if not isinstance(value, dict):
        raise BadRow("batch.no_object")
    return _expanded(line, value, False)


def _expanded(line: int, fields: dict[str, Any], usual: bool) -> Row:
    """`expand: true` draws braces and wildcards, `false` lets them stand; a number would be a setting of that name."""
    switch = fields.get("expand")
    if not isinstance(switch, bool):
        return Row(line, fields, expand=usual)
    return Row(line, {name: value for name, value in fields.items() if name != "expand"}, expand=switch)


# --- YAML with `defaults`, `jobs` and `matrix` ------------------------------------------------------------------------


def read_yaml(source: Source) -> Iterator[Row | Problem]:
    """A row a job, times the combinations of the matrix; what a job does not say is taken from the defaults."""
    try:
        tree = read_tree(whole(source, 4 * TEXT_LIMIT), source.name)
        yield from _jobs(tree, source) if tree else ()
    except Refused as error:
        yield _yaml_problem(error, source, 1)


def _yaml_problem(error: Refused, source: Source, line: int) -> Problem:
    """An error as a problem: those of `yaml_file` know their place."""
    values = error.message.values if error.message.code.startswith("syntax.yaml") else {}
    return Problem(source.name, values.get("line", line), values.get("problem", error.message), values.get("column"))


def _jobs(tree: Tree, source: Source) -> Iterator[Row | Problem]:
    parts = tree.members("defaults", "jobs", "matrix") if tree.kind == "mapping" else {"jobs": tree}
    defaults = _mapping(parts.get("defaults"), "defaults")
    columns = _mapping(parts.get("matrix"), "matrix")
    if wrong := [name for name, values in columns.items() if not isinstance(values, list) or not values]:
        raise BadRow("batch.no_column_list", name=wrong[0])
    for job in _listed(parts.get("jobs")) or ([None] if columns else []):
        line = job.line if job else parts["matrix"].line
        try:
            own = _job_fields(job)
            for cells in itertools.product(*columns.values()):
                yield _expanded(line, {**defaults, **dict(zip(columns, cells, strict=True)), **own}, True)
        except Refused as error:
            yield _yaml_problem(error, source, line)


def _mapping(tree: Tree | None, name: str) -> dict[str, Any]:
    value = tree.value() if tree else None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadRow("batch.no_mapping", name=name)
    return {str(key): part for key, part in value.items()}


def _listed(tree: Tree | None) -> list[Tree | None]:
    if tree is None or (tree.kind == "scalar" and tree.value() is None):
        return []
    if tree.kind != "sequence":
        raise BadRow("batch.no_job_list")
    return list(tree.items())


def _job_fields(job: Tree | None) -> dict[str, Any]:
    value = job.value() if job else {}
    if isinstance(value, str):
        return {"prompt": value}
    if not isinstance(value, dict):
        raise BadRow("batch.no_job")
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
