"""Data sets beside the world, fetched with the npm client and checked against locked versions, sha256 and licences.

**Animated**: stickers that an artist animated (winks, tears, flames), as clips of FRAMES frames. A clip has the names
and the split of the still picture with the same code points.

**Fresh**: known things by artists who are in no split, for final figures only: no training, validation or choice uses
it. It is no part of the world or of its digest. Its licence would bind derived works, so nothing is made of it.

**Large**: drawings of the world at 512 px, rendered from their SVGs, for the upscaler: a balanced subset of each split,
a file each under `large/` in the world's folder. Pictures that came as pixels (Fluent 3d) have no truth at 512 px.
"""

import hashlib
import io
import json
import math
import tarfile
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from models.data.build import Emojibase, read_iconify, render_svg, renderer_version
from models.data.captions import subject
from models.data.clips import FRAMES
from models.data.colours import main_colours
from models.data.grammar import CHINESE_SHARE, Language, article, spread_case, stream
from models.data.packages import ANIMATED, ANIMATED_LOCK, FRESH, FRESH_LOCK, PACKAGES, fetch, read_lock
from models.data.pixels import SIZE, fit
from models.data.stored import progress, whole
from models.data.world import TEST_SPLITS, Picture, Sampler, World, fraction

# --- Animated stickers -----------------------------------------------------------------------------------------------

STYLE = "fluent 3d"  # of the still pictures
# Captions: the table of motions has no name for how they move.
_EN = ("animated sticker of {a}", "an animation of {a}", "animated {s}", "{a}, animated", "{a}")
_ZH = ("{s}的动画", "{s}动态表情", "动态的{s}", "{s}在动", "{s}")


@dataclass(frozen=True)
class AnimatedSet:
    """Clips, each with the still picture whose names it has."""

    pictures: tuple[Picture, ...]  # N of the world
    frames: np.ndarray  # (N, FRAMES, 128, 128, 4) premultiplied uint8; each runs on from its last frame into its first
    fps: np.ndarray  # (N,) frames a second

    def rows(self, split: str, allow_test: bool = False) -> list[int]:
        """Rows of one split of the world; a test split must be asked for, as in `World.split`."""
        if split in TEST_SPLITS and not allow_test:
            raise PermissionError(f"split {split!r} is a test split; only an evaluation may read it (allow_test=True)")
        return [row for row, picture in enumerate(self.pictures) if picture.split == split]


def animated_caption(picture: Picture, seed: int) -> str:
    """An animated picture in words, English or Chinese; another seed, another wording."""
    rng = stream("animated caption", picture.id, seed)
    language: Language = "zh" if "zh" in picture.names and rng.random() < CHINESE_SHARE else "en"
    s = subject(picture, rng, language)
    template = rng.choice(_EN if language == "en" else _ZH)
    return spread_case(template.format(s=s, a=article(s) if language == "en" else s), rng, shout=False)


def load_animated(world: World) -> AnimatedSet:
    """The set in the world's folder, fetched (about 700 MB) and read at the first call.

    Raises as `packages.fetch` does, and ValueError for a world that was drawn in memory.
    """
    if world.folder is None:
        raise ValueError("a world in memory has no animated set; load the built one")
    pixels, rows = world.folder / "animated.npy", world.folder / "animated.jsonl"
    if not rows.exists():
        _read_frames(world, pixels, rows)
    by_id = {picture.id: picture for picture in world.pictures}
    listed = [json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines()]
    fps = np.array([row["fps"] for row in listed], np.float32)
    return AnimatedSet(tuple(by_id[row["id"]] for row in listed), np.load(pixels, mmap_mode="r"), fps)


def _read_frames(world: World, pixels: Path, rows: Path) -> None:
    """Write frames, then rows, which mark the set as complete."""
    archives = [fetch(package, pixels.parent / "downloads", ANIMATED_LOCK) for package in ANIMATED]
    known = {picture.id: picture for picture in world.pictures if picture.style == STYLE and picture.skin is None}
    clips: dict[str, tuple[np.ndarray, float]] = {}
    for archive in archives:
        with tarfile.open(archive) as tar:
            for member in filter(lambda member: member.name.endswith(".webp"), tar):
                identity, file = f"{STYLE}/{Path(member.name).stem}", tar.extractfile(member)
                if file and identity in known and identity not in clips and (clip := resampled(file.read())):
                    clips[identity] = clip
    with whole(pixels) as part:
        np.save(part, np.stack([frames for frames, _ in clips.values()]))
    lines = (json.dumps({"id": identity, "fps": round(fps, 3)}) for identity, (_, fps) in clips.items())
    with whole(rows) as part:
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")


def resampled(data: bytes) -> tuple[np.ndarray, float] | None:
    """An animation's bytes -> FRAMES frames at equal times, and their frame rate; None where there are fewer frames."""
    animation = Image.open(io.BytesIO(data))
    count = getattr(animation, "n_frames", 1)
    if count < FRAMES:
        return None
    frames, duration = list[np.ndarray](), 0.0
    for number in range(count):
        animation.seek(number)
        animation.load()
        duration += animation.info.get("duration", 40) / 1000
        if number * FRAMES // count == len(frames):
            frames.append(fit(animation, SIZE))
    return np.stack(frames), FRAMES / max(duration, 0.1)


# --- The fresh test set ----------------------------------------------------------------------------------------------

SPLIT = "fresh"  # none of `models.data.world.SPLITS`


@dataclass(frozen=True)
class FreshSet:
    pictures: tuple[Picture, ...]  # `index` is the row in `pixels`
    pixels: np.ndarray  # (N, 128, 128, 4) uint8 premultiplied
    left_out: dict[str, int]  # how many drawings of the package are missing, by reason


def fetch_fresh(world: World) -> FreshSet:
    """Fetch and check the package, and render its drawings of things that training drew, without skin tones.

    Raises as `packages.fetch` does, and ValueError for a world that was drawn in memory.
    """
    if world.folder is None:
        raise ValueError("a world in memory has no fresh pictures; load the built one")
    downloads = world.folder / "downloads"
    names = Emojibase.read(fetch(next(p for p in PACKAGES if p.name == "emojibase-data"), downloads, read_lock()))
    bodies, characters = read_iconify(fetch(FRESH, downloads, FRESH_LOCK))
    left_out = Counter({"of no character": len(bodies.keys() - set(characters.values()))})
    trained = {picture.names["en"]: picture.id for picture in world.split("train")}
    known: dict[str, str] = {}  # icon -> id of a training picture of the same name
    for points, icon in sorted(characters.items()):
        meaning = names.by_points(points)
        if meaning is None:
            left_out["no emoji of Unicode"] += 1
        elif meaning.skin:
            left_out["of a skin tone"] += 1
        elif meaning.names["en"] not in trained:
            left_out["not in train"] += 1
        else:
            known[icon] = trained[meaning.names["en"]]
    pixels = np.stack([render_svg(bodies[name]) for name in progress(list(known), "rendering fresh pictures")])
    with whole(world.folder / f"{SPLIT}.npy") as part:
        np.save(part, pixels)
    with whole(world.folder / f"{SPLIT}.json") as part:  # the last: it marks the set as complete
        part.write_text(json.dumps({"world": world.digest, "known": known, "left_out": left_out}), encoding="utf-8")
    return load_fresh(world)


def load_fresh(world: World) -> FreshSet:
    """The set beside the built world; FileNotFoundError names the command that fetches it."""
    if world.folder is None or not (table := world.folder / f"{SPLIT}.json").is_file():
        raise FileNotFoundError("the fresh pictures are not there; fetch them with: python -m models.data fresh")
    listed = json.loads(table.read_text(encoding="utf-8"))
    if listed["world"] != world.digest:
        raise FileNotFoundError("the fresh pictures are of another world; run: python -m models.data fresh")
    pixels, by_id = np.load(world.folder / f"{SPLIT}.npy"), {picture.id: picture for picture in world.pictures}
    pictures = tuple(
        replace(
            by_id[known], index=row, id=f"{FRESH.style}/{icon}", source=FRESH.name, style=FRESH.style,
            family=FRESH.family, skin=None, colours=main_colours(pixels[row]), split=SPLIT,
        )
        for row, (icon, known) in enumerate(listed["known"].items())
    )  # fmt: skip
    return FreshSet(pictures, pixels, listed["left_out"])


# --- Drawings at 512 px ----------------------------------------------------------------------------------------------

SCALE = 4
LARGE = SCALE * SIZE
COUNTS = {"train": 4000, "val": 200}  # 130 MB of files
CHUNK = 16  # pictures a process renders at a time


def choose(world: World, split: str, count: int) -> list[Picture]:
    """At most `count` pictures of a split that can be drawn at any size.

    They are drawn with training's balance, without replacement, and by hash: a new picture moves few others.
    """
    raster = {package.name for package in PACKAGES if package.kind == "webp"}
    pictures = [picture for picture in world.split(split) if picture.source not in raster]
    weights = Sampler(pictures).weights
    # Exponential clocks: the one that rings first is drawn, with odds in proportion to its weight.
    clocks = [-math.log1p(-fraction("large", p.id)) / w for p, w in zip(pictures, weights, strict=True)]
    first = sorted(range(len(pictures)), key=clocks.__getitem__)[:count]
    return [pictures[i] for i in sorted(first)]


def large(world: World, pictures: Sequence[Picture], workers: int | None = None) -> Callable[[Picture], np.ndarray]:
    """A function that reads one of `pictures` as premultiplied uint8 (512, 512, 4). Missing files are rendered now, by
    `workers` processes (None: all cores)."""
    if world.folder is None:
        raise ValueError("a world in memory has no drawings of another size; load the built one")
    lock, sources = read_lock(), dict[str, str]()  # id -> SVG
    for package in PACKAGES:
        wanted = [picture.id for picture in pictures if picture.source == package.name]
        if wanted:
            bodies, _ = read_iconify(fetch(package, world.folder / "downloads", lock))
            sources |= {name: bodies[name.partition("/")[2]] for name in wanted}
    named = {name: hashlib.sha256(f"{renderer_version()} {LARGE} {svg}".encode()) for name, svg in sources.items()}
    files = {name: world.folder / "large" / f"{digest.hexdigest()[:24]}.png" for name, digest in named.items()}
    missing = [(sources[name], file) for name, file in files.items() if not file.exists()]
    with ProcessPoolExecutor(workers) as pool:
        jobs = [pool.submit(_render, missing[i : i + CHUNK]) for i in range(0, len(missing), CHUNK)]
        for job in progress(jobs, f"rendering {len(missing):,} pictures of {LARGE} px"):
            job.result()
    return lambda picture: _read(files[picture.id])


def _render(svgs: list[tuple[str, Path]]) -> None:
    for svg, file in svgs:
        with whole(file) as part:
            # Premultiplied values as they are: the file is for us, and straight ones would be rounded twice.
            Image.fromarray(render_svg(svg, SCALE), "RGBA").save(part, "PNG")


def _read(file: Path) -> np.ndarray:
    with Image.open(file, formats=("PNG",)) as picture:
        return np.array(picture)  # a copy that may be written to, or torch would warn
