"""How every command that trains ends: what a person can mend is one sentence and exit code 2."""

import sys
from collections.abc import Callable

import torch.distributed
from rich.console import Console


def command(run: Callable[[], object], *also: type[Exception]) -> None:
    """Do `run`; ValueError, OSError, FloatingPointError and those of `also` become a sentence on standard error."""
    mendable: tuple[type[Exception], ...] = (ValueError, OSError, FloatingPointError, *also)
    try:
        run()
    except mendable as error:
        Console(stderr=True).print(f"[red]{error}[/red]", highlight=False)
        sys.exit(2)
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()  # or a thread of its own may end the process with a signal
