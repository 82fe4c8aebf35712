"""Comma and tab separated files: the header names the settings. A cell that looks like a formula is just text."""

import csv
from collections.abc import Iterator

from studio.batch.fields import check_name
from studio.batch.lines import lines
from studio.batch.rows import Fault, Row, Source, Wrong, once


def read_csv(source: Source) -> Iterator[Row | Fault]:
    """Rows of a table; commas, semicolons or tabs, whichever the header has most of."""
    feed = _Feed(source)
    header = next((text for text in feed if text.strip()), "")
    names = [name.strip() for name in header.rstrip("\n").split(delimiter(header))]
    names = [name.strip('"') for name in names]
    try:
        _check(names)
    except Wrong as wrong:
        yield from feed.faults
        if header:
            yield wrong.at(feed.first)
        return
    rows = csv.reader(feed, delimiter=delimiter(header), strict=True)
    while (found := _next(rows, feed, names)) is not None:
        yield from feed.faults
        feed.faults.clear()
        if isinstance(found, Fault) or found.fields:
            yield found
    yield from feed.faults


def delimiter(header: str) -> str:
    """What parts the cells."""
    return max(",;\t", key=header.count)


class _Feed:
    """Lines for `csv.reader`. Those that are no text are put aside; `first` is the first one taken since it was 0."""

    def __init__(self, source: Source) -> None:
        self._lines = lines(source)
        self.faults: list[Fault] = []
        self.first = 0

    def __iter__(self) -> "_Feed":
        return self

    def __next__(self) -> str:
        for item in self._lines:
            if isinstance(item, Fault):
                self.faults.append(item)
                continue
            self.first = self.first or item[0]
            return item[1] + "\n"
        raise StopIteration


def _check(names: list[str]) -> None:
    once([(name, None) for name in names if name])
    for name in names:
        if name:
            check_name(name)
    if not any(names):
        raise Wrong("the header is empty; its cells name the settings, for example: prompt,seed.")


def _next(rows: Iterator[list[str]], feed: _Feed, names: list[str]) -> Row | Fault | None:
    feed.first = 0
    try:
        cells = next(rows)
        return Row(feed.first, _fields(names, cells), typed=False)
    except StopIteration:
        return None
    except csv.Error as error:
        return Fault(feed.first, f"the table is broken here ({error}).")
    except Wrong as wrong:
        return wrong.at(feed.first)


def _fields(names: list[str], cells: list[str]) -> dict[str, str]:
    """The cells that hold something, by name; Wrong where one is under no name."""
    for place, cell in enumerate(cells):
        if cell.strip() and (place >= len(names) or not names[place]):
            raise Wrong(f"cell {place + 1} ({cell.strip()[:40]!r}) is under no name; quote what holds a separator.")
    return {name: cell for name, cell in zip(names, cells, strict=False) if cell.strip()}
