"""The headers of safetensors files: names, types and shapes of tensors. No tensor is read, and torch is not needed."""

import tomllib
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from models.messages import Refused

TABLES: dict[str, Any] = tomllib.loads(Path(__file__).with_name("kinds.toml").read_text(encoding="utf-8"))
PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl")  # may run code when they are read


@dataclass(frozen=True)
class Header:
    """Shapes by name of tensor, how many numbers there are of each type ("F16"), and what is noted beside them."""

    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    types: dict[str, int] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


def read_header(path: Path) -> Header:
    """Of one file; Refused where it is a pickle, empty, cut short, or its header lies: safetensors checks that the
    header is as long as it says and that its tensors cover the file.
    """
    if path.suffix.lower() in PICKLES:
        raise pickled(path)
    try:
        if not path.stat().st_size:
            raise Refused("disk.empty", path=str(path))
        with safe_open(path, "np") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - it is no dictionary
            shapes = {name: tuple(one.get_shape()) for name, one in slices.items()}
            types: dict[str, int] = {}
            for name, one in slices.items():
                types[one.get_dtype()] = types.get(one.get_dtype(), 0) + prod(shapes[name])
            return Header(shapes, types, file.metadata() or {})
    except SafetensorError as error:
        code = next(code for said, code in TABLES["headers"].items() if said in str(error))
        raise Refused(code, path=str(path), problem=str(error).partition("header: ")[2] or str(error)) from error
    except OSError as error:
        raise Refused("disk.cant_read", path=str(path), problem=str(error.strerror or error)) from error


def pickled(path: Path) -> Refused:
    """Why a pickle is not read, with the command that makes safetensors of it."""
    return Refused("disk.pickle", path=str(path), safe=str(path.with_suffix(".safetensors")))
