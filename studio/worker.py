"""The worker process: takes jobs from the queue, does them with a model that stays loaded, and reports to the store.
Questions go before jobs, and are answered in the middle of them where the model is the same.

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
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
from filelock import FileLock

from models.messages import Refused
from studio.backends.base import Backend
from studio.backends.registry import Opener
from studio.database import StoreTrouble
from studio.events import Answer, Cancelled, Done, End, Enlarged, Failed, Progress, Result, Saved
from studio.files import UPLOAD, remove_parts, remove_uploads
from studio.house import House
from studio.inputs import INPUTS
from studio.make import explain, make_together
from studio.metadata import encoded
from studio.questions import Asked, question_id
from studio.queue import Queue, QueuedJob, Wish
from studio.requests import job_id
from studio.settings import stay_offline, uploads
from studio.shelves import GalleryShelf

LOCK = "worker.lock"  # in the home: the one worker holds it
TROUBLE = 2.0  # seconds between attempts where the store refuses
POLL = 0.2  # seconds between looks at the queue, for jobs that other processes put in
GROWN = 75  # exit code of a worker that wants to be started anew
WARM_JOBS = 3  # after which a model's memory should have stopped growing
REPLACED = "the model is another one since this was asked for; ask again."
GROWTH = 1 << 30  # bytes beyond what it had then, and half as much again


def serve(orders: Connection, reports: Connection, root: Path, opener: Opener, owner: str) -> None:
    """Do what is in the queue of the home `root` until the other side of `orders` is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is the page's to answer
    stay_offline()
    house = House(root)
    bell = _Bell(orders, house.queue, owner)
    with FileLock(root / LOCK):
        _work(house, _Bench(opener), bell, owner, lambda: reports.send("started"))


def _work(house: House, bench: "_Bench", bell: "_Bell", owner: str, started: Callable[[], None]) -> None:
    """Take jobs and do them. Where the store refuses (a full disk), wait and try again: nothing is lost meanwhile."""
    shift, ready = _Shift(house, owner), False
    while True:
        try:
            if not ready:
                _tidy(house, owner)
            asked = house.questions.claim(owner)
            jobs = [] if asked else house.queue.claim(owner)
            if not ready:
                ready = True
                started()
            if asked:
                shift.answer(asked, bench)
            elif not jobs:
                bench.warm(bell.wait())
            if not jobs:
                continue
            shift.do(jobs, bench)
            if sentence := bench.has_grown():
                house.queue.say(sentence)
                sys.stderr.write(f"studio: {sentence}\n")
                sys.stderr.flush()
                os._exit(GROWN)  # what it holds would go on holding it through an orderly exit
        except Refused as refusal:
            sys.stderr.write(f"studio: {refusal}\n")
            time.sleep(TROUBLE)
            with contextlib.suppress(Refused):
                house.queue.release(owner)


def _tidy(house: House, owner: str) -> None:
    """What the last worker left: its jobs, its progress, its unfinished files."""
    house.queue.recover(owner)
    house.live.keep_only(job.id for job in house.queue.jobs())
    for folder in (house.gallery.folder, house.root / INPUTS):
        remove_parts(folder)
    remove_uploads((*(house.root / "cache").glob(f"{UPLOAD}*"), *uploads(house.root).glob("*")))


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
        try:
            with contextlib.suppress(EOFError, OSError):
                while True:
                    self._model = orders.recv() or self._model
                    self._rung.set()
            queue.release(owner)
        finally:
            os._exit(0)  # no orphan goes on computing, store or no store


class _Bench:
    """The one model in memory, and whether it grows."""

    def __init__(self, opener: Opener) -> None:
        self._opener, self._name, self._digest = opener, "", ""
        self._backend: Backend | None = None
        self._jobs, self._usual = 0, 0

    def backend(self, model: str) -> Backend:
        """The backend of that name, in the place of the last one; opened anew where its files are others by now."""
        if self._backend is None or self._name != model or self._backend.digest() != self._digest:
            self._backend = None
            self._backend, self._name, self._jobs = self._opener(model), model, 0
            self._digest = self._backend.digest()
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

    def __init__(self, house: House, owner: str) -> None:
        self._queue, self._live, self._gallery, self._owner = house.queue, house.live, house.gallery, owner
        self._questions = house.questions

    def answer(self, asked: Asked, bench: _Bench) -> None:
        """Answer a question. Refused where the store can't be told: whoever claims next gets it again."""
        found = self._found(asked, bench)
        if isinstance(found, Failed):
            self._queue.end(self._owner, asked.id, found)
        else:
            self._questions.answer(self._owner, asked.id, found)

    def _found(self, asked: Asked, bench: _Bench) -> tuple[Answer, ...] | Failed:
        try:
            backend = bench.backend(asked.request.model)
            if question_id(asked.request, backend.digest()) != asked.id:
                return Failed(REPLACED)
            told = (event for event in backend.run(asked.request) if not isinstance(event, Progress))
            return tuple(_enlarged(event) if isinstance(event, Result) else event for event in told)
        except Refused as refusal:
            return Failed(str(refusal))
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            return Failed(explain(error))

    def do(self, jobs: list[QueuedJob], bench: _Bench) -> None:
        """Do jobs of one company, until each has ended. Refused where the store can't be told."""
        self._live.show_only(job.id for job in jobs)
        for job in jobs:
            self._live.begin(job.id)
        errands = [_Errand(job) for job in jobs]
        while errands:
            try:
                errands = self._together(self._ours(errands, bench), bench)
            except StoreTrouble:
                raise
            except Refused as refusal:
                errands = self._fail(errands, str(refusal))
            except Exception as error:
                if len(errands) > 1:  # one of them may be too much: each alone
                    self._each_alone(errands, bench)
                    return
                traceback.print_exc(file=sys.stderr)
                errands = self._fail(errands, explain(error))

    def _each_alone(self, errands: list[_Errand], bench: _Bench) -> None:
        held = self._queue.wishes(self._owner)  # some may have ended
        for errand in errands:
            if errand.job.id in held:
                self.do([errand.job], bench)

    def _ours(self, errands: list[_Errand], bench: _Bench) -> list[_Errand]:
        """Those that were asked of this very model; its files may have been replaced while they waited."""
        digest = bench.backend(errands[0].job.request.model).digest()
        others = [errand for errand in errands if job_id(errand.job.request, digest) != errand.job.id]
        self._fail(others, REPLACED)
        return [errand for errand in errands if errand not in others]

    def _together(self, errands: list[_Errand], bench: _Bench) -> list[_Errand]:
        """Do them until one is stopped -> those that are to go on without it."""
        if not errands:
            return []
        requests = [errand.job.request for errand in errands]
        events = make_together(bench.backend(requests[0].model), requests, GalleryShelf(self._gallery))
        ended: set[int] = set()
        with contextlib.closing(events):
            for number, event in events:
                if asked := self._questions.claim(self._owner, between=requests[0].model):
                    self.answer(asked, bench)
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
            errand.pictures += not event.found  # one from an earlier try is no sign of life
            if errand.job.deaths and errand.pictures == 1 and not event.found:
                self._queue.alive(self._owner, errand.job.id)
        else:
            return event
        return None

    def _fail(self, errands: list[_Errand], sentence: str) -> list[_Errand]:
        for errand in errands:
            self._queue.end(self._owner, errand.job.id, Failed(sentence))
        return []


def _enlarged(result: Result) -> Enlarged:
    return Enlarged(encoded([result.picture], None, "png"))
