"""Kill -9 at random moments: nothing is lost, repeated or half-written."""

import hashlib
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import wait
from pathlib import Path

import psutil
import pytest
from queue_kit import planned, run_job
from waiting import until

from studio import maintenance
from studio.backends.base import open_backend
from studio.backends.fake import Fake
from studio.home import Home
from studio.planner import resolve
from studio.requests import ImageRequest, make_request
from studio.run import GallerySink
from studio.studio import Studio

ROOT = Path(__file__).resolve().parent.parent
CAN = Fake().capabilities()
SERVER = (
    "import sys, time; from pathlib import Path; from studio.studio import Studio\n"
    "if __name__ == '__main__':\n    studio = Studio(Path(sys.argv[1])); studio.open()\n    while True: time.sleep(1)"
)


def jobs(count: int, seconds: float) -> list[ImageRequest]:
    """Jobs of several sizes: of one picture, of more than a batch, and some that may be drawn together."""
    model = f"fake:{seconds}"
    shapes = [{"count": 1}, {"count": 3}, {"count": 10}, {"count": 1, "shape": 8}, {"count": 2, "shape": 8}]
    submitted = (
        make_request("image", prompt=f"face {n}", model=model, seed=n, steps=2, **shapes[n % 5]) for n in range(count)
    )
    return [resolve(request, CAN) for request in submitted]


def submit(home: Home, request: ImageRequest) -> str:
    job = planned(request)
    home.queue.submit(job)
    return job.id


class Server:
    """A studio in a process of its own, restarted after a kill."""

    def __init__(self, root: Path, script: Path) -> None:
        self.root, self.script = root, script
        self.process = self.start()

    def start(self) -> subprocess.Popen:
        command = [sys.executable, str(self.script), str(self.root)]
        return subprocess.Popen(command, cwd=ROOT)

    def worker(self) -> psutil.Process | None:
        try:
            children = psutil.Process(self.process.pid).children()
        except psutil.Error:
            return None
        # The resource tracker is a child as well.
        return next((c for c in children if "spawn_main" in " ".join(_command(c))), None)

    def kill_something(self, chance: random.Random) -> None:
        """SIGKILL the worker, or the server and restart it."""
        if chance.random() < 0.5:
            if worker := self.worker():
                worker.kill()
        else:
            self.process.kill()
            self.process.wait()
            self.process = self.start()

    def close(self) -> None:
        worker = self.worker()
        self.process.kill()
        self.process.wait()
        if worker:
            psutil.wait_procs([worker], timeout=10)


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    script = tmp_path / "server.py"
    script.write_text(SERVER)
    (tmp_path / "home").mkdir()
    server = Server(tmp_path / "home", script)
    yield server
    server.close()


def straight(folder: Path, submitted: list[ImageRequest]) -> dict[tuple[str, int], str]:
    """The same jobs without interruption: sha256 of the files by (job, position)."""
    home = Home(folder)
    for request in submitted:
        list(run_job(open_backend(request.model), planned(request), GallerySink(home.gallery)))
    return pictures(home)


def pictures(home: Home) -> dict[tuple[str, int], str]:
    rows = home.database.rows("SELECT job, position, sha256 FROM artifacts")
    return {(row["job"], row["position"]): row["sha256"] for row in rows}


def finish(home: Home) -> None:
    """Wait until no job is open; quarantined jobs are retried."""
    until(lambda: not (home.queue.jobs() or home.queue.retry(job.id for job in home.queue.jobs(["quarantined"]))), 0.1)


def check(home: Home, submitted: list[ImageRequest], expected: dict[tuple[str, int], str]) -> None:
    assert home.queue.counts() == {"done": len(submitted)}, "none lost, none there twice"
    assert pictures(home) == expected, "the same pixels and the same words as in one go"
    files = [path for path in home.gallery.folder.rglob("*") if path.is_file()]
    assert len(files) == len(expected), "no file too many, none half-written"
    assert all(hashlib.sha256(path.read_bytes()).hexdigest() == path.stem for path in files)
    assert list(maintenance.inspect(home)) == []


@pytest.mark.parametrize(
    ("kills", "count", "seconds"),
    [(4, 20, 0.06), pytest.param(100, 200, 0.1, marks=pytest.mark.slow)],
    ids=["short", "long"],
)
def test_killed_at_random_moments(server: Server, tmp_path: Path, kills: int, count: int, seconds: float) -> None:
    submitted, chance, home = jobs(count, seconds), random.Random(1), Home(server.root)
    for request in submitted:
        submit(home, request)
    hits = 0
    while hits < kills and home.queue.jobs():
        time.sleep(chance.uniform(0.2, 1.0))
        server.kill_something(chance)
        hits += bool(home.queue.jobs())
    assert hits > kills / 2, "the jobs were over before they could be disturbed"
    finish(home)
    check(home, submitted, straight(tmp_path / "straight", submitted))


@pytest.mark.parametrize(
    ("clients", "count", "pause"),
    [(4, 24, 1.0), pytest.param(8, 1000, 10, marks=pytest.mark.slow)],
    ids=["short", "long"],
)
def test_many_clients_put_jobs_while_the_worker_dies(
    server: Server, tmp_path: Path, clients: int, count: int, pause: float
) -> None:
    submitted, home, over = jobs(count, 0.01), Home(server.root), threading.Event()

    def put(part: list[ImageRequest]) -> None:
        this = Home(server.root)  # a connection of its own, as a process has
        for request in part:
            submit(this, request)

    def kill() -> None:
        done = -1
        while not over.wait(pause):
            worker, now = server.worker(), home.queue.counts().get("done", 0)
            if worker and now > done:  # however slow the machine, each has done something
                worker.kill()
                done = now

    with ThreadPoolExecutor(clients + 1) as pool:
        killer = pool.submit(kill)
        try:
            list(pool.map(put, [submitted[n::clients] + submitted[: count // 4] for n in range(clients)]))
            finish(home)
        finally:
            over.set()
        killer.result()
    assert home.queue.counts() == {"done": count}
    wanted = {(planned(r).id, n) for r in submitted for n in range(r.count)}
    assert set(pictures(home)) == wanted and list(maintenance.inspect(home)) == []


def test_a_worker_that_can_not_open_its_home_ends_with_the_studio(tmp_path: Path) -> None:
    with Studio(tmp_path) as studio:
        for file in (tmp_path / "cache").glob("live.db*"):
            file.unlink()
        (tmp_path / "cache" / "live.db").mkdir()
        studio.open()
        until(studio.trouble)
        running = studio._worker._running
        assert running
        running.wakes.close()
        assert wait([running.process.sentinel], 60)
