"""What is new, for every open page: one small answer that a page asks for again and again, with the job on its stage.

It does not go through Gradio's events. Those end with their connection; a page that polls goes on after it was asleep,
offline, or after the studio was started again.
"""

import base64
import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Request

from studio.events import Cancelled, Done, Failed, Progress, Saved
from studio.page.context import PageContext
from studio.page.html import Media, digest_of, media, render
from studio.page.language import error_text, language_of, text
from studio.queue import QueuedJob

KNOWN_SPEEDS = 64  # jobs whose speed is kept
NEWS = 1.0  # seconds between two looks at the database
GALLERY = "SELECT max(number), count(*), (SELECT value FROM settings WHERE name = 'marked') FROM pictures"
# Sums in which each job counts by its number: two changes don't cancel out.
QUEUE = (
    "SELECT state, count(*), total(place * number), total(priority * number), total((wish = 'finish') * number),"
    " total((wish = 'cancel') * number) FROM jobs WHERE NOT question GROUP BY state"
)
# Jobs of one batch are begun and ended together, and some were found and not drawn: only pictures that were made
# between a job's beginning and its end count, and time in which several jobs were drawn counts once.
DRAWN = """
SELECT jobs.started, jobs.ended, count(*) * max(1, ifnull(json_extract(jobs.request, '$.steps'), 1)) AS work
FROM (SELECT * FROM jobs WHERE state = 'done' AND started IS NOT NULL ORDER BY number DESC LIMIT ?) AS jobs
JOIN pictures ON pictures.job = jobs.id AND pictures.digest = ? AND pictures.made BETWEEN jobs.started AND jobs.ended
GROUP BY jobs.id ORDER BY jobs.started
"""
LATEST = 200  # jobs by which the pace is measured


class Poll:
    """Answers the pages of one studio. May be called from any thread."""

    def __init__(self, context: PageContext) -> None:
        self.context, self.studio = context, context.studio
        self._lock, self._stale, self._news = threading.Lock(), 0.0, dict[str, str]()
        self._began: OrderedDict[str, tuple[int, float]] = OrderedDict()  # job: first step seen, when

    def news(self, job: str, language: str) -> dict[str, Any]:
        """The job that is running, fingerprints that change with gallery and queue, and the stage of `job`."""
        current = self.studio.current()
        return {
            **self._fingerprints(),
            "current": current.id if current else "",
            "stage": self._pieces(job, language) if job else None,
        }

    def stage(self, job: str, language: str) -> "Stage":
        """How far a job is; KeyError where nobody knows it."""
        queue = self.studio.queue
        state = queue.job(job)  # before the pictures: those of an ended job are all there
        progress = None if state.state == "waiting" else self.context.progress(job)
        stage = Stage(language, state, queue.ahead(job), queue.is_paused(), progress=progress)
        stage.saved = self.studio.gallery.found(state.id, state)
        if progress and not state.end:
            stage.left = self._left(job, progress.step, progress.total)
        return stage

    def _pieces(self, job: str, language: str) -> dict[str, Any] | None:
        try:
            stage = self.stage(job, language)
        except KeyError:
            return None
        return {"head": stage.head(), "cells": stage.cells(), "size": stage.size(), "ended": bool(stage.job.end)}

    def _left(self, job: str, step: int, total: int) -> float | None:
        """Seconds, from the speed since the first step that was seen: before it the model was loaded."""
        if not step:
            self._began.pop(job, None)
            return None
        first, since = self._began.setdefault(job, (step, time.monotonic()))
        while len(self._began) > KNOWN_SPEEDS:
            self._began.popitem(last=False)
        if step <= first:
            return None
        return (time.monotonic() - since) / (step - first) * (total - step)

    def _fingerprints(self) -> dict[str, str]:
        """Looked up once a second at most, however many pages ask: a large gallery takes a moment to read through."""
        with self._lock:
            if time.monotonic() >= self._stale:
                self._news = {"gallery": fingerprint(self.context, GALLERY), "queue": fingerprint(self.context, QUEUE)}
                self._stale = time.monotonic() + NEWS
            return self._news


def router(context: PageContext) -> APIRouter:
    """The route that pages poll."""
    routes, poll = APIRouter(include_in_schema=False), Poll(context)

    @routes.get("/news")
    def news(request: Request, job: str = "") -> dict[str, Any]:
        return poll.news(job, language_of(request.headers))

    return routes


def fingerprint(context: PageContext, what: str) -> str:
    """A hash of GALLERY or QUEUE as they are now: where it is the same, they look the same."""
    rows, queue = [tuple(row) for row in context.rows(what)], context.studio.queue
    notice = (queue.is_paused(), queue.notice()) if what == QUEUE else ()
    return hashlib.sha256(repr((rows, notice)).encode()).hexdigest()[:12]


# --- How long it takes ------------------------------------------------------------------------------------------------


def pace(context: PageContext, digest: str) -> float | None:
    """Seconds a picture takes for each of its steps, by the latest jobs of the model `digest`; None where there are
    none.
    """
    rows = context.rows(DRAWN, LATEST, digest)
    work = sum(row["work"] for row in rows)
    return busy((row["started"], row["ended"]) for row in rows) / work if work else None


def busy(spans: Iterable[tuple[float, float]]) -> float:
    """Seconds that lie in at least one of `spans`, which come in the order of their beginnings."""
    total, until = 0.0, float("-inf")
    for begin, end in spans:
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total


def estimate(context: PageContext, digest: str, requests: Iterable[Any]) -> float | None:
    """Seconds that `requests` take; None where the pace of the model is not known."""
    speed = pace(context, digest)
    return None if speed is None else speed * sum(one.count * (getattr(one, "steps", None) or 1) for one in requests)


# --- The job on show --------------------------------------------------------------------------------------------------


@dataclass
class Stage:
    """What is known of the job on show. `language` is the reader's, `left` is in seconds."""

    language: str
    job: QueuedJob
    ahead: int = 0
    paused: bool = False
    left: float | None = None
    progress: Progress | None = None
    saved: dict[int, Saved] = field(default_factory=dict)

    def html(self, mine: bool = False) -> str:
        """The whole stage. page.js asks for news of `data-job` and exchanges head and cells.

        A job that was asked for on this very page (`mine`) stays when others begin.
        """
        return render("create.stage", self.language, stage=self, mine=mine)

    def size(self) -> str:
        """How many pictures there are room for, as a class."""
        count = self.job.request.count
        return "one" if count == 1 else "few" if count <= 4 else "many"

    def head(self) -> str:
        """What it is doing, which words it did not know, what went wrong."""
        step, total = (self.progress.step, self.progress.total) if self.progress else (0, 0)
        state = self._outcome() if self.job.end else self._state(step, total)
        failed = self.job.end.message if isinstance(self.job.end, Failed) else None
        error = error_text(failed, self.language) if failed else ""
        return render("create.head", self.language, stage=self, state=state, step=step, total=total, error=error)

    def cells(self) -> list[str]:
        """Each picture, or its place."""
        indices = range(self.job.request.count)
        return [self._cell(index) for index in indices if not self.job.end or index in self.saved]

    def _state(self, step: int, total: int) -> str:
        if self.job.state == "waiting":
            if self.paused:
                return self._text("create.paused")
            return self._text("create.waiting", ahead=self.ahead) if self.ahead else self._text("create.loading")
        if self.job.wish:
            return self._text("stopping" if self.job.wish == "cancel" else "stopping_after")
        if not total:
            return self._text("create.loading")
        state = self._text("step", step=step, total=total)
        if self.left is None:
            return state
        return f"{state} · {self._text('seconds_left', seconds=max(1, round(self.left)))}"

    def _outcome(self) -> str:
        if isinstance(self.job.end, Cancelled):
            return self._text("create.cancelled")
        if not isinstance(self.job.end, Done) or not self.saved:
            return ""
        if all(saved.found for saved in self.saved.values()):
            return self._text("create.found")
        seconds = max(saved.seconds for saved in self.saved.values())
        return self._text("create.done", count=len(self.saved), seconds=f"{seconds:.1f}")

    def _cell(self, index: int) -> str:
        if saved := self.saved.get(index):
            prompt = self.job.request.title
            shown = media(saved.path, prompt, text=saved.text)
            values = {"seed": saved.seed, "digest": digest_of(saved.path), "prompt": prompt, "kind": saved.kind}
            return render("create.finished", self.language, shown=shown, **values)
        preview = self.progress.previews.get(index) if self.progress else None
        data = base64.b64encode(preview).decode() if preview is not None else ""
        place = Media(f"data:image/png;base64,{data}") if data else None
        return render("create.unfinished", self.language, shown=place)

    def _text(self, code: str, **values: Any) -> str:
        return text(code, self.language, **values)
