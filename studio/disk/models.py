"""Models on the disk, told by their headers and configurations: kind, family, task, size, licence, and what is wrong
with them. They lie in the Hugging Face cache and in folders that the user names, of other studios too. No tensor is
read, and torch is not imported.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from models.messages import Message, Refused, did_you_mean
from studio.files import make_folder, sha256, write_whole

if TYPE_CHECKING:
    from huggingface_hub import CachedRepoInfo

TABLES: dict[str, Any] = tomllib.loads(Path(__file__).with_name("kinds.toml").read_text(encoding="utf-8"))
QUANTISED = ("torchao", "gguf")  # libraries of the extra of that name
PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl")  # may run code when they are read
ENDINGS = (".safetensors", ".gguf", *PICKLES[:3])  # of single files that are listed
GENERATOR = "model.diffusion_model."  # before the generator's tensors, in a checkpoint with text encoder and VAE
INDEXES = ("model_index.json", "modular_model_index.json")
OPEN_CLIP = ("open_clip_config.json", "open_clip_model.safetensors")
ADAPTERS = ("adapter_model.safetensors", "pytorch_lora_weights.safetensors")  # of peft and diffusers, in folders
BACKENDS = {"diffusers": "diffusers", "checkpoint": "diffusers", "open_clip": "open_clip", "captioner": "transformers"}
DECIDING = {".json", ".txt", ".model", ".jinja", ".safetensors"}  # files that decide what a model makes
JSON_BYTES = 32 << 20  # the index of a model in a thousand shards takes one
DEPTH = 12  # folders below each other that are looked into
HUB = "models--"  # how a repository's folder in a hub cache begins
EMBEDDINGS = re.compile(r"embed_tokens|token_embedding|position_embedding|shared\.")
_LICENCE = re.compile(r"^license:\s*[\"']?([\w.+-]+)", re.MULTILINE)
_SHA256 = re.compile(r"[0-9a-f]{64}")
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
class LocalModel:
    """A model on the disk.

    `name` is the hub's id, or the name of the file or folder; `kind` one of `kinds.toml`; `width` the channels of the
    VAE's last layers, on which the memory for decoding depends; `problem` the reason why it can't be used, "" where it
    can; `hub` whether it lies in a hub cache.
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
    problem: Message = field(default_factory=lambda: Message(""))
    hub: bool = False

    @property
    def everything(self) -> list[Path]:
        """All its files."""
        return [self.path] if self.path.is_file() else sorted(path for path in self.path.rglob("*") if path.is_file())

    @property
    def files(self) -> list[Path]:
        """Its safetensors files."""
        return [path for path in self.everything if path.suffix == ".safetensors"]

    @property
    def deciding(self) -> list[Path]:
        """The files that decide what it makes."""
        return [path for path in self.everything if path.suffix in DECIDING]

    @property
    def model(self) -> str:
        """The value of `--model` for it; "" for what is no model by itself, as a LoRA."""
        backend = BACKENDS.get(self.kind, "diffusers" if self.kind == "generator" and self.path.is_file() else "")
        return f"{backend}:{self.name if self.hub else self.path}" if backend else ""


# --- Headers ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Header:
    """Shapes by name of tensor, and the notes of a safetensors or GGUF file."""

    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


def read_header(path: Path) -> Header:
    """Of one file; Refused where it is a pickle, empty, cut short, or its header does not cover its bytes."""
    if path.suffix.lower() in PICKLES:
        raise _pickled(path)
    try:
        if not path.stat().st_size:
            raise Refused("disk.empty", path=str(path))
        if path.suffix == ".gguf":
            return _gguf_header(path)
        with safe_open(path, "np") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - no dict
            return Header(shapes, file.metadata() or {})
    except SafetensorError as error:
        code = next(code for words, code in TABLES["headers"].items() if words in str(error))
        raise Refused(code, path=str(path), problem=str(error).partition("header: ")[2] or str(error)) from error
    except OSError as error:
        raise Refused("disk.cant_read", path=str(path), problem=str(error.strerror or error)) from error


def _gguf_header(path: Path) -> Header:
    library(path, "gguf")
    from gguf import GGUFReader

    try:
        reader = GGUFReader(path)
        architecture = reader.get_field("general.architecture")
        shapes = {tensor.name: tuple(int(side) for side in reversed(tensor.shape)) for tensor in reader.tensors}
        return Header(shapes, {"modelspec.architecture": str(architecture.contents())} if architecture else {})
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        problem = (str(error).splitlines() or [type(error).__name__])[0]
        raise Refused("disk.gguf_wrong", path=str(path), problem=problem[:200]) from error


def library(path: Path, name: str) -> None:
    """Refused where a library is not installed that `path` needs, with the command that installs it."""
    if find_spec(name) is None:
        install = "'studio128[quantised]'" if name in QUANTISED else name
        raise Refused("disk.library", path=str(path), library=name, install=install)


def _pickled(path: Path) -> Refused:
    """The refusal of a pickle, with the command that converts it to safetensors."""
    return Refused("disk.pickle", path=str(path), safe=str(path.with_suffix(".safetensors")))


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file; Refused where there is none."""
    try:
        if path.stat().st_size > JSON_BYTES:
            raise ValueError(f"larger than {JSON_BYTES >> 20} MB")
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("no table")
        return content
    except (OSError, ValueError, RecursionError) as error:
        raise Refused("disk.damaged", path=str(path), problem=str(error)[:200]) from error


# --- One model --------------------------------------------------------------------------------------------------------


def describe(path: Path, kind: str = "", family: str = "") -> LocalModel | None:
    """A file or folder; None where it is no model. `kind` and `family` are what the folder above it is for."""
    name = path.parent.name if path.name in ADAPTERS else path.name if path.is_dir() else path.stem
    model = LocalModel(name, path, kind, family)
    try:
        return _folder(model) if path.is_dir() else _file(model)
    except Refused as refusal:
        return replace(model, bytes=_size(model), problem=refusal.message)


def _size(model: LocalModel) -> int:
    return sum(path.stat().st_size for path in model.everything)


def _file(model: LocalModel) -> LocalModel:
    header, stored = read_header(model.path), model.path.stat().st_size
    kind = _kind(header) or model.kind
    family = _family_of_keys(header, kind == "lora") or model.family
    components = _components(header, stored)
    if kind == "checkpoint" and len(components) == 1:
        kind = "generator"
    if model.path.suffix == ".gguf":
        components = tuple(replace(component, packed=True) for component in components)
    return replace(
        model,
        kind=kind or "unknown",
        family=family,
        task=_task(family) if kind in ("checkpoint", "generator") else "",
        bytes=stored,
        licence=header.notes.get("modelspec.license", ""),
        components=components,
        width=_width(header),
    )


def _kind(header: Header) -> str:
    """The kind of a single file by its keys; "" where they don't tell."""
    for kind, parts in TABLES["keys"].items():
        if any(part in key for part in parts for key in header.shapes):
            return str(kind)
    if header.shapes and set(header.shapes) <= set(TABLES["embedding"]["keys"]):
        return "embedding"
    return "checkpoint" if _family_of_keys(header) else ""


def _family_of_keys(header: Header, lora: bool = False) -> str:
    note = (header.notes.get("modelspec.architecture") or header.notes.get("ss_base_model_version") or "").lower()
    for row in TABLES["family"]:
        if note and any(note.startswith(start) for start in row.get("says", ())):
            return str(row["name"])
    # The width of the text that a U-Net, or its LoRA, attends to.
    reads = ("to_k.weight", "lora_down.weight", "lora_A.weight", "lora.down.weight")
    keys_of_text = (name for name in header.shapes if "attn2" in name and "to_k" in name and name.endswith(reads))
    attends = next((header.shapes[name][-1] for name in keys_of_text), None)
    for row in TABLES["family"]:
        keys = any(key in header.shapes or GENERATOR + key in header.shapes for key in row.get("keys", ()))
        parts = lora and any(part in key for part in row.get("lora", ()) for key in header.shapes)
        wide = attends is not None and attends == row.get("attends")
        if parts or (lora and wide) or (keys and (wide or "attends" not in row or attends is None)):
            return str(row["name"])
    return ""


def _components(header: Header, stored: int) -> tuple[Component, ...]:
    """The networks of a checkpoint, by the prefixes of its keys; one where there are none."""
    parts: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, shape in header.shapes.items():
        part = next((part for prefix, part in TABLES["prefixes"].items() if name.startswith(prefix)), "generator")
        parts.setdefault(part, {})[name] = shape
    total = sum(map(prod, header.shapes.values())) or 1
    counts = {part: _parameters(shapes) for part, shapes in parts.items()}
    return tuple(Component(part, *count, stored * count[0] // total) for part, count in counts.items())


def _parameters(shapes: dict[str, tuple[int, ...]]) -> tuple[int, int]:
    """The number of parameters, and of those in matrices, without word embeddings."""
    matrices = (prod(shape) for name, shape in shapes.items() if len(shape) == 2 and not EMBEDDINGS.search(name))
    return sum(map(prod, shapes.values())), sum(matrices)


def _width(header: Header) -> int:
    ends = ("decoder.conv_norm_out.weight", "decoder.norm_out.weight")
    return next((shape[0] for name, shape in header.shapes.items() if name.endswith(ends)), 0)


def _folder(model: LocalModel) -> LocalModel | None:
    path = model.path
    index = next((path / name for name in INDEXES if (path / name).is_file()), None)
    model = replace(model, bytes=_size(model), licence=_licence(path))
    if index:
        return _pipeline(model, read_json(index))
    if any((path / name).is_file() for name in OPEN_CLIP):
        return _with_networks_or_problem(replace(model, kind="open_clip", task="embed", family="CLIP"))
    config = read_json(path / "config.json")
    name = str(config.get("_class_name") or next(iter(config.get("architectures") or []), ""))
    if name.endswith(_WRITES) and ("vision_config" in config or "encoder" in config):
        family = str(config.get("model_type", name))
        return _with_networks_or_problem(replace(model, kind="captioner", task="caption", family=family))
    if "_class_name" in config:  # a network of diffusers by itself: a VAE, a ControlNet
        kinds = {"Autoencoder": "vae", "ControlNet": "controlnet"}
        kind = next((kinds[part] for part in kinds if part in name), "generator")
        return _with_networks_or_problem(replace(model, family=name, kind=kind))
    return None


def _pipeline(model: LocalModel, index: dict[str, Any]) -> LocalModel:
    """A folder of diffusers, each network in a folder of its own."""
    name = index.get("_class_name") or index.get("_blocks_class_name")
    model = replace(model, kind="diffusers")
    if not isinstance(name, str):
        return replace(model, problem=Message("disk.remote_code", {"path": str(model.path)}))
    config = model.path / "unet" / "config.json"
    attends = read_json(config).get("cross_attention_dim") if config.is_file() else None
    rows = [row for row in TABLES["family"] if any(fnmatchcase(name, pattern) for pattern in row.get("classes", ()))]
    exact = [row for row in rows if row.get("attends") in (None, attends)]
    family = str((exact or rows)[0]["name"]) if rows else name.removesuffix("Pipeline")
    lists = {key: entry for key, entry in index.items() if isinstance(entry, list) and key[:1] != "_"}
    folders = {key: model.path / key for key, entry in lists.items() if len(entry) == 2 and all(entry)}
    return _with_networks_or_problem(replace(model, family=family, task=_task(name)), folders)


def _with_networks_or_problem(model: LocalModel, folders: dict[str, Path] | None = None) -> LocalModel:
    """The model with its networks, by default its own folder, or with its problem."""
    try:
        return with_networks(model, folders or {model.kind: model.path})
    except Refused as refusal:
        return replace(model, problem=refusal.message)


def with_networks(model: LocalModel, folders: dict[str, Path]) -> LocalModel:
    """The model with the networks in these folders; Refused where one is missing or broken."""
    networks, width = [], 0
    for name, folder in folders.items():
        if not folder.is_dir():
            raise Refused("disk.no_component", path=str(model.path), component=name)
        if folder == model.path or (folder / "config.json").is_file():
            files = _weight_files(folder)
            headers = [read_header(path) for path in files]
            numbers = _parameters({name: shape for header in headers for name, shape in header.shapes.items()})
            networks.append(Component(name, *numbers, sum(path.stat().st_size for path in files)))
            width = max([width, *map(_width, headers)])
    return replace(model, components=tuple(networks), width=width)


def _weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a network, without those of a variant ("fp16"); Refused where any is missing."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        pickle = next((path for path in sorted(folder.iterdir()) if path.suffix.lower() in PICKLES), None)
        raise _pickled(pickle) if pickle else Refused("disk.no_weights", path=str(folder))
    plain = min(path.name.count(".") for path in files)
    files = [path for path in files if path.name.count(".") == plain]
    shards = [int(match[1]) for path in files if (match := _SHARD.search(path.name))]
    if shards and len(shards) < max(shards):
        raise Refused("disk.shards", path=str(folder), count=len(shards), shards=max(shards))
    return files


def _task(name: str) -> str:
    return "clip" if any(fnmatchcase(name, pattern) for pattern in TABLES["tasks"]["clip"]) else "image"


def _licence(folder: Path) -> str:
    """The licence in the model card; "" without one."""
    try:
        head = (folder / "README.md").read_text(encoding="utf-8", errors="replace")[:20_000]
    except OSError:
        return ""
    match = _LICENCE.search(head.split("\n---", 1)[0]) if head.startswith("---") else None
    return match[1] if match else ""


# --- All models -------------------------------------------------------------------------------------------------------


def look(folders: Iterable[Path] = (), cache: Path | None = None) -> list[LocalModel]:
    """All models of the hub cache (None: the usual one) and below `folders`, sorted by kind and name. Broken ones, and
    folders that are missing, are among them, with their `problem`.
    """
    models: dict[Path, LocalModel] = {}
    for model in [*_hub(cache), *(model for folder in folders for model in below(folder))]:
        models.setdefault(model.path.resolve(), model)
    return sorted(models.values(), key=lambda one: (one.kind, one.name.lower()))


def _hub(cache: Path | None = None) -> Iterator[LocalModel]:
    """The models of a hub cache, each in the state that was fetched last; a half-fetched one has a `problem`."""
    from huggingface_hub import CacheNotFound, scan_cache_dir

    try:
        info = scan_cache_dir(cache)
    except (CacheNotFound, ValueError, OSError):
        return
    for repo in info.repos:
        if repo.repo_type == "model":
            yield from _repository(repo)
    for warning in map(str, info.warnings):
        folder = next((Path(word.strip("().,`")) for word in warning.split() if HUB in word), None)
        if folder and folder.is_dir():
            name = folder.name.removeprefix(HUB).replace("--", "/")
            yield LocalModel(name, folder, problem=Message("disk.half", {"name": name}), hub=True)


def _repository(repo: "CachedRepoInfo") -> Iterator[LocalModel]:
    revisions = sorted(repo.revisions, key=lambda one: ("main" in one.refs, one.last_modified))
    half = any(repo.repo_path.glob("blobs/*.incomplete"))
    for model in _walk(revisions[-1].snapshot_path, set()) if revisions else ():
        whole = model.path == revisions[-1].snapshot_path
        name = repo.repo_id if whole else f"{repo.repo_id}/{model.name}"
        problem = Message("disk.half", {"name": repo.repo_id}) if half else model.problem
        yield replace(model, name=name, hub=whole, problem=problem)


def below(folder: Path) -> Iterator[LocalModel]:
    """The models below a folder of the user's."""
    if not folder.is_dir():
        yield LocalModel(folder.name, folder, problem=Message("disk.no_folder", {"path": str(folder)}))
        return
    yield from _walk(folder, set())


def _walk(
    folder: Path, visited: set[tuple[int, int]], kind: str = "", family: str = "", depth: int = 0
) -> Iterator[LocalModel]:
    """Links are followed; each folder is visited once, so circles end."""
    try:
        state = folder.stat()
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        problem = Message("disk.cant_read", {"path": str(folder), "problem": str(error.strerror or error)})
        yield LocalModel(folder.name, folder, kind, problem=problem)
        return
    if (state.st_dev, state.st_ino) in visited or depth > DEPTH:
        return
    visited.add((state.st_dev, state.st_ino))
    if not {*INDEXES, *OPEN_CLIP, "config.json"}.isdisjoint(entry.name for entry in entries):  # the folder is one model
        yield from filter(None, [describe(folder, kind, family)])
        return
    if any(entry.name.startswith(HUB) for entry in entries):
        yield from _hub(folder)
        return
    for entry in entries:
        if entry.name.endswith(ENDINGS) and entry.is_file():
            yield from filter(None, [describe(Path(entry.path), kind, family)])
        elif not entry.name.startswith(".") and entry.is_dir():
            name = entry.name.lower().replace("-", "_").replace(" ", "_")
            inside = TABLES["folders"].get(name, kind)
            if inside or name not in TABLES["folders"]:
                yield from _walk(Path(entry.path), visited, inside, TABLES["bases"].get(name, family), depth + 1)


def located(name: str) -> Path:
    """A file or folder, or what the hub cache has under that id; nothing is downloaded."""
    path = Path(name).expanduser().absolute()
    if not path.exists() and name.count("/") == 1:
        from huggingface_hub import snapshot_download

        with contextlib.suppress(OSError, ValueError):  # it is not there, or no id
            return Path(snapshot_download(name, local_files_only=True))
    return path


def whole(name: str, kind: str) -> LocalModel:
    """The model of a kind under that name (see `located`); Refused where there is none, or it is not whole."""
    path = located(name)
    if not path.exists():
        raise Refused("pipeline.no_folder", path=str(path))
    model = describe(path)
    if model is None or model.kind != kind:
        raise Refused("disk.other_kind", path=str(path), kind=kind)
    if model.problem:
        raise Refused(model.problem)
    return model


def named(word: str, models: Iterable[LocalModel]) -> LocalModel:
    """The model that a person means, by name, path, or value of `--model`; Refused where there is none, or several."""
    models = list(models)
    path = Path(word.partition(":")[2] or word).expanduser().absolute()
    matches = [one for one in models if word in (one.name, one.model, one.path.name) or one.path == path]
    if len(matches) > 1:
        raise Refused("disk.several", name=word, paths=[str(one.path) for one in matches])
    if not matches:
        raise Refused("disk.unknown", name=word, hint=did_you_mean(word, [one.name for one in models]))
    return matches[0]


def remove(model: LocalModel) -> int:
    """Delete a repository from its hub cache -> bytes freed. Refused for a file or folder of the user's."""
    root = next((folder for folder in (model.path, *model.path.parents) if folder.name.startswith(HUB)), None)
    if root is None:
        raise Refused("disk.not_ours", path=str(model.path))
    freed = sum(path.stat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    shutil.rmtree(root)
    return freed


# --- Digests ----------------------------------------------------------------------------------------------------------


class Digests:
    """sha256 of weights, computed once for each state of a file and noted in the cache of the home `root`:
    {path: [bytes, mtime in nanoseconds, sha256]}.
    """

    def __init__(self, root: Path) -> None:
        self._path = root / "cache" / "sha256.json"
        try:
            held = json.loads(self._path.read_text(encoding="utf-8"))
            self._noted = {path: row for path, row in held.items() if len(row) == 3}
        except (OSError, ValueError, AttributeError, TypeError):
            self._noted = {}

    def known(self, path: Path) -> str:
        """Of a file, "" where nobody has computed it yet. A hub cache names large files by theirs."""
        real = path.resolve()
        if real.parent.name == "blobs" and _SHA256.fullmatch(real.name):
            return real.name
        *state, digest = self._noted.get(str(real), (0, 0, ""))
        return digest if state == _state(real) else ""

    def of(self, path: Path) -> str:
        """Of a file, computed where it is not known."""
        real, digest = path.resolve(), self.known(path)
        if not digest:
            digest = sha256(real)
            self._noted[str(real)] = [*_state(real), digest]
            make_folder(self._path.parent)
            write_whole(self._path, json.dumps(self._noted).encode(), "--home")
        return digest

    def of_model(self, model: LocalModel, compute: bool = False) -> str:
        """Of a model: that of its file, or one for all its files; "" where one is not known and not to be computed."""
        if model.path.is_file():
            return self.of(model.path) if compute else self.known(model.path)
        if not model.files or not (compute or all(map(self.known, model.files))):
            return ""
        return self.of_files(model.files, model.path)

    def of_files(self, files: Iterable[Path], root: Path, **beside: str) -> str:
        """One for the names below `root` and the contents of files, and for digests `beside` them."""
        listed = {path.relative_to(root).as_posix(): self.of(path) for path in files} | beside
        return hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()


def _state(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]
