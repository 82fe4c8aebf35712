"""The program that commands belong to, their common options, options for a request's fields, and output."""

import importlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
from pydantic.fields import FieldInfo

from models.messages import Refused
from studio import settings
from studio.backends.base import open_backend
from studio.capabilities import FAST_FIELD
from studio.foreground import STOPPED
from studio.requests import Picture, Request, fields_of, types_in
from studio.syntax import Wildcards

F = TypeVar("F", bound=Callable[..., Any])


def _version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from studio.metadata.origin import version

        click.echo(f"Studio 128 {version()}")
        context.exit()


@click.group()
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Print the version."
)
def app() -> None:
    """Studio 128: pictures from words, from pictures and from mixes of both, on your own machine."""


@dataclass(frozen=True)
class Common:
    """The values of the options that many commands have."""

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
        if self.as_json:
            click.echo(printable(json.dumps(document, ensure_ascii=False, indent=1), json.dumps))
        else:
            click.echo(printable(text))


FILE = click.Path(path_type=Path)
# The options behind the fields of `Common`.
SHARED = {
    "wildcards": click.Option(
        ["--wildcards"], type=FILE, metavar="DIR", help="The lists of __wildcards__ (else wildcards/ in the home)."
    ),
    "out": click.Option(["--out"], type=FILE, help="Where to put them (else into the studio's gallery)."),
    "no_metadata": click.Option(
        ["--no-metadata"], is_flag=True, help="Files without metadata: no prompt, no settings, no mark of their origin."
    ),
    "model": click.Option(
        ["--model"],
        default="",
        help="The model that does the work (else that of `studio models use`); `studio models` lists them.",
    ),
    "memory": click.Option(
        ["--memory"],
        default="",
        metavar="WAY",
        help="How much memory a model of your own may take: high, balanced, 8bit, low (else what fits).",
    ),
    "device": click.Option(
        ["--device"],
        default="",
        help="Where it computes: cpu, cuda, cuda:1, xpu, mps (else the fastest).",
    ),
    "embedder": click.Option(
        ["--embedder"],
        default="",
        metavar="MODEL",
        help="The model that compares words and pictures for a model of your own: open_clip:MODEL (else the studio's).",
    ),
    "as_json": click.Option(["as_json", "--json"], is_flag=True, help="Print one JSON document."),
    "home": click.Option(
        ["--home"], type=FILE, help="The studio's folder (else STUDIO_HOME, else the system's place)."
    ),
}
MODEL = ("model", "memory", "device", "embedder")
HOME = ("as_json", "home")
OUT = ("out", "no_metadata", *MODEL, *HOME)


def command(*shared: str, name: str = "", about: str = "") -> Callable[[F], F]:
    """Decorator: a function as a command. The options `shared` arrive as its first parameter, a `Common`, the others
    by name. Its help is `about`, else the docstring.
    """

    def register(function: F) -> F:
        params = [*reversed(getattr(function, "__click_params__", [])), *(SHARED[key] for key in shared)]
        help_text = inspect.cleandoc(about or function.__doc__ or "")

        def run(**values: Any) -> None:
            common = Common(**{key: values.pop(key) for key in shared})
            if common.device not in ("", "cpu") and not values.get("cluster"):  # a cluster has devices of its own
                importlib.import_module("studio.backends.runtime").device()
            function(common, **values)

        app.add_command(click.Command(name or function.__name__, callback=run, params=params, help=help_text))
        return function

    return register


def request_options(kind: type[Request], *names: str, leave_out: Sequence[str] = ()) -> Callable[[F], F]:
    """Decorator: an option for each field of a request that users set, or for those `names`, with the field's type,
    default and help. "fast" is the option for the fast scheduler.
    """
    fields = {**fields_of(kind), "fast": FAST_FIELD}
    return options_of(fields, *(names or [name for name in fields_of(kind) if name not in leave_out]))


def options_of(fields: Mapping[str, FieldInfo], *names: str) -> Callable[[F], F]:
    """Decorator: an option for each of those fields, by name, with its type, default and help."""

    def add(function: F) -> F:
        for name in reversed(names):
            function = _option(name, fields[name])(function)
        return function

    return add


def _option(name: str, field: FieldInfo) -> Callable[[F], F]:
    types, word = types_in(field.annotation), name.replace("_", "-")
    if bool in types:
        flags = f"--{word}/--no-{word}" if field.default else f"--{word}"
        return click.option(flags, is_flag=True, default=field.default, help=field.description)
    if Picture in types:
        return click.option(f"--{word}", metavar="FILE", help=field.description)
    number = next((number for number in (int, float) if number in types and str not in types), str)
    return click.option(f"--{word}", type=number, default=field.default, help=field.description)


def warn(text: object, program: str = "studio: ") -> None:
    """One line on stderr."""
    click.echo(printable(f"{program}{text}"), err=True)


def leave(code: int) -> None:
    """End the command with an exit code that is not 0."""
    if code:
        raise click.exceptions.Exit(code)


def each(files: Sequence[Path], do: Callable[[Path], dict[str, Any]]) -> tuple[list[dict[str, Any]], int]:
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
