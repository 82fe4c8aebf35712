"""The worker process of a home: it claims jobs and does them with models that stay loaded, and a supervisor in the
studio's process starts it, wakes it and restarts it when it dies.

A home has one worker, whoever started it: the worker holds a lock that the system releases with the process. Another
worker of the home waits for the lock. A worker ends with the studio that started it.

A worker shows a sign of life once a second: to its supervisor through their pipe, to other processes by touching a
file. Neither needs disk space. A worker that hangs is killed by its supervisor.
"""

import contextlib
import gc
import json
import multiprocessing
import os
import pickle
import signal
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import spawn
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from models.messages import Message, Refused
from studio import settings
from studio.backends.base import Backend, Opener, open_backend, run
from studio.database import Database, StoreTrouble
from studio.disk.memory import machine
from studio.events import Cancelled, Content, Done, End, Failed, Progress, Saved
from studio.files import UPLOAD, remove_parts, remove_uploads, write_whole
from studio.home import Home
from studio.inputs import INPUTS
from studio.media import Artifact
from studio.planner import Job, job_id
from studio.queue import Claims, QueuedJob
from studio.run import GallerySink, complain, explain, run_jobs

LOCK = "worker.lock"  # in the home
HEARTBEAT = "cache/worker.alive"
RETRY_SECONDS = 2.0  # seconds between attempts where the store refuses
POLL = 0.2  # seconds between looks at the queue, for jobs that other processes submit
FREE = 0.5  # of the device's memory: with less, unused models are dropped before another one is loaded
REPLACED = Message("model.replaced")
BEAT = 1.0  # seconds between two signs of life
HANGS = 60  # looks, a beat apart, without a sign of life. A computer that sleeps takes no looks
QUIET = 10.0  # seconds without a sign of life, after which it is reported
KILLED = 9  # the signal of the kernel when memory runs out; Windows has no name for it
MAX_FAILED_STARTS = 3  # in a row, after which all open jobs fail
SHUTDOWN_CODES = (-signal.SIGTERM, -getattr(signal, "SIGHUP", signal.SIGTERM))  # of a computer that shuts down
RESTART_SECONDS = 0.2  # seconds before a start that follows a crash
AGAIN_SECONDS = 5.0  # seconds before a start that follows the last one of MAX_FAILED_STARTS
NAME = "studio-worker"  # a process of this name does not import the program that started it


def serve(wakes: Connection, reports: Connection, root: Path, opener: Opener, owner: str) -> None:
    """The worker process: do the jobs of the home `root` until the other end of `wakes` is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the program that started it answers Ctrl-C
    settings.stay_offline()
    settings.place(home=root)
    heart = Heartbeat(root, reports)
    wake = _WakeUp(wakes)
    while True:
        try:
            home = Home(root)
            break
        except StoreTrouble as trouble:
            complain(trouble)
            heart.show(trouble.message)
            time.sleep(RETRY_SECONDS)
    claims = wake.claims = Claims(home.database, owner)
    with FileLock(root / LOCK):
        heart.hold()
        _work(home, _LoadedModels(opener), wake, claims, heart.show)


def _work(
    home: Home, loaded: "_LoadedModels", wake: "_WakeUp", claims: Claims, show: Callable[[Message | None], None]
) -> None:
    """Claim jobs and do them. Where the store refuses (a full disk), wait and try again: no job is lost."""
    executor, ready = _Executor(home, claims), False
    while True:
        try:
            if not ready:
                _recover(home, claims)
            interactive = claims.claim_interactive()
            jobs = [] if interactive else claims.claim()
            ready = True
            show(None)
            if interactive:
                executor.answer(interactive, loaded)
            elif not jobs:
                loaded.warm(wake.wait())
            if not jobs:
                continue
            executor.do(jobs, loaded)
        except Refused as refusal:
            complain(refusal)
            show(refusal.message)
            time.sleep(RETRY_SECONDS)
            with contextlib.suppress(Refused):
                claims.release()


def _recover(home: Home, claims: Claims) -> None:
    """Clean up after former workers: jobs, progress, unfinished files."""
    claims.recover()
    home.progress.keep_only(job.id for job in home.queue.jobs())
    for folder in (home.gallery.folder, home.root / INPUTS):
        remove_parts(folder)
    remove_uploads((*(home.root / "cache").glob(f"{UPLOAD}*"), *settings.uploads(home.root).glob("*")))


def alone(root: Path) -> FileLock:
    """The lock of a home's worker, to be entered. Timeout where a worker holds it."""
    return FileLock(root / LOCK, timeout=0)


class _WakeUp:
    """Listens to the supervisor. When that is gone, it puts the jobs back and ends this process."""

    claims: Claims | None = None  # until the home is open

    def __init__(self, wakes: Connection) -> None:
        self._woken, self._model = threading.Event(), ""
        threading.Thread(target=self._listen, args=(wakes,), daemon=True).start()

    def wait(self) -> str:
        """Wait for the supervisor, at most POLL seconds -> the model to load, "" for none."""
        self._woken.wait(POLL)
        self._woken.clear()
        model, self._model = self._model, ""
        return model

    def _listen(self, wakes: Connection) -> None:
        try:
            with contextlib.suppress(EOFError, OSError):
                while True:
                    self._model = wakes.recv() or self._model
                    self._woken.set()
            if self.claims:
                self.claims.release()
        finally:
            os._exit(0)  # also where the store refuses: no orphan goes on computing


class _LoadedModels:
    """The models in memory, the one used last at the end."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._open: dict[str, tuple[Backend, str]] = {}  # with its digest then

    def backend(self, model: str) -> Backend:
        """The backend of that name. It is opened where it is not open or its files have changed; before memory gets
        scarce, the least recently used ones are dropped.
        """
        backend, digest = self._open.pop(model, (None, ""))
        if backend is None or backend.digest() != digest:
            backend = None
            while self._open and (here := machine(settings.device())).free < here.total * FREE:
                del self._open[next(iter(self._open))]
                gc.collect()
            backend = self._opener(model)
            digest = backend.digest()
        self._open[model] = backend, digest
        return backend

    def warm(self, model: str) -> None:
        """Load a model before it is needed."""
        if model:
            with contextlib.suppress(Exception):  # its first job will report the error
                self.backend(model).load()


class _Executor:
    """Does claimed jobs and reports on them."""

    def __init__(self, home: Home, claims: Claims) -> None:
        self._claims, self._progress, self._sink = claims, home.progress, GallerySink(home.gallery)
        self._queue = home.queue

    def answer(self, job: QueuedJob, loaded: _LoadedModels) -> None:
        """Answer an interactive job. Refused where the store can't be written; the next claim gets the job again."""
        try:
            backend = loaded.backend(job.request.model)
            if job_id(job.request, backend.digest(), interactive=True) != job.id:
                raise Refused(REPLACED)
            answers = tuple(
                Content(event.data, event.media_type, event.score, event.known)
                if isinstance(event, Artifact)
                else event
                for event in run(backend, job.request)
                if not isinstance(event, Progress)
            )
        except Exception as error:
            self._claims.end(job.id, Failed(explain(error)))
        else:
            self._claims.end(job.id, Done(), answers)

    def do(self, jobs: list[QueuedJob], loaded: _LoadedModels) -> None:
        """Do jobs of one batch key, until each has ended. Refused where the store can't be written."""
        self._progress.keep_only((job.id for job in self._queue.jobs(["running"])), ["previews"])
        for job in jobs:
            self._progress.begin(job.id)
        running = list(jobs)
        while running:
            try:
                self._run_batch(running, loaded)
            except StoreTrouble:
                raise
            except Exception as error:
                self._end(running, Failed(explain(error)), *running)

    def _run_batch(self, running: list[QueuedJob], loaded: _LoadedModels) -> None:
        """Do jobs until all have ended or one is stopped. Those that end are removed from `running`."""
        backend = loaded.backend(running[0].request.model)
        digest = backend.digest()  # the model's files may have been replaced while the jobs waited
        changed = [job for job in running if job_id(job.request, digest) != job.id]
        self._end(running, Failed(REPLACED), *changed)
        batch, suspects = list(running), {job.id for job in running if job.crash_count}
        jobs = [Job(job.request, job.id, digest) for job in batch]
        with contextlib.closing(run_jobs(backend, jobs, self._sink)) as events:
            for number, event in events:
                if interactive := self._claims.claim_interactive(between=jobs[number].request.model):
                    self.answer(interactive, loaded)
                if (current := batch[number]) not in running:
                    continue
                active = self._claims.active()
                if stopped := [job for job in running if job.id not in active]:
                    self._end(running, Cancelled(), *stopped)
                    return
                if isinstance(event, Progress):
                    self._progress.note(current.id, event)
                elif not isinstance(event, Saved):
                    self._end(running, event, current)
                elif not event.cached and current.id in suspects:  # it does not crash every worker
                    suspects.remove(current.id)
                    self._claims.clear_crashes(current.id)

    def _end(self, running: list[QueuedJob], end: End, *ended: QueuedJob) -> None:
        for job in ended:
            self._claims.end(job.id, end)
            running.remove(job)


# --- Signs of life ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sign:
    """Whether the worker has begun to claim jobs, and the problem that keeps it from them now."""

    started: bool = False
    problem: Message | None = None


class Heartbeat:
    """Sends the worker's heartbeats from a thread."""

    def __init__(self, root: Path, reports: Connection) -> None:
        self._file, self._reports = root / HEARTBEAT, reports
        self._sign, self._lock, self._holds = Sign(), threading.Lock(), False
        threading.Thread(target=self._beat, daemon=True).start()

    def hold(self) -> None:
        """Write the heartbeat file: this worker holds the home."""
        me = psutil.Process()
        with contextlib.suppress(Refused):  # on a full disk no other process sees it
            write_whole(self._file, json.dumps([me.pid, me.create_time()]).encode())
        self._holds = True

    def show(self, problem: Message | None = None) -> None:
        """Report that it claims jobs, or the `problem` that keeps it from them."""
        if (sign := Sign(self._sign.started or not problem, problem)) != self._sign:
            self._sign = sign
            self._send()

    def _send(self) -> None:
        with self._lock, contextlib.suppress(OSError):  # the supervisor is gone, and the worker ends anyway
            self._reports.send(self._sign)

    def _beat(self) -> None:
        while True:
            if self._holds:
                with contextlib.suppress(OSError):
                    self._file.touch()
            self._send()
            time.sleep(BEAT)


def silence(root: Path) -> float | None:
    """The time in seconds since a sign of life of a home's worker; None where there is no worker."""
    with contextlib.suppress(OSError):
        if _process(root):
            return max(0.0, time.time() - (root / HEARTBEAT).stat().st_mtime)
    return None


def trouble(root: Path) -> Message | None:
    """A message where the worker of a home is silent for longer than QUIET."""
    seconds = silence(root) or 0.0
    return Message("worker.silent", {"seconds": round(seconds)}) if seconds > QUIET else None


def _process(root: Path) -> psutil.Process | None:
    """The process that wrote the heartbeat file, None where it has ended."""
    try:
        pid, created = json.loads((root / HEARTBEAT).read_text())
        process = psutil.Process(pid)
        return process if process.create_time() == created else None
    except (OSError, ValueError, TypeError, psutil.Error):
        return None


# --- Supervision ------------------------------------------------------------------------------------------------------


@dataclass
class _Process:
    """A worker process: its name in the queue, and the pipe that wakes it and ends it by being closed."""

    owner: str
    process: BaseProcess
    wakes: Connection
    sign: Sign = field(default_factory=Sign)
    hung: bool = False


class Supervisor:
    """Keeps the worker of the home `root` alive. `opener` turns a model's name into a backend, in the worker."""

    def __init__(self, root: Path, database: Database, opener: Opener = open_backend) -> None:
        self._root, self._database, self._opener = root, database, opener
        self._lock, self._closing = threading.Lock(), threading.Event()
        self._running: _Process | None = None
        self._failed_starts = 0

    def wake(self, model: str = "") -> None:
        """Have the worker look into the queue now, and load `model` if it has nothing to do. Start it where it does not
        run.
        """
        with self._lock:
            begun = True
            if self._running is None and not self._closing.is_set():
                self._failed_starts = 0
                begun = self._begin()
            if self._running:
                with contextlib.suppress(OSError):  # it died just now; the next one looks into the queue by itself
                    self._running.wakes.send(model)
        if not begun:
            self._give_up(Message("worker.no_process"))

    def close(self) -> None:
        """End the worker; its jobs go back in line."""
        self._closing.set()
        with self._lock:
            running, self._running = self._running, None
        if running:
            running.wakes.close()
            if not wait([running.process.sentinel], 5):
                running.process.kill()
                wait([running.process.sentinel], 5)
            with contextlib.suppress(Refused):  # the next worker puts the jobs back
                Claims(self._database, running.owner).release()

    def trouble(self) -> Message | None:
        """What keeps the worker from its jobs, None for nothing."""
        running = self._running
        return (running and running.sign.problem) or trouble(self._root)

    @property
    def process(self) -> BaseProcess | None:
        return self._running.process if self._running else None

    def _begin(self) -> bool:
        """Start a process -> whether the system allows it."""
        owner = uuid.uuid4().hex
        context = multiprocessing.get_context("spawn")  # fork would copy threads and locks
        name = NAME if b"__main__" not in pickle.dumps(self._opener) else f"{NAME} with the starter's program"
        try:
            theirs, wakes = context.Pipe(duplex=False)
            ours, reports = context.Pipe(duplex=False)
            arguments = (theirs, reports, self._root, self._opener, owner)
            process = context.Process(target=serve, args=arguments, daemon=True, name=name)
            process.start()
        except OSError as error:
            complain(f"no process can be started ({error.strerror}).")
            return False
        theirs.close()  # only the worker holds these ends now: they close when it dies
        reports.close()
        self._running = _Process(owner, process, wakes)
        threading.Thread(target=self._watch, args=(self._running, ours), daemon=True).start()
        return True

    def _watch(self, running: _Process, reports: Connection) -> None:
        ended, looks = running.process.sentinel, 0
        with contextlib.suppress(EOFError, OSError):  # the worker has died
            while looks < HANGS:
                ready = wait([reports, ended], BEAT)
                looks = 0 if ready else looks + 1
                if reports in ready:
                    running.sign = reports.recv()
                elif ready:
                    break
            else:
                running.hung = True
                complain(Message("worker.hung", {"seconds": round(HANGS * BEAT)}))
                running.process.kill()
        wait([ended])
        running.process.join()
        if not self._closing.is_set():
            self._replace(running, running.process.exitcode)

    def _replace(self, running: _Process, code: int | None) -> None:
        how = Message("worker.hung_up", {"seconds": round(HANGS * BEAT)}) if running.hung else exit_reason(code)
        with contextlib.suppress(Refused):  # such as a full disk: the next worker puts the jobs back
            if code in SHUTDOWN_CODES:
                Claims(self._database, running.owner).release()
            else:
                Claims(self._database, running.owner).release(how)
        self._closing.wait(RESTART_SECONDS)
        with self._lock:
            self._running = None
            # One that exits by itself would do so again; one that a signal ended need not.
            self._failed_starts = 0 if running.sign.started or code is None or code < 0 else self._failed_starts + 1
            if self._closing.is_set() or (self._failed_starts < MAX_FAILED_STARTS and self._begin()):
                return
        self._give_up(Message("worker.no_start", {"how": how}))

    def _give_up(self, message: Message) -> None:
        """Fail all open jobs, unless another worker does them. Where the store refuses (a full disk), try again later,
        or they would stay open until the next job.
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
    """The data that `spawn` sends to a new process, for workers without the main program's path. Otherwise a script
    without `if __name__ == "__main__"` would run again in the worker, and start a worker from there.
    """
    data: dict[str, Any] = usual(name)
    return {key: value for key, value in data.items() if name != NAME or not key.startswith("init_main")}


spawn.get_preparation_data = _prepared


def exit_reason(code: int | None) -> Message:
    """How a process ended, as part of a sentence."""
    if code is None or code >= 0:
        return Message("worker.exit_code", {"code": code})
    hint: Message | str = Message("worker.out_of_memory") if -code == KILLED else ""
    name = f", {signal.Signals(-code).name}" if -code in set(signal.Signals) else ""
    return Message("worker.signal", {"number": -code, "name": name, "hint": hint})
