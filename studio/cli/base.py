"""What all commands share: the program they belong to, common options, and the printing of rows."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Studio 128: pictures from words, from pictures and from mixes of both, on your own machine.",
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Model = Annotated[str, typer.Option(help="The model that does the work; `studio models` lists them.")]
Home = Annotated[Path | None, typer.Option(help="The studio's folder (else STUDIO_HOME, else the system's place).")]


def print_rows(rows: list[dict[str, Any]], as_json: bool, line: Callable[[dict[str, Any]], str]) -> None:
    """One JSON document, or a line a row."""
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False, indent=1))
    elif rows:
        typer.echo(printable("\n".join(line(row) for row in rows)))


def printable(text: str) -> str:
    """Text from outside for a terminal: what would move the cursor, colour it or turn the line round is written out."""
    shown = "\n\t\u200c\u200d"  # the last two join letters and emoji
    return "".join(c if c.isprintable() or c in shown else c.encode("unicode_escape").decode() for c in text)
