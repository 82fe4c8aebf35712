"""The `studio` command: the same work as the page's, without it.

Exit codes: 0 done, 1 partly done, 2 refused with one sentence on stderr, 130 stopped. With `--json` stdout holds one
JSON document and nothing else; progress is always on stderr.
"""

import importlib
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from models.messages import Refused
from studio import settings

if TYPE_CHECKING:
    import typer

COMMANDS = {  # which module has them
    "generate": ("generate", "animate", "embed", "suggest", "read"),
    "caption": ("caption",),
    "sets": ("set", "grid"),
    "batch": ("batch",),
    "files": ("info", "credits", "verify", "strip", "frames", "apps", "export"),
    "models": ("models",),
    "home": (
        *("queue", "cancel", "retry", "move", "pause", "resume", "search", "index", "duplicates"),
        *("doctor", "rebuild", "styles", "mcp"),
    ),
    "page": ("open",),
}


def program(command: str = "") -> "typer.Typer":
    """The program with one command, so that no other's code is imported; with all, where there is none of that name."""
    for module in [one for one, names in COMMANDS.items() if command in names] or COMMANDS:
        importlib.import_module(f"studio.cli.{module}")
    from studio.cli.base import app

    return app


def main() -> NoReturn:
    """Run the command line and exit with its code."""
    settings.stay_offline()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM ends a command as Ctrl-C does
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks Chinese is no reason to fail
    sys.exit(_exit_code())


def _exit_code() -> int:
    try:  # what takes a moment to import is imported in here, where Ctrl-C is expected
        import typer

        return typer.main.get_command(program(*sys.argv[1:2])).main(prog_name="studio", standalone_mode=False) or 0
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        return _refused(error)


def _refused(error: Exception) -> int:
    import typer

    from studio.cli.base import warn

    if isinstance(error, typer.Abort):  # Ctrl-C where no command expects it
        return 130
    if isinstance(error, Refused):
        warn(error)
    elif hasattr(error, "format_message"):  # typer's own complaints about options have it
        said = " ".join(error.format_message().split()).rstrip(".")
        warn(said if said.endswith("?") else f"{said}.")
    else:
        raise error
    return 2
