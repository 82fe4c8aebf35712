"""How fast a large gallery and the queue are: `python benchmarks/gallery.py`.

The gallery: opening a page, filtering, searching by words and a vector together, and adding, in galleries of 1,000 and
100,000 rows. The queue: a job of the fake backend from being put in line to its end, in the process itself, over
drawing it, encoding it, and what the machine takes for as many fsyncs as the job makes. Medians, in milliseconds.
"""

import os
import random
import tempfile
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np
from timing import medians, parser, write  # the file beside this one

from studio.backends.base import run
from studio.backends.fake import Fake
from studio.events import Done
from studio.gallery import Filter, spaced
from studio.home import Home
from studio.media import THUMBNAIL, as_bytes
from studio.planner import Job, plan
from studio.queue import Claims
from studio.requests import make_request
from studio.run import run_jobs
from studio.sinks import GallerySink

WORDS = ["cat", "dog", "apple", "rocket", "smiling", "red", "blue", "small", "猫", "红色", "house", "tree", "sad"]
STYLES = ("noto", "fluent", "outline", "blob", "twemoji")
GOALS = {"page": 20.0, "filter": 50.0, "search": 60.0, "queue": 5.0}


def fill(house: Home, count: int) -> None:
    """`count` rows as `Gallery.enter` writes them, without their files."""
    chance, places = random.Random(0), np.random.default_rng(0)
    with house.database.writing() as connection:
        for n in range(count):
            prompt = " ".join(chance.sample(WORDS, 4))
            vector = places.normal(size=128)
            place = as_bytes(vector / np.linalg.norm(vector))
            row = (f"{n:064x}", f"pictures/{n:064x}.png", 9000, THUMBNAIL, THUMBNAIL, float(n), f"j{n}", 0, n, 0.5)
            connection.execute(
                "INSERT INTO artifacts (sha256, file, bytes, width, height, created, job, position, seed, score,"
                " prompt, style, model, digest, star, rating)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'fake', 'd', ?, ?)",
                (*row, prompt, chance.choice(STYLES), chance.random() < 0.05, chance.randrange(6)),
            )
            connection.execute("INSERT INTO vectors VALUES (?, 's', ?)", (n + 1, place))
            connection.execute(
                "INSERT INTO words (rowid, prompt, note, tags) VALUES (?, ?, '', '')", (n + 1, spaced(prompt))
            )


def milliseconds(repeats: int, **work: Callable[[], object]) -> dict[str, float]:
    """Medians of `repeats` calls of each."""
    return {name: 1000 * seconds for name, seconds in medians(work, repeats).items()}


def gallery(count: int, repeats: int, root: Path) -> dict[str, float]:
    """The rows of the table for a gallery of `count` pictures."""
    house = Home(root)
    fill(house, count)
    place = np.random.default_rng(1).normal(size=128).astype(np.float32)
    sink, number = GallerySink(house.gallery), iter(range(10**9))

    def add() -> None:
        (job,) = plan(make_request(prompt="new", model="fake", steps=1, seed=next(number)), Fake())
        list(run_jobs(Fake(), [job], sink))

    wanted = Filter(style="noto", rating=4, starred=True)
    return milliseconds(
        repeats,
        page=lambda: house.gallery.page(before=count // 2),
        filter=lambda: (house.gallery.page(wanted), house.gallery.count(wanted)),
        search=lambda: house.search("red cat", place, "s", Filter(style="noto")),
        search_all=lambda: house.search("", place, "s"),
        add=add,
    )


def queue(repeats: int, root: Path) -> dict[str, float]:
    """A job from line to end, and the machine's own time for as many fsyncs, and the drawing alone."""
    house, number = Home(root), iter(range(10**9))
    sink, claims = GallerySink(house.gallery), Claims(house.database, "bench")

    def planned() -> Job:
        return plan(make_request(prompt="a face", model="fake", steps=1, seed=next(number)), Fake())[0]

    def job() -> None:
        submitted = planned()
        house.queue.submit(submitted)
        for taken in claims.claim():
            house.progress.begin(taken.id)
            for _, event in run_jobs(Fake(), [submitted], sink):
                claims.stop_requests()
                if hasattr(event, "step"):
                    house.progress.note(taken.id, event)
            claims.end(taken.id, Done())

    def drawing() -> None:
        deque(run(Fake(), planned().request), maxlen=0)

    counted = _fsyncs(job)
    with (root / "probe").open("wb") as file:

        def sync() -> None:
            for _ in range(counted):
                file.write(b"x" * 4096)
                file.flush()
                os.fsync(file.fileno())

        took = milliseconds(repeats, job=job, fsyncs=sync, drawing=drawing)
    return {**took, "fsyncs a job": counted, "queue": took["job"] - took["fsyncs"] - took["drawing"]}


def _fsyncs(work: Callable[[], object]) -> int:
    """How often a call waits for the disk: files and folders as Python counts them, and one for each of the commits."""
    real, calls = os.fsync, [0]

    def counting(handle: int) -> None:
        calls[0] += 1
        real(handle)

    os.fsync = counting
    try:
        work()
    finally:
        os.fsync = real
    return calls[0] + 4  # submit, claim, the picture's row, end


def main() -> None:
    options = parser(__doc__, rows=100_000, repeats=15).parse_args()
    table = {}
    for count in (1000, options.rows):
        with tempfile.TemporaryDirectory() as folder:
            table[f"gallery of {count:,}"] = gallery(count, options.repeats, Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        table["queue"] = queue(4 * options.repeats, Path(folder))
    goals = {what: f"   at most {goal:g}" for what, goal in GOALS.items()}
    lines = (
        f"{name:<20} {what:<14} {value:8.2f}{goals.get(what, '')}"
        for name, row in table.items()
        for what, value in row.items()
    )
    write(table, lines, options)


if __name__ == "__main__":
    main()
