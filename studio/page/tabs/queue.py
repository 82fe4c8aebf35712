"""The Queue tab: running, waiting, failed and recent jobs.

Its script fetches the rows from routes, as the gallery's does. Ids come from a browser: unknown ones are refused.
"""

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr
from fastapi import APIRouter
from pydantic import BaseModel, Field

from models.messages import Message, Refused
from studio.page.context import PageContext
from studio.page.html import error_text, label, new_router, render, script
from studio.page.polling import QUEUE, Stage, fingerprint
from studio.planner import Job
from studio.queue import OPEN, QueuedJob

ORDER = 80
SHOWN = 100  # listed waiting and running jobs
FAILED = 50
PAST = 20  # done and cancelled jobs

Outcome = tuple[Message | None, list[str]]  # confirmation, jobs that an undo queues again


class Change(BaseModel):
    """An action and its jobs."""

    do: str = Field(max_length=20)
    jobs: list[str] = Field([], max_length=100_000)


class QueueHandlers:
    def __init__(self, context: PageContext) -> None:
        self.context, self.studio, self.queue = context, context.studio, context.studio.queue
        self._actions: dict[str, Callable[[Sequence[str], str], Outcome]] = {
            **dict.fromkeys(("first", "up", "down"), self._move),
            **dict.fromkeys(("cancel", "cancel_all"), self._cancel),
            **dict.fromkeys(("retry", "retry_all"), self._retry),
            **dict.fromkeys(("pause", "go"), self._pause),
        }

    def rows(self) -> dict[str, Any]:
        """The head, and the rows of each list as (job, HTML)."""
        now = fingerprint(self.studio, QUEUE)  # first: a change while the jobs are read is news
        counts = {str(state): count for state, count in self.queue.counts().items()}
        line, place = [], 0
        for job in self.queue.jobs(OPEN, SHOWN):
            place += job.state == "waiting"
            line.append(self._row(job, place))
        hidden = counts.get("waiting", 0) + counts.get("running", 0) - len(line)
        ended = self.queue.jobs(("done", "cancelled"), 4 * PAST)
        past = sorted(ended, key=lambda job: -(job.ended or job.submitted))[:PAST]
        return {
            "fingerprint": now,
            "head": render("queue.head", counts, self.queue.is_paused(), self.studio.trouble()),
            "line": [*line, ("", render("queue.more", hidden))] if hidden > 0 else line,
            "wrong": [self._row(job) for job in self.queue.jobs(("failed", "quarantined"), FAILED)],
            "past": [self._row(job) for job in past],
            "nothing": "" if counts else render("parts.empty", "queue.empty"),
            "busy": counts.get("running", 0) > 0,
        }

    def act(self, change: Change) -> dict[str, Any]:
        """Change the queue -> a confirmation, and the jobs that an undo queues again."""
        do = change.do
        if do not in self._actions:
            raise Refused("page.unknown_request")
        try:
            for job in change.jobs:
                self.queue.job(job)
            message, undo = self._actions[do](change.jobs, do)
        except KeyError as error:
            raise Refused("page.queue.gone") from error
        return {"sentence": error_text(message) if message else "", "undo": undo}

    def _row(self, job: QueuedJob, place: int = 0) -> tuple[str, str]:
        """A job as HTML; `place` is its position among the waiting ones."""
        if job.state == "running":
            stage = self.context.poll.stage(job.id)
        else:
            stage = Stage(job, saved=self.studio.gallery.results(job.id, job))
        return job.id, render("queue.row", stage, place)

    def _move(self, jobs: Sequence[str], do: str) -> Outcome:
        """Move waiting jobs: to the front ("first"), or by one place ("up", "down")."""
        waiting = [job.id for job in self.queue.jobs(("waiting",), limit=-1)]
        for job in jobs:
            if job not in waiting:
                raise Refused("page.queue.begun")
            at = waiting.index(job)
            if do != "down":
                self.queue.move(job, waiting[0 if do == "first" else max(0, at - 1)])
            elif at + 1 < len(waiting):  # the next one moves up: it takes the priority of this one
                self.queue.move(waiting[at + 1], job)
        return None, []

    def _cancel(self, jobs: Sequence[str], do: str) -> Outcome:
        wanted = [job.id for job in self.queue.jobs(OPEN, -1)] if do == "cancel_all" else jobs
        still = [job for job in wanted if self.queue.job(job).end is None]
        if not still:
            raise Refused("page.queue.ended")
        count = self.queue.cancel(None if do == "cancel_all" else still)
        return Message("page.queue.was_cancelled", {"count": count}), still

    def _retry(self, jobs: Sequence[str], do: str) -> Outcome:
        stopping = [job for job in map(self.queue.job, jobs) if job.state == "running"]
        for job in stopping:  # submitted again, it is queued when it has stopped
            self.queue.submit(Job(job.request, job.id, ""))
        count = len(stopping) + self.queue.retry(None if do == "retry_all" else jobs)
        self.studio.open()  # the worker may have been stopped after crashes
        return Message("page.queue.was_retried", {"count": count}), []

    def _pause(self, _: Sequence[str], do: str) -> Outcome:
        self.queue.pause(do == "pause")
        self.studio.open()
        return None, []


def build(context: PageContext) -> None:
    with gr.Tab(label("tab.queue"), id="queue"):
        queue = context.html(script=script("queue.js"), elem_id="queue")
    context.on_load(lambda: render("queue.jobs"), queue)


def router(context: PageContext) -> APIRouter:
    router, handlers = new_router(), QueueHandlers(context)
    router.get("/jobs")(handlers.rows)
    router.post("/jobs/act")(handlers.act)
    return router
