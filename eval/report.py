"""The table as files for others: JSON, Markdown, CSV and one page of HTML with plots, all made from one document.

`python -m eval page FILE...` makes them from what was measured before.
"""

import argparse
import csv
import io
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, select_autoescape
from rich.console import Console

from eval.charts import OTHER, bar, curves, difference
from eval.rows import Row
from eval.table import Group, machine, number, print_table, rows_of
from models.data.stored import whole
from models.messages import Refused

WIDE = 200  # columns where standard output is no terminal
Document = dict[str, Any]
COLUMNS = ("group", "name", "value", "low", "high", "unit", "n", "goal", "met", "against", "note")


def cells(row: dict[str, Any]) -> dict[str, Any]:
    """A row with its interval and what stands beside it as plain cells."""
    low, high = row["interval"] or ("", "")
    beside = "; ".join(f"{name} {number(value)}" for name, value in row["against"])
    return {name: row.get(name) for name in COLUMNS} | {"low": low, "high": high, "against": beside}


def as_markdown(document: Document) -> str:
    return "\n".join(f"### {name}\n\n{markdown_table(rows)}" for name, rows in by_group(document).items())


def markdown_table(rows: Iterable[dict[str, Any]], note: str = "") -> str:
    """Rows as a table; `note` heads the last column."""
    lines = [f"| measure | value | 95 % | n | goal | beside it | {note} |", "|---|---:|---|---:|---|---|---|"]
    for row in rows:
        span = " to ".join(map(number, row["interval"] or ()))
        sign = "at most" if row["lower_is_better"] else "at least"
        shown = (
            row["name"], f"{number(row['value'])} {row['unit']}", span,
            row["n"], "" if row["goal"] is None else f"{'✓' if row['met'] else '✗'} {sign} {number(row['goal'])}",
            "; ".join(f"{name} {number(value)}" for name, value in row["against"]), row["note"],
        )  # fmt: skip
        lines.append(f"| {' | '.join(str(cell).strip().replace('|', chr(92) + '|') for cell in shown)} |")
    return "\n".join(lines) + "\n"


def by_group(document: Document) -> dict[str, list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in document.get("rows", ()):
        groups.setdefault(row["group"], []).append(row)
    return groups


def as_csv(document: Document) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(cells, document["rows"]))
    return out.getvalue()


def as_json(document: Document) -> str:
    """Figures alone: pictures are for the page."""
    figures = {key: own for key, own in document.items() if key != "sheets"}
    return json.dumps(figures, indent=2, ensure_ascii=False) + "\n"


def as_html(document: Document) -> str:
    """One page that needs no other file: each figure with its interval drawn beside what it must be read against,
    curves over training, pictures from the best to the worst, and another run."""
    groups = {name: [row | {"bar": bar(row)} for row in rows] for name, rows in by_group(document).items()}
    shown = {"document": document, "groups": groups}
    return rendered("report.html.j2", **shown, number=number)


def rendered(template: str, **values: Any) -> str:
    """A template of this folder, filled in."""
    folder = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=folder, autoescape=select_autoescape(["html.j2"]))
    return environment.get_template(template).render(values)


FORMATS: dict[str, Callable[[Document], str]] = {
    "json": as_json, "markdown": as_markdown, "csv": as_csv, "html": as_html,
}  # fmt: skip


def compared(document: Document, other: Document) -> Document:
    """The figures with those of another run beside them where it has them, and how they differ."""
    before = {(row["group"], row["name"]): row for row in other["rows"]}

    def beside(row: dict[str, Any], own: dict[str, Any] | None) -> dict[str, Any]:
        if own is None:
            return row
        against = [*row["against"], (OTHER, own["value"])]
        return row | {"against": against, "other": difference(row, own)}

    return document | {"rows": [beside(row, before.get((row["group"], row["name"]))) for row in document["rows"]]}


def joined(paths: Sequence[Path]) -> Document:
    """One document of files that were written before: JSON of tables, and `stats.jsonl` of trainings. Refused for
    others."""
    found: Document = {"title": ", ".join(path.stem for path in paths), "rows": [], "curves": {}, "stamps": {}}
    for path in paths:
        text = path.read_text(encoding="utf-8")
        try:
            if path.suffix == ".jsonl":
                found["curves"][f"Training: {path.parent.name}"] = curves(map(json.loads, text.splitlines()))
                continue
            document = json.loads(text)
            for run in document.get("runs", [document]):
                found["rows"] += [row for row in run["rows"] if cells(row)]
            found["curves"] |= document.get("curves", {})
            found["stamps"][path.name] = document.get("stamps")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Refused("eval.no_document", path=str(path)) from error
    return found


def add_outputs(made: argparse.ArgumentParser) -> None:
    made.add_argument("--compare", type=Path, metavar="FILE", help="the JSON of another run, to stand beside this one")
    for name in FORMATS:
        help = f"write the figures as {name} here, or to standard output"
        made.add_argument(f"--{name}", nargs="?", const="-", metavar="FILE", help=help)


def write(document: Document, arguments: argparse.Namespace) -> None:
    """Into each file that was asked for; "-" is standard output."""
    if other := getattr(arguments, "compare", None):
        document = compared(document, joined([other]))
    for name, form in FORMATS.items():
        path = getattr(arguments, name, None)
        if path == "-":
            sys.stdout.write(form(document))
        elif path:
            with whole(Path(path)) as part:
                part.write_text(form(document), encoding="utf-8")


def console(arguments: argparse.Namespace) -> Console:
    """Where the table is printed: to standard output, unless a document goes there."""
    out = sys.stderr if any(getattr(arguments, name, None) == "-" for name in FORMATS) else sys.stdout
    return Console(file=out, width=None if out.isatty() else WIDE)


def publish(title: str, groups: dict[str, list[Row]], arguments: argparse.Namespace, **more: Any) -> Document:
    """Print rows by group, and write them into the documents that were asked for."""
    made: dict[str, Group] = {name: {"rows": rows, "missing": None, "seconds": 0} for name, rows in groups.items()}
    print_table(made, console(arguments))
    document = {"title": title, **rows_of(made), **more, "stamps": machine()}
    write(document, arguments)
    return document


def refusing(main: Callable[[list[str]], int]) -> Callable[[list[str]], int]:
    """A command whose refusal is one sentence on standard error and exit code 2."""

    @wraps(main)
    def run(words: list[str]) -> int:
        try:
            return main(words)
        except (Refused, ValueError, FileNotFoundError) as error:
            print(error, file=sys.stderr)
            return 2

    return run


@refusing
def main(words: list[str]) -> int:
    """Entry point: 0 done, 2 refused."""
    made = argparse.ArgumentParser(prog="python -m eval page", description="Figures that were measured before, anew.")
    kinds = "what --json wrote of a table, or stats.jsonl of a training"
    made.add_argument("files", nargs="+", type=Path, metavar="FILE", help=kinds)
    add_outputs(made)
    arguments = made.parse_args(words)
    if not any(getattr(arguments, name) for name in FORMATS):
        arguments.html = "-"
    write(joined(arguments.files), arguments)
    return 0
