"""The worker process: takes jobs from the queue, does them with a model that stays loaded, and reports to the store.

There is one worker a home at a time, whoever started it: a lock that the system drops with the process says so. A
second one waits for it. The worker ends with the studio that started it.
"""

import contextlib
import os
import signal
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
from filelock import FileLock

from studio.backends.base import Backend
from studio.backends.registry import Opener
from studio.capabilities import Refused
from studio.events import Cancelled, Done, End, Failed, Progress, Saved
from studio.files import remove_parts
from studio.gallery import Gallery
from studio.house import House
from studio.live import Live
from studio.make import explain, make_together
from studio.queue import Queue, QueuedJob, Wish
from studio.settings import stay_offline
from studio.shelves import GalleryShelf

POLL = 0.2  # seconds between looks at the queue, for jobs that other processes put in
GROWN = 75  # exit code of a worker that wants to be started anew
WARM_JOBS = 3  # after which a model's memory should have stopped growing
GROWTH = 1 << 30  # bytes beyond what it had then, and half as much again


def serve(orders: Connection, reports: Connection, root: Path, opener: Opener, owner: str) -> None:
    """Do what is in the queue of the home `root` until the other side of `orders` is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is the page's to answer
    stay_offline()
    house = House(root)
    bell = _Bell(orders, house.queue, owner)
    reports.send("started")
    with FileLock(root / "worker.lock"):
        house.queue.recover(owner)
        house.live.keep_only(job.id for job in house.queue.jobs())
        remove_parts(house.gallery.folder)
        _work(house, _Bench(opener), bell, owner)


def _work(house: House, bench: "_Bench", bell: "_Bell", owner: str) -> None:
    shift = _Shift(house.queue, house.live, house.gallery, owner)
    while True:
        jobs = house.queue.claim(owner)
        if jobs:
            shift.do(jobs, bench)
            if sentence := bench.has_grown():
                sys.stderr.write(f"studio: {sentence}\n")
                house.queue.notice(sentence)
                sys.stderr.flush()
                os._exit(GROWN)  # what it holds would go on holding it through an orderly exit
        else:
            bench.warm(bell.wait())


class _Bell:
    """Listens to the studio that started this worker; when it is gone, puts the work back and ends the process."""

    def __init__(self, orders: Connection, queue: Queue, owner: str) -> None:
        self._rung, self._model = threading.Event(), ""
        threading.Thread(target=self._listen, args=(orders, queue, owner), daemon=True).start()

    def wait(self) -> str:
        """Until it rings, or a moment -> the model to have ready, if one was named."""
        self._rung.wait(POLL)
        self._rung.clear()
        model, self._model = self._model, ""
        return model

    def _listen(self, orders: Connection, queue: Queue, owner: str) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                self._model = orders.recv() or self._model
                self._rung.set()
        with contextlib.suppress(Refused):  # no orphan goes on computing, store or no store
            queue.release(owner)
        os._exit(0)


class _Bench:
    """The one model in memory, and whether it grows."""

    def __init__(self, opener: Opener) -> None:
        self._opener, self._name = opener, ""
        self._backend: Backend | None = None
        self._jobs, self._usual = 0, 0

    def backend(self, model: str) -> Backend:
        """The backend of that name, in the place of the last one."""
        if self._backend is None or self._name != model:
            self._backend = None
            self._backend, self._name, self._jobs = self._opener(model), model, 0
        return self._backend

    def warm(self, model: str) -> None:
        """Load a model before it is needed."""
        if model:
            with contextlib.suppress(Exception):  # the first job will say what is wrong
                self.backend(model).load()

    def has_grown(self) -> str:
        """A sentence if the process holds far more memory than it did after the model's first jobs."""
        self._jobs += 1
        held = psutil.Process().memory_info().rss
        if self._jobs <= WARM_JOBS:
            self._usual = held
        if held < self._usual * 1.5 + GROWTH:
            return ""
        return f"the worker's memory grew from {self._usual >> 20} to {held >> 20} MB; it was started anew."


@dataclass
class _Errand:
    """A job that is being done."""

    job: QueuedJob
    began: float
    pictures: int = 0
    last: int | None = None  # pictures it had when somebody wished that it ends with the next ones

    def stops(self, wish: Wish, event: Progress | Saved | Done | Failed) -> bool:
        """Whether this is where it ends early, by the wish."""
        if wish == "finish" and self.last is None:
            self.last = self.pictures
        over = self.last is not None and self.pictures > self.last and isinstance(event, Progress)
        return wish == "cancel" or over


class _Shift:
    """What one worker does with the jobs it takes."""

    def __init__(self, queue: Queue, live: Live, gallery: Gallery, owner: str) -> None:
        self._queue, self._live, self._gallery, self._owner = queue, live, gallery, owner

    def do(self, jobs: list[QueuedJob], bench: _Bench) -> None:
        """Do jobs of one company, until each has ended."""
        errands = [_Errand(job, time.monotonic()) for job in jobs]
        for errand in errands:
            self._live.begin(errand.job.id)
        while errands:
            try:
                errands = self._together(errands, bench.backend(errands[0].job.request.model))
            except Refused as refusal:
                errands = self._fail(errands, str(refusal))
            except Exception as error:
                traceback.print_exc(file=sys.stderr)
                errands = self._fail(errands, explain(error))

    def _together(self, errands: list[_Errand], backend: Backend) -> list[_Errand]:
        """Do them until one is stopped -> those that are to go on without it."""
        shelf = GalleryShelf(self._gallery)
        events = make_together(backend, [errand.job.request for errand in errands], shelf)
        ended: set[int] = set()
        with contextlib.closing(events):
            for number, event in events:
                if number in ended:
                    continue
                errand = errands[number]
                wishes = self._queue.wishes(self._owner)
                stopped = {n for n, e in enumerate(errands) if n not in ended and self._stops(e, wishes, event, errand)}
                for n in stopped:
                    self._queue.end(self._owner, errands[n].job.id, Cancelled())
                if stopped:
                    return [errand for n, errand in enumerate(errands) if n not in stopped | ended]
                if end := self._report(errand, event):
                    self._queue.end(self._owner, errand.job.id, end)
                    ended.add(number)
        return []

    def _stops(
        self, errand: _Errand, wishes: dict[str, Wish], event: Progress | Saved | Done | Failed, whose: _Errand
    ) -> bool:
        wish = wishes.get(errand.job.id, "cancel")  # one that is no longer ours is not to be done
        return errand.stops(wish, event) if errand is whose else wish == "cancel"

    def _report(self, errand: _Errand, event: Progress | Saved | Done | Failed) -> End | None:
        if isinstance(event, Progress):
            self._live.note(errand.job.id, event)
        elif isinstance(event, Saved):
            errand.pictures += 1
            if errand.job.deaths and errand.pictures == 1:
                self._queue.alive(self._owner, errand.job.id)
        else:
            return event
        return None

    def _fail(self, errands: list[_Errand], sentence: str) -> list[_Errand]:
        for errand in errands:
            self._queue.end(self._owner, errand.job.id, Failed(sentence))
        return []
