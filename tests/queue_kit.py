"""Helpers for tests of the core: requests of the fake model, planned jobs, claims, artifacts."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from models.messages import Message, Refused
from studio import media, worker
from studio.backends.base import Backend, Opener, open_backend, run
from studio.backends.embedded import Embedded
from studio.backends.fake import Fake
from studio.events import Done, Failed
from studio.gallery import Gallery
from studio.home import Home
from studio.media import Artifact
from studio.planner import Job, job_id, resolve
from studio.queue import Claims, Queue
from studio.requests import ImageRequest, make_request
from studio.run import Sink, run_jobs

CAN = Fake().capabilities()


def ask(prompt: str = "a cat", **settings: Any) -> Any:
    """A resolved request for pictures of the fake model."""
    return resolve(make_request("image", prompt=prompt, **{"model": "fake", "seed": 1, "steps": 4, **settings}), CAN)


def ask_of(backend: Backend, **fields: Any) -> Any:
    """A resolved request for pictures of any model."""
    query = make_request("image", **{"prompt": "a cat", "seed": 1, "steps": 2, **fields})
    return resolve(query, backend.capabilities())


def planned(request: Any, backend: Backend | None = None) -> Job:
    digest = (backend or open_backend(request.model)).digest()
    return Job(request, job_id(request, digest), digest)


def named(name: str, **settings: Any) -> Job:
    """A job whose id is its prompt."""
    return replace(planned(ask(name, **settings)), id=name)


def put(queue: Queue, *names: str, **settings: Any) -> None:
    """Submit jobs of these names."""
    for name in names:
        queue.submit(named(name, **settings))


def waiting(queue: Queue) -> list[str]:
    """The ids of waiting jobs, in order."""
    return [job.id for job in queue.jobs(["waiting"])]


def claims(queue: Queue, owner: str = "w") -> Claims:
    """The claims of a worker."""
    return Claims(queue._database, owner)


def run_job(backend: Backend, job: Job, sink: Sink) -> Iterator[Any]:
    """Do one job; Refused where it fails."""
    for _, event in run_jobs(backend, [job], sink):
        if isinstance(event, Failed):
            raise Refused(event.message)
        if not isinstance(event, Done):
            yield event


def open_tiny(root: str, model: str) -> Backend:
    """What a studio with the models under `root` opens, in its worker as well."""
    return Embedded(root) if model == "embedded" else Fake()


def artifacts(backend: Backend, request: Any) -> list[Artifact]:
    return [event for event in run(backend, request) if isinstance(event, Artifact)]


def picture(artifact: Artifact) -> Image.Image:
    """An artifact's picture, straight RGBA; of a clip the first frame."""
    return media.frames(artifact.data)[0]


@dataclass
class Entry:
    """Fields of a gallery item without a job."""

    job: str
    position: int
    seed: int
    prompt: str
    style: str = ""
    model: str = ""
    digest: str = ""
    score: float | None = None
    created: float | None = None
    space: str = ""
    vector: tuple[float, ...] = ()


def keep(gallery: Gallery, data: bytes, entry: Entry, media_type: str = "image/png") -> Path:
    """Store a file in the gallery."""
    facts = {"index": entry.position, "seed": entry.seed, "score": entry.score}
    artifact = replace(media.read(data, media_type), **facts, space=entry.space, vector=entry.vector)
    request = ImageRequest.model_construct(prompt=entry.prompt, style=entry.style, model=entry.model)
    return gallery.add(data, artifact, Job(request, entry.job, entry.digest), entry.created)


def of_kind(events: Any, kind: Any) -> Iterator[Any]:
    return (event for event in events if isinstance(event, kind))


class Quiet:
    """Stands for the wake-up: no work is left."""

    def wait(self) -> str:
        raise KeyboardInterrupt


def work(home: Home, opener: Opener = open_backend) -> list[Message | None]:
    """Do all waiting jobs in this process -> the errors that stopped the worker, None for each success."""
    shown = list[Message | None]()
    with pytest.raises(KeyboardInterrupt):
        worker._work(home, worker._LoadedModels(opener), Quiet(), claims(home.queue), shown.append)
    return shown
