"""What happens to a job, for programs: the job as it stands, and its events as a browser's EventSource reads them."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import Response
from fastapi.responses import StreamingResponse

from studio.api.api_models import PREFIX, JobOut, PictureOut, ProgressOut
from studio.events import Cancelled, Done, End, Failed, Progress, Saved
from studio.metadata.origin import nameless
from studio.queue import QueuedJob
from studio.studio import Studio

END = "end"  # id of the last event: who has heard it needs nothing more
HEARTBEAT = 10.0  # seconds of silence after which a comment is sent, so that one who has left is noticed
HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


def job_out(studio: Studio, job: QueuedJob) -> JobOut:
    """A job with its pictures and how far it is."""
    live = studio.house.live.read(job.id)[1] if job.state == "running" else None
    same = ("id", "number", "state", "priority", "sentence", "submitted", "started", "ended")
    return JobOut(
        ahead=studio.queue.ahead(job.id),
        progress=ProgressOut(step=live.step, total=live.total) if live else None,
        pictures=[picture_out(saved) for _, saved in sorted(studio.gallery.made_by(job).items())],
        request=nameless(job.request.model_dump(mode="json")),
        **{name: getattr(job, name) for name in same},
    )


def picture_out(saved: Saved) -> PictureOut:
    """A picture that is whole on disk; its file is named by its sha256."""
    digest = Path(saved.path).stem
    return PictureOut(
        index=saved.index,
        sha256=digest,
        url=f"{PREFIX}/gallery/{digest}/file",
        seed=saved.seed,
        score=saved.score,
        seconds=round(saved.seconds, 3),
        found=saved.found,
    )


def stream(studio: Studio, job: JobOut, heard: str) -> Response:
    """The events of a job; `heard` is the id of the last one that the client had of it. 204 tells it to ask no more."""
    if heard == END and job.state not in ("waiting", "running"):
        return Response(status_code=204)
    return StreamingResponse(_events(studio, job), media_type="text/event-stream", headers=HEADERS)


async def _events(studio: Studio, job: JobOut) -> AsyncIterator[str]:
    yield _event("state", job.model_dump(mode="json"))
    async for event in _with_silence(studio.aevents(job.id)):
        yield ": still here\n\n" if event is None else _said(event)


async def _with_silence(events: AsyncIterator[Progress | Saved | End]) -> AsyncIterator[Progress | Saved | End | None]:
    """The events, and None after each HEARTBEAT without one."""
    while True:
        coming = asyncio.ensure_future(_next(events))
        try:
            while not (await asyncio.wait({coming}, timeout=HEARTBEAT))[0]:
                yield None
        finally:
            coming.cancel()  # does nothing to one that has come
        event = coming.result()
        if event is None:
            return
        yield event


async def _next(events: AsyncIterator[Progress | Saved | End]) -> Progress | Saved | End | None:
    return await anext(events, None)


def _said(event: Progress | Saved | End) -> str:
    if isinstance(event, Progress):
        unknown = [{"word": word.word, "nearest": word.nearest} for word in event.unknown]
        shown = {n: f"data:image/png;base64,{base64.b64encode(png).decode()}" for n, png in event.previews.items()}
        said = {"step": event.step, "total": event.total, "unknown": unknown, "read_as": event.read_as}
        return _event("progress", said | {"previews": shown})
    if isinstance(event, Saved):
        return _event("picture", picture_out(event).model_dump(mode="json"))
    states = {Done: "done", Failed: "failed", Cancelled: "cancelled"}
    sentence = event.sentence if isinstance(event, Failed) else ""
    return _event("end", {"state": states[type(event)], "sentence": sentence}, END)


def _event(name: str, data: dict[str, Any], number: str = "") -> str:
    identified = f"id: {number}\n" if number else ""
    return f"event: {name}\n{identified}data: {json.dumps(data)}\n\n"
