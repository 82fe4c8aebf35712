"""How models of other libraries are run: on which device, in which numbers, kept in memory in which way (a row of
`studio/disk/memory.toml`); their errors as one sentence; a long call as an iterator of its steps.
"""

import contextlib
import gc
import multiprocessing
import queue
import signal
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.messages import Refused
from models.runtime import native_dtype
from models.weights import WeightsError
from studio import settings
from studio.disk.memory import AUTO, GENERATORS, MEMORY, OFFLOADS, QUANTISED, TILE, TYPES, Memory, fit, machine
from studio.disk.models import LocalModel, library

if TYPE_CHECKING:
    import torch

# What libraries raise for a request that they can't do.
ERRORS = (ValueError, TypeError, RuntimeError, AttributeError, NotImplementedError, ImportError, KeyError, IndexError)


# --- Devices ----------------------------------------------------------------------------------------------------------


def device(name: str = "") -> "torch.device":
    """The device of that name (else that of STUDIO_DEVICE, `--device`), else the accelerator if any. Refused where no
    number can be put on it and read again.
    """
    import torch

    name = name or settings.device()
    if not name:
        return _accelerator() or torch.device("cpu")
    try:
        torch.zeros(1, device=name).tolist()
        return torch.device(name)
    except (RuntimeError, AssertionError) as error:  # torch raises either
        devices = {"cpu", str(_accelerator() or "cpu")}
        raise Refused("device.missing", device=name, devices=sorted(devices)) from error


@contextlib.contextmanager
def check_device() -> Iterator[None]:
    """Refused at the end where the device of STUDIO_DEVICE is missing. Another process tries it meanwhile, since the
    caller does without torch.
    """
    if settings.device() in ("", "cpu"):
        yield
        return
    spawn, silent = multiprocessing.get_context("spawn"), (signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it so
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=signal.signal, initargs=silent) as process:
        result = process.submit(device, settings.device())
        yield
        result.result()


def _accelerator() -> "torch.device | None":
    """The accelerator that is there: one that torch was built for may lack its driver."""
    import torch

    return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None


def dtype() -> "torch.dtype":
    """The type of STUDIO_DTYPE, else the one in which the device computes fast."""
    import torch

    types = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
    if name := settings.dtype():
        if name not in types:
            raise Refused("device.dtype", dtype=name, dtypes=list(TYPES))
        return types[name]
    kind = device().type
    return native_dtype() if kind == "cpu" else torch.float16 if kind == "mps" else torch.bfloat16


def bits_depend_on() -> dict[str, int | str]:
    """What the bits of an artifact depend on, beside its request."""
    return {"dtype": str(dtype()).removeprefix("torch."), "device": device().type}


# --- Memory -----------------------------------------------------------------------------------------------------------


def choose_memory(model: LocalModel | None) -> Memory:
    """How to keep a model in memory: the way of STUDIO_MEMORY (`--memory`), else the first that fits by the estimate.
    Refused with the estimate where none fits; a way that the user names is tried.
    """
    word = settings.memory() or AUTO
    fits = fit(model, machine(settings.device()), word=word) if model else None
    if fits and not fits.word and word == AUTO:
        raise Refused(fits.message)
    way = MEMORY[word if word != AUTO else fits.word if fits else next(iter(MEMORY))]
    if not way.installed and model:
        library(model.path, "torchao")
    return way


def place(pipeline: Any, memory: Memory | None = None) -> Any:
    """Make a loaded pipeline ready to run, kept in memory in that way; None: as its networks are kept already."""
    memory, target = memory or memory_of(pipeline), device()
    offloads = target.type in OFFLOADS
    pipeline.set_progress_bar_config(disable=True)
    pipeline.remove_all_hooks()
    vae: Any = getattr(pipeline, "vae", None)
    for method in ("enable_slicing", "enable_tiling"):
        if memory.tiling and hasattr(vae, method):
            getattr(vae, method)()
    if memory.tiling and getattr(vae, "tile_sample_min_size", 0) > TILE:
        vae.tile_latent_min_size = vae.tile_latent_min_size * TILE // vae.tile_sample_min_size
        vae.tile_sample_min_size = TILE
    changes = memory_of(pipeline) != memory
    for name, network in _networks(pipeline).items():
        if changes:
            _cast(name, network, memory, offloads)
        network._memory = memory.word
    if not offloads or not memory.offload:
        return pipeline.to(target)
    pipeline.to("cpu")
    if memory.offload == "network":
        pipeline.enable_model_cpu_offload(device=target)
    else:
        pipeline.enable_group_offload(target, offload_type="leaf_level", use_stream=target.type == "cuda")
    return pipeline


def memory_of(pipeline: Any) -> Memory:
    """How a pipeline is kept in memory: noted at its networks, which it may share with others."""
    words = [getattr(network, "_memory", "") for network in _networks(pipeline).values()]
    return MEMORY.get(next(filter(None, words), ""), next(iter(MEMORY.values())))


def call(pipeline: Any, **arguments: Any) -> Any:
    """Call the pipeline. Where memory runs out it is called once more with the same random numbers, kept in the next
    smaller way; Refused where that is not enough, or there is none.
    """
    import torch

    generator = arguments.get("generator")
    state = generator.get_state() if generator is not None else None
    way, ways = memory_of(pipeline), list(MEMORY.values())
    smaller = [one for one in ways[ways.index(way) + 1 :] if one.installed and way.weights in ("", one.weights)]
    for memory in (None, *smaller[:1]):
        try:
            if memory:
                place(pipeline, memory)
                gc.collect()  # releases the memory of the failed call
                if torch.accelerator.is_available():
                    torch.accelerator.empty_cache()
                if generator is not None:
                    generator.set_state(state)
            return pipeline(**arguments)
        except (MemoryError, RuntimeError) as error:
            out_of_memory = isinstance(error, MemoryError | torch.OutOfMemoryError)
            if not out_of_memory and "can't allocate memory" not in str(error):  # torch's sentence on the processor
                raise
    raise Refused("device.memory", memory=memory_of(pipeline).word)


def _networks(pipeline: Any) -> dict[str, Any]:
    import torch

    return {name: part for name, part in pipeline.components.items() if isinstance(part, torch.nn.Module)}


def _cast(name: str, network: Any, memory: Memory, offloads: bool) -> None:
    """Cast a network's weights as `memory` says, unless its class can't, or they are packed already."""
    import torch

    if memory.weights == "int8" and name.startswith(QUANTISED) and not getattr(network, "hf_quantizer", None):
        from torchao.quantization import Int8WeightOnlyConfig, quantize_

        quantize_(network, Int8WeightOnlyConfig())
        for tensor in (*network.parameters(), *network.buffers()):  # releases the file that they are mapped from
            if type(tensor.data) is torch.Tensor:
                tensor.data = tensor.data.clone()
    layerwise = hasattr(network, "enable_layerwise_casting")
    if memory.weights == "float8" and offloads and name.startswith(GENERATORS) and layerwise:
        network.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=network.dtype)


# --- Errors -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def weights_needed(code: str = "model.weights") -> Iterator[None]:
    """Turns errors of our weights into Refused with that code."""
    try:
        yield
    except WeightsError as error:
        raise Refused(code, problem=error.message) from error


@contextlib.contextmanager
def loading(path: Path) -> Iterator[None]:
    """Turns whatever a library raises while it loads a file or folder into Refused with that path."""
    try:
        yield
    except (Refused, MemoryError):
        raise
    except Exception as error:
        if "trust_remote_code" in str(error):
            raise Refused("disk.remote_code", path=str(path)) from error
        raise Refused("pipeline.no_load", path=str(path), problem=first_line(error)) from error


@contextlib.contextmanager
def running(title: str) -> Iterator[None]:
    """Turns what a pipeline raises for a request that it can't do into Refused; out of memory is handled by others."""
    try:
        yield
    except ERRORS as error:
        if isinstance(error, Refused) or "memory" in str(error):
            raise
        raise Refused("pipeline.failed", model=title, problem=first_line(error)) from error


def first_line(error: Exception) -> str:
    return ((str(error).splitlines() or [""])[0].strip(" .") or type(error).__name__)[:300]


# --- A long call as an iterator ---------------------------------------------------------------------------------------


class Dropped(BaseException):
    """Raised in a call whose iterator was closed."""


class Returned:
    """The value that the call returned, after all reports."""

    def __init__(self, value: Any) -> None:
        self.value = value


def stepwise(work: Callable[[Callable[[Any], None]], Any]) -> Generator[Any]:
    """Call `work(report)` in a thread; yields each report, then `Returned`; raises what it raises.

    The call waits in `report` until the report has been taken. Closing the iterator raises `Dropped` there, and returns
    once the call has ended.
    """
    reports, taken, dropped = queue.SimpleQueue[Any](), threading.Semaphore(0), threading.Event()

    def report(item: Any) -> None:
        reports.put(item)
        taken.acquire()
        if dropped.is_set():
            raise Dropped

    def run() -> None:
        try:
            reports.put(Returned(work(report)))
        except BaseException as error:
            reports.put(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        while True:
            item = reports.get()
            if isinstance(item, BaseException):
                raise item
            yield item
            if isinstance(item, Returned):
                return
            taken.release()
    finally:
        dropped.set()
        taken.release()
        thread.join()
