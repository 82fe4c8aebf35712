"""A call that takes long, as an iterator of what it reports."""

import queue
import threading
from collections.abc import Callable, Generator
from typing import Any


class Dropped(BaseException):
    """Nobody wants the result any more."""


class Returned:
    """What the call gave, behind all reports."""

    def __init__(self, value: Any) -> None:
        self.value = value


def stepwise(work: Callable[[Callable[[Any], None]], Any]) -> Generator[Any]:
    """Call `work(report)` in a thread: what it reports is yielded, then what it returns, `Returned`; what it raises is
    raised. It waits at each report until that has been taken; dropping the iterator raises `Dropped` in it there, and
    ends when it has ended.
    """
    reports, taken, dropped = queue.SimpleQueue[Any](), threading.Semaphore(0), threading.Event()

    def report(what: Any) -> None:
        reports.put(what)
        taken.acquire()
        if dropped.is_set():
            raise Dropped

    def run() -> None:
        try:
            reports.put(Returned(work(report)))
        except BaseException as error:
            reports.put(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        while True:
            what = reports.get()
            if isinstance(what, BaseException):
                raise what
            yield what
            if isinstance(what, Returned):
                return
            taken.release()
    finally:
        dropped.set()
        taken.release()
        thread.join()
