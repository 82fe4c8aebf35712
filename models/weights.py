"""Parts as they ship: one folder each under `assets/weights`, listed with sha256 in `manifest.json`.

A part is loaded only if its files are the ones that were measured: a hash that differs, a file cut short or one that is
missing gives a sentence that names it.
"""

import hashlib
import json
import tempfile
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.assets import assets
from models.messages import Refused
from models.runtime import one_thread

if TYPE_CHECKING:  # the page's process reads digests and must not wait for torch
    import torch

MANIFEST = "manifest.json"
DEPENDENCIES = "made_with.json"  # in a part's folder: digests of the frozen parts under it
JSON_BYTES, HEADER_BYTES = 16 * 2**20, 2**20  # ours take a megabyte and 20 kB at most
INT8 = "int8.safetensors"  # a network's tensors, its matrices in 8 bits
SCALE = ".scale"  # of a matrix's rows
SUFFIXES = (".json", ".safetensors", ".sqlite")  # of files that a part is made of
LEAST = 1024  # numbers of a tensor that is stored in 8 bits


class WeightsError(Refused):
    """Weights are missing, altered or do not fit; the message says which file and what to do."""


def weights_root(root: Path | None = None) -> Path:
    """The folder that holds the parts: `root`, or the shipped one."""
    return root or assets() / "weights"


def of_split(name: str, split: str = "") -> str:
    """The name of a part that is data and no weights: of all pictures, or of those of one split. Users have the first;
    what is measured on held-out pictures must not know them, and takes that of "train"."""
    return f"{name}-{split}" if split else name


def save_part(
    model: Any, name: str, root: Path, dependencies: dict[str, str] | None = None, *, int8: bool = False
) -> Path:
    """Save a network as bf16 safetensors (training goes on in fp32 from its own checkpoint) into `root/name`, and enter
    it in the manifest. `dependencies` are the digests of the parts that it was trained with: beside others it will not
    load. With `int8` matrices are stored in 8 bits, in half the space; only `load_part` reads that."""
    import torch
    from safetensors.torch import save_file

    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=f".{name}-") as fresh:  # a kill leaves the old files whole
        if int8:
            copy = _copy(model)
            (copy.save_config if hasattr(copy, "save_config") else copy.config.save_pretrained)(fresh)
            config = Path(fresh) / "config.json"  # unescaped: what holds names in Chinese is a third shorter
            config.write_text(json.dumps(read_json(config), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            save_file(to_8_bits(model.state_dict()), Path(fresh) / INT8)
        else:
            copy = _copy(model)
            copy.load_state_dict(model.state_dict())
            # The library's own `to` warns of an empty list of fp32 modules.
            torch.nn.Module.to(copy, torch.bfloat16).save_pretrained(fresh)
        written = {file.name: file.replace(folder / file.name) for file in Path(fresh).iterdir()}
    for other in set(folder.glob("*.safetensors")) - set(written.values()):  # of the other kind, from before
        other.unlink()
    if dependencies:
        record_dependencies(folder, dependencies)
    record_part(name, root)
    return folder


def _copy(model: Any) -> Any:
    """A network of the same sizes, which does not know where this one was loaded from."""
    if hasattr(model, "register_to_config"):
        # Not `from_config`: it takes back to its default what was set after construction (a latent's statistics).
        return type(model)(**{key: value for key, value in model.config.items() if not key.startswith("_")})
    return type(model)(model.config)


def to_8_bits(tensors: "dict[str, torch.Tensor]") -> "dict[str, torch.Tensor]":
    """Matrices in 8 bits, each row (what an output reads) by a scale of its own; small tensors in bf16."""
    import torch

    stored = {}
    for name, tensor in tensors.items():
        stored[name] = tensor.to("cpu", torch.bfloat16).contiguous()
        if tensor.ndim > 1 and tensor.numel() >= LEAST:
            rows = tensor.cpu().float().flatten(1)
            scale = rows.abs().amax(1, keepdim=True).clamp_min(1e-12) / 127
            stored[name] = (rows / scale).round().to(torch.int8).view(tensor.shape)
            stored[name + SCALE] = scale
    return stored


def from_8_bits(stored: "dict[str, torch.Tensor]") -> "dict[str, torch.Tensor]":
    """Tensors of a part, in fp32: the inverse of `to_8_bits`. `stored` loses its scales."""
    scales = {name: stored.pop(name + SCALE) for name in list(stored) if name + SCALE in stored}
    return {
        name: (tensor.flatten(1) * scales[name]).view(tensor.shape) if name in scales else tensor.float()
        for name, tensor in stored.items()
    }


def record_dependencies(folder: Path, digests: dict[str, str]) -> None:
    """Write into a part's folder what it was made with: {name: `weights_digest` of that part}."""
    (folder / DEPENDENCIES).write_text(json.dumps(digests, indent=2) + "\n", encoding="utf-8")


def record_part(name: str, root: Path) -> None:
    """Enter the sha256 of a part's files in the manifest; model cards may change without changing the part."""
    manifest = listed_parts(root) if (root / MANIFEST).exists() else {}
    files = sorted(path for path in (root / name).rglob("*") if path.suffix in SUFFIXES)
    manifest[name] = {path.relative_to(root / name).as_posix(): file_sha256(path) for path in files}
    text = json.dumps(dict(sorted(manifest.items())), indent=2) + "\n"
    part = root / f"{MANIFEST}.part"
    part.write_text(text)
    part.replace(root / MANIFEST)


def save_table(name: str, root: Path, tensors: "dict[str, torch.Tensor]", listed: dict[str, Any]) -> Path:
    """Write a part that is data and no network, `root/name`: tensors, and what is `listed` as JSON; enters it."""
    from safetensors.torch import save_file

    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / f"{name}.safetensors")
    (folder / f"{name}.json").write_text(json.dumps(listed, ensure_ascii=False), encoding="utf-8")
    record_part(name, root)
    return folder


def load_table(name: str, root: Path | None = None) -> "tuple[dict[str, torch.Tensor], dict[str, Any]]":
    """What `save_table` wrote; WeightsError where it is missing or altered."""
    from safetensors.torch import load_file

    folder = part_folder(name, root)
    return load_file(folder / f"{name}.safetensors"), read_json(folder / f"{name}.json")


def space_of(name: str, root: Path) -> str:
    """The digest of the space that a table under `root` was made in; "" without one."""
    path = root / name / f"{name}.json"
    return str(read_json(path).get("space", "")) if path.is_file() else ""


def part_folder(name: str, root: Path | None = None) -> Path:
    """Folder of a part whose files are there and unaltered; WeightsError otherwise."""
    root = weights_root(root)
    listed = listed_parts(root).get(name)
    if listed is None:
        raise WeightsError("weights.no_part", manifest=str(root / MANIFEST), part=name)
    for relative, expected in listed.items():
        path = root / name / relative
        if not path.is_file():
            raise WeightsError("weights.file_missing", path=str(path))
        if (digest := file_sha256(path)) != expected:
            raise WeightsError("weights.altered", path=str(path), actual=digest[:12], expected=expected[:12])
        if path.suffix == ".safetensors":
            _check_header(path)
    # A file that is not listed, and that a library might read instead of those that are.
    for path in sorted(path for path in (root / name).rglob("*") if path.suffix in (*SUFFIXES, ".bin")):
        if path.relative_to(root / name).as_posix() not in listed:
            raise WeightsError("weights.foreign_file", path=str(path))
    return root / name


def read_json(path: Path) -> Any:
    """What a JSON file holds; WeightsError where it is damaged, or deeper or larger than any of ours."""
    try:
        if path.stat().st_size > JSON_BYTES:
            raise ValueError(f"it is larger than {JSON_BYTES >> 20} MB")
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError("weights.damaged", manifest=str(path), problem=str(error)[:200]) from error


def _check_header(path: Path) -> None:
    """WeightsError where a file says that its list of tensors is longer than any of ours: whoever can write there can
    sign the manifest anew, and a list of a million tensors takes minutes to read.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > HEADER_BYTES:
        problem = f"its header is of {length} bytes"
        raise WeightsError("weights.damaged", manifest=str(path), problem=problem)


@one_thread()
def load_part(cls: Any, name: str, root: Path | None = None, dtype: "torch.dtype | None" = None) -> Any:
    """Verify and load one part by its class's `from_pretrained`, in eval mode, without gradients. WeightsError also
    where it was trained with other parts than those beside it: another autoencoder's latents and another space's
    vectors have the same shapes and mean nothing to it."""
    import torch

    folder = part_folder(name, root)
    check_dependencies(folder, root)
    try:
        model, info = _loaded(cls, folder, dtype or torch.float32)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        problem = str(error).splitlines()[0]
        raise WeightsError("weights.no_load", folder=str(folder), name=cls.__name__, problem=problem) from error
    # A tensor under another name would leave that weight at random.
    if wrong := sorted({str(key) for kind in ("missing_keys", "unexpected_keys") for key in info[kind]}):
        raise WeightsError("weights.wrong_tensors", folder=str(folder), name=cls.__name__, tensors=wrong[:3])
    align(model)
    return model.eval().requires_grad_(False)


def _loaded(cls: Any, folder: Path, dtype: "torch.dtype") -> tuple[Any, dict[str, Any]]:
    """The network of a folder, and what its file lacks or has too much."""
    import torch
    from accelerate import init_empty_weights
    from safetensors.torch import load_file

    if not (folder / INT8).exists():
        return cls.from_pretrained(folder, local_files_only=True, output_loading_info=True, dtype=dtype)
    with init_empty_weights():  # random weights would cost more time than reading those of the file
        if hasattr(cls, "load_config"):
            model = cls.from_config(cls.load_config(folder, local_files_only=True))
        else:
            model = cls(cls.config_class.from_pretrained(folder, local_files_only=True))
    wrong = model.load_state_dict(from_8_bits(load_file(folder / INT8)), strict=False, assign=True)
    return torch.nn.Module.to(model, dtype), wrong._asdict()


def part_digests(names: tuple[str, ...], root: Path | None = None) -> dict[str, str]:
    return {name: weights_digest((name,), root) for name in names}


def check_dependencies(folder: Path, root: Path | None, but: Collection[str] = ()) -> None:
    """WeightsError where a part in `root` is not the one that `folder` was made with, those of `but` left out."""
    if not (folder / DEPENDENCIES).exists():
        return
    listed = listed_parts(root)
    for name, digest in read_json(folder / DEPENDENCIES).items():
        if name in listed and name not in but and weights_digest((name,), root) != digest:
            raise WeightsError("weights.other_part", folder=str(folder), part=name)


def fits(name: str, root: Path | None = None) -> bool:
    """Whether a part that need not be there is, and was made with those beside it: one that was left from before they
    changed is as good as none. WeightsError where there is no manifest."""
    if name not in listed_parts(root):
        return False
    try:
        check_dependencies(weights_root(root) / name, root)
    except WeightsError:
        return False
    return True


def align(module: Any) -> None:
    """Move weights to addresses that torch itself would give them. Those mapped from a file lie where its header ends,
    and a kernel that starts in mid-line sums in another order: the same weights from two folders would draw pictures
    that differ in a bit."""
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.data_ptr() % 64:
            tensor.data = tensor.data.clone()


def weights_digest(names: tuple[str, ...], root: Path | None = None) -> str:
    """One sha256 for several parts, from the manifest: names the model that made a picture."""
    listed = listed_parts(root)
    if missing := [name for name in names if name not in listed]:
        raise WeightsError("weights.no_part", manifest=str(weights_root(root) / MANIFEST), part=missing[0])
    return hashlib.sha256(json.dumps({name: listed[name] for name in names}, sort_keys=True).encode()).hexdigest()


def listed_parts(root: Path | None = None) -> dict[str, dict[str, str]]:
    """The manifest: {part: {file: sha256}}; WeightsError where it is missing or damaged."""
    root = weights_root(root)
    try:
        listed = read_json(root / MANIFEST)
    except FileNotFoundError as error:
        raise WeightsError("weights.none", root=str(root), manifest=MANIFEST) from error
    parts = listed.values() if isinstance(listed, dict) else [None]
    if not all(isinstance(files, dict) and all(isinstance(one, str) for one in files.values()) for files in parts):
        raise WeightsError("weights.no_table", manifest=str(root / MANIFEST))
    return listed


def file_sha256(path: Path) -> str:
    """Of what a file holds, in hex; read once a state of the file."""
    stat = path.stat()
    return _sha256_of(path, stat.st_size, stat.st_mtime_ns)


@cache
def _sha256_of(path: Path, size: int, mtime: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
