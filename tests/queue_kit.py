"""What the tests of the core share: requests of the fake model, planned jobs, what workers report, artifacts."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from studio import media
from studio.backends.base import Backend, run
from studio.backends.fake import Fake
from studio.backends.registry import open_backend
from studio.claims import Claims
from studio.gallery import Entry, Gallery
from studio.media import Artifact
from studio.planner import Job, job_id, resolve
from studio.queue import Queue
from studio.requests import make_request

CAN = Fake().capabilities()


def ask(prompt: str = "a cat", **settings: Any) -> Any:
    """A resolved request for pictures of the fake model."""
    return resolve(make_request("image", prompt=prompt, **{"model": "fake", "seed": 1, "steps": 4, **settings}), CAN)


def planned(request: Any, backend: Backend | None = None) -> Job:
    """The job of a resolved request."""
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
    """The ids of the jobs in line, in their order."""
    return [job.id for job in queue.jobs(["waiting"])]


def claims(queue: Queue, owner: str = "w") -> Claims:
    """What the worker of that name reports to the queue."""
    return Claims(queue._database, owner)


def made(backend: Backend, request: Any) -> list[Artifact]:
    """What a backend makes of a resolved request."""
    return [event for event in run(backend, request) if isinstance(event, Artifact)]


def picture(artifact: Artifact) -> Image.Image:
    """An artifact's picture, straight RGBA; of a clip the first frame."""
    return media.frames(artifact.data)[0]


def keep(gallery: Gallery, data: bytes, entry: Entry, media_type: str = "image/png") -> Path:
    """Put a file into the gallery as it is."""
    return gallery.add(data, media.read(data, media_type), entry)


def of_kind(events: Any, kind: Any) -> Iterator[Any]:
    """Those of a kind."""
    return (event for event in events if isinstance(event, kind))
