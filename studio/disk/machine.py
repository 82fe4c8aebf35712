"""What this machine computes with and how much memory that has, asked without torch."""

import platform
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

_which = cache(shutil.which)


@dataclass(frozen=True)
class Machine:
    """`device` as torch calls it, bytes of its memory (all, and what is free now), and the type it computes fast in."""

    device: str
    total: int
    free: int
    dtype: str = "bf16"


def machine(device: str = "") -> Machine:
    """The fastest device: an NVIDIA card by `nvidia-smi`, the one that `device` names or the one with the most memory
    free; Apple's graphics in the common memory, else the processor. The processor too where `device` says so.
    """
    memory = psutil.virtual_memory()
    apple = platform.system() == "Darwin" and platform.machine() == "arm64"
    if device != "cpu" and apple:
        return Machine("mps", memory.total, memory.available, "fp16")
    there = cards() if device != "cpu" else []
    named = [card for number, card in enumerate(there) if device == f"cuda:{number}"] or there
    own = Machine("cpu", memory.total, memory.available, _processor_dtype())
    return max(named, key=lambda card: card.free, default=own)


@cache
def _processor_dtype() -> str:
    """As `models.hardware.native_dtype` finds it with torch; fp32 where the system does not say."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return "fp32"
    return "bf16" if "avx512_bf16" in flags or "amx_bf16" in flags else "fp32"


def cards() -> list[Machine]:
    """The NVIDIA cards, in their order."""
    program = _which("nvidia-smi")
    if not program:
        return []
    asked = [program, "--query-gpu=memory.total,memory.free", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(asked, capture_output=True, text=True, timeout=5, check=True).stdout
        lines = [[int(part) << 20 for part in line.split(",")] for line in said.splitlines()]  # MiB
        return [Machine("cuda", total, free) for total, free in lines]
    except (OSError, ValueError, subprocess.SubprocessError):
        return []
