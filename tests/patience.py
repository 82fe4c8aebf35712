"""How long the tests wait for what other processes do: nothing is timed, only what hangs is told from what is slow."""

import time
from collections.abc import Callable
from typing import Any

PATIENCE = 400  # seconds: a busy machine takes ten times as long as a free one


def until(what: Callable[[], Any], pause: float = 0.02) -> Any:
    """What `what` gives once it is true, asked every `pause` seconds; fails after PATIENCE."""
    deadline = time.monotonic() + PATIENCE
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(pause)
    return found
