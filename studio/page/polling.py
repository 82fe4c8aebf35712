"""The answer that every open page polls: fingerprints of gallery and queue, and the state of the job on its stage.

It does not use Gradio's events, which end with their connection. A page that polls goes on after sleep, after it was
offline, and after a restart of the studio.
"""

import contextlib
import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from models.messages import Message
from studio import inputs
from studio.capabilities import Capabilities, Style
from studio.events import Progress, Saved, Unknown
from studio.gallery import GalleryItem
from studio.media import MEDIA
from studio.page.html import render
from studio.queue import QueuedJob
from studio.requests import sides
from studio.studio import Studio

NOT_BEGUN = Progress(0, 0)
KNOWN_SPEEDS = 64  # jobs whose speed is remembered
STEADY = 0.25  # weight of a new measurement in the moving average of a job's end
LOADS = 1.0  # seconds without a step after which the page says that the model is being loaded
NEWS = 1.0  # seconds between two queries of the database
GALLERY = "SELECT max(number), count(*), (SELECT value FROM settings WHERE name = 'marked') FROM artifacts"
# Each job is weighted by its number: two changes don't cancel out.
QUEUE = (
    "SELECT state, count(*), total(position * number), total(priority * number),"
    " total((stop_request != '') * number)"
    " FROM jobs WHERE NOT interactive GROUP BY state"
)
STAGES = 8  # of one page
STAGED = 64  # jobs on a stage: more than a request of the page makes
URGENT = ("running", "waiting", "quarantined", "failed", "cancelled", "done")  # whose state the head says, first of all
TABS: dict[str, str] = {}  # task -> the tab that shows its jobs, if that is not Create; tabs register themselves
LOOKED_AT = 9  # first jobs of the queue: one more than a batch holds


def tab_of(task: str) -> str:
    """The tab whose stage shows jobs of a task."""
    return TABS.get(task, "create")


@dataclass
class Pace:
    """The speed of a job, measured from the `first` step seen: before it the model was loaded.

    Each step estimates the end anew; a moving average of the estimates makes the time left count down.
    """

    first: int
    since: float = field(default_factory=time.monotonic)
    last: int = 0
    end: float | None = None

    def left(self, step: int, total: int) -> float | None:
        """Seconds left after `step` of `total` steps; None before two steps were seen."""
        now = time.monotonic()
        if step > max(self.last, self.first):
            end = now + (now - self.since) / (step - self.first) * (total - step)
            self.last, self.end = step, end if self.end is None else self.end + STEADY * (end - self.end)
        return None if self.end is None else max(0.0, self.end - now)


class Poll:
    """Answers the pages of one studio; `can` are the capabilities of its model. Thread-safe."""

    def __init__(self, studio: Studio, can: Capabilities | None = None) -> None:
        self.studio, self.can = studio, can
        self._lock, self._stale, self._news = threading.Lock(), 0.0, dict[str, str]()
        self._began: OrderedDict[str, Pace] = OrderedDict()  # by job

    def news(self, jobs: Sequence[str] = ()) -> dict[str, Any]:
        """The running job, fingerprints of gallery and queue, and the pieces of the stage of each of `jobs`."""
        current, stages = self.current(), {}
        for name in jobs[:STAGES]:
            with contextlib.suppress(KeyError):
                stages[name] = self.stage(name)
        pieces = {name: stage.pieces() for name, stage in stages.items()}
        return {**self._fingerprints(), "current": current.id if current else "", "stages": pieces}

    def current(self) -> QueuedJob | None:
        """The job that a reloaded page shows: the first that belongs to no series. Series have their own tabs."""
        return next((job for job in self.studio.queue.jobs(limit=LOOKED_AT) if job.priority >= 0), None)

    def shown(self, job: str) -> dict[str, str]:
        """The stage of a job that another page began, and its tab; empty if there is no such job."""
        try:
            stage = self.stage(job)
        except KeyError:
            return {}
        return {"html": stage.html(), "tab": tab_of(stage.job.request.task)}

    def stage(self, jobs: str) -> "Stage":
        """The state of a job, or of jobs of one request with "," between their ids; KeyError for an unknown one."""
        first, *others = map(self._stage, jobs.split(",")[:STAGED])
        return replace(first, others=others)

    def _stage(self, job: str) -> "Stage":
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
        """Seconds left; None if not known yet."""
        if not step:
            self._began.pop(job, None)
            return None
        pace = self._began.setdefault(job, Pace(step))
        while len(self._began) > KNOWN_SPEEDS:
            self._began.popitem(last=False)
        return pace.left(step, total)

    def _fingerprints(self) -> dict[str, str]:
        """Computed at most once in NEWS seconds for all pages: a large gallery takes a moment."""
        with self._lock:
            if time.monotonic() >= self._stale:
                self._news = {"gallery": fingerprint(self.studio, GALLERY), "queue": fingerprint(self.studio, QUEUE)}
                self._stale = time.monotonic() + NEWS
            return self._news


def fingerprint(studio: Studio, what: str) -> str:
    """A hash of the state of GALLERY or QUEUE: equal hashes mean an equal state."""
    rows, queue = [tuple(row) for row in studio.store.database.rows(what)], studio.queue
    notice = (queue.is_paused(), studio.trouble()) if what == QUEUE else ()
    return hashlib.sha256(repr((rows, notice)).encode()).hexdigest()[:12]


@dataclass
class Stage:
    """The job on show: `left` in seconds, its pictures `items` by sha256, and the model's capabilities `can`. `others`
    are those of the same request, whose words the seed draws for each picture.
    """

    job: QueuedJob
    ahead: int = 0
    paused: bool = False
    left: float | None = None
    progress: Progress = NOT_BEGUN
    saved: dict[int, Saved] = field(default_factory=dict)
    items: dict[str, GalleryItem] = field(default_factory=dict)
    can: Capabilities | None = None
    others: Sequence["Stage"] = ()

    @property
    def every(self) -> Sequence["Stage"]:
        return (self, *self.others)

    @property
    def names(self) -> str:
        """The ids of its jobs, as `Poll.stage` takes them."""
        return ",".join(one.job.id for one in self.every)

    @property
    def titles(self) -> str:
        return " · ".join(dict.fromkeys(one.job.request.title for one in self.every))

    @property
    def results(self) -> list[Saved]:
        return [saved for one in self.every for saved in one.saved.values()]

    @property
    def unknown(self) -> tuple[Unknown, ...]:
        return tuple(dict.fromkeys(word for one in self.every for word in one.progress.unknown))

    @property
    def uses(self) -> Sequence[str]:
        """The actions offered below each picture."""
        return ("vary", "animate") if self.can and "clip" in self.can.tasks else ("vary",)

    @property
    def styles(self) -> Sequence[Style] | None:
        """Styles in which a caption can be drawn; None if the model writes no captions."""
        return self.can.styles if self.can and "caption" in self.can.tasks else None

    @property
    def enlarges(self) -> bool:
        """Whether the model can enlarge its pictures."""
        return self.can is not None and self.can.enlarges > max(sides(self.job.request.size or self.can.size))

    @property
    def loads(self) -> bool:
        """Whether the model is being loaded: a loaded one begins at once."""
        started = self.job.started
        return self.job.state == "running" and started is not None and time.time() - started > LOADS

    @property
    def notes(self) -> list[Message]:
        """Notes on the input files."""
        return inputs.notes(self.job.request)

    def html(self, mine: bool = False) -> str:
        """The whole stage; page.js replaces its pieces. A job of this page (`mine`) stays when other jobs begin."""
        words = getattr(self.job.request, "prompt", "")
        reads = bool(words and self.can and "read" in self.can.tasks)
        return render("stage.stage", self, mine, tab_of(self.job.request.task), reads, **self.pieces())

    def pieces(self) -> dict[str, Any]:
        """The head (progress, error), the cells, the size class of the grid, and whether all has ended."""
        every, count = self.every, sum(one.job.request.count for one in self.every)
        shown = [(one, index) for one in every for index in range(one.job.request.count)]
        shown = [(one, index) for one, index in shown if not one.job.end or index in one.saved]
        current = min(every, key=lambda one: URGENT.index(one.job.state))
        return {
            "head": render("stage.head", self, current),
            "cells": Markup("").join(render("stage.cell", one, index) for one, index in shown),
            "size": "one" if count == 1 else "few" if count <= 4 else "many",
            "ended": all(one.job.end for one in every),
        }
