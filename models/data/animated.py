"""The animated set: stickers that somebody animated by hand (winks, tears, flames), as clips of FRAMES frames.

`load_animated` fetches its packages with the npm client, checks them against `animated.json` beside this file (version,
sha256, licence), reads their frames once and keeps them in the world's folder. A clip shows what the still picture of
the same code points shows, so it has that picture's names and split.
"""

import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from models.data.captions import subject
from models.data.clips import FRAMES
from models.data.grammar import CHINESE_SHARE, Language, article, spread_case, stream
from models.data.packages import Package, fetch
from models.data.pixels import SIZE, fit
from models.data.stored import whole
from models.data.world import Picture, World

LOCK = Path(__file__).with_name("animated.json")
STYLE = "fluent 3d"  # of the still pictures
_AUTHOR = "Microsoft (Fluent Emoji), packed by LobeHub"
PACKAGES = tuple(
    Package(f"@lobehub/fluent-emoji-anim-{number}", "animation", "MIT", _AUTHOR, STYLE, "fluent")
    for number in (1, 2, 3, 4)
)
# What is said of them: how they move has no name in the table of motions.
_EN = ("animated sticker of {a}", "an animation of {a}", "animated {s}", "{a}, animated", "{a}")
_ZH = ("{s}的动画", "{s}动态表情", "动态的{s}", "{s}在动", "{s}")


@dataclass(frozen=True)
class AnimatedSet:
    """Clips with the pictures whose names they have."""

    pictures: tuple[Picture, ...]  # N of the world
    frames: np.ndarray  # (N, FRAMES, 128, 128, 4) premultiplied uint8; each runs on from its last frame into its first
    fps: np.ndarray  # (N,) frames a second

    def rows(self, split: str, allow_test: bool = False) -> list[int]:
        """Those of one split of the world; a test split must be asked for, as in `World.split`."""
        if split not in ("train", "val") and not allow_test:
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
    """The set in the world's folder; fetched (about 700 MB) and read where it is not there yet.

    Raises as `packages.fetch` does, and ValueError for a world that was drawn in memory.
    """
    if world.folder is None:
        raise ValueError("a world in memory has no animated set; load the built one")
    pixels, rows = world.folder / "animated.npy", world.folder / "animated.jsonl"
    if not rows.exists():
        _read(world, pixels, rows)
    by_id = {picture.id: picture for picture in world.pictures}
    listed = [json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines()]
    fps = np.array([row["fps"] for row in listed], np.float32)
    return AnimatedSet(tuple(by_id[row["id"]] for row in listed), np.load(pixels, mmap_mode="r"), fps)


def _read(world: World, pixels: Path, rows: Path) -> None:
    """Write frames and rows; the rows last, for they say that all is whole."""
    lock = json.loads(LOCK.read_text(encoding="utf-8"))
    archives = [fetch(package, pixels.parent / "downloads", lock) for package in PACKAGES]
    known = {picture.id: picture for picture in world.pictures if picture.style == STYLE and picture.skin is None}
    found: dict[str, tuple[np.ndarray, float]] = {}
    for archive in archives:
        with tarfile.open(archive) as tar:
            for member in filter(lambda member: member.name.endswith(".webp"), tar):
                identity, file = f"{STYLE}/{Path(member.name).stem}", tar.extractfile(member)
                if file and identity in known and identity not in found and (clip := resampled(file.read())):
                    found[identity] = clip
    with whole(pixels) as part:
        np.save(part, np.stack([frames for frames, _ in found.values()]))
    lines = (json.dumps({"id": identity, "fps": round(fps, 3)}) for identity, (_, fps) in found.items())
    with whole(rows) as part:
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")


def resampled(data: bytes) -> tuple[np.ndarray, float] | None:
    """An animation's bytes -> FRAMES frames at equal times, and how many of them make a second; None of a still one."""
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
