"""What the tools say: data for programs, and text, pictures and links for whoever reads along."""

import base64
from collections.abc import Sequence
from pathlib import Path

from mcp.types import CallToolResult, ContentBlock, ImageContent, ResourceLink, TextContent
from pydantic import BaseModel, Field

from studio.events import Saved, Unknown
from studio.gallery import Kept
from studio.queue import QueuedJob, State
from studio.studio import Studio

SHOWN = 8  # pictures shown in the chat; all are linked
PICTURE = "studio://pictures/{id}"  # how a client reads a picture's file


class PictureOut(BaseModel):
    """A picture of the gallery."""

    id: str = Field(description="sha256 of its file; other tools take it as a picture.")
    path: str = Field(description="The file, where the studio runs.")
    prompt: str
    seed: int
    score: float | None = Field(description="Cosine to what was asked for, -1 to 1.")


class UnknownOut(BaseModel):
    """A word that the model never learned, and the nearest ones that it did."""

    word: str
    nearest: list[str]


class JobOut(BaseModel):
    """A job, and the pictures that it made so far."""

    id: str
    state: State
    prompt: str
    ahead: int = Field(description="Jobs that come before it.")
    step: int = Field(description="How far it is, of `total` steps; 0 of 0 while the model is loaded.")
    total: int
    sentence: str = Field(description="Why it failed.")
    unknown: list[UnknownOut]
    read_as: str = Field(description="What is read of the prompt, where that is not its very words.")
    pictures: list[PictureOut]


class Jobs(BaseModel):
    """Jobs; `counts` by state are those of the whole queue."""

    jobs: list[JobOut]
    counts: dict[str, int]
    paused: bool
    notice: str = Field(description="The latest that the worker had to say.")


class Hits(BaseModel):
    """Pictures that were found, best first. A score is None where a picture was found by its words alone."""

    pictures: list[PictureOut]


class StyleOut(BaseModel):
    """A style, its name in Chinese, and other words that mean it."""

    name: str
    zh: str
    words: list[str]


class ModelOut(BaseModel):
    """A model, and what is missing where it is not ready."""

    name: str
    about: str
    ready: bool
    problem: str


def kept_out(kept: Kept, score: float | None) -> PictureOut:
    """A picture of the gallery, with the score that it has here."""
    rounded = None if score is None else round(score, 4)
    return PictureOut(id=kept.sha256, path=str(kept.path), prompt=kept.prompt, seed=kept.seed, score=rounded)


def job_out(studio: Studio, job: QueuedJob) -> JobOut:
    """A job as it stands."""
    live = studio.house.live.read(job.id)[1] if job.state != "waiting" else None
    return JobOut(
        id=job.id,
        state=job.state,
        prompt=job.request.prompt,
        ahead=studio.queue.ahead(job.id),
        step=live.step if live else 0,
        total=live.total if live else 0,
        sentence=job.sentence,
        unknown=[_unknown_out(word) for word in live.unknown] if live else [],
        read_as=live.read_as if live else "",
        pictures=[_saved_out(job, saved) for _, saved in sorted(studio.gallery.made_by(job).items())],
    )


def jobs_out(studio: Studio, jobs: Sequence[QueuedJob]) -> Jobs:
    """Jobs, and how the queue stands."""
    queue = studio.queue
    listed = [job_out(studio, job) for job in jobs]
    return Jobs(
        jobs=listed,
        counts={str(state): count for state, count in queue.counts().items()},
        paused=queue.is_paused(),
        notice=queue.notice(),
    )


def told(studio: Studio, data: Jobs | Hits) -> CallToolResult:
    """A result with its pictures to look at and to read."""
    pictures = data.pictures if isinstance(data, Hits) else [one for job in data.jobs for one in job.pictures]
    blocks: list[ContentBlock] = [TextContent(type="text", text=_text(data))]
    blocks += [shown for one in pictures[:SHOWN] if (shown := _shown(studio, one))]
    blocks += [_link(one) for one in pictures]
    return CallToolResult(content=blocks, structured_content=data.model_dump(mode="json"))


def refused(sentence: str) -> CallToolResult:
    """One sentence that says what is wrong and what to do."""
    return CallToolResult(content=[TextContent(type="text", text=sentence)], is_error=True)


def _text(data: Jobs | Hits) -> str:
    if isinstance(data, Hits):
        return "\n".join([f"{len(data.pictures)} found.", *map(_line, data.pictures)])
    lines = [line for job in data.jobs for line in (_headline(job), *map(_line, job.pictures))]
    lines += ["The queue is paused."] if data.paused else []
    return "\n".join(lines) or "Nothing runs and nothing waits."


def _headline(job: JobOut) -> str:
    where = f", {job.ahead} before it" if job.state == "waiting" else ""
    where = f", step {job.step} of {job.total}" if job.state == "running" else where
    words = [f"I don't know {one.word}; nearest: {', '.join(one.nearest)}." for one in job.unknown]
    words += [f"Read as: {job.read_as}."] if job.read_as else []
    return " ".join(part for part in (f"Job {job.id[:12]}: {job.state}{where}.", job.sentence, *words) if part)


def _line(picture: PictureOut) -> str:
    score = "" if picture.score is None else f", score {picture.score}"
    return f"- {picture.path} (seed {picture.seed}{score}): {picture.prompt}"


def _shown(studio: Studio, picture: PictureOut) -> ImageContent | None:
    """The picture, made small where it is large; None where its file is gone."""
    try:
        data = studio.gallery.thumbnail(picture.id)
    except KeyError:
        return None
    kind = "image/webp" if data[:4] == b"RIFF" else "image/png"
    return ImageContent(type="image", data=base64.b64encode(data).decode(), mime_type=kind)


def _link(picture: PictureOut) -> ResourceLink:
    uri, name = PICTURE.replace("{id}", picture.id), Path(picture.path).name
    return ResourceLink(type="resource_link", uri=uri, name=name, title=picture.prompt or name, mime_type="image/png")


def _saved_out(job: QueuedJob, saved: Saved) -> PictureOut:
    digest, prompt = Path(saved.path).stem, job.request.prompt  # a picture's file is named by its sha256
    return PictureOut(id=digest, path=saved.path, prompt=prompt, seed=saved.seed, score=saved.score)


def _unknown_out(word: Unknown) -> UnknownOut:
    return UnknownOut(word=word.word, nearest=list(word.nearest))
