"""The process: its threads, the type that this machine computes fast in, the C library's memory, what libraries print.

torch is imported where it is needed.
"""

import ctypes
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from models.messages import Refused

if TYPE_CHECKING:
    import torch


# mallopt(3): M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
KEPT = 1 << 30  # bytes at the end of the heap that are not given back; a training step frees some 600 MB
MAPPED = 32 << 20  # bytes from which on a piece is a mapping of its own, as large as every glibc allows

# diffusers imports torchao where it is installed, which then names each of its files that doesn't fit.
for _name in ("torchao", "torch.utils._pytree", "diffusers.quantizers"):
    logging.getLogger(_name).setLevel(logging.ERROR)


class NoDevice(Refused):
    """No device of a cluster is left, or none takes the work."""


@contextmanager
def one_thread() -> Iterator[None]:
    """torch on one thread here, or in what this decorates. A second thread waits busily between small operations: with
    two threads, loading beside other work takes four times the processor time."""
    import torch

    before = torch.get_num_threads()
    if before == 1:  # also inside of another use, in this thread or another: the outer one restores the number
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def keep_freed_memory() -> bool:
    """From here on the C library gives at most what is over KEPT bytes back to the system; whether it is one that can.
    Left alone, glibc returns each large intermediate result when it is freed, and the system clears its pages again
    when the next one is asked for: 80,000 page faults, a fifth of the time, in a training step of the generator."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
    return mallopt is not None and all(
        mallopt(*option) for option in ((_TRIM_THRESHOLD, KEPT), (_MMAP_THRESHOLD, MAPPED))
    )


def native_dtype() -> "torch.dtype":
    """bf16 where this CPU computes in it, fp32 where it would be emulated."""
    import torch

    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    # The second asks oneDNN, which ONEDNN_MAX_CPU_ISA may hold to less than the CPU can.
    return torch.bfloat16 if native and torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32


def silence() -> None:
    """Neither bars nor warnings of the libraries that load weights."""
    import diffusers
    import transformers

    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
