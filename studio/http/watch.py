"""What happens to a job, without holding up the server: jobs are watched by threads of their own, a slice at a time."""

import functools
from collections.abc import AsyncIterator

from anyio import CapacityLimiter, to_thread

from studio.events import Cancelled, Done, End, Failed, Progress, Saved
from studio.studio import Studio

SLICE = 1.0  # seconds for which one watcher has a thread, at most
WATCHERS = 64  # at a time; more of them take turns


@functools.cache
def _limiter() -> CapacityLimiter:
    """Not the server's own forty threads: those answer everybody else while the watchers wait."""
    return CapacityLimiter(WATCHERS)


async def watch(studio: Studio, job: str) -> AsyncIterator[Progress | Saved | End | None]:
    """As `Studio.events`, with None every SLICE in which nothing happens. KeyError for a job that nobody knows."""
    events, end = studio.events(job, SLICE), object()
    while (event := await to_thread.run_sync(next, events, end, limiter=_limiter())) is not end:
        assert event is None or isinstance(event, Progress | Saved | Done | Cancelled | Failed)
        yield event


async def ended(studio: Studio, job: str) -> End | None:
    """How a job ends, once it has; None where the studio is closed before."""
    last = None
    async for event in watch(studio, job):
        last = event
    return last if isinstance(last, Done | Cancelled | Failed) else None
