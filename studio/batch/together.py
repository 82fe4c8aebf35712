"""Requests one after another, each event with the number of its request."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from studio.backends.base import Backend
from studio.capabilities import Refused
from studio.events import Done, Failed, Progress, Result, Saved
from studio.files import write_whole
from studio.make import found
from studio.metadata import Job, png_bytes
from studio.requests import ImageRequest, job_id


def make_together(
    backend: Backend, requests: Sequence[ImageRequest], folder: Path, names: Sequence[Sequence[str]]
) -> Iterator[tuple[int, Progress | Saved | Done | Failed]]:
    """Do resolved requests into the files `names` of `folder`; pictures that are there are found, not drawn again.

    Every request ends with Done or Failed. Refused where a picture can't be written or the model can't be loaded.
    """
    digest = backend.digest()
    for number, request in enumerate(requests):
        job, paths = Job(request, job_id(request, digest), digest), [folder / name for name in names[number]]
        there = [found(path, job) for path in paths]
        yield from ((number, saved) for saved in there if saved)
        missing, began = [i for i, saved in enumerate(there) if not saved], time.monotonic()
        if missing:
            backend.load()
        for event in _drawn(backend, request, missing):
            if isinstance(event, Result):
                path = paths[event.index]
                write_whole(path, png_bytes(event, job))
                yield number, Saved(str(path), event.index, event.seed, event.score, time.monotonic() - began)
            else:
                yield number, event


def _drawn(backend: Backend, request: ImageRequest, missing: list[int]) -> Iterator[Progress | Result | Done | Failed]:
    """The missing pictures: the whole request, or each as a request of its own, for it has its seed and its shape."""
    alone, seeds = len(missing) < request.count, request.seeds()
    pieces = [(i, request.model_copy(update={"count": 1, "seed": seeds[i]})) for i in missing]
    if not alone:
        pieces = [(0, request)]
    try:
        for first, piece in pieces:
            for event in backend.run(piece):
                if isinstance(event, Result):
                    yield replace(event, index=first + event.index)
                elif isinstance(event, Progress):
                    yield event
    except Refused as refusal:
        yield Failed(str(refusal))
    else:
        yield Done()
