"""Freed memory is reused without system calls; waiting threads sleep."""

import os
import subprocess
import sys

import pytest

from models.runtime import keep_freed_memory

# A process of its own: there is no way back from it.
COUNTED = """
import resource, torch
from models.runtime import keep_freed_memory
def use():
    for _ in range(10):
        held = [torch.ones(1 << 20) for _ in range(10)]  # 4 MB each
        del held
def faults():
    for _ in range(3):  # until the heap is as large as it gets
        use()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    use()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
as_it_is = faults()
assert keep_freed_memory()
print(as_it_is, faults())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_pages_are_asked_for_once() -> None:
    done = subprocess.run([sys.executable, "-c", COUNTED], capture_output=True, text=True, check=True)
    as_it_is, stored = map(int, done.stdout.split())
    assert stored < as_it_is / 3, "not none: a system short of memory may take pages in between"


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory() is False


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="libgomp's message")
@pytest.mark.parametrize(("result", "holds"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_waiting_threads_sleep_by_default(result: dict[str, str], holds: str) -> None:
    others = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    shown = {**others, **result, "OMP_DISPLAY_ENV": "true"}  # libgomp says what it has read
    done = subprocess.run([sys.executable, "-c", "import studio, torch"], env=shown, capture_output=True, text=True)
    assert f"OMP_WAIT_POLICY = '{holds}'" in done.stderr
