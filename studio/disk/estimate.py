"""What a model needs before it is loaded, from its headers, and how it fits this machine."""

import tomllib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from models.messages import Message, Refused, did_you_mean
from studio.disk import pace
from studio.disk.found import Component, Found
from studio.disk.machine import Machine

TYPES = {"bf16": 2, "fp16": 2, "fp32": 4}  # bytes of a number
AUTO = "auto"
# Measured by benchmarks/memory.py on a processor. The most is held while a picture is decoded: as much as ACTIVATIONS
# tensors as wide as the VAE's last layers and as large as the picture, or a tile of it. Libraries take RUNTIME bytes.
ACTIVATIONS, RUNTIME = 10.7, 463_000_000
WIDTH, SIDE, TILE = 128, 512, 256  # channels and pixels, where nothing else is known
OFFLOADS = ("cuda", "xpu")  # devices with a memory of their own; elsewhere neither offloading nor float8 saves any
GENERATORS = ("unet", "transformer", "prior", "decoder", "generator")  # how the components begin that are cast
QUANTISED = (*GENERATORS, "text_encoder")  # and those whose matrices torchao quantises
LAYER = 0.1  # the largest layer is at most so much of its network


@dataclass(frozen=True)
class Memory:
    """A row of `memory.toml`."""

    word: str
    offload: str
    tiling: bool
    weights: str

    @property
    def there(self) -> bool:
        """Whether the library that it needs is installed."""
        return self.weights != "int8" or find_spec("torchao") is not None


MEMORY = {
    word: Memory(word, **row)
    for word, row in tomllib.loads(Path(__file__).with_name("memory.toml").read_text(encoding="utf-8")).items()
}


@dataclass(frozen=True)
class Fit:
    """Bytes that a model `needs` when nothing is saved, those that are `free`, and the way of `memory.toml` by which it
    fits, "" where none does, with the bytes that it `takes` then; `time` says how long a picture takes.
    """

    needs: int
    free: int
    word: str
    takes: int
    time: Message | str

    @property
    def message(self) -> Message:
        """The estimate as a sentence."""
        code = "fit.none" if not self.word else "fit.whole" if self.word == next(iter(MEMORY)) else "fit.saving"
        needs, free, takes = (f"{size / 1e9:.1f}" for size in (self.needs, self.free, self.takes))
        return Message(code, {"needs": needs, "free": free, "word": self.word, "takes": takes, "time": self.time})


def fit(found: Found, machine: Machine, pixels: int = SIDE * SIDE, word: str = AUTO) -> Fit | None:
    """How a model fits, by the first way that does or the one named. None for a broken model or a part of one; Refused
    for a way that there is not.
    """
    if word not in (AUTO, *MEMORY):
        raise Refused("fit.unknown", word=word, hint=did_you_mean(word, (AUTO, *MEMORY)), words=[AUTO, *MEMORY])
    if not found.model or found.problem:
        return None
    sizes = {one.word: needs(found, machine, one, pixels) for one in MEMORY.values() if one.there or one.word == word}
    wanted = sizes if word == AUTO else {word: sizes[word]}
    fitting = next((one for one, size in wanted.items() if size <= machine.free), "")
    takes = wanted.get(fitting, min(wanted.values()))
    return Fit(next(iter(sizes.values())), machine.free, fitting, takes, pace.said(found, machine, pixels))


def needs(found: Found, machine: Machine, memory: Memory, pixels: int = SIDE * SIDE) -> int:
    """Bytes that loading and then drawing `pixels` takes on the device at most: weights, activations and libraries."""
    number = TYPES[machine.dtype]
    sizes = [_held(one, memory, machine, number) for one in found.components] or [found.bytes]
    kept = {"": sum(sizes), "network": max(sizes), "layer": int(max(sizes) * LAYER)}
    weights = kept[memory.offload if machine.device in OFFLOADS else ""]
    decoded = min(pixels, TILE * TILE) if memory.tiling else pixels
    activations = int(ACTIVATIONS * (found.width or WIDTH) * decoded * number)
    # A network that is quantised where it stays is there twice while it is: as it was read, and in 8 bits.
    read = [one.parameters * number for one in found.components if _quantised(one, memory)]
    loading = 0 if machine.device in OFFLOADS else max(read, default=0)
    return weights + RUNTIME + max(activations, loading)


def _held(one: Component, memory: Memory, machine: Machine, number: int) -> int:
    """Bytes that a network's numbers take, of so many bytes each where nothing is saved."""
    if one.packed:
        return one.bytes
    if _quantised(one, memory):
        return one.parameters * number - one.matrices * (number - 1)
    cast = memory.weights == "float8" and machine.device in OFFLOADS and one.name.startswith(GENERATORS)
    return one.parameters * (1 if cast else number)


def _quantised(one: Component, memory: Memory) -> bool:
    return memory.weights == "int8" and one.name.startswith(QUANTISED) and not one.packed
