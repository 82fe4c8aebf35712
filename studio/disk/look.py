"""Models wherever they lie: the Hugging Face cache, and folders that the user names, of other studios too."""

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from models.messages import Message, Refused, did_you_mean
from studio.disk.found import Found, describe, is_model
from studio.disk.headers import PICKLES, TABLES

if TYPE_CHECKING:
    from huggingface_hub import CachedRepoInfo

DEEPEST = 12  # folders below each other that are looked into
ENDINGS = (".safetensors", ".gguf", *PICKLES[:3])  # of single files that are listed
HUB = "models--"  # how a repository's folder in a hub cache begins


def look(folders: Iterable[Path] = (), cache: Path | None = None) -> list[Found]:
    """All models of the hub cache (None: the usual one) and below `folders`, by name. What is broken is among them,
    with its `problem`; a folder that is not there is one too.
    """
    found: dict[Path, Found] = {}
    for one in [*hub(cache), *(one for folder in folders for one in below(folder))]:
        found.setdefault(one.path.resolve(), one)
    return sorted(found.values(), key=lambda one: (one.kind, one.name.lower()))


def hub(cache: Path | None = None) -> Iterator[Found]:
    """The models of a hub cache, each in the state that was fetched last; what is half-fetched says so."""
    from huggingface_hub import CacheNotFound, scan_cache_dir

    try:
        info = scan_cache_dir(cache)
    except (CacheNotFound, ValueError, OSError):
        return
    for repo in info.repos:
        if repo.repo_type == "model":
            yield from _repository(repo)
    for warning in info.warnings:
        said = str(warning)
        named = next((Path(word.strip("().,`")) for word in said.split() if HUB in word), None)
        if named and named.is_dir():
            yield Found(_hub_id(named), named, problem=Message("disk.half", {"name": _hub_id(named)}), hub=True)


def _hub_id(folder: Path) -> str:
    return folder.name.removeprefix(HUB).replace("--", "/")


def _repository(repo: "CachedRepoInfo") -> Iterator[Found]:
    revisions = sorted(repo.revisions, key=lambda one: ("main" in one.refs, one.last_modified))
    half = any(repo.repo_path.glob("blobs/*.incomplete"))
    for one in _walk(revisions[-1].snapshot_path, set()) if revisions else ():
        whole = one.path == revisions[-1].snapshot_path
        one = replace(one, name=repo.repo_id if whole else f"{repo.repo_id}/{one.name}", hub=whole)
        problem = Message("disk.half", {"name": repo.repo_id}) if half else one.problem
        yield replace(one, problem=problem)


def below(folder: Path) -> Iterator[Found]:
    """The models below a folder of the user's."""
    if not folder.is_dir():
        yield Found(folder.name, folder, problem=Message("disk.no_folder", {"path": str(folder)}))
        return
    yield from _walk(folder, set())


def _walk(
    folder: Path, seen: set[tuple[int, int]], kind: str = "", family: str = "", depth: int = 0
) -> Iterator[Found]:
    """Links are followed, each folder once: no circle has an end."""
    try:
        state = folder.stat()
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        problem = Message("disk.cant_read", {"path": str(folder), "problem": str(error.strerror or error)})
        yield Found(folder.name, folder, kind, problem=problem)
        return
    if (state.st_dev, state.st_ino) in seen or depth > DEEPEST:
        return
    seen.add((state.st_dev, state.st_ino))
    if is_model(entry.name for entry in entries):
        yield from filter(None, [describe(folder, kind, family)])
        return
    if any(entry.name.startswith(HUB) for entry in entries):
        yield from hub(folder)
        return
    for entry in entries:
        if entry.name.endswith(ENDINGS) and entry.is_file():
            yield from filter(None, [describe(Path(entry.path), kind, family)])
        elif not entry.name.startswith(".") and entry.is_dir():
            named = entry.name.lower().replace("-", "_").replace(" ", "_")
            inside = TABLES["folders"].get(named, kind)
            if inside or named not in TABLES["folders"]:
                yield from _walk(Path(entry.path), seen, inside, TABLES["bases"].get(named, family), depth + 1)


def located(name: str) -> Path:
    """A file or folder, or what the hub cache has under that id; nothing is downloaded."""
    path = Path(name).expanduser().absolute()
    if not path.exists() and name.count("/") == 1:
        from huggingface_hub import snapshot_download

        with contextlib.suppress(OSError, ValueError):  # it is not there, or no id
            return Path(snapshot_download(name, local_files_only=True))
    return path


def whole(name: str, kind: str) -> Found:
    """The model of a kind that is there (see `located`); Refused where none is, or it is not whole."""
    path = located(name)
    if not path.exists():
        raise Refused("pipeline.no_folder", path=str(path))
    found = describe(path)
    if found is None or found.kind != kind:
        raise Refused("disk.other_kind", path=str(path), kind=kind)
    if found.problem:
        raise Refused(found.problem)
    return found


def named(word: str, found: Iterable[Found]) -> Found:
    """The one that a person means, by name, path, or what `--model` takes; Refused where there is none, or several."""
    everything = list(found)
    path = Path(word.partition(":")[2] or word).expanduser().absolute()
    same = [one for one in everything if word in (one.name, one.model, one.path.name) or one.path == path]
    if len(same) > 1:
        raise Refused("disk.several", name=word, paths=[str(one.path) for one in same])
    if not same:
        raise Refused("disk.unknown", name=word, hint=did_you_mean(word, [one.name for one in everything]))
    return same[0]


def remove(found: Found) -> int:
    """Take a repository out of its hub cache -> bytes freed. Refused of what is a file or folder of the user's own."""
    root = next((one for one in (found.path, *found.path.parents) if one.name.startswith(HUB)), None)
    if root is None:
        raise Refused("disk.not_ours", path=str(found.path))
    freed = sum(one.stat().st_size for one in root.rglob("*") if one.is_file() and not one.is_symlink())
    shutil.rmtree(root)
    return freed
