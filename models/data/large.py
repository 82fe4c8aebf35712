"""The same drawings at 512 px, rendered from the SVGs that the world was made of: what the upscaler learns from.

A balanced subset of each split, since all of them would take 25 GB. Each is a file of its own under `large/` in the
world's folder, named by what it is made of and written whole or not at all: a killed run goes on where it stopped.
Pictures that came as pixels are left out (Fluent 3d: lossy, 256 px); at 512 px there is no truth of them.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from models.data.build import read_iconify, render_svg, renderer_version
from models.data.packages import PACKAGES, fetch, read_lock
from models.data.pixels import SIZE
from models.data.sampling import Sampler
from models.data.splits import fraction
from models.data.stored import progress, whole
from models.data.world import Picture, World

SCALE = 4
LARGE = SCALE * SIZE
COUNTS = {"train": 4000, "val": 200}  # 130 MB of files
CHUNK = 16  # pictures a process renders at a time

Read = Callable[[Picture], np.ndarray]


def choose(world: World, split: str, count: int) -> list[Picture]:
    """`count` pictures of a split that can be drawn at any size (all of them, where there are fewer).

    Balanced as training draws them, without replacement, and by hash: a picture more or less moves few others.
    """
    raster = {package.name for package in PACKAGES if package.kind == "webp"}
    pictures = [picture for picture in world.split(split) if picture.source not in raster]
    weights = Sampler(pictures).weights
    # Exponential clocks: the one that rings first is drawn, with odds in proportion to its weight.
    clocks = [-math.log1p(-fraction("large", p.id)) / w for p, w in zip(pictures, weights, strict=True)]
    first = sorted(range(len(pictures)), key=clocks.__getitem__)[:count]
    return [pictures[i] for i in sorted(first)]


def large(world: World, pictures: Sequence[Picture], workers: int | None = None) -> Read:
    """What reads each of `pictures` as premultiplied uint8 (512, 512, 4), rendered now where it is not there yet.

    `workers` None renders on all cores. A world in memory draws them itself.
    """
    if draw := world.draw:
        return lambda picture: draw(picture, LARGE)
    if world.folder is None:
        raise ValueError("a world in memory has no drawings of another size; load the built one")
    sources = _sources(world.folder, pictures)
    named = {name: hashlib.sha256(f"{renderer_version()} {LARGE} {svg}".encode()) for name, svg in sources.items()}
    files = {name: world.folder / "large" / f"{digest.hexdigest()[:24]}.png" for name, digest in named.items()}
    missing = [(sources[name], file) for name, file in files.items() if not file.exists()]
    with ProcessPoolExecutor(workers) as pool:
        jobs = [pool.submit(_render, missing[i : i + CHUNK]) for i in range(0, len(missing), CHUNK)]
        for job in progress(jobs, f"rendering {len(missing):,} pictures of {LARGE} px"):
            job.result()
    return lambda picture: _read(files[picture.id])


def _sources(folder: Path, pictures: Sequence[Picture]) -> dict[str, str]:
    lock, found = read_lock(), dict[str, str]()
    for package in PACKAGES:
        wanted = [picture.id for picture in pictures if picture.source == package.name]
        if wanted:
            bodies, _ = read_iconify(fetch(package, folder / "downloads", lock))
            found |= {name: bodies[name.partition("/")[2]] for name in wanted}
    return found


def _render(svgs: list[tuple[str, Path]]) -> None:
    for svg, file in svgs:
        with whole(file) as part:
            # Premultiplied values as they are: the file is for us, and straight ones would be rounded twice.
            Image.fromarray(render_svg(svg, SCALE), "RGBA").save(part, "PNG")


def _read(file: Path) -> np.ndarray:
    with Image.open(file, formats=("PNG",)) as picture:
        return np.array(picture)  # a copy that may be written to, or torch would warn
