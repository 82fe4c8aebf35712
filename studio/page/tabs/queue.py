"""The Queue tab: what is being made, what waits, what went wrong, what has just been made.

Its script fetches the rows from plain routes, as the gallery's. Ids come from a browser: one that nobody knows is
refused.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from fastapi import APIRouter, Request
from markupsafe import Markup
from pydantic import BaseModel, Field

from models.messages import Message, Refused
from studio.events import Saved
from studio.page.context import PageContext
from studio.page.html import digest_of, media, render, script
from studio.page.language import error_text, label, language_of, text
from studio.page.polling import QUEUE, Poll, fingerprint
from studio.planner import Job
from studio.queue import OPEN, QueuedJob

SHOWN = 100  # waiting and running jobs that are listed
FAILED = 50
PAST = 20  # that ended otherwise
THUMBNAILS = 8  # pictures of one job that are shown
# What a request's pictures are for, in words.
PICTURES = {
    "image": "from_picture",
    "mask": "painted",
    "expand": "bordered",
    "like": "like_picture",
    "mix": "blended",
}

Outcome = tuple[Message | None, list[str]]  # what to say, and the jobs that an undo queues again


class QueueHandlers:
    """What the tab's script asks of the studio."""

    def __init__(self, context: PageContext) -> None:
        self.context, self.studio, self.queue = context, context.studio, context.studio.queue
        self.poll = Poll(context)
        self._actions: dict[str, Callable[[Sequence[str], str], Outcome]] = {
            "first": self._move,
            "up": self._move,
            "down": self._move,
            "before": self._move,
            "after": self._move,
            "cancel": self._cancel,
            "cancel_all": self._cancel,
            "finish": self._finish,
            "retry": self._retry,
            "retry_all": self._retry,
            "pause": self._pause,
            "go": self._pause,
        }

    def rows(self, language: str) -> dict[str, Any]:
        """The head, and the rows of each list as (job, HTML)."""
        now = fingerprint(self.context, QUEUE)  # before the jobs: what comes between them is news
        counts = {str(state): count for state, count in self.queue.counts().items()}
        open_jobs = self.queue.jobs(OPEN, SHOWN)
        listed = _rows(self._open(open_jobs, language), language)
        hidden = sum(counts.get(state, 0) for state in OPEN) - len(open_jobs)
        failed = [Row(job, self._saved(job)) for job in self.queue.jobs(("failed", "aside"), FAILED)]
        ended = self.queue.jobs(("done", "cancelled"), 4 * PAST)
        past = sorted(ended, key=lambda job: -(job.ended or job.submitted))[:PAST]
        return {
            "fingerprint": now,
            "head": head(counts, self.queue.is_paused(), self.queue.notice(), language),
            "line": [*listed, ("", render("queue.more", language, count=hidden))] if hidden > 0 else listed,
            "wrong": _rows(failed, language),
            "past": _rows((Row(job, self._saved(job)) for job in past), language),
            "nothing": "" if counts else render("parts.empty", language, code="queue.empty"),
            "busy": counts.get("running", 0) > 0,
        }

    def act(self, do: str, jobs: Sequence[str], before: str, language: str) -> dict[str, Any]:
        """Change the queue -> a sentence, the jobs that an undo queues again, and what went wrong."""
        action = self._actions.get(do)
        if action is None:
            return {"said": "", "undo": [], "problem": text("unknown_request", language)}
        try:
            for job in [*jobs, *([before] if before else [])]:
                self.queue.job(job)
            where = self._after(before) if do == "after" else before if do == "before" else do
            said, undo = action(jobs, where)
        except KeyError:
            return {"said": "", "undo": [], "problem": text("queue.gone", language)}
        except Refused as refusal:
            return {"said": "", "undo": [], "problem": error_text(refusal, language)}
        return {"said": said.text(language) if said else "", "undo": undo, "problem": ""}

    def _open(self, jobs: list[QueuedJob], language: str) -> list["Row"]:
        listed, place = [], 0
        for job in jobs:
            if job.state == "waiting":
                place += 1
                listed.append(Row(job, self._saved(job), place=place))
            else:
                listed.append(self._running(job, language))
        return listed

    def _running(self, job: QueuedJob, language: str) -> "Row":
        stage = self.poll.stage(job.id, language)
        step, total = (stage.progress.step, stage.progress.total) if stage.progress else (0, 0)
        return Row(stage.job, tuple(stage.saved.values()), step, total, stage.left)

    def _saved(self, job: QueuedJob) -> tuple[Any, ...]:
        return tuple(self.studio.gallery.found(job.id, job).values())

    def _waiting(self) -> list[str]:
        return [job.id for job in self.queue.jobs(("waiting",), limit=-1)]

    def _after(self, job: str) -> str:
        """The job that is done after a waiting one, "" where that is the last; itself where it waits no more."""
        waiting = self._waiting()
        return next(iter(waiting[waiting.index(job) + 1 :]), "") if job in waiting else job

    def _move(self, jobs: Sequence[str], where: str) -> Outcome:
        """`where` is "first", "up", "down", or the job that is to come next; "" is the end of the queue."""
        waiting = self._waiting()
        for job in jobs:
            if job not in waiting:
                raise Refused("page.queue.begun")
            at = waiting.index(job)
            if where == "down":  # rather the next one up: it takes this one's priority, not this one that one's
                if at + 1 < len(waiting):
                    self.queue.move(waiting[at + 1], job)
                continue
            others = {"first": waiting[0], "up": waiting[max(0, at - 1)], "": waiting[-1]}
            before = others.get(where, where)
            if before not in waiting:
                raise Refused("page.queue.begun")
            if before != job:
                self.queue.move(job, before)
                if where == "":  # of the same priority by now
                    self.queue.move(before, job)
        return None, []

    def _cancel(self, jobs: Sequence[str], do: str) -> Outcome:
        wanted = [job.id for job in self.queue.jobs(OPEN, -1)] if do == "cancel_all" else list(jobs)
        still = [job for job in wanted if self.queue.job(job).end is None]
        if not still:
            raise Refused("page.queue.ended")
        count = self.queue.cancel(None if do == "cancel_all" else still)
        return Message("page.queue.was_cancelled", {"count": count}), still

    def _finish(self, jobs: Sequence[str], _: str) -> Outcome:
        for job in jobs:
            if self.queue.job(job).end is not None:
                raise Refused("page.queue.ended")
            self.queue.finish_picture(job)
        return Message("page.queue.was_finishing"), []

    def _retry(self, jobs: Sequence[str], do: str) -> Outcome:
        stopping = [job for job in map(self.queue.job, jobs) if job.state == "running"]
        for job in stopping:  # asked for anew, it is queued again when it has stopped
            self.queue.submit(Job(job.request, job.id, ""))
        count = len(stopping) + self.queue.retry(None if do == "retry_all" else jobs)
        self.studio.open()  # the worker may have been given up
        return Message("page.queue.was_retried", {"count": count}), []

    def _pause(self, _: Sequence[str], do: str) -> Outcome:
        self.queue.pause(do == "pause")
        self.studio.open()
        return None, []


# --- HTML: each row is one piece of its own, and the script exchanges what changed ------------------------------------


@dataclass(frozen=True)
class Row:
    """A job, its pictures so far, and of a running one how far it is: `step` of `total`, `left` seconds."""

    job: QueuedJob
    saved: tuple[Saved, ...] = ()
    step: int = 0
    total: int = 0
    left: float | None = None
    place: int = 0  # in the queue, 1 the next; 0 for one that does not wait


def jobs(language: str) -> Markup:
    """The tab without its rows: the script fetches these."""
    return render("queue.jobs", language)


def head(counts: dict[str, int], paused: bool, notice: str | Message, language: str) -> Markup:
    """What is going on, and what can be done with all of it."""
    failed = counts.get("failed", 0) + counts.get("aside", 0)
    running, waiting = counts.get("running", 0), counts.get("waiting", 0)
    values = {"running": running, "waiting": waiting, "failed": failed, "paused": paused, "notice": notice}
    return render("queue.head", language, **values)


def row(one: Row, language: str) -> Markup:
    """One job."""
    said = next((saved.text for saved in one.saved if saved.text), "")
    title = one.job.request.title or said or text("queue.untitled", language)
    pictures = [
        (digest_of(saved.path), media(saved.path, title, small=True, text=saved.text))
        for saved in one.saved[:THUMBNAILS]
    ]
    about = {"settings": _settings(one, language), "progress": _progress(one, language)}
    return render("queue.row", language, one=one, job=one.job, title=title, pictures=pictures, **about)


def _rows(listed: Iterable[Row], language: str) -> list[tuple[str, str]]:
    return [(one.job.id, row(one, language)) for one in listed]


def _settings(one: Row, language: str) -> str:
    """What was asked for, in a line."""

    def say(name: str, **values: object) -> str:
        return text(f"queue.{name}", language, **values)

    job, request = one.job, one.job.request
    parts = [say("pictures", count=request.count)] if request.count > 1 else []
    parts += [style] if (style := getattr(request, "style", "")) else []
    names = ("size", "frames", "fps", "steps", "guidance", "best_of", "seed")
    numbers = {name: getattr(request, name, None) for name in names}
    parts += [say(name, value=_short(value)) for name, value in numbers.items() if value is not None]
    parts += [say("without", words=words)] if (words := getattr(request, "negative", "")) else []
    parts += [say(code) for name, code in PICTURES.items() if getattr(request, name, None)]
    if job.state == "done" and job.started and job.ended:
        parts.append(say("took", seconds=f"{max(0.0, job.ended - job.started):.1f}"))
    if job.state == "cancelled":
        parts.append(text("stopped", language))
    return " · ".join(parts)


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _progress(one: Row, language: str) -> str:
    """How far a running job is."""
    if one.job.wish:
        return text("stopping" if one.job.wish == "cancel" else "stopping_after", language)
    if not one.total:
        return text("queue.loading", language)
    parts = [text("step", language, step=one.step, total=one.total)]
    if one.job.request.count > 1:
        parts.append(text("queue.made", language, made=len(one.saved), count=one.job.request.count))
    if one.left is not None:
        parts.append(text("seconds_left", language, seconds=max(1, round(one.left))))
    return " · ".join(parts)


def build(context: PageContext) -> None:
    """Draw the tab; its script fills it."""
    with gr.Tab(label("tab.queue"), id="queue"):
        queue = context.html(script=script("queue.js"), elem_id="queue")
    context.on_load_text(jobs, queue)


# --- Routes -----------------------------------------------------------------------------------------------------------


class Change(BaseModel):
    """What is to be done to which jobs; `before` is the job that the moved one is to stand before."""

    do: str = Field(max_length=20)
    jobs: list[str] = Field([], max_length=100_000)
    before: str = Field("", max_length=100)


def router(context: PageContext) -> APIRouter:
    """What the tab's script fetches."""
    routes, handlers = APIRouter(include_in_schema=False), QueueHandlers(context)

    @routes.get("/jobs")
    def rows(request: Request) -> dict[str, Any]:
        return handlers.rows(language_of(request.headers))

    @routes.post("/jobs/act")
    def act(request: Request, change: Change) -> dict[str, Any]:
        return handlers.act(change.do, change.jobs, change.before, language_of(request.headers))

    return routes
