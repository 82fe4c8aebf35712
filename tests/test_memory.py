"""What a process freed it has again without asking the system."""

import subprocess
import sys

import pytest

from models.hardware import keep_freed_memory

# A process of its own: there is no way back from it.
COUNTED = """
import resource, sys, torch
from models.hardware import keep_freed_memory
assert sys.argv[1] != "kept" or keep_freed_memory()
def use():
    for _ in range(10):
        held = [torch.ones(1 << 20) for _ in range(10)]  # 4 MB each
        del held
for _ in range(3):  # until the heap is as large as it gets
    use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", COUNTED, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_pages_are_asked_for_once() -> None:
    # Not none: a system short of memory may take pages in between.
    assert faults("kept") < faults("as it is") / 3


def test_where_it_cannot_be_it_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory() is False
