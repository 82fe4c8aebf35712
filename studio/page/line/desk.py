"""What the Queue tab asks of the studio: how the jobs stand, and a change of them.

It goes through plain routes, as the gallery's. Ids come from a browser: one that nobody knows does nothing but say so.
"""

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from models.messages import Refused
from studio.page.frame import Frame
from studio.page.line import view
from studio.page.line.view import Row
from studio.page.line.words import say
from studio.page.pulse import LINE, Pulse, mark
from studio.page.refusals import in_language
from studio.queue import OPEN, QueuedJob
from studio.requests import company

SHOWN = 100  # jobs in line that are listed
WRONG = 50  # that failed
PAST = 20  # that ended otherwise

Told = tuple[str, list[str]]  # what to say, and the jobs that an undo puts back in line


class LineDesk:
    """Stands between one page's Queue tab and the studio."""

    def __init__(self, frame: Frame) -> None:
        self.frame, self.studio, self.queue = frame, frame.studio, frame.studio.queue
        self.pulse = Pulse(frame.studio)
        self._does: dict[str, Callable[[Sequence[str], str, str], Told]] = {
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

    def greet(self, request: gr.Request) -> str:
        """The tab, in the language of the person who looks."""
        return view.line(self.frame.spoken(request))

    def stand(self, spoken: str) -> dict[str, Any]:
        """How the jobs stand: the head, and the rows of each list as (job, HTML)."""
        now = mark(self.studio, LINE)  # before the jobs: what comes between them is news
        counts = {str(state): count for state, count in self.queue.counts().items()}
        open_jobs = self.queue.jobs(OPEN, SHOWN)
        line = view.rows(self._open(open_jobs, spoken), spoken)
        hidden = sum(counts.get(state, 0) for state in OPEN) - len(open_jobs)
        wrong = [Row(job, self._saved(job)) for job in self.queue.jobs(("failed", "aside"), WRONG)]
        ended = self.queue.jobs(("done", "cancelled"), 4 * PAST)
        past = sorted(ended, key=lambda job: -(job.ended or job.submitted))[:PAST]
        return {
            "mark": now,
            "head": view.head(counts, self.queue.is_paused(), self.queue.notice(), spoken),
            "line": [*line, ("", view.more(hidden, spoken))] if hidden > 0 else line,
            "wrong": view.rows(wrong, spoken),
            "past": view.rows((Row(job, self._saved(job)) for job in past), spoken),
            "nothing": "" if counts else view.nothing(spoken),
            "busy": counts.get("running", 0) > 0,
        }

    def act(self, do: str, jobs: Sequence[str], before: str, spoken: str) -> dict[str, Any]:
        """Change what is in line -> a sentence, the jobs that an undo puts back, and what went wrong."""
        change = self._does.get(do)
        if change is None:
            return {"said": "", "undo": [], "problem": say("unknown", spoken)}
        try:
            for job in [*jobs, *([before] if before else [])]:
                self.queue.job(job)
            where = self._after(before) if do == "after" else before if do == "before" else do
            sentence, undo = change(jobs, where, spoken)
        except KeyError:
            return {"said": "", "undo": [], "problem": say("gone", spoken)}
        except Refused as refusal:
            return {"said": "", "undo": [], "problem": in_language(str(refusal), spoken)}
        return {"said": sentence, "undo": undo, "problem": ""}

    def _open(self, jobs: list[QueuedJob], spoken: str) -> list[Row]:
        listed, place = [], 0
        for job in jobs:
            if job.state == "waiting":
                place += 1
                listed.append(Row(job, self._saved(job), place=place))
            else:
                listed.append(self._running(job, spoken))
        return listed

    def _running(self, job: QueuedJob, spoken: str) -> Row:
        stage = self.pulse.stage(job.id, spoken)
        step, total = (stage.progress.step, stage.progress.total) if stage.progress else (0, 0)
        return Row(stage.job, tuple(stage.saved.values()), step, total, stage.left)

    def _saved(self, job: QueuedJob) -> tuple[Any, ...]:
        return tuple(self.studio.gallery.made_by(job).values())

    def _after(self, job: str) -> str:
        """The job that is done after a waiting one, "" where that is the last; itself where it waits no more."""
        waiting = [one.id for one in self.queue.jobs(("waiting",), limit=-1)]
        return next(iter(waiting[waiting.index(job) + 1 :]), "") if job in waiting else job

    def _move(self, jobs: Sequence[str], where: str, spoken: str) -> Told:
        """`where` is "first", "up", "down", or the job that is to come next; "" is the end of the line."""
        waiting = [job.id for job in self.queue.jobs(("waiting",), limit=-1)]
        for job in jobs:
            if job not in waiting:
                raise Refused(say("begun", spoken))
            at = waiting.index(job)
            if where == "down":  # rather the next one up: it takes this one's priority, not this one that one's
                if at + 1 < len(waiting):
                    self.queue.move(waiting[at + 1], job)
                continue
            others = {"first": waiting[0], "up": waiting[max(0, at - 1)], "": waiting[-1]}
            before = others.get(where, where)
            if before not in waiting:
                raise Refused(say("begun", spoken))
            if before != job:
                self.queue.move(job, before)
                if where == "":  # of the same priority by now
                    self.queue.move(before, job)
        return "", []

    def _cancel(self, jobs: Sequence[str], do: str, spoken: str) -> Told:
        wanted = [job.id for job in self.queue.jobs(OPEN, -1)] if do == "cancel_all" else list(jobs)
        still = [job for job in wanted if self.queue.job(job).end is None]
        if not still:
            raise Refused(say("ended", spoken))
        count = self.queue.cancel(None if do == "cancel_all" else still)
        return say("was_cancelled", spoken, count=count), still

    def _finish(self, jobs: Sequence[str], _: str, spoken: str) -> Told:
        for job in jobs:
            if self.queue.job(job).end is not None:
                raise Refused(say("ended", spoken))
            self.queue.finish_picture(job)
        return say("was_finishing", spoken), []

    def _retry(self, jobs: Sequence[str], do: str, spoken: str) -> Told:
        stopping = [job for job in map(self.queue.job, jobs) if job.state == "running"]
        for job in stopping:  # asked for anew, it goes back in line when it has stopped
            self.queue.submit(job.request, job.id, repr(company(job.request)))
        count = len(stopping) + self.queue.retry(None if do == "retry_all" else jobs)
        self.studio.open()  # the worker may have been given up
        return say("was_retried", spoken, count=count), []

    def _pause(self, _: Sequence[str], do: str, spoken: str) -> Told:
        self.queue.pause(do == "pause")
        self.studio.open()
        return "", []
