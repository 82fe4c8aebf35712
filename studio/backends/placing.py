"""Where a pipeline computes, in which numbers, and how it is kept in memory: a row of `studio/disk/memory.toml`."""

import contextlib
import multiprocessing
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any

from models.hardware import native_dtype
from models.messages import Refused
from studio import settings
from studio.disk.estimate import AUTO, GENERATORS, MEMORY, OFFLOADS, QUANTISED, TILE, TYPES, Memory, fit
from studio.disk.found import Found
from studio.disk.headers import library
from studio.disk.machine import machine

if TYPE_CHECKING:
    import torch


def device(asked: str = "") -> "torch.device":
    """The one asked for (else that of STUDIO_DEVICE, `--device`), else the accelerator if any. Refused where no number
    can be put on it and read again.
    """
    import torch

    asked = asked or settings.device()
    if not asked:
        return _accelerator() or torch.device("cpu")
    try:
        torch.zeros(1, device=asked).tolist()
        return torch.device(asked)
    except (RuntimeError, AssertionError) as error:  # torch says it in either way
        there = {"cpu", str(_accelerator() or "cpu")}
        raise Refused("device.missing", device=asked, devices=sorted(there)) from error


@contextlib.contextmanager
def asked_beside() -> Iterator[None]:
    """Refused at the end where one of the devices of STUDIO_DEVICE is not there: a process of its own tries them
    meanwhile, for the caller's is to do without torch.
    """
    named = set(settings.devices(lambda: 0)) - {"cpu"}
    if not (named and settings.device()):
        yield
        return
    spawn, silent = multiprocessing.get_context("spawn"), (signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it so
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=signal.signal, initargs=silent) as process:
        tried = [process.submit(device, one) for one in sorted(named)]
        yield
        for one in tried:
            one.result()


def _accelerator() -> "torch.device | None":
    """What torch was built for is not yet there: its driver may be missing."""
    import torch

    return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None


def dtype() -> "torch.dtype":
    """The one that is asked for (STUDIO_DTYPE), else what the device computes fast in."""
    import torch

    names = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
    if asked := settings.dtype():
        if asked not in names:
            raise Refused("device.dtype", dtype=asked, dtypes=list(TYPES))
        return names[asked]
    kind = device().type
    return native_dtype() if kind == "cpu" else torch.float16 if kind == "mps" else torch.bfloat16


def chosen(found: Found | None) -> Memory:
    """How to keep a model in memory: the way asked for (STUDIO_MEMORY, `--memory`), else the first that fits by the
    estimate. Refused with the estimate where none fits; a way that is asked for is tried.
    """
    word = settings.memory() or AUTO
    fits = fit(found, machine(settings.device()), word=word) if found else None
    if fits and not fits.word and word == AUTO:
        raise Refused(fits.message)
    way = MEMORY[word if word != AUTO else fits.word if fits else next(iter(MEMORY))]
    if not way.there and found:
        library(found.path, "torchao")
    return way


def placed(pipeline: Any, memory: Memory | None = None) -> Any:
    """A loaded pipeline, ready and kept in memory in that way; None: as the pipeline that it was made from."""
    memory, here = memory or kept(pipeline), device()
    own = here.type in OFFLOADS
    pipeline.set_progress_bar_config(disable=True)
    pipeline.remove_all_hooks()
    _save_on_decoding(getattr(pipeline, "vae", None), memory)
    others = kept(pipeline) != memory
    for name, network in _networks(pipeline).items():
        if others:
            _cast(name, network, memory, own)
        network._kept = memory.word
    if not own or not memory.offload:
        return pipeline.to(here)
    pipeline.to("cpu")
    if memory.offload == "network":
        pipeline.enable_model_cpu_offload(device=here)
    else:
        pipeline.enable_group_offload(here, offload_type="leaf_level", use_stream=here.type == "cuda")
    return pipeline


def kept(pipeline: Any) -> Memory:
    """How a pipeline is kept: its networks know, which it may share with others."""
    words = [getattr(one, "_kept", "") for one in _networks(pipeline).values()]
    return MEMORY.get(next(filter(None, words), ""), next(iter(MEMORY.values())))


def here() -> dict[str, int | str]:
    """What the bits of what is made depend on, beside what is asked for."""
    return {"dtype": str(dtype()).removeprefix("torch."), "device": device().type}


def called(pipeline: Any, **asked: Any) -> Any:
    """Call the pipeline. Where memory runs out it is called once more with the same random numbers, kept in the next
    smaller way; Refused where that is not enough, or there is none.
    """
    generator = asked.get("generator")
    state = generator.get_state() if generator is not None else None
    try:
        return pipeline(**asked)
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
    way, ways = kept(pipeline), list(MEMORY.values())
    smaller = [one for one in ways[ways.index(way) + 1 :] if one.there and way.weights in ("", one.weights)]
    try:
        placed(pipeline, smaller[0])
        _free()
        if generator is not None:
            generator.set_state(state)
        return pipeline(**asked)
    except (MemoryError, RuntimeError, IndexError) as error:
        if not isinstance(error, IndexError) and not _out_of_memory(error):
            raise
        raise Refused("device.memory", memory=kept(pipeline).word) from error


def _networks(pipeline: Any) -> dict[str, Any]:
    import torch

    return {name: one for name, one in pipeline.components.items() if isinstance(one, torch.nn.Module)}


def _save_on_decoding(vae: Any, memory: Memory) -> None:
    for way in ("enable_slicing", "enable_tiling"):
        if memory.tiling and hasattr(vae, way):
            getattr(vae, way)()
    if memory.tiling and getattr(vae, "tile_sample_min_size", 0) > TILE:
        vae.tile_latent_min_size = vae.tile_latent_min_size * TILE // vae.tile_sample_min_size
        vae.tile_sample_min_size = TILE


def _cast(name: str, network: Any, memory: Memory, own: bool) -> None:
    """Keep a network's weights in the numbers of the table; where its class can't, or they are packed, as they are."""
    import torch

    if memory.weights == "int8" and name.startswith(QUANTISED) and not getattr(network, "hf_quantizer", None):
        from torchao.quantization import Int8WeightOnlyConfig, quantize_

        quantize_(network, Int8WeightOnlyConfig())
        for tensor in (*network.parameters(), *network.buffers()):  # the file that they are mapped from is let go
            if type(tensor.data) is torch.Tensor:
                tensor.data = tensor.data.clone()
    if (
        memory.weights == "float8"
        and own
        and name.startswith(GENERATORS)
        and hasattr(network, "enable_layerwise_casting")
    ):
        network.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=network.dtype)


def _out_of_memory(error: BaseException) -> bool:
    """Whether that is what an error says: torch has a class for it on accelerators, a sentence on the processor."""
    import torch

    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _free() -> None:
    """Give back what a failed try holds."""
    import gc

    import torch

    gc.collect()
    if torch.accelerator.is_available():
        torch.accelerator.empty_cache()
