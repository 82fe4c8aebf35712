"""The studio in one object: a home with its queue and gallery, and the worker that does what is put in line."""

import time
from collections.abc import Iterator
from pathlib import Path

from studio import inputs
from studio.backends.registry import Opener, open_backend
from studio.events import End, Progress, Saved
from studio.foreman import Foreman
from studio.house import House
from studio.queue import QueuedJob
from studio.requests import ImageRequest, company, job_id

POLL = 0.05  # seconds between looks at a job that is watched


class Studio:
    """The studio at `home`. Several processes may have one on the same home: they share queue, gallery and worker."""

    def __init__(self, home: Path, opener: Opener = open_backend) -> None:
        self.home = home
        self.house = House(home)
        self.queue, self.gallery, self.search = self.house.queue, self.house.gallery, self.house.search
        self._opener, self._foreman = opener, Foreman(home, self.queue, opener)
        self._closed = False

    def submit(self, request: ImageRequest, priority: int = 0) -> str:
        """Put a resolved request in line -> its id. What is in line, or made and still there, is not done twice."""
        job = job_id(request, self._opener(request.model).digest())
        self.gallery.take_out(job)
        again = len(self.gallery.found(job)) < request.count
        request = inputs.keep(request, self.home)
        self.queue.submit(request, job, repr(company(request)), priority, again)
        self._foreman.wake()
        return job

    def events(self, job: str, heartbeat: float | None = None) -> Iterator[Progress | Saved | End | None]:
        """What happens to a job until it ends, from the store. Progress between two looks is left out, the latest holds
        it all; whoever comes late, or twice, gets the state so far first. When the studio is closed it stops without an
        end: the job goes on another day. KeyError for a job that nobody knows. None comes every `heartbeat` seconds in
        which nothing else did, so that one who has left can be noticed.
        """
        revision, told, last = 0, set[int](), time.monotonic()
        while not self._closed:
            state = self.queue.job(job)  # before the pictures: those of an ended job are all there
            news: list[Progress | Saved | End | None] = []
            if state.state != "waiting":  # what an earlier try came to is no longer true
                revision, progress = self.house.live.read(job, revision)
                news += [progress] if progress else []
            found = self.gallery.made_by(state)
            news += [found[index] for index in found if index not in told]
            told |= set(found)
            if heartbeat is not None and not news and time.monotonic() - last > heartbeat:
                news.append(None)
            last = time.monotonic() if news else last
            yield from news
            if state.end:
                yield state.end
                return
            time.sleep(POLL)

    def cancel(self, job: str) -> None:
        """Stop a job at its next step, or before it begins. Nothing happens where it has ended."""
        self.queue.cancel([job])

    def current(self) -> QueuedJob | None:
        """The job that is being done, else the first in line: where a page that was closed picks the thread up."""
        return next(iter(self.queue.jobs(limit=1)), None)

    def open(self, model: str = "") -> None:
        """Begin to work: what waits from another day, and loading `model` if there is nothing."""
        self._foreman.wake(model)

    def close(self) -> None:
        """End the worker; what it was doing goes back in line, what is whole on disk stays."""
        self._closed = True
        self._foreman.close()
