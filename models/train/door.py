"""How every command that trains ends: what a person can mend is one sentence and exit code 2."""

import sys
from collections.abc import Callable

import torch.distributed
from rich.console import Console
from safetensors import SafetensorError

# Of bad settings and files, a full disk, a rate too high, an extra that is not installed, weights cut short.
MENDABLE: tuple[type[Exception], ...] = (ValueError, OSError, FloatingPointError, ImportError, SafetensorError)


def command(run: Callable[[], object]) -> None:
    """Do `run`; what MENDABLE lists becomes a sentence on standard error."""
    try:
        run()
    except MENDABLE as error:
        Console(stderr=True).print(f"[red]{error}[/red]", highlight=False)
        sys.exit(2)
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()  # or a thread of its own may end the process with a signal
