"""A pipeline as diffusers saves it: a folder with `model_index.json` and a folder for each component; or one file with
the weights of all, or of the generator alone, and such a folder for the rest. All of it is read and checked without
torch; what is wrong is refused with the file that it is wrong in.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from models.messages import Refused
from studio import settings
from studio.backends import signatures
from studio.disk.digests import Digests
from studio.disk.estimate import GENERATORS
from studio.disk.found import DECIDING, Found, describe, read_json, with_networks
from studio.disk.headers import library, read_header
from studio.disk.look import located, look

INDEX = "model_index.json"


@dataclass(frozen=True)
class PipelineFolder:
    """The folder `root`, and the file with weights that don't lie there. Every property may raise Refused."""

    root: Path
    weights: Path | None = None

    @classmethod
    def named(cls, name: str) -> "PipelineFolder":
        """A folder, a file, or what the Hugging Face cache has under that id; nothing is downloaded."""
        path = located(name)
        if path.is_file():
            read_header(path)  # a pickle is refused
            return cls(_configured(path), path)
        return cls(path)

    @cached_property
    def index(self) -> dict[str, Any]:
        """What `model_index.json` says."""
        if not self.root.is_dir():
            raise Refused("pipeline.no_folder", path=str(self.root))
        if not (self.root / INDEX).is_file():
            raise Refused("pipeline.no_index", path=str(self.root), index=INDEX)
        return read_json(self.root / INDEX)

    @cached_property
    def pipeline(self) -> signatures.Pipeline:
        """Its class, as diffusers has it."""
        name = self.index.get("_class_name")
        found = signatures.pipeline(name) if isinstance(name, str) else None
        if found is None:
            code = "pipeline.remote_code" if isinstance(name, list) else "pipeline.unknown_class"
            raise Refused(code, path=str(self.root / INDEX), name=str(name))
        return found

    @cached_property
    def components(self) -> dict[str, tuple[str, str]]:
        """Library and class of each component that it has."""
        found = {name: entry for name, entry in self.index.items() if isinstance(entry, list) and name[0] != "_"}
        for name, entry in found.items():
            if len(entry) != 2 or not all(isinstance(one, str | None) for one in entry):
                raise Refused("disk.damaged", path=str(self.root / INDEX), problem=f"{name}: {entry}")
            if entry[0] and not signatures.is_library(entry[0]):
                raise Refused("pipeline.remote_code", path=str(self.root / INDEX), name=f"{entry[0]}.{entry[1]}")
        return {name: (library, cls) for name, (library, cls) in found.items() if library and cls}

    @cached_property
    def generator(self) -> str:
        """The component whose weights, and no others, are in the file; "" where that holds all, or there is none."""
        alone = self.weights and getattr(describe(self.weights), "kind", "") == "generator"
        return next((name for name in self.components if name in GENERATORS), "") if alone else ""

    @property
    def found(self) -> Found | None:
        """What it is to an estimate of its need."""
        found = describe(self.weights or self.root)
        if not (found and self.generator):
            return found
        others = {name: self.root / name for name in self.components if name != self.generator}
        rest = with_networks(Found("", self.root), others)
        own = (replace(one, name=self.generator) for one in found.components)
        return replace(found, components=(*rest.components, *own), width=rest.width)

    def config(self, component: str) -> dict[str, Any]:
        """The configuration of a component; nothing where it has none."""
        path = self.root / component / ("scheduler_config.json" if component == "scheduler" else "config.json")
        return read_json(path) if component in self.components and path.is_file() else {}

    @cached_property
    def files(self) -> list[Path]:
        """All files that decide what it makes, once they have been checked."""
        _ = self.pipeline
        apart = set(self.components) if self.weights and not self.generator else {self.generator}  # in the file
        found, own = [self.root / INDEX], [name for name in self.components if name not in apart]
        for name, (_, cls) in self.components.items():
            if not (self.root / name).is_dir():
                raise Refused("disk.no_component", path=str(self.root), component=name)
            config = self.root / name / "config.json"
            if name in own and config.is_file():
                check_config(config, cls)
            there = sorted(path for path in (self.root / name).rglob("*") if path.suffix in DECIDING)
            found += [path for path in there if name in own or path.suffix != ".safetensors"]
        with_networks(Found("", self.root), {name: self.root / name for name in own})
        return found

    def digest(self) -> str:
        """sha256 of the names and the contents of `files`."""
        digests = Digests(settings.home())
        beside = {"weights": digests.of(self.weights)} if self.weights else {}
        return digests.of_files(self.files, self.root, **beside)


def _configured(weights: Path) -> Path:
    """The folder with a single file's configurations: beside it under its name, else of its family on this disk."""
    beside = weights.with_suffix("")
    if (beside / INDEX).is_file():
        return beside
    family = getattr(describe(weights), "family", "")
    for one in look(settings.model_folders(settings.home())):
        if family and one.family == family and (one.path / INDEX).is_file():
            return one.path
    raise Refused("pipeline.no_config", path=str(weights), folder=str(beside), family=family or "?")


def check_config(config: Path, cls: str) -> None:
    """Refused where a component is another one than the index says, or in numbers of a library that is not there."""
    held = read_json(config)
    if held.get("_class_name") not in (None, cls):
        raise Refused("pipeline.wrong_component", path=str(config), found=held["_class_name"], expected=cls)
    if method := held.get("quantization_config", {}).get("quant_method"):
        library(config, str(method).partition("_")[0])  # "bitsandbytes_4bit"
