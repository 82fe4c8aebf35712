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
    import click

COMMANDS = {  # by module
    "generate": ("generate", "animate", "caption", "embed", "suggest", "read"),
    "batch": ("batch", "set", "grid"),
    "files": ("info", "verify", "strip", "frames", "export"),
    "models": ("models",),
    "learn": ("learn", "adapters"),
    "home": (
        *("queue", "cancel", "retry", "pause", "resume", "search", "index", "duplicates", "ratings"),
        *("doctor", "rebuild", "styles", "mcp", "open"),
    ),
}


def program(command: str = "") -> "click.Group":
    """The program with one command, so that no other's code is imported; with all, where there is none of that name."""
    modules = [module for module, names in COMMANDS.items() if command in names]
    for module in modules or COMMANDS:
        importlib.import_module(f"studio.cli.{module}")
    if not modules:
        from studio.cli.generate import add_media_commands

        add_media_commands()
    from studio.cli.base import app

    return app


def main() -> NoReturn:
    """Run the command line and exit with its code."""
    settings.stay_offline()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM ends a command as Ctrl-C does
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks Chinese is no reason to fail
    sys.exit(_exit_code(sys.argv[1:] or ["--help"]))


def _exit_code(arguments: list[str]) -> int:
    try:  # what takes a moment to import is imported in here, where Ctrl-C is expected
        return program(arguments[0]).main(arguments, prog_name="studio", standalone_mode=False) or 0
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        import click

        from studio.cli.base import warn

        if isinstance(error, click.Abort):  # Ctrl-C where no command expects it
            return 130
        if isinstance(error, Refused):
            warn(error)
        elif isinstance(error, click.ClickException):
            text = " ".join(error.format_message().split()).rstrip(".")
            warn(text if text.endswith("?") else f"{text}.")
        else:
            raise
        return 2
