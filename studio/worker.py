"""The worker process: claims jobs, does them with models that stay loaded, and reports to the store. Interactive jobs
go before others, and are answered in the middle of them where the model is the same.

There is one worker a home and slot at a time, whoever started it: a lock that the system drops with the process says
so. A second one waits for it. A studio has a slot for each of its devices; they take jobs from the same line. The
worker ends with the studio that started it.
"""

import contextlib
import gc
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from models.messages import Message, Refused
from studio.backends.base import Backend, Opener, run
from studio.database import StoreTrouble
from studio.disk.memory import machine
from studio.events import Answer, Cancelled, Content, Done, End, Failed, Progress, Saved
from studio.files import UPLOAD, remove_parts, remove_uploads
from studio.heartbeat import BEAT, Heartbeat, Loaded, Watch, complain
from studio.home import Home
from studio.inputs import INPUTS
from studio.media import Artifact
from studio.planner import Job, job_id
from studio.queue import SLOT, Claims, QueuedJob, StopRequest
from studio.run import explain, run_jobs
from studio.settings import device, place, stay_offline, uploads
from studio.sinks import GallerySink

LOCK = "worker{}.lock"  # in the home, by slot: the one worker holds it
RETRY_SECONDS = 2.0  # seconds between attempts where the store refuses
POLL = 0.2  # seconds between looks at the queue, for jobs that other processes put in
RESTART_CODE = 75  # exit code of a worker that wants to be started anew
WARM_JOBS = 3  # after which a model's memory should have stopped growing
FREE = 0.5  # of the device's memory: with less, models that are not in use go before another comes
REPLACED = Message("model.replaced")
GROWTH = 1 << 30  # bytes beyond what it had then, and half as much again


def serve(wakes: Connection, reports: Connection, root: Path, opener: Opener, owner: str, device: str) -> None:
    """Do what is in the queue of the home `root` on a device until the other side of `wakes` is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is the page's to answer
    stay_offline()
    place(device=device, home=root)
    slot = owner[SLOT:]
    heart = Heartbeat(root, reports, slot)
    wake = _WakeUp(wakes)
    home = _opened(root, heart)
    claims = wake.claims = Claims(home.database, owner)
    lock, watch = FileLock(root / LOCK.format(slot)), Watch(root, slot)
    while not lock.is_locked:
        with contextlib.suppress(Timeout):
            lock.acquire(timeout=BEAT)
        watch.look()
    heart.hold()
    _work(home, _LoadedModels(opener, heart.hold), wake, claims, heart.show)


def _opened(root: Path, heart: Heartbeat) -> Home:
    while True:
        try:
            return Home(root)
        except StoreTrouble as trouble:
            complain(trouble)
            heart.show(trouble.message)
            time.sleep(RETRY_SECONDS)


def _work(
    home: Home, loaded: "_LoadedModels", wake: "_WakeUp", claims: Claims, show: Callable[[Message | None], None]
) -> None:
    """Claim jobs and do them. Where the store refuses (a full disk), wait and try again: nothing is lost meanwhile."""
    executor, ready = _Executor(home, claims), False
    while True:
        try:
            if not ready:
                _recover(home, claims)
            asked = claims.claim_interactive()
            jobs = [] if asked else claims.claim()
            ready = True
            show(None)
            if asked:
                executor.answer(asked, loaded)
            elif not jobs:
                loaded.warm(wake.wait())
            if not jobs:
                continue
            executor.do(jobs, loaded)
            if message := loaded.has_grown():
                home.queue.set_notice(message)
                complain(message)
                os._exit(RESTART_CODE)  # what it holds would go on holding it through an orderly exit
        except Refused as refusal:
            complain(refusal)
            show(refusal.message)
            time.sleep(RETRY_SECONDS)
            with contextlib.suppress(Refused):
                claims.release()


def _recover(home: Home, claims: Claims) -> None:
    """Clean up what the last worker left, and those of slots that are free: jobs, progress, unfinished files."""
    for slot in claims.slots() | {claims.slot}:
        with contextlib.suppress(Timeout), alone(home.root, slot) if slot != claims.slot else contextlib.nullcontext():
            claims.recover(slot)
    home.progress.keep_only(job.id for job in home.queue.jobs())
    for folder in (home.gallery.folder, home.root / INPUTS):
        remove_parts(folder)
    remove_uploads((*(home.root / "cache").glob(f"{UPLOAD}*"), *uploads(home.root).glob("*")))


@contextlib.contextmanager
def alone(root: Path, slot: str | None = None) -> Iterator[None]:
    """Holds a slot of a home, None all; Timeout where a worker has it."""
    locks = sorted({LOCK.format(slot or ""), *(one.name for one in root.glob(LOCK.format("*")) if slot is None)})
    with contextlib.ExitStack() as held:
        for lock in locks:
            held.enter_context(FileLock(root / lock, timeout=0))
        yield


class _WakeUp:
    """Listens to the supervisor that started this worker; when it is gone, puts the jobs back and ends the process."""

    claims: Claims | None = None  # until the home is open

    def __init__(self, wakes: Connection) -> None:
        self._woken, self._model = threading.Event(), ""
        threading.Thread(target=self._listen, args=(wakes,), daemon=True).start()

    def wait(self) -> str:
        """Until the supervisor calls, or a moment -> the model to load, if one was named."""
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
            os._exit(0)  # no orphan goes on computing, store or no store


class _LoadedModels:
    """The models in memory, the one that was used last at the end, and whether their memory grows."""

    def __init__(self, opener: Opener, note: Callable[[dict[str, Loaded]], None] = lambda models: None) -> None:
        self._opener, self._note = opener, note
        self._loaded = set[str]()
        self._open: dict[str, tuple[Backend, str]] = {}  # with the digest of the files that it was opened with
        self._jobs, self._usual = 0, 0

    def backend(self, model: str) -> Backend:
        """The backend of that name; opened where it is not yet, or where its files are others by now. Those that have
        not been used for longest go before the room gets scarce.
        """
        backend, digest = self._open.pop(model, (None, ""))
        if backend is None or backend.digest() != digest:
            backend = None
            self._loaded.discard(model)
            self._make_room()
            backend, self._jobs = self._opener(model), 0
            digest = backend.digest()
        self._open[model] = backend, digest
        return backend

    def _make_room(self) -> None:
        while self._open and (here := machine(device())).free < here.total * FREE:
            self._open.pop(name := next(iter(self._open)))
            self._loaded.discard(name)
            gc.collect()

    def load(self, model: str) -> None:
        """Bring a model into memory, and say so to who asks for the studio's health."""
        backend = self.backend(model)
        if fresh := model not in self._loaded:
            self._note({**dict.fromkeys(self._loaded, "loaded"), model: "loading"})
        try:
            backend.load()
            self._loaded.add(model)
        finally:
            if fresh:
                self._note(dict.fromkeys(self._loaded, "loaded"))

    def warm(self, model: str) -> None:
        """Load a model before it is needed."""
        if model:
            with contextlib.suppress(Exception):  # the first job will say what is wrong
                self.load(model)

    def has_grown(self) -> Message | None:
        """A message if the process holds far more memory than it did after the model's first jobs."""
        self._jobs += 1
        held = psutil.Process().memory_info().rss
        if self._jobs <= WARM_JOBS:
            self._usual = held
        if held < self._usual * 1.5 + GROWTH:
            return None
        return Message("worker.grew", {"before": self._usual >> 20, "after": held >> 20})


@dataclass(eq=False)
class _Running:
    """A job that is being done."""

    job: QueuedJob
    made: int = 0
    last: int | None = None  # artifacts it had when somebody asked that it ends with the next ones

    def stops(self, request: StopRequest, event: Progress | Saved | End | None) -> bool:
        """Whether it ends early on request. `event` is its latest one, None where it is another job's."""
        if request == "finish" and self.last is None:
            self.last = self.made
        return request == "cancel" or (self.last is not None and self.made > self.last and isinstance(event, Progress))


class _Executor:
    """Does the jobs that the worker claimed, and reports on them."""

    def __init__(self, home: Home, claims: Claims) -> None:
        self._claims, self._progress, self._sink = claims, home.progress, GallerySink(home.gallery)
        self._queue = home.queue

    def answer(self, job: QueuedJob, loaded: _LoadedModels) -> None:
        """Answer an interactive job. Refused where the store can't be written: the next claim gets it again."""
        found = _answers(job, loaded)
        if isinstance(found, Failed):
            self._claims.end(job.id, found)
        else:
            self._claims.end(job.id, Done(), found)

    def do(self, jobs: list[QueuedJob], loaded: _LoadedModels) -> None:
        """Do jobs of one batch key, until each has ended. Refused where the store can't be written."""
        self._progress.keep_only((job.id for job in self._queue.jobs(["running"])), ["previews"])
        for job in jobs:
            self._progress.begin(job.id)
        running = [_Running(job) for job in jobs]
        while running:
            try:
                self._together(running, loaded)
            except StoreTrouble:
                raise
            except Refused as refusal:
                self._end(running, Failed(refusal.message), *running)
            except Exception as error:
                if len(running) > 1:  # one of them may be too much: each alone
                    for one in running:
                        self.do([one.job], loaded)
                    return
                complain(traceback.format_exc())
                self._end(running, Failed(explain(error)), *running)

    def _together(self, running: list[_Running], loaded: _LoadedModels) -> None:
        """Do them until all have ended or one is stopped; those that ended are taken out of `running`."""
        backend = loaded.backend(running[0].job.request.model)
        digest = backend.digest()  # its files may have been replaced while they waited
        self._end(running, Failed(REPLACED), *(one for one in running if job_id(one.job.request, digest) != one.job.id))
        batch = list(running)
        if batch:
            loaded.load(batch[0].job.request.model)
        jobs = [Job(one.job.request, one.job.id, digest) for one in batch]
        with contextlib.closing(run_jobs(backend, jobs, self._sink)) as events:
            for number, event in events:
                if asked := self._claims.claim_interactive(between=jobs[number].request.model):
                    self.answer(asked, loaded)
                if (one := batch[number]) not in running:
                    continue
                requests = self._claims.stop_requests()  # a job without one is not this worker's any more
                mine = [(other, event if other is one else None) for other in running]
                if stopped := [other for other, own in mine if other.stops(requests.get(other.job.id, "cancel"), own)]:
                    self._end(running, Cancelled(), *stopped)
                    return
                self._report(running, one, event)

    def _report(self, running: list[_Running], one: _Running, event: Progress | Saved | End) -> None:
        if isinstance(event, Progress):
            self._progress.note(one.job.id, event)
        elif not isinstance(event, Saved):
            self._end(running, event, one)
        elif not event.cached:  # one from an earlier try is no sign of life
            one.made += 1
            if one.job.crash_count and one.made == 1:
                self._claims.clear_crashes(one.job.id)

    def _end(self, running: list[_Running], end: End, *ended: _Running) -> None:
        for one in ended:
            self._claims.end(one.job.id, end)
            running.remove(one)


def _answers(job: QueuedJob, loaded: _LoadedModels) -> tuple[Answer, ...] | Failed:
    try:
        backend = loaded.backend(job.request.model)
        if job_id(job.request, backend.digest(), interactive=True) != job.id:
            return Failed(REPLACED)
        events = [event for event in run(backend, job.request) if not isinstance(event, Progress)]
        return tuple(_content(one) if isinstance(one, Artifact) else one for one in events)
    except Refused as refusal:
        return Failed(refusal.message)
    except Exception as error:
        complain(traceback.format_exc())
        return Failed(explain(error))


def _content(artifact: Artifact) -> Content:
    return Content(artifact.data, artifact.media_type, artifact.score, artifact.known)
