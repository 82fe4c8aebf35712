"""Blocking methods as ones that are awaited."""

import asyncio
import contextlib
import contextvars
import functools
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from models.messages import Refused

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound="HasThreads")
# Set where the caller of an awaited method was cancelled.
NEVER = threading.Event()
STOP: contextvars.ContextVar[threading.Event] = contextvars.ContextVar("stop", default=NEVER)


class HasThreads(Protocol):
    """What runs its blocking methods in threads of its own."""

    threads: ThreadPoolExecutor


class Stopped(Exception):
    """The caller of an awaited method was cancelled."""


def awaitable(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], Awaitable[R]]:
    """A blocking method as one that is awaited. Where that is cancelled it raises `Stopped` at its next poll."""

    @functools.wraps(method)
    async def twin(self: S, *args: P.args, **kwargs: P.kwargs) -> R:
        stop, context = threading.Event(), contextvars.copy_context()
        context.run(STOP.set, stop)
        call = functools.partial(context.run, method, self, *args, **kwargs)
        try:
            running = asyncio.get_running_loop().run_in_executor(self.threads, call)
        except RuntimeError as error:
            raise Refused("studio.closed") from error
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            stop.set()
            with contextlib.suppress(Exception):
                await running
            raise

    twin.__doc__ = f"As `{method.__name__}`. A task that is cancelled stops it."
    return twin
