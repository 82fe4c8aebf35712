"""What one model on the disk is, as far as its own files say: kind, family, task, size, licence, and what is wrong."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from math import prod
from pathlib import Path
from typing import Any

from models.messages import Message, Refused
from studio.disk.headers import PICKLES, TABLES, Header, pickled, read_header

FINE = Message("")
GENERATOR = "model.diffusion_model."  # before the generator's tensors, in a checkpoint with text encoder and VAE
INDEXES = ("model_index.json", "modular_model_index.json")
OPEN_CLIP = ("open_clip_config.json", "open_clip_model.safetensors")
BACKENDS = {"diffusers": "diffusers", "checkpoint": "diffusers", "open_clip": "open_clip", "captioner": "transformers"}
DECIDING = {".json", ".txt", ".model", ".jinja", ".safetensors"}  # files that decide what a model makes
JSON_BYTES = 32 << 20  # the index of a model in a thousand shards takes one
_LICENCE = re.compile(r"^license:\s*[\"']?([\w.+-]+)", re.MULTILINE)
EMBEDS = re.compile(r"embed_tokens|token_embedding|position_embedding|shared\.")
_SHARD = re.compile(r"-\d+-of-(\d+)\.")
# How classes are called that may caption.
_WRITES = ("ForConditionalGeneration", "ForCausalLM", "ForVision2Seq", "EncoderDecoderModel")


@dataclass(frozen=True)
class Component:
    """A network of a model: its parameters, those in matrices, and bytes stored; `packed` where it stays quantised."""

    name: str
    parameters: int
    matrices: int
    bytes: int
    packed: bool = False


@dataclass(frozen=True)
class Found:
    """A model on the disk. `problem` says why it can't be used, "" where it can.

    `name` is the hub's id, or how file or folder are called; `kind` one of `kinds.toml`; `width` the channels of the
    VAE's last layers, which decide what decoding takes.
    """

    name: str
    path: Path
    kind: str = ""
    family: str = ""
    task: str = ""
    bytes: int = 0
    licence: str = ""
    components: tuple[Component, ...] = ()
    width: int = 0
    problem: Message = FINE
    hub: bool = False

    @property
    def files(self) -> list[Path]:
        """Its safetensors files."""
        return [path for path in self.everything if path.suffix == ".safetensors"]

    @property
    def deciding(self) -> list[Path]:
        """Those that decide what it makes."""
        return [path for path in self.everything if path.suffix in DECIDING]

    @property
    def everything(self) -> list[Path]:
        """All its files."""
        return [self.path] if self.path.is_file() else sorted(path for path in self.path.rglob("*") if path.is_file())

    @property
    def model(self) -> str:
        """What `--model` takes; "" of what is no model of its own, as a LoRA."""
        backend = BACKENDS.get(self.kind, "diffusers" if self.kind == "generator" and self.path.is_file() else "")
        return f"{backend}:{self.name if self.hub else self.path}" if backend else ""


def is_model(names: Iterable[str]) -> bool:
    """Whether a folder with files of these names is one model, whatever lies below it."""
    return not {*INDEXES, *OPEN_CLIP, "config.json"}.isdisjoint(names)


def describe(path: Path, kind: str = "", family: str = "") -> Found | None:
    """A file or folder; None where it is of no use here. `kind` and `family` are what the folder above it is for."""
    found = Found(path.name if path.is_dir() else path.stem, path, kind, family)
    try:
        return _folder(found) if path.is_dir() else _file(found)
    except Refused as refusal:
        return replace(found, bytes=size(path), problem=refusal.message)


def size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    return sum(one.stat().st_size for one in Found(path.name, path).everything)


# --- Files ------------------------------------------------------------------------------------------------------------


def _file(found: Found) -> Found:
    header = read_header(found.path)
    kind = _kind(header) or found.kind
    family = _family_of_keys(header, kind == "lora") or found.family
    components = _split(header, found.path.stat().st_size)
    if kind == "checkpoint" and len(components) == 1:
        kind = "generator"
    if found.path.suffix == ".gguf":
        components = tuple(replace(one, packed=True) for one in components)
    task = _task(family) if kind in ("checkpoint", "generator") else ""
    known: dict[str, Any] = {
        "licence": header.notes.get("modelspec.license", ""),
        "components": components,
        "width": _width(header),
    }
    stored = found.path.stat().st_size
    return replace(found, kind=kind or "unknown", family=family, task=task, bytes=stored, **known)


def _kind(header: Header) -> str:
    """Of a single file, by its keys; "" where they don't say."""
    for kind, parts in TABLES["keys"].items():
        if any(part in key for part in parts for key in header.shapes):
            return str(kind)
    if header.shapes and set(header.shapes) <= set(TABLES["embedding"]["keys"]):
        return "embedding"
    return "checkpoint" if _family_of_keys(header) else ""


def _family_of_keys(header: Header, lora: bool = False) -> str:
    said = (header.notes.get("modelspec.architecture") or header.notes.get("ss_base_model_version") or "").lower()
    attends = _attends(header)
    for row in TABLES["family"]:
        if said and any(said.startswith(start) for start in row.get("says", ())):
            return str(row["name"])
    for row in TABLES["family"]:
        keys = any(key in header.shapes or GENERATOR + key in header.shapes for key in row.get("keys", ()))
        parts = lora and any(part in key for part in row.get("lora", ()) for key in header.shapes)
        wide = attends is not None and attends == row.get("attends")
        if parts or (lora and wide) or (keys and (wide or "attends" not in row or attends is None)):
            return str(row["name"])
    return ""


def _attends(header: Header) -> int | None:
    """How wide the text is that a U-Net attends to, or that its LoRA does."""
    reads = ("to_k.weight", "lora_down.weight", "lora_A.weight", "lora.down.weight")
    asked = (name for name in header.shapes if "attn2" in name and "to_k" in name and name.endswith(reads))
    return next((header.shapes[name][-1] for name in asked), None)


def _split(header: Header, stored: int) -> tuple[Component, ...]:
    """The networks of a checkpoint, by its prefixes; one where there are none."""
    parts: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, shape in header.shapes.items():
        part = next((part for prefix, part in TABLES["prefixes"].items() if name.startswith(prefix)), "generator")
        parts.setdefault(part, {})[name] = shape
    total = sum(map(prod, header.shapes.values())) or 1
    counts = {part: _numbers(shapes) for part, shapes in parts.items()}
    return tuple(Component(part, *count, stored * count[0] // total) for part, count in counts.items())


def _numbers(shapes: dict[str, tuple[int, ...]]) -> tuple[int, int]:
    """How many there are, and how many of them are in matrices, without those that stand for words."""
    matrices = (prod(shape) for name, shape in shapes.items() if len(shape) == 2 and not EMBEDS.search(name))
    return sum(map(prod, shapes.values())), sum(matrices)


def _width(header: Header) -> int:
    ends = ("decoder.conv_norm_out.weight", "decoder.norm_out.weight")
    return next((shape[0] for name, shape in header.shapes.items() if name.endswith(ends)), 0)


# --- Folders ----------------------------------------------------------------------------------------------------------


def _folder(found: Found) -> Found | None:
    index = next((found.path / name for name in INDEXES if (found.path / name).is_file()), None)
    found = replace(found, bytes=size(found.path), licence=licence(found.path))
    if index:
        return _pipeline(found, read_json(index))
    if any((found.path / name).is_file() for name in OPEN_CLIP):
        return _whole(replace(found, kind="open_clip", task="embed", family="CLIP"))
    config = read_json(found.path / "config.json")
    name = str(config.get("_class_name") or next(iter(config.get("architectures") or []), ""))
    if name.endswith(_WRITES) and ("vision_config" in config or "encoder" in config):
        return _whole(replace(found, kind="captioner", task="caption", family=str(config.get("model_type", name))))
    if "_class_name" in config:  # a network of diffusers on its own: a VAE, a ControlNet
        kind = {"Autoencoder": "vae", "ControlNet": "controlnet"}
        return _whole(replace(found, family=name, kind=next((kind[one] for one in kind if one in name), "generator")))
    return None


def _pipeline(found: Found, index: dict[str, Any]) -> Found:
    """A folder of diffusers, each network in a folder of its own."""
    name = index.get("_class_name") or index.get("_blocks_class_name")
    found = replace(found, kind="diffusers")
    if not isinstance(name, str):
        return replace(found, problem=Message("disk.remote_code", {"path": str(found.path)}))
    config = found.path / "unet" / "config.json"
    attends = read_json(config).get("cross_attention_dim") if config.is_file() else None
    family, task = family_of_class(name, attends), _task(name)
    names = [
        key for key, one in index.items() if key[:1] != "_" and isinstance(one, list) and len(one) == 2 and all(one)
    ]
    return _whole(replace(found, family=family, task=task), {key: found.path / key for key in names})


def _whole(found: Found, folders: dict[str, Path] | None = None) -> Found:
    """With its networks, by default the folder itself, or with what is wrong."""
    try:
        return with_networks(found, folders or {found.kind: found.path})
    except Refused as refusal:
        return replace(found, problem=refusal.message)


def with_networks(found: Found, folders: dict[str, Path]) -> Found:
    """With the networks in these folders; Refused where one is missing or broken."""
    networks, width = [], 0
    for name, folder in folders.items():
        if not folder.is_dir():
            raise Refused("disk.no_component", path=str(found.path), component=name)
        if folder == found.path or (folder / "config.json").is_file():
            files = weight_files(folder)
            headers = [read_header(path) for path in files]
            numbers = _numbers({name: shape for header in headers for name, shape in header.shapes.items()})
            networks.append(Component(name, *numbers, sum(path.stat().st_size for path in files)))
            width = max([width, *map(_width, headers)])
    return replace(found, components=tuple(networks), width=width)


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a network, those without a variant ("fp16") first; Refused where any is missing."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        old = next((path for path in sorted(folder.iterdir()) if path.suffix.lower() in PICKLES), None)
        raise pickled(old) if old else Refused("disk.no_weights", path=str(folder))
    plain = min(path.name.count(".") for path in files)
    files = [path for path in files if path.name.count(".") == plain]
    shards = [int(found[1]) for path in files if (found := _SHARD.search(path.name))]
    if shards and len(shards) < max(shards):
        raise Refused("disk.shards", path=str(folder), found=len(shards), shards=max(shards))
    return files


def family_of_class(name: str, attends: Any = None) -> str:
    """The family of a pipeline's class, or the class without "Pipeline" where no row has it."""
    rows = [row for row in TABLES["family"] if any(fnmatchcase(name, one) for one in row.get("classes", ()))]
    exact = [row for row in rows if row.get("attends") in (None, attends)]
    return str((exact or rows)[0]["name"]) if rows else name.removesuffix("Pipeline")


def _task(name: str) -> str:
    return "clip" if any(fnmatchcase(name, one) for one in TABLES["tasks"]["clip"]) else "image"


def licence(folder: Path) -> str:
    """What the model card says; "" where there is none, or it does not say."""
    try:
        head = (folder / "README.md").read_text(encoding="utf-8", errors="replace")[:20_000]
    except OSError:
        return ""
    found = _LICENCE.search(head.split("\n---", 1)[0]) if head.startswith("---") else None
    return found[1] if found else ""


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file; Refused where there is none."""
    try:
        if path.stat().st_size > JSON_BYTES:
            raise ValueError(f"larger than {JSON_BYTES >> 20} MB")
        held = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(held, dict):
            raise ValueError("no table")
        return held
    except (OSError, ValueError, RecursionError) as error:
        raise Refused("disk.damaged", path=str(path), problem=str(error)[:200]) from error
