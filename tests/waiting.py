"""Waiting for other processes; bounds of processor time and memory."""

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

TIMEOUT = 400  # seconds: a busy machine takes ten times as long as a free one


def until(what: Callable[[], Any], pause: float = 0.02) -> Any:
    """The first true value of `what`, called every `pause` seconds; fails after TIMEOUT."""
    deadline = time.monotonic() + TIMEOUT
    while not (value := what()):
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(pause)
    return value


def memory(what: str, process: int | str = "self") -> int:
    """Bytes that a process holds (VmRSS), or held at most (VmHWM)."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(re.search(rf"{what}:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]


@contextlib.contextmanager
def bounded(seconds: float = 20, megabytes: int = 200) -> Iterator[None]:
    """Fails where the block takes more processor time or, where the system counts it, more memory."""
    peak, counted, began = Path("/proc/self/clear_refs"), 0, time.process_time()
    if peak.exists():
        peak.write_text("5")  # what it held at most is counted anew
        counted = memory("VmRSS")
    yield
    assert time.process_time() - began < seconds
    assert not counted or memory("VmHWM") - counted < megabytes * 2**20
