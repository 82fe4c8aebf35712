"""What the tools answer: data for programs, and text, pictures and links for people and models that read along."""

import base64
from collections.abc import Sequence
from pathlib import Path

from mcp.types import CallToolResult, ContentBlock, ImageContent, ResourceLink, TextContent
from pydantic import BaseModel, Field

from models.messages import Refused
from studio.api.gallery import small
from studio.events import Progress, Saved, Unknown
from studio.gallery import Gallery, Kept
from studio.queue import QueuedJob, State
from studio.studio import Studio

SHOWN = 8  # pictures shown in the chat; all are linked
RESOURCE = "studio://pictures/{id}"  # how a client reads a stored file


class PictureOut(BaseModel):
    """A picture of the gallery."""

    id: str = Field(description="sha256 of its file; other tools take it as a picture.")
    path: str = Field(description="The file, where the studio runs.")
    prompt: str = Field(description="What it was made from; of a caption, the caption.")
    seed: int
    score: float | None = Field(description="Cosine to what was asked for, -1 to 1.")
    media_type: str


class JobOut(BaseModel):
    """A job, and the pictures that it made so far."""

    id: str
    state: State
    prompt: str
    ahead: int = Field(description="Jobs that come before it.")
    step: int = Field(description="How far it is, of `total` steps; 0 of 0 while the model is loaded.")
    total: int
    sentence: str = Field(description="Why it failed.")
    unknown: list[Unknown]
    read_as: str = Field(description="What is read of the prompt, where that is not its very words.")
    pictures: list[PictureOut]


class Jobs(BaseModel):
    """Jobs; `counts` by state are those of the whole queue."""

    jobs: list[JobOut]
    counts: dict[str, int]
    paused: bool
    notice: str = Field(description="The latest message of the worker.")


class Hits(BaseModel):
    """Pictures that were found, best first. A score is None where a picture was found by its words alone."""

    pictures: list[PictureOut]


def jobs_result(studio: Studio, jobs: Sequence[QueuedJob]) -> CallToolResult:
    """Jobs and the state of the queue, with the pictures that they made."""
    queue, listed = studio.queue, [_job(studio, job) for job in jobs]
    counts = {str(state): count for state, count in queue.counts().items()}
    data = Jobs(jobs=listed, counts=counts, paused=queue.is_paused(), notice=str(queue.notice()))
    lines = [line for job in listed for line in (_headline(job), *map(_line, job.pictures))]
    lines += ["The queue is paused."] if data.paused else []
    text = "\n".join(lines) or "Nothing runs and nothing waits."
    return _result(studio.gallery, data, text, [one for job in listed for one in job.pictures])


def hits_result(gallery: Gallery, found: Sequence[tuple[Kept, float | None]]) -> CallToolResult:
    """Pictures that were found, with their scores."""
    pictures = [_picture(kept, kept.prompt, None if score is None else round(score, 4)) for kept, score in found]
    text = "\n".join([f"{len(pictures)} found.", *map(_line, pictures)])
    return _result(gallery, Hits(pictures=pictures), text, pictures)


def refused(sentence: str) -> CallToolResult:
    """One sentence that says what is wrong and what to do."""
    return CallToolResult(content=[TextContent(type="text", text=sentence)], is_error=True)


def _picture(one: Kept | Saved, prompt: str, score: float | None) -> PictureOut:
    """A file of the gallery is named by its sha256."""
    path, kind = Path(one.path), one.media_type
    return PictureOut(id=path.stem, path=str(path), prompt=prompt, seed=one.seed, score=score, media_type=kind)


def _job(studio: Studio, job: QueuedJob) -> JobOut:
    live = studio.store.progress.read(job.id)[1] if job.state != "waiting" else None
    live, made = live or Progress(0, 0), sorted(studio.gallery.made_by(job).items())
    return JobOut(
        id=job.id,
        state=job.state,
        prompt=job.request.title,
        ahead=studio.queue.ahead(job.id),
        step=live.step,
        total=live.total,
        sentence=job.sentence,
        unknown=list(live.unknown),
        read_as=live.read_as,
        pictures=[_picture(saved, saved.text or job.request.title, saved.score) for _, saved in made],
    )


def _result(gallery: Gallery, data: Jobs | Hits, text: str, pictures: list[PictureOut]) -> CallToolResult:
    """The first pictures are shown, all are linked."""
    blocks: list[ContentBlock] = [TextContent(type="text", text=text)]
    blocks += [block for one in pictures[:SHOWN] if (block := _content(gallery, one))]
    blocks += [_link(one) for one in pictures]
    return CallToolResult(content=blocks, structured_content=data.model_dump(mode="json"))


def _content(gallery: Gallery, picture: PictureOut) -> ContentBlock | None:
    """A stored file in the chat: text as text, a picture made small where it is large; None where it is gone."""
    try:
        kept = gallery.get(picture.id)
        if kept.kind == "text":
            return TextContent(type="text", text=kept.text)
        data, kind = small(gallery, kept)
    except (KeyError, OSError, Refused):
        return None
    return ImageContent(type="image", data=base64.b64encode(data).decode(), mime_type=kind)


def _link(picture: PictureOut) -> ResourceLink:
    path, uri = Path(picture.path), RESOURCE.replace("{id}", picture.id)
    title = picture.prompt or path.name
    return ResourceLink(type="resource_link", uri=uri, name=path.name, title=title, mime_type=picture.media_type)


def _headline(job: JobOut) -> str:
    where = f", {job.ahead} before it" if job.state == "waiting" else ""
    where = f", step {job.step} of {job.total}" if job.state == "running" else where
    words = [f"I don't know {one.word}; nearest: {', '.join(one.nearest)}." for one in job.unknown]
    words += [f"Read as: {job.read_as}."] if job.read_as else []
    return " ".join(part for part in (f"Job {job.id[:12]}: {job.state}{where}.", job.sentence, *words) if part)


def _line(picture: PictureOut) -> str:
    score = "" if picture.score is None else f", score {picture.score}"
    return f"- {picture.path} (seed {picture.seed}{score}): {picture.prompt}"
