"""What is new, for every open page: one small answer that a page asks for again and again, with the job on its stage.

It does not go through Gradio's events. Those end with their connection; a page that polls goes on after it was asleep,
offline, or after the studio was started again.
"""

import contextlib
import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup

from models.messages import Message
from studio import inputs
from studio.capabilities import Capabilities, Style
from studio.events import Progress, Saved
from studio.gallery import GalleryItem
from studio.media import MEDIA
from studio.page.html import render
from studio.queue import QueuedJob
from studio.requests import sides
from studio.studio import Studio

NOT_BEGUN = Progress(0, 0)
KNOWN_SPEEDS = 64  # jobs whose speed is items
STEADY = 0.25  # the share by which the time of a job's end moves to where it is measured anew
LOADS = 1.0  # seconds without a step after which it is the model that is being loaded
NEWS = 1.0  # seconds between two looks at the database
GALLERY = "SELECT max(number), count(*), (SELECT value FROM settings WHERE name = 'marked') FROM artifacts"
# Sums in which each job counts by its number: two changes don't cancel out.
QUEUE = (
    "SELECT state, count(*), total(position * number), total(priority * number),"
    " total((stop_request = 'finish') * number), total((stop_request = 'cancel') * number)"
    " FROM jobs WHERE NOT interactive GROUP BY state"
)
STAGES = 8  # of one page
TABS: dict[str, str] = {}  # by task: the tab that shows its jobs, where Create does not; tabs enter themselves
LOOKED_AT = 9  # first jobs of the queue: one more than are done together


def tab_of(task: str) -> str:
    """The tab on whose stage a job of that task is shown."""
    return TABS.get(task, "create")


@dataclass
class Pace:
    """How fast a job is, since the `first` step that was seen: before it the model was loaded.

    When it ends is measured with each step, and moves by a share of what was measured: what is left counts down.
    """

    first: int
    since: float = field(default_factory=time.monotonic)
    last: int = 0
    end: float | None = None

    def left(self, step: int, total: int) -> float | None:
        """Seconds, when so many steps are done; None before two were seen."""
        now = time.monotonic()
        if step > max(self.last, self.first):
            end = now + (now - self.since) / (step - self.first) * (total - step)
            self.last, self.end = step, end if self.end is None else self.end + STEADY * (end - self.end)
        return None if self.end is None else max(0.0, self.end - now)


class Poll:
    """Answers the pages of one studio, whose model `can` do this and that. May be called from any thread."""

    def __init__(self, studio: Studio, can: Capabilities | None = None) -> None:
        self.studio, self.can = studio, can
        self._lock, self._stale, self._news = threading.Lock(), 0.0, dict[str, str]()
        self._began: OrderedDict[str, Pace] = OrderedDict()  # by job

    def news(self, jobs: Sequence[str] = ()) -> dict[str, Any]:
        """The job that is running, fingerprints that change with gallery and queue, and the stage of each of `jobs`."""
        current, stages = self.current(), {}
        for name in jobs[:STAGES]:
            with contextlib.suppress(KeyError):
                stages[name] = self.stage(name)
        pieces = {name: stage.pieces() for name, stage in stages.items()}
        return {**self._fingerprints(), "current": current.id if current else "", "stages": pieces}

    def current(self) -> QueuedJob | None:
        """The job that a page comes back to: the first that belongs to no series, for those have tabs of their own."""
        return next((job for job in self.studio.queue.jobs(limit=LOOKED_AT) if job.priority >= 0), None)

    def shown(self, job: str) -> dict[str, str]:
        """The stage of a job that was begun elsewhere, and on which tab it is shown; nothing where nobody knows it."""
        try:
            stage = self.stage(job)
        except KeyError:
            return {}
        return {"html": stage.html(), "tab": tab_of(stage.job.request.task)}

    def stage(self, job: str) -> "Stage":
        """How far a job is; KeyError where nobody knows it."""
        queue = self.studio.queue
        state = queue.job(job)  # before the pictures: those of an ended job are all there
        progress = None if state.state == "waiting" else self.studio.store.progress.read(job)[1]
        left = self._left(job, progress.step, progress.total) if progress and not state.end else None
        saved = self.studio.gallery.results(state.id, state)
        digests = [Path(artifact.path).stem for artifact in saved.values() if MEDIA[artifact.kind].visual]
        items = {digest: self.studio.gallery.get(digest) for digest in self.studio.gallery.known(digests)}
        how_far = (queue.ahead(job), queue.is_paused(), left, progress or NOT_BEGUN)
        return Stage(state, *how_far, saved, items, self.can)

    def _left(self, job: str, step: int, total: int) -> float | None:
        """Seconds, None where that is not known yet."""
        if not step:
            self._began.pop(job, None)
            return None
        pace = self._began.setdefault(job, Pace(step))
        while len(self._began) > KNOWN_SPEEDS:
            self._began.popitem(last=False)
        return pace.left(step, total)

    def _fingerprints(self) -> dict[str, str]:
        """Looked up once a second at most, however many pages ask: a large gallery takes a moment to read through."""
        with self._lock:
            if time.monotonic() >= self._stale:
                self._news = {"gallery": fingerprint(self.studio, GALLERY), "queue": fingerprint(self.studio, QUEUE)}
                self._stale = time.monotonic() + NEWS
            return self._news


def fingerprint(studio: Studio, what: str) -> str:
    """A hash of GALLERY or QUEUE as they are now: where it is the same, they look the same."""
    rows, queue = [tuple(row) for row in studio.store.database.rows(what)], studio.queue
    notice = (queue.is_paused(), studio.trouble() or queue.notice()) if what == QUEUE else ()
    return hashlib.sha256(repr((rows, notice)).encode()).hexdigest()[:12]


@dataclass
class Stage:
    """The job on show: seconds `left`, its pictures `items` by sha256, and what the model `can` do with each."""

    job: QueuedJob
    ahead: int = 0
    paused: bool = False
    left: float | None = None
    progress: Progress = NOT_BEGUN
    saved: dict[int, Saved] = field(default_factory=dict)
    items: dict[str, GalleryItem] = field(default_factory=dict)
    can: Capabilities | None = None

    @property
    def uses(self) -> Sequence[str]:
        """What can be done with a picture."""
        return ("vary", "animate") if self.can and "clip" in self.can.tasks else ("vary",)

    @property
    def styles(self) -> Sequence[Style] | None:
        """Those in which the caption of a picture can be drawn; None where the model writes none."""
        return self.can.styles if self.can and "caption" in self.can.tasks else None

    @property
    def enlarges(self) -> bool:
        """Whether its pictures can be made larger."""
        return self.can is not None and self.can.enlarges > max(sides(self.job.request.size or self.can.size))

    @property
    def loads(self) -> bool:
        """Whether the model is being loaded: a warm one begins at once."""
        started = self.job.started
        return self.job.state == "running" and started is not None and time.time() - started > LOADS

    @property
    def together(self) -> int:
        """How many of its artifacts are made at once, and so end together."""
        request = self.job.request
        return max(1, (getattr(request, "shape", None) or 1) // (getattr(request, "best_of", None) or 1))

    @property
    def notes(self) -> list[Message]:
        """What is worth knowing of the files that it was given."""
        return inputs.notes(self.job.request)

    def html(self, mine: bool = False) -> str:
        """The whole stage; page.js exchanges its pieces. One of this very page (`mine`) stays when other jobs begin."""
        words = getattr(self.job.request, "prompt", "")
        reads = bool(words and self.can and "read" in self.can.tasks)
        return render("stage.stage", self.job, mine, tab_of(self.job.request.task), reads, **self.pieces())

    def pieces(self) -> dict[str, Any]:
        """What it is doing and what went wrong, each picture or its place, and, as a class, how many there are."""
        count = self.job.request.count
        shown = [index for index in range(count) if not self.job.end or index in self.saved]
        return {
            "head": render("stage.head", self),
            "cells": Markup("").join(render("stage.cell", self, index) for index in shown),
            "size": "one" if count == 1 else "few" if count <= 4 else "many",
            "ended": bool(self.job.end),
        }
