"""Jobs in a process of their own: seen step by step, stopped, found again, and lost to nobody when the worker dies."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import wait
from pathlib import Path

import pytest
from PIL import Image

from studio.backends.base import Backend
from studio.backends.fake import Fake
from studio.backends.registry import open_backend
from studio.events import Cancelled, Done, End, Failed, Progress, Saved
from studio.requests import ImageRequest, image_request, resolve
from studio.worker import Worker


def ask(prompt: str, seconds: float = 0, **settings: object) -> ImageRequest:
    model = f"fake:{seconds}" if seconds else "fake"
    settings = {"seed": 1, "steps": 4, **settings}
    return resolve(image_request(prompt=prompt, model=model, **settings), open_backend(model).capabilities())


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    worker = Worker(tmp_path)
    yield worker
    worker.close()


def finish(worker: Worker, request: ImageRequest) -> tuple[list[Saved], End]:
    *events, end = worker.events(worker.submit(request))
    return [event for event in events if isinstance(event, Saved)], end


def first_step(worker: Worker, job: str) -> Progress:
    return next(event for event in worker.events(job) if isinstance(event, Progress) and event.step)


def kill(worker: Worker) -> None:
    assert worker._process and worker._process.pid
    os.kill(worker._process.pid, signal.SIGKILL)


def test_a_job_is_seen_step_by_step_and_ends_saved(worker: Worker) -> None:
    events = list(worker.events(worker.submit(ask("an axolotl", 0.05, count=2))))
    steps = [event.step for event in events if isinstance(event, Progress)]
    last = [event for event in events if isinstance(event, Progress)][-1]
    saved = [event for event in events if isinstance(event, Saved)]
    assert steps == sorted(steps) and steps[-1] == 4 and len(steps) >= 4
    assert set(last.previews) == {0, 1} and last.previews[0].startswith(b"\x89PNG")
    assert last.unknown[0].word == "axolotl", "what is not known stays said until the end"
    assert [event.seed for event in saved] == [1, 2] and isinstance(events[-1], Done)
    assert Image.open(saved[0].path).mode == "RGBA"


def test_the_same_job_is_found_not_made_again(worker: Worker) -> None:
    first, _ = finish(worker, ask("a cat"))
    second, end = finish(worker, ask("a cat"))
    assert not first[0].found and second[0].found and isinstance(end, Done)
    Path(first[0].path).write_bytes(Path(first[0].path).read_bytes()[:-20])
    third, _ = finish(worker, ask("a cat"))
    assert not third[0].found, "a picture that was cut short is made again"


def test_cancel_stops_a_running_job_and_one_in_line(worker: Worker) -> None:
    running, waiting = worker.submit(ask("slow", 0.1, steps=100)), worker.submit(ask("next", 0.1))
    first_step(worker, running)
    assert (worker.waiting(running), worker.waiting(waiting)) == (0, 1)
    worker.cancel(waiting)
    worker.cancel(running)
    assert isinstance(list(worker.events(running))[-1], Cancelled)
    assert isinstance(list(worker.events(waiting))[-1], Cancelled)
    assert not list(worker.folder.iterdir()), "nothing half-made is left"
    assert isinstance(finish(worker, ask("next", 0.1))[1], Done), "a cancelled job can be asked for again"


def test_two_watchers_see_the_same_job_and_leaving_does_not_stop_it(worker: Worker) -> None:
    job = worker.submit(ask("a dog", 0.05, steps=10))
    worker.events(job).close()
    ends: list[object] = []
    watch = [threading.Thread(target=lambda: ends.append(list(worker.events(job))[-1])) for _ in range(2)]
    for thread in watch:
        thread.start()
    assert worker.submit(ask("a dog", 0.05, steps=10)) == job, "in line already: not put there twice"
    for thread in watch:
        thread.join(20)
    assert ends == [Done(), Done()]
    assert isinstance(list(worker.events(job))[-1], Done), "who comes late sees how it ended"


def test_a_dead_worker_fails_its_job_and_the_next_one_is_done(worker: Worker) -> None:
    running, waiting = worker.submit(ask("slow", 0.1, steps=100)), worker.submit(ask("next", 0.01))
    first_step(worker, running)
    kill(worker)
    end = list(worker.events(running))[-1]
    assert isinstance(end, Failed) and "signal 9" in end.sentence and "memory" in end.sentence
    assert isinstance(list(worker.events(waiting))[-1], Done)
    kill(worker)
    assert isinstance(finish(worker, ask("after"))[1], Done)


def test_a_refusal_in_the_worker_comes_back_as_a_sentence(worker: Worker) -> None:
    first, _ = finish(worker, ask("warm up"))
    Path(first[0].path).unlink()
    worker.folder.rmdir()
    worker.folder.write_text("in the way")
    _, end = finish(worker, ask("a cat"))
    assert isinstance(end, Failed) and "not a folder" in end.sentence


def test_the_worker_does_not_outlive_the_studio(worker: Worker) -> None:
    finish(worker, ask("warm up"))
    assert worker._process and worker._orders
    worker._orders.close()
    # The sentinel, not `is_alive`: the listening thread waits for the same process, and only one of the two is told.
    assert wait([worker._process.sentinel], 10)


def test_closing_ends_the_watchers(worker: Worker) -> None:
    job = worker.submit(ask("slow", 0.1, steps=100))
    first_step(worker, job)
    threading.Timer(0.2, worker.close).start()
    began = time.monotonic()
    assert isinstance(list(worker.events(job))[-1], Failed)
    assert time.monotonic() - began < 5


def test_a_job_that_ends_every_worker_is_not_tried_for_ever(tmp_path: Path) -> None:
    worker = Worker(tmp_path, opener=_opener_that_ends_the_worker)
    *_, end = worker.events(worker.submit(ask("a cat")))
    worker.close()
    assert isinstance(end, Failed) and "exit code 3" in end.sentence


def _opener_that_ends_the_worker(model: str) -> Backend:
    return Deadly() if multiprocessing.parent_process() else open_backend(model)


class Deadly(Fake):
    """Ends its process with the first job, before a step is done."""

    def digest(self) -> str:
        os._exit(3)
