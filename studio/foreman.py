"""Keeps a worker going: starts the process, wakes it, starts it again when it dies, tells the queue what ended it."""

import contextlib
import multiprocessing
import signal
import sys
import threading
import uuid
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from studio.backends.registry import Opener, open_backend
from studio.queue import Queue
from studio.worker import GROWN, serve

KILLED = 9  # the signal of the kernel when memory runs out; Windows has no name for it
STARTS = 3  # that fail in a row by themselves, after which nobody waits any longer
PAUSE = 0.2  # seconds before a start that follows a death


@dataclass
class _Shift:
    """One worker process: what it is called in the queue, and the pipe that wakes it and whose end tells it to go."""

    owner: str
    process: BaseProcess
    orders: Connection


class Foreman:
    """The worker of the home `root`. `opener` turns a model's name into a backend, in the worker."""

    def __init__(self, root: Path, queue: Queue, opener: Opener = open_backend) -> None:
        self._root, self._queue, self._opener = root, queue, opener
        self._lock, self._closing = threading.Lock(), threading.Event()
        self._shift: _Shift | None = None
        self._failed_starts = 0

    def start(self) -> None:
        """Start the worker, if it isn't there: it looks into the queue by itself."""
        with self._lock:
            if self._shift is None and not self._closing.is_set():
                self._failed_starts = 0
                self._begin()

    def wake(self, model: str = "") -> None:
        """Have the worker look into the queue now, and load `model` if there is nothing to do."""
        self.start()
        with self._lock:
            if self._shift:
                with contextlib.suppress(OSError):  # it died just now; the next one looks by itself
                    self._shift.orders.send(model)

    def close(self) -> None:
        """End the worker; what it was doing goes back in line."""
        self._closing.set()
        with self._lock:
            shift, self._shift = self._shift, None
        if shift:
            shift.orders.close()
            if not wait([shift.process.sentinel], 5):
                shift.process.kill()

    @property
    def process(self) -> BaseProcess | None:
        """The worker's process, while there is one."""
        return self._shift.process if self._shift else None

    def _begin(self) -> None:
        context = multiprocessing.get_context("spawn")  # fork would copy the page's threads and locks
        theirs, orders = context.Pipe(duplex=False)
        ours, reports = context.Pipe(duplex=False)
        owner = uuid.uuid4().hex
        arguments = (theirs, reports, self._root, self._opener, owner)
        process = context.Process(target=serve, args=arguments, daemon=True, name="studio-worker")
        process.start()
        theirs.close()  # only the worker holds these ends now: their closing tells of its death
        reports.close()
        self._shift = _Shift(owner, process, orders)
        threading.Thread(target=self._watch, args=(self._shift, ours), daemon=True).start()

    def _watch(self, shift: _Shift, reports: Connection) -> None:
        try:
            reports.recv()
            started = True
        except (EOFError, OSError):
            started = False
        wait([shift.process.sentinel])
        shift.process.join()
        if not self._closing.is_set():
            self._replace(shift, shift.process.exitcode, started)

    def _replace(self, shift: _Shift, code: int | None, started: bool) -> None:
        if code != GROWN:
            self._queue.bury(shift.owner, obituary(code))
            self._closing.wait(PAUSE)
        with self._lock:
            self._shift = None
            # Ended by itself it is broken, and will be the next time; by a signal, somebody's doing or the memory's.
            self._failed_starts = 0 if started or code is None or code < 0 else self._failed_starts + 1
            if self._closing.is_set():
                return
            if self._failed_starts < STARTS:
                self._begin()
                return
        sentence = f"the worker process could not be started ({obituary(code)}); its messages are in the terminal."
        sys.stderr.write(f"studio: {sentence}\n")
        self._queue.give_up(sentence)


def obituary(code: int | None) -> str:
    """How a process ended, as part of a sentence."""
    if code is None or code >= 0:
        return f"ended with exit code {code}"
    hint = " (perhaps the memory ran out)" if -code == KILLED else ""
    with contextlib.suppress(ValueError):
        return f"was ended by signal {-code}, {signal.Signals(-code).name}{hint}"
    return f"was ended by signal {-code}{hint}"
