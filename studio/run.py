"""Jobs from request to files: run by commands in their own process and by the worker in another."""

import contextlib
import functools
import hashlib
import io
import sys
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from PIL import Image

from models.messages import Message, Refused
from models.references.credits import Credit
from models.runtime import NoDevice
from studio import media
from studio.backends.base import Backend, run_batch
from studio.events import Done, Failed, Progress, Saved
from studio.files import write_whole
from studio.gallery import Gallery
from studio.inputs import credits_given
from studio.media import Artifact
from studio.metadata.files import content, read, read_bytes, strip, write
from studio.metadata.origin import placed, provenance
from studio.planner import Job
from studio.requests import MediaRequest

PNG_END = b"IEND\xaeB`\x82"  # Pillow reads a PNG that lacks it


class Sink(Protocol):
    """A destination of finished artifacts."""

    def results(self, job: Job) -> dict[int, Saved]:
        """The job's artifacts that are here and whole, by index."""

    def keep(self, job: Job, artifact: Artifact) -> Path:
        """Put an artifact here, whole or not at all -> its file; Refused where it can't be written."""


def file_names(job: Job) -> list[str]:
    """The usual file name of each artifact: `<job>-<index>-<seed>.<ending>`. No word of the prompt gets into a name."""
    request = job.request
    return [f"{job.id[:16]}-{index}-{seed}{request.suffix}" for index, seed in enumerate(request.seeds())]


def plain_name(data: bytes) -> str:
    """A file name, without its ending, that says nothing but what the file holds."""
    return hashlib.sha256(data).hexdigest()[:16]


class FolderSink(Sink):
    """Files in a folder, under their usual names or, a job's, under those that `named` gives."""

    def __init__(self, folder: Path, named: Callable[[Job], Sequence[str]] = file_names) -> None:
        self.folder, self._named = folder, named

    def results(self, job: Job) -> dict[int, Saved]:
        results = enumerate(_result(self.folder / name, job) for name in self._named(job))
        return {index: saved for index, saved in results if saved and saved.index == index}

    def keep(self, job: Job, artifact: Artifact) -> Path:
        path = self.folder / self._named(job)[artifact.index]
        write_whole(path, _file(artifact, job))
        return path


class BareFolderSink(Sink):
    """Files named by their content, without metadata. They can't be found again, only made again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def results(self, job: Job) -> dict[int, Saved]:
        return {}

    def keep(self, job: Job, artifact: Artifact) -> Path:
        path = self.folder / f"{plain_name(artifact.data)}{artifact.suffix}"
        write_whole(path, artifact.data)
        return path


class GallerySink(Sink):
    """Artifacts in the gallery, with row, thumbnail and vector."""

    def __init__(self, gallery: Gallery) -> None:
        self.gallery = gallery

    def results(self, job: Job) -> dict[int, Saved]:
        return self.gallery.results(job.id)

    def keep(self, job: Job, artifact: Artifact) -> Path:
        return self.gallery.add(_file(artifact, job), artifact, job)


def _file(artifact: Artifact, job: Job) -> bytes:
    """The bytes of an artifact with its metadata inside."""
    return write(artifact.data, artifact.media_type, provenance(job, artifact))


def holds_another(path: Path, job: str) -> bool:
    """Whether `path` is there and is no artifact of that job."""
    if not path.exists():
        return False
    try:
        return bool(read(path).get("job_id") != job)
    except Refused:
        return True


def _result(path: Path, job: Job) -> Saved | None:
    """The artifact of this job in the file `path`; None where it holds another or is not whole."""
    try:
        data = content(path)
        origin = read_bytes(data, path)
        if origin.get("job_id") != job.id:
            return None
        artifact = placed(media.read(data, media.media_type_of(path)), origin)
        if path.suffix == ".png":  # its checksums take a fraction of the time of decoding
            Image.open(io.BytesIO(data)).verify()
            if not data.endswith(PNG_END):
                return None
        elif artifact.medium.visual:
            media.frames(data)
        else:
            artifact = placed(media.read(strip(data, path), artifact.media_type), origin)
    except (OSError, SyntaxError, ValueError, KeyError, EOFError):
        return None
    return artifact.saved(path, 0.0, cached=True)


def run_jobs(
    backend: Backend, jobs: Sequence[Job], sink: Sink, previews: bool = True
) -> Generator[tuple[int, Progress | Saved | Done | Failed], None, None]:
    """Do jobs of one model into `sink`; each event comes with the number of its job.

    Those of equal batch keys share batches; only artifacts that the sink lacks are made. Every job ends with Done or
    Failed, and one that fails does not spoil the others. Refused, with the rest undone, where an artifact can't be
    written or the model can't be loaded. Dropping the iterator cancels and leaves what is whole; to cancel one job,
    drop it and go on with the others: what they have is found.
    """
    yield from ((number, Progress(0, 0)) for number in range(len(jobs)))  # begun, before anything can go wrong
    began, groups = time.monotonic(), dict[object, list[_Part]]()
    for number, job in enumerate(jobs):
        present = sink.results(job)
        yield from ((number, saved) for saved in present.values())
        tracked = _Tracked(number, job, set(present))
        if not tracked.left:
            yield number, Done()
        for part in tracked.parts:
            groups.setdefault(backend.batch_key(part.request), []).append(part)
    if groups:
        backend.load()
    for chunk in (chunk for group in groups.values() for chunk in _chunks(group, backend.group)):
        for part, event in _run_parts(backend, chunk, previews):
            for reported in part.whole.take(part, event, sink, time.monotonic() - began):
                yield part.whole.number, reported


class _Tracked:
    """A job in progress: the artifacts `left` to be made, in `parts`. That is the whole request where none is there,
    else a request for each, since each has a seed and a shape of its own.
    """

    def __init__(self, number: int, job: Job, present: set[int]) -> None:
        self.number, self.job, request = number, job, job.request
        self.left = set(range(request.count)) - present
        missing = [_Part(self, i, request.alone(i)) for i in sorted(self.left)]
        self.parts = missing if present else [_Part(self, 0, request)]

    @functools.cached_property
    def input_credits(self) -> tuple[Credit, ...]:
        """The credits of the pictures that the request names."""
        return credits_given(self.job.request)

    def take(
        self, part: "_Part", event: Progress | Artifact | Failed, sink: Sink, seconds: float
    ) -> Iterator[Progress | Saved | Done | Failed]:
        """Turn an event of a part into events of the job; write a finished artifact."""
        if isinstance(event, Progress):
            part.step = event.step
            step, total = sum(one.step for one in self.parts), event.total * len(self.parts)
            previews = {part.first + index: image for index, image in event.previews.items()}
            yield replace(event, step=step, total=total, previews=previews)
        elif isinstance(event, Failed):
            yield from [event] if self.left else []  # another of its artifacts may have failed before
            self.left.clear()
        elif (index := part.first + event.index) in self.left:
            credits = tuple(dict.fromkeys((*event.credits, *self.input_credits)))
            artifact = replace(event, index=index, credits=credits)
            path = sink.keep(self.job, artifact)
            self.left.remove(index)
            yield artifact.saved(path, seconds)
            if not self.left:
                yield Done()


@dataclass(eq=False)
class _Part:
    """The artifacts of a job from `first` on, as a request of their own, and the steps that are done of it."""

    whole: _Tracked
    first: int
    request: MediaRequest
    step: int = 0

    @property
    def open(self) -> bool:
        return any(self.first + index in self.whole.left for index in range(self.request.count))


def _chunks(parts: Sequence[_Part], most: int) -> Iterator[list[_Part]]:
    """Parts of `most` artifacts together or a little more: of a chunk that fails all that is open is made again."""
    chunk: list[_Part] = []
    for part in parts:
        chunk.append(part)
        if sum(each.request.count for each in chunk) >= most:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _run_parts(
    backend: Backend, parts: list[_Part], previews: bool
) -> Iterator[tuple[_Part, Progress | Artifact | Failed]]:
    """Parts made together. Where the model fails, those that are still open are made each on its own: one of them is
    wrong, or all of them need too much memory.
    """
    try:
        for number, event in run_batch(backend, [part.request for part in parts], previews):
            if isinstance(event, Progress | Artifact | Failed):
                yield parts[number], event
        return
    except NoDevice:
        raise
    except Exception as error:
        problem = explain(error) if len(parts) == 1 else None
    if problem is not None:
        yield parts[0], Failed(problem)
        return
    for part in parts:
        if part.open:
            yield from _run_parts(backend, [part], previews)


def explain(error: Exception) -> Message:
    """The message of a refusal, or a sentence for an error inside a model, whose traceback goes to stderr."""
    if isinstance(error, Refused):
        return error.message
    complain("".join(traceback.format_exception(error)))
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):  # torch's allocator
        return Message("model.memory")
    first = (str(error).splitlines() or [""])[0][:200]
    return Message("model.failed", {"error": type(error).__name__, "problem": first})


def complain(text: object) -> None:
    """Write a line to stderr. A closed terminal or a full disk raises no error."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"studio: {text}\n")
        sys.stderr.flush()
