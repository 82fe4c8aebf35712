"""What all commands share: the program they belong to, common options, and the printing of results."""

import inspect
import json
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from models.messages import Refused
from studio.doors import Setting, with_settings
from studio.foreground import STOPPED

F = TypeVar("F", bound=Callable[..., Any])

WORDS = tomllib.loads(Path(__file__).with_name("words.toml").read_text(encoding="utf-8"))
app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def _group() -> None:
    """Studio 128: pictures from words, from pictures and from mixes of both, on your own machine."""


def command(name: str | None = None, before: str = "") -> Callable[[F], F]:
    """Decorator: a function as a command, its parameters as arguments and options as `words.toml` says. Those for the
    settings of a request, which arrive in its `**fields`, come before the parameter `before`.
    """

    def register(function: F) -> F:
        words = {**WORDS["common"], **WORDS.get(name or function.__name__, {})}
        settings = words.pop("settings", "").split()
        if settings:
            function = with_settings(*settings, annotate=_setting, before=before)(function)
        declared = inspect.signature(function, eval_str=True)
        parameters = [
            one if one.name in settings or one.name not in words else one.replace(annotation=_annotated(one, words))
            for one in declared.parameters.values()
        ]
        function.__signature__ = declared.replace(parameters=parameters)  # type: ignore[attr-defined]
        app.command(name)(function)
        return function

    return register


def _annotated(parameter: inspect.Parameter, words: dict[str, Any]) -> Any:
    return Annotated[parameter.annotation, _option(**words[parameter.name])]


def _option(argument: bool = False, flag: str = "", **how: Any) -> Any:
    return (typer.Argument if argument else typer.Option)(*([flag] if flag else []), **how)


def _setting(name: str, setting: Setting) -> Any:
    flag = f"--{name.replace('_', '-')}" if setting.type is bool else ""
    return Annotated[
        setting.type, _option(flag=flag, metavar="FILE" if setting.is_picture else None, help=setting.help)
    ]


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
