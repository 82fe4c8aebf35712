"""What is new, for every open page: one small answer that a page asks for again and again.

It does not go through Gradio's events. Those end with their connection; a page that asks anew each time takes up the
thread after it was asleep, offline, or after the studio was started again.
"""

import hashlib
import threading
import time
from collections import OrderedDict
from typing import Any

from studio.page.create.view import Stage
from studio.studio import Studio

REMEMBERED = 64  # jobs whose speed is known
NEWS = 1.0  # seconds
GALLERY = "SELECT max(number), count(*), (SELECT value FROM settings WHERE name = 'marked') FROM pictures"
# Sums in which each job counts by its number: two changes don't cancel out.
LINE = (
    "SELECT state, count(*), total(place * number), total(priority * number), total((wish = 'finish') * number),"
    " total((wish = 'cancel') * number) FROM jobs WHERE NOT question GROUP BY state"
)


class Pulse:
    """Answers pages of one studio. Callable from any thread."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self._lock, self._stale, self._news = threading.Lock(), 0.0, dict[str, str]()
        self._began: OrderedDict[str, tuple[int, float]] = OrderedDict()  # job: first step seen, when

    def beat(self, job: str, spoken: str) -> dict[str, Any]:
        """The job that is being done, marks that change with gallery and queue, and the stage of `job`."""
        current = self.studio.current()
        return {
            **self._marks(),
            "current": current.id if current else "",
            "stage": self._stage(job, spoken) if job else None,
        }

    def stage(self, job: str, spoken: str) -> Stage:
        """How far a job is; KeyError where nobody knows it."""
        queue, house = self.studio.queue, self.studio.house
        state = queue.job(job)  # before the pictures: those of an ended job are all there
        progress = None if state.state == "waiting" else house.live.read(job)[1]
        stage = Stage(spoken, state, queue.ahead(job), queue.is_paused(), progress=progress)
        stage.saved = self.studio.gallery.made_by(state)
        if progress and not state.end:
            stage.left = self._left(job, progress.step, progress.total)
        return stage

    def _stage(self, job: str, spoken: str) -> dict[str, Any] | None:
        try:
            stage = self.stage(job, spoken)
        except KeyError:
            return None
        return {"head": stage.head(), "cells": stage.cells(), "size": stage.size(), "ended": bool(stage.job.end)}

    def _left(self, job: str, step: int, total: int) -> float | None:
        """Seconds, from the speed since the first step that was seen: before it the model was loaded."""
        if not step:
            self._began.pop(job, None)
            return None
        first, since = self._began.setdefault(job, (step, time.monotonic()))
        while len(self._began) > REMEMBERED:
            self._began.popitem(last=False)
        if step <= first:
            return None
        return (time.monotonic() - since) / (step - first) * (total - step)

    def _marks(self) -> dict[str, str]:
        """Looked up once a second at most, however many pages ask: a large gallery takes a moment to read through."""
        with self._lock:
            if time.monotonic() >= self._stale:
                self._news = {"gallery": mark(self.studio, GALLERY), "queue": mark(self.studio, LINE)}
                self._stale = time.monotonic() + NEWS
            return self._news


def mark(studio: Studio, what: str) -> str:
    """A mark of GALLERY or LINE as they are now: equal ones, equal looks."""
    rows = [tuple(row) for row in studio.house.database.rows(what)]
    said = (studio.queue.is_paused(), studio.queue.notice()) if what == LINE else ()
    return hashlib.sha256(repr((rows, said)).encode()).hexdigest()[:12]
