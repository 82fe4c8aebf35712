"""JSON, one object a line or a list of them, and YAML with `defaults`, `jobs` and `matrix`."""

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

from models.messages import Refused
from studio.batch.lines import lines, whole
from studio.batch.rows import Fault, Row, Source, Wrong, once
from studio.yaml_file import TEXT_LIMIT, Tree, read_tree

LIST_BYTES = 16 * 2**20
_SPACE = re.compile(r"[ \t\r\n]*")


class _Twice:
    """An object with a key that comes twice."""

    def __init__(self, problem: str) -> None:
        self.problem = problem


def read_jsonl(source: Source) -> Iterator[Row | Fault]:
    """A row a line."""
    for item in lines(source):
        if isinstance(item, Fault):
            yield item
            continue
        number, text = item
        if text.strip():
            try:
                yield _row(number, _parsed(text)[0])
            except Wrong as wrong:
                yield wrong.at(number)


def read_json(source: Source) -> Iterator[Row | Fault]:
    """A row an item of the list. What follows broken JSON can't be made sense of."""
    try:
        text = whole(source, LIST_BYTES)
    except Wrong as wrong:
        yield Fault(1, str(wrong))
        return
    line, at = 1, 0
    try:
        for value, start in _items(text):
            line, at = line + text.count("\n", at, start), start
            try:
                yield _row(line, value)
            except Wrong as wrong:
                yield wrong.at(line)
    except Wrong as wrong:
        yield wrong.at(line) if wrong.column is None else _placed(str(wrong), text, wrong.column - 1)


def _placed(message: str, text: str, at: int) -> Fault:
    return Fault(text.count("\n", 0, at) + 1, message, at - text.rfind("\n", 0, at))


def _items(text: str) -> Iterator[tuple[Any, int]]:
    """The items of a JSON list, each with the place where it begins; one object is a list of one."""
    at = _past_space(text, 0)
    if text[at : at + 1] == "[":
        at = _past_space(text, at + 1)
        while text[at : at + 1] != "]":
            value, end = _parsed(text, at)
            yield value, at
            at = _past_space(text, end)
            if text[at : at + 1] not in ("]", ","):
                raise Wrong("a comma or the end of the list is missing.", at + 1)
            if text[at] == ",":
                at = _past_space(text, at + 1)
        end = at + 1
    else:
        value, end = _parsed(text, at)
        yield value, at
    if (at := _past_space(text, end)) < len(text):
        raise Wrong("the file goes on after its end; several jobs stand in [brackets].", at + 1)


def _past_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _parsed(text: str, at: int | None = None) -> tuple[Any, int]:
    """The JSON value of a text, or the one at `at`, and where it ends; Wrong says what is wrong where."""
    decoder = json.JSONDecoder(object_pairs_hook=_object)
    try:
        if at is None:
            return decoder.decode(text), len(text)
        return decoder.raw_decode(text, at)
    except json.JSONDecodeError as error:
        raise Wrong(f"this is no JSON ({error.msg.lower()}).", error.pos + 1) from error
    except RecursionError as error:
        raise Wrong("the JSON is nested too deep.") from error
    except ValueError as error:  # a number of thousands of digits
        raise Wrong(f"this is no JSON ({str(error).split(';')[0].lower()}).") from error


def _object(pairs: list[tuple[str, Any]]) -> Any:
    try:
        return once(pairs)
    except Wrong as wrong:
        return _Twice(str(wrong))


def _row(line: int, value: Any) -> Row:
    if isinstance(value, _Twice):
        raise Wrong(value.problem)
    if not isinstance(value, dict):
        raise Wrong('a job is an object, for example: {"prompt": "a smiling cat", "seed": 1}.')
    return _switched(line, value, False)


def _switched(line: int, fields: dict[str, Any], usual: bool) -> Row:
    """`expand: true` draws braces and wildcards, `false` lets them stand; a number would be a setting of that name."""
    switch = fields.get("expand")
    if not isinstance(switch, bool):
        return Row(line, fields, expand=usual)
    return Row(line, {name: value for name, value in fields.items() if name != "expand"}, expand=switch)


def read_yaml(source: Source) -> Iterator[Row | Fault]:
    """A row a job, times the combinations of the matrix; what a job does not say is taken from the defaults."""
    try:
        tree = read_tree(whole(source, 4 * TEXT_LIMIT), source.name)
        yield from _jobs(tree) if tree else ()
    except Wrong as wrong:
        yield wrong.at(1)
    except Refused as refusal:
        yield _fault(refusal, source)


def _jobs(tree: Tree) -> Iterator[Row | Fault]:
    parts = tree.members("defaults", "jobs", "matrix") if tree.kind == "mapping" else {"jobs": tree}
    defaults = _mapping(parts.get("defaults"), "defaults")
    columns = {name: _column(name, values) for name, values in _mapping(parts.get("matrix"), "matrix").items()}
    jobs = _listed(parts.get("jobs"))
    for job in jobs or ([None] if columns else []):
        line = job.line if job else parts["matrix"].line
        try:
            said = _said(job)
            for cells in itertools.product(*columns.values()):
                yield _switched(line, {**defaults, **dict(zip(columns, cells, strict=True)), **said}, True)
        except Wrong as wrong:
            yield wrong.at(line)
        except Refused as refusal:
            yield Fault(line, str(refusal))


def _mapping(tree: Tree | None, name: str) -> dict[str, Any]:
    value = tree.value() if tree else None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Wrong(f"{name} holds settings, for example: {name}: {{steps: 20}}.")
    return {str(key): part for key, part in value.items()}


def _column(name: str, values: Any) -> list[Any]:
    if not isinstance(values, list) or not values:
        raise Wrong(f"matrix: {name} is a list of values, for example: {name}: [1, 2].")
    return values


def _listed(tree: Tree | None) -> list[Tree | None]:
    if tree is None or (tree.kind == "scalar" and tree.value() is None):
        return []
    if tree.kind != "sequence":
        raise Wrong("jobs is a list, each one a prompt or settings, for example: jobs: [a smiling cat].")
    return list(tree.items())


def _said(job: Tree | None) -> dict[str, Any]:
    value = job.value() if job else {}
    if isinstance(value, str):
        return {"prompt": value}
    if not isinstance(value, dict):
        raise Wrong("a job is a prompt, or settings with their names.")
    return {str(key): part for key, part in value.items()}


def _fault(refusal: Refused, source: Source) -> Fault:
    """A refusal that names file and line, as the line's fault."""
    message = str(refusal).removeprefix(source.name).lstrip(",: ")
    match = re.match(r"line (\d+)(?:, column (\d+))?: ", message)
    if not match:
        return Fault(1, message)
    return Fault(int(match[1]), message[match.end() :], int(match[2]) if match[2] else None)
