"""Prompt files by their kind: a new kind is a reader and a row here."""

import json
import re
from collections.abc import Callable, Iterator

from studio.batch.fields import is_known
from studio.batch.flags import read_line
from studio.batch.lines import lines
from studio.batch.objects import read_json, read_jsonl, read_yaml
from studio.batch.rows import Fault, Row, Source, Wrong
from studio.batch.sources import reading
from studio.batch.tables import delimiter, read_csv

Reader = Callable[[Source], Iterator[Row | Fault]]
LOOKED_AT = 4096  # bytes


def read_text(source: Source) -> Iterator[Row | Fault]:
    """A row a line that is neither empty nor a comment."""
    for item in lines(source):
        if isinstance(item, Fault):
            yield item
            continue
        number, text = item[0], item[1].strip()
        if text and not text.startswith("#"):
            try:
                yield Row(number, read_line(text), typed=False)
            except Wrong as wrong:
                yield wrong.at(number)


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


def read(source: Source) -> Iterator[Row | Fault]:
    """The rows and faults of a file, by its ending, else by how it begins. Refused where it can't be read at all."""
    reader = READERS.get(source.path.suffix.lower())
    return (reader or READERS[_kind(source)])(source)


def _kind(source: Source) -> str:
    with reading(source) as file:
        text = file.read(LOOKED_AT).decode("utf-8-sig", "replace")
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    if re.match(r'\[\s*([{"\]]|$)', first):
        return ".json"
    if re.match(r'\{\s*("|$)', first):
        return ".jsonl" if _is_json(first) else ".json"
    if re.match(r"(---|defaults:|jobs:|matrix:)", first):
        return ".yaml"
    cells = [cell.strip().strip('"') for cell in first.split(delimiter(first))]
    return ".csv" if len(cells) > 1 and all(is_known(cell) for cell in cells) else ".txt"


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True
