"""The worker process: progress, cancel, crashes, restarts, full disks, health."""

import errno
import io
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import pytest
from page_kit import client_of
from PIL import Image
from queue_kit import ask, planned, run_job, work
from tiny_pipelines import save_tiny_pipeline
from waiting import TIMEOUT, until

from models.messages import Message, Refused
from studio import settings, worker
from studio.api import v1
from studio.backends.base import Backend, open_backend
from studio.backends.fake import Fake
from studio.database import StoreTrouble
from studio.events import Cancelled, Done, End, Failed, Progress, Saved
from studio.files import PART
from studio.gallery import Filter
from studio.home import Home
from studio.media import Artifact
from studio.planner import Job
from studio.queue import Claims
from studio.requests import ImageRequest
from studio.run import GallerySink
from studio.studio import Studio


def drawing(prompt: str, seconds: float = 0, **settings: object) -> Job:
    """A planned job whose steps take so many seconds."""
    return planned(ask(prompt, model=f"fake:{seconds}" if seconds else "fake", **settings))


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    studio = Studio(tmp_path / "home")
    yield studio
    studio.close()


def finish(studio: Studio, planned: Job) -> tuple[list[Saved], End]:
    *events, end = studio.events(studio.submit(planned))
    return [event for event in events if isinstance(event, Saved)], end


def first_step(studio: Studio, job: str) -> Progress:
    return next(event for event in studio.events(job) if isinstance(event, Progress) and event.step)


def send(studio: Studio, number: int) -> None:
    process = studio._worker.process
    assert process and process.pid
    os.kill(process.pid, number)


def test_a_job_is_seen_step_by_step_and_ends_saved(shared: Studio) -> None:
    events = list(shared.events(shared.submit(drawing("an axolotl", 0.05, count=2))))
    steps = [event.step for event in events if isinstance(event, Progress)]
    last = [event for event in events if isinstance(event, Progress)][-1]
    saved = [event for event in events if isinstance(event, Saved)]
    assert steps == sorted(steps) and steps[-1] == 4 and len(steps) >= 4
    assert set(last.previews) == {0, 1} and last.previews[0].startswith(b"\x89PNG")
    assert last.unknown[0].word == "axolotl", "what is not known stays said until the end"
    assert [event.seed for event in saved] == [1, 2] and isinstance(events[-1], Done)
    assert Image.open(saved[0].path).mode == "RGBA"


def test_a_finished_job_is_cached(shared: Studio) -> None:
    first, _ = finish(shared, drawing("a cat"))
    second, end = finish(shared, drawing("a cat"))
    assert not first[0].cached and second[0].cached and isinstance(end, Done)
    Path(first[0].path).write_bytes(Path(first[0].path).read_bytes()[:-20])
    third, _ = finish(shared, drawing("a cat"))
    assert not third[0].cached, "a picture that was cut short is made again"


def test_a_job_keeps_the_pictures_it_was_given(shared: Studio, tmp_path: Path) -> None:
    for name in ("like", "part"):
        Image.new("RGBA", (9, 9), "red" if name == "like" else "blue").save(tmp_path / f"{name}.png")
    given = {"like": {"path": str(tmp_path / "like.png")}}
    given["mix"] = ({"picture": {"path": str(tmp_path / "part.png")}}, {"text": "cat"})
    shared.queue.pause()
    job = shared.submit(drawing("", **given))
    for name in ("like", "part"):
        (tmp_path / f"{name}.png").unlink()
    shared.queue.pause(False)
    assert list(shared.events(job))[-1] == Done()
    assert shared.queue.job(job).request.like.path.startswith(str(shared.home / "inputs"))


def test_cancel_stops_running_and_waiting_jobs(shared: Studio) -> None:
    running, waiting = shared.submit(drawing("slow", 0.1, steps=100)), shared.submit(drawing("next", 0.1))
    first_step(shared, running)
    assert (shared.queue.ahead(running), shared.queue.ahead(waiting)) == (0, 1)
    shared.cancel(waiting)
    shared.cancel(running)
    assert isinstance(list(shared.events(running))[-1], Cancelled)
    assert isinstance(list(shared.events(waiting))[-1], Cancelled)
    assert not shared.gallery.results(running) and not list(shared.gallery.folder.rglob(f"{PART}*")), (
        "nothing half-made"
    )
    assert isinstance(finish(shared, drawing("next", 0.1))[1], Done), "a cancelled job can be asked for again"


def test_watchers_share_a_job_and_may_leave(shared: Studio) -> None:
    job = shared.submit(drawing("a dog", 0.05, steps=10))
    shared.events(job).close()
    ends: list[object] = []
    watch = [threading.Thread(target=lambda: ends.append(list(shared.events(job))[-1])) for _ in range(2)]
    for thread in watch:
        thread.start()
    assert shared.submit(drawing("a dog", 0.05, steps=10)) == job, "in line already: not put there twice"
    for thread in watch:
        thread.join(TIMEOUT)
    assert ends == [Done(), Done()]
    assert isinstance(list(shared.events(job))[-1], Done), "who comes late sees how it ended"


def test_a_job_survives_a_killed_worker_and_is_quarantined_after_the_second(studio: Studio) -> None:
    running, waiting = studio.submit(drawing("slow", 0.1, steps=100)), studio.submit(drawing("next", 0.01))
    first_step(studio, running)
    send(studio, signal.SIGKILL)
    while (job := studio.queue.job(running)).crash_count == 0 or job.state != "running":
        time.sleep(0.05)
    send(studio, signal.SIGKILL)
    end = list(studio.events(running))[-1]
    assert isinstance(end, Failed) and "signal 9" in end.sentence and "memory" in end.sentence
    assert studio.queue.job(running).state == "quarantined"
    assert isinstance(list(studio.events(waiting))[-1], Done)
    send(studio, signal.SIGKILL)
    assert isinstance(finish(studio, drawing("after"))[1], Done)


def test_jobs_resume_in_a_new_studio_with_equal_pixels(studio: Studio) -> None:
    item, two = drawing("slow", 0.05, steps=10, count=12), drawing("next")
    jobs = [studio.submit(item), studio.submit(two)]
    while not studio.gallery.results(jobs[0]):
        time.sleep(0.02)
    studio.close()
    states = [studio.queue.job(job).state for job in jobs]
    assert states == ["waiting", "waiting"]
    stored = set(studio.gallery.results(jobs[0]))
    assert 0 < len(stored) < 12, "some are done"
    another = Studio(studio.home)
    another.open()
    events = [list(another.events(job)) for job in jobs]
    another.close()
    assert all(each[-1] == Done() for each in events)
    straight = Home(studio.home.parent / "straight")
    for request, job in ((item, jobs[0]), (two, jobs[1])):
        list(run_job(Fake(), request, GallerySink(straight.gallery)))
        pixels = [[p.path.read_bytes() for p in s.gallery.page(Filter()) if p.job == job] for s in (another, straight)]
        assert pixels[0] and sorted(pixels[0]) == sorted(pixels[1])


def test_a_second_studio_takes_over_a_shared_home(studio: Studio) -> None:
    other = Studio(studio.home)
    job = studio.submit(drawing("slow", 0.05, steps=100))
    first_step(studio, job)
    other.open()
    late = other.submit(drawing("late"))
    assert other.queue.counts() == {"running": 1, "waiting": 1}, "one worker at a time"
    studio.close()
    assert list(other.events(job))[-1] == Done() and list(other.events(late))[-1] == Done()
    other.close()


def test_batched_jobs_end_separately(shared: Studio) -> None:
    shared.queue.pause()
    jobs = [shared.submit(drawing(f"face {n}", 0.05, shape=8, steps=20)) for n in range(3)]
    shared.queue.pause(False)
    first_step(shared, jobs[0])
    assert shared.queue.counts()["running"] == 3
    shared.cancel(jobs[1])
    assert [type(list(shared.events(job))[-1]) for job in jobs] == [Done, Cancelled, Done]


def test_a_refusal_in_the_worker_comes_back_as_a_sentence(studio: Studio) -> None:
    finish(studio, drawing("warm up"))
    shutil.rmtree(studio.gallery.folder)
    studio.gallery.folder.write_text("in the way")
    _, end = finish(studio, drawing("a cat"))
    assert isinstance(end, Failed) and "not a folder" in end.sentence


def test_the_worker_does_not_outlive_the_studio(studio: Studio) -> None:
    finish(studio, drawing("warm up"))
    process = studio._worker.process
    assert process
    studio._worker._running.wakes.close()
    # The sentinel, not `is_alive`: the listening thread waits for the same process, and only one of the two is told.
    assert wait([process.sentinel], TIMEOUT)


def test_closing_ends_the_watchers_and_keeps_the_job(studio: Studio) -> None:
    job = studio.submit(drawing("slow", 0.1, steps=100))
    first_step(studio, job)
    closing = threading.Timer(0.2, studio.close)
    closing.start()
    assert isinstance(list(studio.events(job))[-1], Progress), "they do not wait for its end"
    closing.join()
    assert studio.queue.job(job).state == "waiting" and studio.queue.job(job).crash_count == 0


@pytest.mark.parametrize("what", ["Pipe", "Process"])
def test_a_worker_that_can_not_start_fails_its_jobs(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], what: str
) -> None:
    def none_left(*_: Any, **__: Any) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(multiprocessing.get_context("spawn"), what, none_left)
        _, end = finish(studio, drawing("a cat"))
    assert isinstance(end, Failed) and "could not be started" in end.sentence
    assert "Too many open files" in capfd.readouterr().err
    studio.queue.retry()
    assert isinstance(finish(studio, drawing("a cat"))[1], Done), "later there are some again"


class FullDisk(io.StringIO):
    """A log on a full disk."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("name", ["note", "active", "claim_interactive"])
def test_the_worker_retries_after_store_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    home, tries = Home(tmp_path), []
    home.queue.submit(drawing("a cat"))
    store = home.progress if name == "note" else Claims
    real = getattr(store, name)

    def full_at_first(*arguments: Any, **named: Any) -> Any:
        tries.append(arguments)
        if 2 <= len(tries) <= 3:
            raise StoreTrouble("the disk is full.")
        return real(*arguments, **named)

    monkeypatch.setattr(store, name, full_at_first)
    monkeypatch.setattr(worker, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(sys, "stderr", FullDisk())
    shown = work(home)
    assert [str(item) for item in shown if item] == ["the disk is full."] * 2 and shown[-1] is None
    assert home.queue.counts() == {"done": 1} and home.gallery.count() == 1 and len(tries) > 3


def test_waiting_jobs_resume_once_the_disk_has_room(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise StoreTrouble("the disk is full.")

    job = drawing("a cat")
    studio.queue.submit(job)
    monkeypatch.setattr(worker, "AGAIN_SECONDS", 0.1)
    monkeypatch.setattr(Claims, "fail_all", full)
    monkeypatch.setattr(sys, "stderr", FullDisk())
    studio._worker._give_up(Message("the worker could not be started."))
    assert list(studio.events(job.id))[-1] == Done()


def test_a_hanging_worker_is_reported_and_killed(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "QUIET", 1.5)
    job = studio.submit(drawing("slow", 0.1, steps=100))
    first_step(studio, job)
    with client_of(v1.router(studio, "fake")) as client:
        until(lambda: client.get("/api/v1/health").json()["status"] == "ok")
        send(studio, signal.SIGSTOP)
        studio.cancel(job)
        until(studio.trouble)
        result = client.get("/api/v1/health").json()
        assert (
            result["status"] == "stalled"
            and "nothing has been heard" in result["problem"]
            and result["worker_seen"] > 1
        )
    monkeypatch.setattr(worker, "HANGS", 3)
    assert isinstance(list(studio.events(job))[-1], Cancelled)
    assert isinstance(finish(studio, drawing("after"))[1], Done) and studio.trouble() is None


def in_worker(kind: type[Fake], model: str) -> Backend:
    """That backend in the worker; the usual backend here."""
    return kind() if multiprocessing.parent_process() else open_backend(model)


class Other(Fake):
    """The same name with other weights."""

    def digest(self) -> str:
        return "0" * 64


class SecondBatch(Fake):
    """Exits in the second batch."""

    def _images(self, requests: Sequence[ImageRequest], previews: bool) -> Any:
        drawn = 0
        for number, event in super()._images(requests, previews):
            drawn += isinstance(event, Artifact)
            if drawn > 8 or sum(request.count for request in requests) < 8:
                os._exit(3)
            yield number, event


class Deadly(Fake):
    """Exits with the first job, before a step."""

    def digest(self) -> str:
        os._exit(3)


@pytest.mark.parametrize(
    ("kind", "stored", "says"),
    [(Deadly, 0, "exit code 3"), (SecondBatch, 8, "2 times"), (Other, 0, "the model is another one")],
)
def test_jobs_that_crash_the_worker_fail_after_retries(
    tmp_path: Path, kind: type[Fake], stored: int, says: str
) -> None:
    """Crashes in the first job, in the second batch, and another model in the worker."""
    studio = Studio(tmp_path, opener=partial(in_worker, kind))
    job = studio.submit(drawing("many", count=12))
    *_, end = studio.events(job)
    studio.close()
    assert isinstance(end, Failed) and says in end.sentence
    assert len(studio.gallery.results(job)) == stored, "what was drawn is kept"


class Homely(Fake):  # says where its settings are
    def _images(self, requests: Sequence[ImageRequest], previews: bool) -> Any:
        raise Refused(str(settings.home()))


def test_the_worker_reads_the_settings_of_its_home(tmp_path: Path) -> None:
    with Studio(tmp_path / "named", opener=partial(in_worker, Homely)) as studio:
        assert finish(studio, drawing("a cat"))[1] == Failed(Message(str(tmp_path / "named")))


# --- Health -----------------------------------------------------------------------------------------------------------


def health(studio: Studio, model: str = "fake") -> dict[str, Any]:
    with client_of(v1.router(studio, model)) as client:
        result: dict[str, Any] = client.get("/api/v1/health").json()
    return result


def test_health_hashes_no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_tiny_pipeline("sd", tmp_path / "sd")
    for function in ("studio.disk.models.sha256", "models.weights.file_sha256"):
        monkeypatch.setattr(function, lambda path: pytest.fail(f"{path} is read"))
    with Studio(tmp_path / "home") as studio:
        assert health(studio, f"diffusers:{folder}")["status"] == "ok"
        (file,) = (folder / "unet").glob("*.safetensors")
        file.write_bytes(file.read_bytes()[:-1])
        result = health(studio, f"diffusers:{folder}")
        assert result["status"] == "not ready" and file.name in result["problem"]
