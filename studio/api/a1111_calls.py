"""The requests that A1111's clients wait for: how far they are, and how they are stopped.

A1111 does one thing at a time and its API speaks of that one. Here the queue serves every door, so the API speaks of
what came in through it: nobody's plug-in stops what somebody else put in line on the page.
"""

import base64
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from studio.api.a1111_models import Going, State
from studio.events import Progress
from studio.queue import QueuedJob
from studio.requests import ImageRequest
from studio.studio import Studio


@dataclass(frozen=True)
class Asked:
    """A resolved request and its id in the queue."""

    job: str
    request: ImageRequest


@dataclass(eq=False)
class Call:
    """A request to make pictures, as jobs in the queue. `notes` are sentences on what was done otherwise than asked."""

    asked: list[Asked]
    notes: list[str] = field(default_factory=list)
    interrupted: bool = False
    skipped: bool = False


class Calls:
    """The open ones, oldest first. May be used from any thread."""

    def __init__(self, studio: Studio) -> None:
        self._studio, self._open, self._lock = studio, list[Call](), threading.Lock()

    @contextmanager
    def waiting(self, call: Call) -> Iterator[None]:
        """While somebody waits for it."""
        with self._lock:
            self._open.append(call)
        try:
            yield
        finally:
            with self._lock:
                self._open.remove(call)

    def interrupt(self) -> None:
        """Stop the current one: what is whole by then is its answer."""
        call, _ = self._current()
        if call:
            call.interrupted = True
            self._studio.queue.cancel([asked.job for asked in call.asked])

    def skip(self) -> None:
        """Stop what the current one is drawing now, and go on with the rest of it."""
        call, jobs = self._current()
        running = next((job for job in jobs if not job.end), None)
        if call and running:
            call.skipped = True
            self._studio.queue.cancel([running.id])

    def progress(self, skip_current_image: bool = False) -> Going:
        """How far the current one is; 0 of no jobs where there is none. Without its preview if that is not wanted."""
        call, jobs = self._current()
        if call is None:
            return Going(progress=0, eta_relative=0, state=State())
        step, share, began = self._shown(jobs)
        passed = max(0.0, time.time() - began) if began else 0.0
        preview = step.previews[min(step.previews)] if step.previews and not skip_current_image else b""
        return Going(
            progress=round(share, 4),
            eta_relative=round(passed / share - passed, 2) if share else 0,
            state=self._state(call, jobs, step),
            current_image=base64.b64encode(preview).decode() if preview else None,
        )

    def _state(self, call: Call, jobs: list[QueuedJob], step: Progress) -> State:
        began = time.localtime(jobs[0].started or jobs[0].submitted)
        return State(
            skipped=call.skipped,
            interrupted=call.interrupted,
            job=jobs[0].id,
            job_count=len(self._open),
            job_timestamp=time.strftime("%Y%m%d%H%M%S", began),
            sampling_step=step.step,
            sampling_steps=step.total,
        )

    def _shown(self, jobs: list[QueuedJob]) -> tuple[Progress, float, float]:
        """(the running job's step and previews, the share of all that is done, when it was begun)."""
        running = next((job for job in jobs if job.state == "running"), None)
        live = self._studio.house.live.read(running.id)[1] if running else None
        step = live or Progress(0, 0)
        done = sum(job.end is not None for job in jobs) + (step.step / step.total if step.total else 0)
        least = 0.01 if running else 0.0  # clients take 0 for idle
        return step, max(least, done / len(jobs)), min((job.started for job in jobs if job.started), default=0.0)

    def _current(self) -> tuple[Call | None, list[QueuedJob]]:
        """The call that is being worked on, else the first that waits, with its jobs."""
        with self._lock:
            calls = [(call, [asked.job for asked in call.asked]) for call in self._open]
        looked = [(call, [self._studio.queue.job(job) for job in jobs]) for call, jobs in calls]
        undone = [(call, jobs) for call, jobs in looked if not all(job.end for job in jobs)]
        running = (one for one in undone if any(job.state == "running" for job in one[1]))
        return next(running, undone[0] if undone else (None, []))
