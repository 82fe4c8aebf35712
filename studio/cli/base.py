"""What all commands share: the program they belong to, common options, and the printing of results."""

import dataclasses
import functools
import importlib
import inspect
import json
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import typer

from models.messages import Refused
from studio import settings
from studio.backends.base import open_backend
from studio.doors import Setting, with_settings
from studio.foreground import STOPPED
from studio.syntax import Wildcards

F = TypeVar("F", bound=Callable[..., Any])

WORDS = tomllib.loads(Path(__file__).with_name("words.toml").read_text(encoding="utf-8"))
BARE = {"--cluster": "local"}  # options that may stand without a value, which typer has no word for
app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


def _version(wanted: bool) -> None:
    if wanted:
        from studio.metadata.origin import version

        typer.echo(f"Studio 128 {version()}")
        raise typer.Exit


@app.callback()
def _group(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which it is.")
    ] = False,
) -> None:
    """Studio 128: pictures from words, from pictures and from mixes of both, on your own machine."""


@dataclass(frozen=True)
class Common:
    """What options say that many commands have; a command has those that `words.toml` names."""

    wildcards: Path | None = None
    out: Path | None = None
    no_metadata: bool = False
    model: str = ""
    memory: str = ""
    device: str = ""
    embedder: str = ""
    as_json: bool = False
    home: Path | None = None

    def __post_init__(self) -> None:
        settings.place(self.memory, self.device, embedder=self.embedder, home=self.root if self.home else "")
        if not self.model:
            object.__setattr__(self, "model", settings.usual_model(self.root))
        if self.memory and not (can := open_backend(self.model).capabilities()).memory:
            raise Refused("model.lacks", model=can.title, name=f"--memory {self.memory}")

    @property
    def root(self) -> Path:
        """The studio's folder."""
        return settings.home(self.home)

    def lists(self) -> Wildcards:
        """The lists of wildcards."""
        return Wildcards(self.wildcards or settings.wildcards(self.root))

    def print_rows(self, rows: Sequence[Any], line: Callable[[Any], str]) -> None:
        """A list of results: one JSON document, or a line a row."""
        if self.as_json or rows:
            self.print_document(list(rows), "" if self.as_json else "\n".join(map(line, rows)))

    def print_document(self, document: Any, text: str) -> None:
        """A result: as JSON, or `text`."""
        said = printable(json.dumps(document, ensure_ascii=False, indent=1), json.dumps) if self.as_json else ""
        typer.echo(said if self.as_json else printable(text))


SHARED = {one.name: one for one in dataclasses.fields(Common)}


def command(name: str | None = None, before: str = "") -> Callable[[F], F]:
    """Decorator: a function as a command, its parameters as arguments and options as `words.toml` says.

    Its first one is `Common`. Those for a request's settings, which arrive in its `**fields`, come before `before`.
    """

    def register(function: F) -> F:
        words = WORDS["common"] | WORDS[name or function.__name__]
        shared, wanted = words["common"].split(), words.get("settings", "").split()
        taking = with_settings(*wanted, annotate=_setting, before=before)(function) if wanted else function
        declared = inspect.signature(taking, eval_str=True)
        _, *own = declared.parameters.values()
        own += [
            inspect.Parameter(
                one, inspect.Parameter.KEYWORD_ONLY, default=SHARED[one].default, annotation=SHARED[one].type
            )
            for one in shared
        ]

        @functools.wraps(function)
        def run(**given: Any) -> None:
            common = Common(**{one: given.pop(one) for one in shared})
            if common.device not in ("", "cpu") and not given.get("cluster"):  # whose machines have others
                importlib.import_module("studio.backends.placing").device()
            function(common, **given)

        parameters = [
            one.replace(annotation=Annotated[one.annotation, _option(**words[one.name])])
            if one.name in words and one.name not in wanted
            else one
            for one in own
        ]
        run.__signature__ = declared.replace(parameters=parameters)  # type: ignore[attr-defined]
        app.command(name, cls=_Command)(run)
        return function

    return register


class _Command(typer.core.TyperCommand):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        said: list[str] = []
        for one, following in zip(args, [*args[1:], "-"], strict=False):
            said += [one, BARE[one]] if one in BARE and following.startswith("-") else [one]
        return super().parse_args(ctx, said)


def _option(argument: bool = False, flag: str = "", **how: Any) -> Any:
    return (typer.Argument if argument else typer.Option)(*([flag] if flag else []), **how)


def _setting(name: str, setting: Setting) -> Any:
    word, flag = name.replace("_", "-"), ""
    kind = str | None if str in get_args(setting.type) else setting.type  # typer takes no choice of types
    if setting.type is bool:
        flag = f"--{word}/--no-{word}" if setting.default else f"--{word}"
    return Annotated[kind, _option(flag=flag, metavar="FILE" if setting.is_picture else None, help=setting.help)]


def warn(text: object, program: str = "studio: ") -> None:
    """One line on stderr."""
    typer.echo(printable(f"{program}{text}"), err=True)


def leave(code: int) -> None:
    """End the command with an exit code that is not 0."""
    if code:
        raise typer.Exit(code)


def each(files: list[Path], do: Callable[[Path], dict[str, Any]]) -> tuple[list[dict[str, Any]], int]:
    """A row a file, and the exit code: 1 where some were refused, 2 where all were; the rows so far after Ctrl-C."""
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


def printable(text: str, escape: Callable[[str], str] = ascii) -> str:
    """Text from outside for a terminal: what moves the cursor, colours or reverses text is escaped by `escape`."""
    shown = "\n\t\u200c\u200d"  # the last two join letters and emoji
    return "".join(c if c.isprintable() or c in shown else escape(c)[1:-1] for c in text)
