"""The headers of safetensors and GGUF files: names and shapes. No tensor is read, and torch is not needed."""

import tomllib
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from models.messages import Refused

TABLES: dict[str, Any] = tomllib.loads(Path(__file__).with_name("kinds.toml").read_text(encoding="utf-8"))
QUANTISED = ("torchao", "gguf")  # libraries of the extra of that name
PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl")  # may run code when they are read


@dataclass(frozen=True)
class Header:
    """Shapes by name of tensor, and what is noted beside them."""

    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


def read_header(path: Path) -> Header:
    """Of one file; Refused where it is a pickle, empty, cut short, or its header does not cover its bytes."""
    if path.suffix.lower() in PICKLES:
        raise pickled(path)
    try:
        if not path.stat().st_size:
            raise Refused("disk.empty", path=str(path))
        if path.suffix == ".gguf":
            return _gguf(path)
        with safe_open(path, "np") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - no dict
            return Header(shapes, file.metadata() or {})
    except SafetensorError as error:
        code = next(code for said, code in TABLES["headers"].items() if said in str(error))
        raise Refused(code, path=str(path), problem=str(error).partition("header: ")[2] or str(error)) from error
    except OSError as error:
        raise Refused("disk.cant_read", path=str(path), problem=str(error.strerror or error)) from error


def _gguf(path: Path) -> Header:
    library(path, "gguf")
    from gguf import GGUFReader

    try:
        reader = GGUFReader(path)
        said = reader.get_field("general.architecture")
        shapes = {one.name: tuple(int(side) for side in reversed(one.shape)) for one in reader.tensors}
        return Header(shapes, {"modelspec.architecture": str(said.contents())} if said else {})
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        problem = (str(error).splitlines() or [type(error).__name__])[0]
        raise Refused("disk.gguf_wrong", path=str(path), problem=problem[:200]) from error


def library(path: Path, name: str) -> None:
    """Refused where a library is not installed that `path` needs, with the command that installs it."""
    if find_spec(name) is None:
        install = "'studio128[quantised]'" if name in QUANTISED else name
        raise Refused("disk.library", path=str(path), library=name, install=install)


def pickled(path: Path) -> Refused:
    """Why a pickle is not read, with the command that makes safetensors of it."""
    return Refused("disk.pickle", path=str(path), safe=str(path.with_suffix(".safetensors")))
