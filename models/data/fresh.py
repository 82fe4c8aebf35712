"""The fresh test set: known things as artists drew them who are in no split, for final figures and nothing else.

No training, no validation and no choice has seen a picture of it, and it stays so only while nobody chooses by it: read
it once, when all is decided. It is no part of the world and of no digest. Its licence would bind what is made of it, so
nothing is.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from models.data.build import read_iconify, render_svg
from models.data.colours import main_colours
from models.data.concepts import Emojibase
from models.data.packages import FRESH, FRESH_LOCK, PACKAGES, fetch, read_lock
from models.data.stored import progress, whole
from models.data.world import Picture, World

SPLIT = "fresh"  # none of `models.data.splits.SPLITS`
NAMES = "emojibase-data"


@dataclass(frozen=True)
class FreshSet:
    """Pictures in no skin tone."""

    pictures: tuple[Picture, ...]  # `index` is the row in `pixels`
    pixels: np.ndarray  # (N, 128, 128, 4) uint8 premultiplied
    left_out: dict[str, int]  # how many drawings of the package are not there, by the reason


def fetch_fresh(world: World) -> FreshSet:
    """Fetch the package, check it, and render what it has of the things that training drew. Raises as
    `packages.fetch` does, and ValueError for a world that was drawn in memory."""
    if world.folder is None:
        raise ValueError("a world in memory has no fresh pictures; load the built one")
    downloads = world.folder / "downloads"
    names = Emojibase.read(fetch(next(p for p in PACKAGES if p.name == NAMES), downloads, read_lock()))
    bodies, characters = read_iconify(fetch(FRESH, downloads, FRESH_LOCK))
    left_out = Counter({"of no character": len(bodies.keys() - set(characters.values()))})
    found = dict(_known(world, names, characters, left_out))
    pixels = np.stack([render_svg(bodies[name]) for name in progress(list(found), "rendering fresh pictures")])
    with whole(world.folder / f"{SPLIT}.npy") as part:
        np.save(part, pixels)
    with whole(_listed(world.folder)) as part:  # the last, for it says that all is whole
        part.write_text(json.dumps({"world": world.digest, "known": found, "left_out": left_out}), encoding="utf-8")
    return load_fresh(world)


def _known(
    world: World, names: Emojibase, characters: dict[str, str], left_out: Counter[str]
) -> Iterator[tuple[str, str]]:
    """Icons and ids of training pictures of the same name; what has none is counted in `left_out`."""
    trained = {picture.names["en"]: picture.id for picture in world.split("train")}
    for points, icon in sorted(characters.items()):
        meaning = names.by_points(points)
        if meaning is None:
            left_out["no emoji of Unicode"] += 1
        elif meaning.skin:
            left_out["of a skin tone"] += 1
        elif meaning.names["en"] not in trained:
            left_out["not in train"] += 1
        else:
            yield icon, trained[meaning.names["en"]]


def load_fresh(world: World) -> FreshSet:
    """The set beside the built world; FileNotFoundError says the command that fetches it."""
    if world.folder is None or not _listed(world.folder).is_file():
        raise FileNotFoundError("the fresh pictures are not there; fetch them with: python -m models.data fresh")
    listed = json.loads(_listed(world.folder).read_text(encoding="utf-8"))
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


def _listed(folder: Path) -> Path:
    return folder / f"{SPLIT}.json"
