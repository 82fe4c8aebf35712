"""What a model needs of this machine, from its headers alone: bytes of memory, and the way to keep it there.
torch is not imported.
"""

import platform
import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import psutil

from models.messages import Message, Refused, did_you_mean
from studio.disk.models import Component, LocalModel

TYPES = {"bf16": 2, "fp16": 2, "fp32": 4}  # bytes of a number
AUTO = "auto"
# Measured by benchmarks/memory.py on a processor. Memory peaks while a picture is decoded, at ACTIVATIONS tensors as
# wide as the VAE's last layers and as large as the picture, or a tile of it. Libraries take RUNTIME bytes.
ACTIVATIONS, RUNTIME = 10.7, 463_000_000
WIDTH, SIDE, TILE = 128, 512, 256  # channels and pixels, where nothing else is known
OFFLOADS = ("cuda", "xpu")  # devices with a memory of their own; elsewhere neither offloading nor float8 saves any
GENERATORS = ("unet", "transformer", "prior", "decoder", "generator")  # how the components begin that are cast
QUANTISED = (*GENERATORS, "text_encoder")  # and those whose matrices torchao quantises
LAYER = 0.1  # the share of a network's bytes in its largest layer, at most

_which = cache(shutil.which)


@dataclass(frozen=True)
class Machine:
    """`device` as torch calls it, bytes of its memory (all, and free now), and the type that it computes fast in."""

    device: str
    total: int
    free: int
    dtype: str = "bf16"


def machine(device: str = "") -> Machine:
    """The device `device`, else the fastest: the NVIDIA card with the most memory free by `nvidia-smi`, Apple's
    graphics in the common memory, or the processor.
    """
    memory = psutil.virtual_memory()
    apple = platform.system() == "Darwin" and platform.machine() == "arm64"
    if device != "cpu" and apple:
        return Machine("mps", memory.total, memory.available, "fp16")
    available = cards() if device != "cpu" else []
    named = [card for number, card in enumerate(available) if device == f"cuda:{number}"] or available
    processor = Machine("cpu", memory.total, memory.available, _processor_dtype())
    return max(named, key=lambda card: card.free, default=processor)


@cache
def _processor_dtype() -> str:
    """As `models.runtime.native_dtype` says with torch; fp32 where the system does not say."""
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
    query = [program, "--query-gpu=memory.total,memory.free", "--format=csv,noheader,nounits"]
    try:
        output = subprocess.run(query, capture_output=True, text=True, timeout=5, check=True).stdout
        lines = [[int(part) << 20 for part in line.split(",")] for line in output.splitlines()]  # MiB
        return [Machine("cuda", total, free) for total, free in lines]
    except (OSError, ValueError, subprocess.SubprocessError):
        return []


# --- Memory -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Memory:
    """A way to keep a model in memory: a row of `memory.toml`."""

    word: str
    offload: str
    tiling: bool
    weights: str

    @property
    def installed(self) -> bool:
        """Whether the library that it needs is there."""
        return self.weights != "int8" or find_spec("torchao") is not None


MEMORY = {
    word: Memory(word, **row)
    for word, row in tomllib.loads(Path(__file__).with_name("memory.toml").read_text(encoding="utf-8")).items()
}


@dataclass(frozen=True)
class Fit:
    """Bytes that a model `needs` when nothing is saved, bytes that are `free`, and the way of MEMORY by which it fits
    ("" where none does) with the bytes that it `takes` then.
    """

    needs: int
    free: int
    word: str
    takes: int

    @property
    def message(self) -> Message:
        """The estimate as a sentence."""
        code = "fit.none" if not self.word else "fit.whole" if self.word == next(iter(MEMORY)) else "fit.saving"
        needs, free, takes = (f"{size / 1e9:.1f}" for size in (self.needs, self.free, self.takes))
        return Message(code, {"needs": needs, "free": free, "word": self.word, "takes": takes})


def fit(model: LocalModel, machine: Machine, pixels: int = SIDE * SIDE, word: str = AUTO) -> Fit | None:
    """How a model fits, by the first way that does or the one named. None for a broken model or a part of one; Refused
    for an unknown way.
    """
    if word not in (AUTO, *MEMORY):
        raise Refused("fit.unknown", word=word, hint=did_you_mean(word, (AUTO, *MEMORY)), words=[AUTO, *MEMORY])
    if not model.model or model.problem:
        return None
    ways = [way for way in MEMORY.values() if way.installed or way.word == word]
    sizes = {way.word: needs(model, machine, way, pixels) for way in ways}
    wanted = sizes if word == AUTO else {word: sizes[word]}
    fitting = next((way for way, size in wanted.items() if size <= machine.free), "")
    takes = wanted.get(fitting, min(wanted.values()))
    return Fit(next(iter(sizes.values())), machine.free, fitting, takes)


def needs(model: LocalModel, machine: Machine, memory: Memory, pixels: int = SIDE * SIDE) -> int:
    """Bytes that loading and then drawing `pixels` takes on the device at most: weights, activations and libraries."""
    number, offloads = TYPES[machine.dtype], machine.device in OFFLOADS

    def quantised(part: Component) -> bool:
        return memory.weights == "int8" and part.name.startswith(QUANTISED) and not part.packed

    def weights(part: Component) -> int:
        if part.packed:
            return part.bytes
        if quantised(part):
            return part.parameters * number - part.matrices * (number - 1)
        cast = memory.weights == "float8" and offloads and part.name.startswith(GENERATORS)
        return part.parameters * (1 if cast else number)

    sizes = list(map(weights, model.components)) or [model.bytes]
    resident = {"": sum(sizes), "network": max(sizes), "layer": int(max(sizes) * LAYER)}
    decoded = min(pixels, TILE * TILE) if memory.tiling else pixels
    activations = int(ACTIVATIONS * (model.width or WIDTH) * decoded * number)
    # A network that is quantised in place is there twice meanwhile: as it was read, and in 8 bits.
    read = [part.parameters * number for part in model.components if quantised(part)]
    loading = 0 if offloads else max(read, default=0)
    return resident[memory.offload if offloads else ""] + RUNTIME + max(activations, loading)
