"""A process that does the jobs, one after another, with the model kept warm; and the handle the doors hold.

The handle is three calls, `submit`, `events` and `cancel`. Jobs live in memory and travel through a pipe: a store on
disk can take the pipe's place without the doors noticing.
"""

import contextlib
import itertools
import multiprocessing
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from studio.backends.base import Backend
from studio.backends.registry import open_backend
from studio.capabilities import Refused
from studio.events import Cancelled, Done, End, Event, Failed, Progress, Saved
from studio.make import explain, make
from studio.requests import ImageRequest, job_id
from studio.settings import stay_offline

KILLED = 9  # the signal of the kernel when memory runs out; Windows has no name for it
KEPT = 32  # ended jobs whose outcome can still be asked for

Opener = Callable[[str], Backend]


@dataclass
class _Job:
    """What is known of a job: the latest progress with all previews so far, what is saved, and how it ended."""

    request: ImageRequest
    ticket: int  # of this submission: a late cancel can't hit the same job put in line again
    progress: Progress | None = None
    saved: list[Saved] = field(default_factory=list)
    end: End | None = None

    def note(self, event: Event) -> None:
        if isinstance(event, Progress):
            before = self.progress or event
            previews, unknown = {**before.previews, **event.previews}, event.unknown or before.unknown
            self.progress = replace(event, previews=previews, unknown=unknown)
        elif isinstance(event, Saved):
            self.saved.append(event)
        else:
            self.end = event


class Worker:
    """A worker process that is started when there is something to do, and again when it dies.

    `folder` takes the pictures; `opener` turns a model's name into a backend, here and in the worker.
    """

    def __init__(self, folder: Path, opener: Opener = open_backend) -> None:
        self.folder = folder
        self._opener = opener
        self._jobs: dict[str, _Job] = {}
        self._tickets = itertools.count()
        self._changed = threading.Condition()
        self._process: BaseProcess | None = None
        self._orders: Connection | None = None
        self._closing = False

    def submit(self, request: ImageRequest) -> str:
        """Put a resolved request in line and say its id. A job that is in line already is not put there twice."""
        job = job_id(request, self._opener(request.model).digest())
        with self._changed:
            if job not in self._jobs or self._jobs[job].end:
                self._jobs.pop(job, None)
                self._jobs[job] = state = _Job(request, next(self._tickets))
                self._forget_old()
                self._start()
                self._send("do", job, state.ticket, request)
        return job

    def events(self, job: str) -> Iterator[Progress | Saved | End]:
        """What happens to a job until it ends. Progress that nobody waited for is left out, the latest holds it all.

        Whoever comes late, or twice, gets the state so far first. Raises KeyError for a job that nobody knows.
        """
        with self._changed:
            state = self._jobs[job]
        seen, told = None, 0
        while True:
            with self._changed:
                while not (state.end or state.progress is not seen or len(state.saved) > told):
                    self._changed.wait()
                progress, saved, end = state.progress, state.saved[told:], state.end
            if progress is not None and progress is not seen:
                yield progress
            yield from saved
            seen, told = progress, told + len(saved)
            if end:
                yield end
                return

    def cancel(self, job: str) -> None:
        """Stop a job at its next step, or before it begins. Nothing happens where it has ended."""
        with self._changed:
            if job in self._jobs:
                self._send("cancel", self._jobs[job].ticket)

    def request(self, job: str) -> ImageRequest:
        """What a job asks for. Raises KeyError for a job that nobody knows."""
        with self._changed:
            return self._jobs[job].request

    def waiting(self, job: str) -> int:
        """How many jobs are in line before this one."""
        with self._changed:
            open_jobs = [name for name, state in self._jobs.items() if not state.end]
        return open_jobs.index(job) if job in open_jobs else 0

    def latest(self) -> str | None:
        """The job that is being done, else None: where a page that was closed picks the thread up again."""
        with self._changed:
            return next((name for name, state in self._jobs.items() if not state.end), None)

    def warm(self, model: str) -> None:
        """Start the process and load the model, so that the first job need not wait for it."""
        with self._changed:
            self._start()
            self._send("load", model)

    def close(self) -> None:
        """End the process; what is whole on disk stays."""
        with self._changed:
            self._closing, process = True, self._process
            for state in self._jobs.values():
                state.end = state.end or Failed("the studio was closed.")
            self._changed.notify_all()
        if process:
            process.terminate()
            process.join(5)
            process.kill()

    def _start(self) -> None:
        if self._process and self._process.is_alive():
            return
        context = multiprocessing.get_context("spawn")  # fork would copy the page's threads and locks
        theirs, self._orders = context.Pipe(duplex=False)
        ours, reports = context.Pipe(duplex=False)
        arguments = (theirs, reports, self.folder, self._opener)
        self._process = context.Process(target=_serve, args=arguments, daemon=True, name="studio-worker")
        self._process.start()
        theirs.close()  # only the worker holds these ends now: their closing tells of its death
        reports.close()
        threading.Thread(target=self._listen, args=(self._process, ours), daemon=True).start()

    def _send(self, *order: object) -> None:
        if self._orders:
            with contextlib.suppress(OSError):  # it died just now: _bury puts waiting jobs in line again
                self._orders.send(order)

    def _listen(self, process: BaseProcess, reports: Connection) -> None:
        ready = False
        with contextlib.suppress(EOFError, OSError):
            while True:
                job, event = reports.recv()
                ready = True
                with self._changed:
                    if event and job in self._jobs:
                        self._jobs[job].note(event)
                        self._changed.notify_all()
        process.join()
        with self._changed:
            if not self._closing:
                self._bury(process.exitcode, ready)

    def _bury(self, code: int | None, ready: bool) -> None:
        """The worker died: the job it was doing has failed, those in line go to a new one, if this one had worked."""
        for state in self._jobs.values():
            if not state.end and (state.progress or not ready):
                state.end = Failed(_obituary(code, ready))
        self._changed.notify_all()
        waiting = {job: state for job, state in self._jobs.items() if not state.end}
        if waiting:
            self._start()
        for job, state in waiting.items():
            self._send("do", job, state.ticket, state.request)

    def _forget_old(self) -> None:
        for job in [job for job, state in self._jobs.items() if state.end][:-KEPT]:
            del self._jobs[job]


def _obituary(code: int | None, ready: bool) -> str:
    if not ready:
        return f"the worker process could not be started (exit code {code}); its messages are in the terminal."
    how = f"was ended by signal {-code}" if code and code < 0 else f"ended with exit code {code}"
    hint = "; perhaps the memory ran out, ask for fewer pictures at once" if code == -KILLED else ""
    return f"the worker process {how} in the middle of this job{hint}. It starts again with the next one."


def _serve(orders: Connection, reports: Connection, folder: Path, opener: Opener) -> None:
    """The worker process: take orders until the other side is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is the page's to answer
    stay_offline()
    todo: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
    cancelled: set[int] = set()
    threading.Thread(target=_take, args=(orders, todo, cancelled), daemon=True).start()
    reports.send(("", None))
    backends: dict[str, Backend] = {}
    while True:
        kind, *order = todo.get()
        if kind == "load":
            _warm(backends, opener, order[0])
            continue
        job, ticket, request = order
        for event in _do(backends, opener, request, folder, partial(cancelled.__contains__, ticket)):
            reports.send((job, event))


def _take(orders: Connection, todo: queue.SimpleQueue, cancelled: set[int]) -> None:
    try:
        while True:
            order = orders.recv()
            if order[0] == "cancel":
                cancelled.add(order[1])
            else:
                todo.put(order)
    except (EOFError, OSError):
        os._exit(0)  # the studio is gone; no orphan goes on computing


def _do(
    backends: dict[str, Backend], opener: Opener, request: ImageRequest, folder: Path, cancelled: Callable[[], bool]
) -> Iterator[Event]:
    try:
        events = make(_backend(backends, opener, request.model), request, folder)
        with contextlib.closing(events):
            for event in events:
                if cancelled():
                    yield Cancelled()
                    return
                yield event
        yield Done()
    except Refused as error:
        yield Failed(str(error))
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        yield Failed(explain(error))


def _backend(backends: dict[str, Backend], opener: Opener, model: str) -> Backend:
    if model not in backends:
        backends.clear()  # one model in memory at a time
        backends[model] = opener(model)
    return backends[model]


def _warm(backends: dict[str, Backend], opener: Opener, model: str) -> None:
    with contextlib.suppress(Exception):  # the first job will say what is wrong
        _backend(backends, opener, model).load()
