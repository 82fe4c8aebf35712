"""What all commands share: the program they belong to, common options, and the printing of results."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from models.messages import Refused
from studio.doors import Setting
from studio.foreground import STOPPED

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def _group() -> None:
    """Studio 128: pictures from words, from pictures and from mixes of both, on your own machine."""


Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Model = Annotated[str, typer.Option(help="The model that does the work; `studio models` lists them.")]
Home = Annotated[Path | None, typer.Option(help="The studio's folder (else STUDIO_HOME, else the system's place).")]
NoMetadata = Annotated[
    bool, typer.Option("--no-metadata", help="Files without metadata: no prompt, no settings, no mark of their origin.")
]
Wildcards = Annotated[
    Path | None,
    typer.Option("--wildcards", metavar="DIR", help="The lists of __wildcards__ (else wildcards/ in the home)."),
]


def option(name: str, setting: Setting) -> Any:
    """A setting as a command's option."""
    flag = [f"--{name.replace('_', '-')}"] if setting.type is bool else []
    metavar = "FILE" if setting.is_picture else None
    return Annotated[setting.type, typer.Option(*flag, metavar=metavar, help=setting.help)]


def print_rows(rows: Sequence[Any], as_json: bool, line: Callable[[Any], str]) -> None:
    """A list of results: one JSON document, or a line a row."""
    if as_json or rows:
        print_document(list(rows), as_json, "\n".join(map(line, rows)) if not as_json else "")


def print_document(document: Any, as_json: bool, text: str) -> None:
    """A result: as JSON, or `text`."""
    typer.echo(json.dumps(document, ensure_ascii=False, indent=1) if as_json else printable(text))


def warn(text: object, program: str = "studio: ") -> None:
    """One line on stderr."""
    typer.echo(printable(f"{program}{text}"), err=True)


def leave(code: int) -> None:
    """End the command with an exit code that is not 0."""
    if code:
        raise typer.Exit(code)


def each(files: list[Path], do: Callable[[Path], dict[str, Any]]) -> tuple[list[dict[str, Any]], int]:
    """A row a file, and the exit code: 1 where some were refused, each with a sentence on stderr, 2 where all were.

    Stopped with Ctrl-C, the rows so far.
    """
    rows: list[dict[str, Any]] = []
    for file in files:
        try:
            rows.append({"path": str(file), **do(file)})
        except KeyboardInterrupt:
            return rows, STOPPED
        except Refused as refusal:
            if len(files) == 1:
                raise
            warn(refusal)
    return rows, 0 if len(rows) == len(files) else 1 if rows else 2


def printable(text: str) -> str:
    """Text from outside for a terminal: what would move the cursor, colour it or turn the line round is escaped."""
    shown = "\n\t\u200c\u200d"  # the last two join letters and emoji
    return "".join(c if c.isprintable() or c in shown else c.encode("unicode_escape").decode() for c in text)
