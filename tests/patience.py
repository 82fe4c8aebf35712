"""How long the tests wait for what other processes do: nothing is timed, only what hangs is told from what is slow.

What is bounded is counted in time of the processor and in bytes of this process, whatever else the machine does.
"""

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PATIENCE = 400  # seconds: a busy machine takes ten times as long as a free one


def until(what: Callable[[], Any], pause: float = 0.02) -> Any:
    """What `what` gives once it is true, asked every `pause` seconds; fails after PATIENCE."""
    deadline = time.monotonic() + PATIENCE
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(pause)
    return found


def memory(what: str, process: int | str = "self") -> int:
    """Bytes that a process holds (VmRSS), or held at most (VmHWM)."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(re.search(rf"{what}:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]


@contextlib.contextmanager
def bounded(seconds: float = 20, megabytes: int = 200) -> Iterator[None]:
    """Fails where what is done takes more of the processor or, where the system says so, of the memory."""
    peak, counted, began = Path("/proc/self/clear_refs"), 0, time.process_time()
    if peak.exists():
        peak.write_text("5")  # what it held at most is counted anew
        counted = memory("VmRSS")
    yield
    assert time.process_time() - began < seconds
    assert not counted or memory("VmHWM") - counted < megabytes * 2**20
