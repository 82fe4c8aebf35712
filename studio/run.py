"""Jobs from request to files: run by commands in their own process and by the worker in another."""

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace

from models.messages import Message, Refused
from studio.backends.base import Backend, run_batch
from studio.events import Done, Failed, Progress, Saved, Vector
from studio.media import Artifact
from studio.planner import Job
from studio.requests import MediaRequest
from studio.sinks import Sink


def run_job(backend: Backend, job: Job, sink: Sink) -> Generator[Progress | Saved, None, None]:
    """Do one job into `sink`, each artifact whole as soon as it is finished. Refused as for `run_jobs`."""
    for _, event in run_jobs(backend, [job], sink):
        if isinstance(event, Failed):
            raise Refused(event.message)
        if not isinstance(event, Done):
            yield event


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
    began = time.monotonic()
    tracked = [_Tracked(number, job) for number, job in enumerate(jobs)]
    for one in tracked:
        yield from ((one.number, event) for event in one.find(sink))
    parts = [part for one in tracked for part in one.parts()]
    if parts:
        backend.load()
    for group in _by_batch_key(parts):
        for part, event in _made(backend, group, previews):
            for reported in part.whole.take(part, event, sink, time.monotonic() - began):
                yield part.whole.number, reported


@dataclass
class _Tracked:
    """A job on its way: the artifacts that are `left` to be made, and the steps that each part has done."""

    number: int
    job: Job
    left: set[int] = field(default_factory=set)
    steps: dict[int, int] = field(default_factory=dict)

    def find(self, sink: Sink) -> Iterator[Saved | Done]:
        """The artifacts that are there; the others are left."""
        found = sink.found(self.job)
        yield from found.values()
        self.left = set(range(self.job.request.count)) - set(found)
        if not self.left:
            yield Done()

    def parts(self) -> "list[_Part]":
        """What is left, as requests: the whole one, else one an artifact, for each has its seed and its shape."""
        request = self.job.request
        whole = len(self.left) == request.count
        made = [_Part(self, 0, request)] if whole else [_Part(self, i, request.alone(i)) for i in sorted(self.left)]
        self.steps = {part.first: 0 for part in made}
        return made

    def take(
        self, part: "_Part", event: Progress | Artifact | Failed, sink: Sink, seconds: float
    ) -> Iterator[Progress | Saved | Done | Failed]:
        """What an event of a part is to the whole job; a finished artifact is written."""
        if isinstance(event, Progress):
            self.steps[part.first] = event.step
            step, total = sum(self.steps.values()), event.total * len(self.steps)
            previews = {part.first + index: image for index, image in event.previews.items()}
            yield replace(event, step=step, total=total, previews=previews)
        elif isinstance(event, Failed):
            self.left.clear()
            yield event
        elif part.first + event.index in self.left:
            yield self._save(replace(event, index=part.first + event.index), sink, seconds)
            if not self.left:
                yield Done()

    def _save(self, made: Artifact, sink: Sink, seconds: float) -> Saved:
        path = sink.keep(self.job, made)
        self.left.remove(made.index)
        facts = (made.kind, made.media_type, made.text)
        return Saved(str(path), made.index, made.seed, made.score, seconds, False, *facts)


@dataclass(frozen=True)
class _Part:
    """The artifacts of a job from `first` on, as a request of their own."""

    whole: _Tracked
    first: int
    request: MediaRequest

    @property
    def open(self) -> bool:
        return any(self.first + index in self.whole.left for index in range(self.request.count))


def _by_batch_key(parts: list[_Part]) -> list[list[_Part]]:
    groups: dict[object, list[_Part]] = {}
    for part in parts:
        groups.setdefault(part.request.batch_key(), []).append(part)
    return list(groups.values())


def _made(backend: Backend, parts: list[_Part], previews: bool) -> Iterator[tuple[_Part, Progress | Artifact | Failed]]:
    """Parts made together. Where one of them fails, those that are still open are made each on its own."""
    try:
        for number, event in run_batch(backend, [part.request for part in parts], previews):
            if not isinstance(event, Vector):
                yield parts[number], event
    except Refused as refusal:
        if len(parts) == 1:
            yield parts[0], Failed(refusal.message)
            return
        for part in parts:
            if part.open:
                yield from _made(backend, [part], previews)


def explain(error: Exception) -> Message:
    """What went wrong inside a model."""
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):  # torch's allocator
        return Message("model.memory")
    first = (str(error).splitlines() or [""])[0][:200]
    return Message("model.failed", {"error": type(error).__name__, "problem": first})
