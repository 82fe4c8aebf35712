"""Supervises workers, one a device: starts their processes, wakes them, restarts one that dies, and tells the queue how
it ended.
"""

import contextlib
import functools
import multiprocessing
import pickle
import signal
import threading
import uuid
from dataclasses import dataclass, field
from multiprocessing import spawn
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from filelock import Timeout

from models.messages import Message, Refused
from studio import settings
from studio.backends.base import Opener, open_backend
from studio.database import Database
from studio.disk.memory import cards
from studio.heartbeat import BEAT, HANGS, Sign, complain, trouble
from studio.queue import Claims
from studio.worker import RESTART_CODE, alone, serve

KILLED = 9  # the signal of the kernel when memory runs out; Windows has no name for it
MAX_FAILED_STARTS = 3  # in a row, after which what is open fails
SHUTDOWN_CODES = (-signal.SIGTERM, -getattr(signal, "SIGHUP", signal.SIGTERM))  # a computer that shuts down
RESTART_SECONDS = 0.2  # seconds before a start that follows a death
AGAIN_SECONDS = 5.0  # seconds before a start that follows the last one of MAX_FAILED_STARTS
NAME = "studio-worker"  # a process of this name does not import the program that started it


@dataclass
class _Running:
    """One worker process: what it is called in the queue, and the pipe that wakes it and whose end tells it to go."""

    owner: str
    process: BaseProcess
    wakes: Connection
    sign: Sign = field(default_factory=Sign)
    hung: bool = False


class Workers:
    """Those of the home `root`. `opener` turns a model's name into a backend, in the worker."""

    def __init__(self, root: Path, database: Database, opener: Opener = open_backend) -> None:
        self._root, self._make = root, functools.partial(Supervisor, root, database, opener)
        self._computes = functools.cache(lambda model: opener(model).capabilities().memory)
        self._each: list[Supervisor] = []
        self._lock, self._closed = threading.Lock(), False

    @property
    def each(self) -> "list[Supervisor]":
        """They are found when the first is needed: to count the cards takes a moment. None once they were closed."""
        with self._lock:
            if not self._each and not self._closed:
                devices = enumerate(settings.devices(lambda: len(cards())))
                self._each = [self._make(f".{n}" if n else "", device) for n, device in devices]
            return self._each

    def wake(self, model: str, load: bool = False) -> None:
        """Have them look into the queue for a job of `model`, or `load` it; those on further cards that nobody named
        only where it computes there.
        """
        for number, one in enumerate(self.each):
            with contextlib.suppress(Refused):
                if not number or settings.device() or (model and self._computes(model)):
                    one.wake(model if load else "")

    def close(self) -> None:
        """End them; what they were doing goes back in line."""
        with self._lock:
            self._closed = True
        for one in self._each:
            one.close()

    def trouble(self) -> Message | None:
        """What keeps one from its jobs, where something does."""
        return next(filter(None, (one.problem for one in self._each)), None) or trouble(self._root)


class Supervisor:
    """One of them, which computes on `device`; `slot` tells it from the home's others."""

    def __init__(
        self, root: Path, database: Database, opener: Opener = open_backend, slot: str = "", device: str = ""
    ) -> None:
        self._root, self._database, self._opener, self._slot, self._device = root, database, opener, slot, device
        self._lock, self._closing = threading.Lock(), threading.Event()
        self._running: _Running | None = None
        self._failed_starts = 0

    def wake(self, model: str = "") -> None:
        """Have the worker look into the queue now, and load `model` if there is nothing to do; start it if it isn't
        there.
        """
        with self._lock:
            begun = True
            if self._running is None and not self._closing.is_set():
                self._failed_starts = 0
                begun = self._begin()
            if self._running:
                with contextlib.suppress(OSError):  # it died just now; the next one looks by itself
                    self._running.wakes.send(model)
        if not begun:
            self._give_up(Message("worker.no_process"))

    def close(self) -> None:
        """End the worker; what it was doing goes back in line."""
        self._closing.set()
        with self._lock:
            running, self._running = self._running, None
        if running:
            running.wakes.close()
            if not wait([running.process.sentinel], 5):
                running.process.kill()
                wait([running.process.sentinel], 5)
            with contextlib.suppress(Refused):  # the next worker puts back what this one can't
                Claims(self._database, running.owner).release()

    @property
    def problem(self) -> Message | None:
        """What keeps the worker from its jobs, where it says so."""
        running = self._running
        return running.sign.problem if running else None

    @property
    def process(self) -> BaseProcess | None:
        return self._running.process if self._running else None

    def _begin(self) -> bool:
        """Start a process -> whether the system let us."""
        owner = uuid.uuid4().hex + self._slot
        context = multiprocessing.get_context("spawn")  # fork would copy threads and locks
        name = NAME if b"__main__" not in pickle.dumps(self._opener) else f"{NAME} with the starter's program"
        try:
            theirs, wakes = context.Pipe(duplex=False)
            ours, reports = context.Pipe(duplex=False)
            arguments = (theirs, reports, self._root, self._opener, owner, self._device)
            process = context.Process(target=serve, args=arguments, daemon=True, name=name)
            process.start()
        except OSError as error:
            complain(f"no process can be started ({error.strerror}).")
            return False
        theirs.close()  # only the worker holds these ends now: their closing tells of its death
        reports.close()
        self._running = _Running(owner, process, wakes)
        threading.Thread(target=self._watch, args=(self._running, ours), daemon=True).start()
        return True

    def _watch(self, running: _Running, reports: Connection) -> None:
        ended, looks = running.process.sentinel, 0
        with contextlib.suppress(EOFError, OSError):  # it is gone
            while looks < HANGS:
                said = wait([reports, ended], BEAT)
                looks = 0 if said else looks + 1
                if reports in said:
                    running.sign = reports.recv()
                elif said:
                    break
            else:
                running.hung = True
                complain(Message("worker.hung", {"seconds": round(HANGS * BEAT)}))
                running.process.kill()
        wait([ended])
        running.process.join()
        if not self._closing.is_set():
            self._replace(running, running.process.exitcode)

    def _replace(self, running: _Running, code: int | None) -> None:
        how = Message("worker.hung_up", {"seconds": round(HANGS * BEAT)}) if running.hung else exit_reason(code)
        with contextlib.suppress(Refused):  # a full disk, for one: the next worker puts its jobs back
            if code in SHUTDOWN_CODES:
                Claims(self._database, running.owner).release()
            elif code != RESTART_CODE:
                Claims(self._database, running.owner).release(how)
        self._closing.wait(0.0 if code == RESTART_CODE else RESTART_SECONDS)
        with self._lock:
            self._running = None
            # Ended by itself it is broken, and will be the next time; by a signal, somebody's doing or the memory's.
            self._failed_starts = 0 if running.sign.started or code is None or code < 0 else self._failed_starts + 1
            if self._closing.is_set() or (self._failed_starts < MAX_FAILED_STARTS and self._begin()):
                return
        self._give_up(Message("worker.no_start", {"how": how}))

    def _give_up(self, message: Message) -> None:
        """Nobody is to wait in vain, unless another worker is at it. Where the store can't be told (a full disk), try
        again: what is open would wait for the next job.
        """
        complain(message)
        try:
            with contextlib.suppress(Timeout), alone(self._root):
                Claims(self._database, "").fail_all(message)
        except (Refused, OSError):
            again = threading.Timer(AGAIN_SECONDS, self.wake)
            again.daemon = True
            again.start()


def _prepared(name: str, usual: Any = spawn.get_preparation_data) -> dict[str, Any]:
    """What a new process is told of this one. `spawn` would have it import the program that runs: a script without the
    `if __name__ == "__main__"` that this takes would run once more, in the worker, and start a worker from there.
    """
    told: dict[str, Any] = usual(name)
    return {key: value for key, value in told.items() if name != NAME or not key.startswith("init_main")}


spawn.get_preparation_data = _prepared


def exit_reason(code: int | None) -> Message:
    """How a process ended, as part of a sentence."""
    if code is None or code >= 0:
        return Message("worker.exit_code", {"code": code})
    hint: Message | str = Message("worker.out_of_memory") if -code == KILLED else ""
    name = f", {signal.Signals(-code).name}" if -code in set(signal.Signals) else ""
    return Message("worker.signal", {"number": -code, "name": name, "hint": hint})
