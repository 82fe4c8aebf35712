"""A model on the devices of a Ray cluster, as a backend: the same requests give the same bytes as on this machine."""

import contextlib
import platform
import tempfile
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from models.cluster import TRIES, Cluster
from models.messages import Message, Refused
from studio import settings
from studio.backends.base import Backend, Event, Opener, run_batch
from studio.events import Failed, Progress
from studio.files import sha256
from studio.media import Artifact
from studio.requests import Picture
from studio.run import explain

GROUP = 4096  # artifacts a group; devices idle while the last ones of a group are drawn
# One batch: (number of the request, index of the artifact, request of that artifact alone).
Piece = list[tuple[int, int, Any]]
Files = dict[str, tuple[str, bytes]]  # names and contents of the pictures that requests name, by sha256
Events = list[tuple[int, Event | Failed]]


@contextlib.contextmanager
def opened(opener: Opener, model: str, address: str | None) -> Iterator[Backend]:
    """The backend of that name, here or on the cluster at the address. Its facts come from the local model."""
    local = opener(model)
    if address is None:
        yield local
        return
    options = {"memory": settings.memory(), "device": settings.device(), "embedder": settings.embedder()}
    make, facts = (
        partial(_maker, opener, model, options, local.digest()),
        (local.capabilities, local.digest, local.space),
    )
    with contextlib.closing(Cluster(address, make, processors=options["device"] == "cpu")) as cluster:
        remote = {"tasks": dict.fromkeys(local.tasks, partial(_share, cluster)), "load": lambda: None}
        remote |= {"group": GROUP, "batch_key": lambda request: None}
        yield cast(Backend, SimpleNamespace(**remote, **{fact.__name__: fact for fact in facts}))


def _share(cluster: Cluster, requests: Sequence[Any], previews: bool) -> Iterator[tuple[int, Event | Failed]]:
    """A handler for requests of any task and batch key. A request that fails does not stop the others."""
    pieces = deque(_pieces(requests))
    for piece, events in cluster.share(pieces, _sent):
        if events is None and len(piece) > 1:  # one of them may be too much
            pieces.extend([one] for one in piece)
        elif events is None:
            yield piece[0][0], Failed(Message("cluster.crashed", {"times": 2 * TRIES}))
        for place, event in events or ():
            number, index, _ = piece[place]
            yield number, replace(event, index=index) if isinstance(event, Artifact) else event


def _pieces(requests: Sequence[Any]) -> Iterator[Piece]:
    """As many artifacts of one batch key as go through the model at once."""
    alike: dict[tuple[Hashable, int], Piece] = {}
    for number, request in enumerate(requests):
        key = request.task, request.batch_key()
        room = max(1, (request.shape or 1) // (getattr(request, "best_of", None) or 1))
        alike.setdefault((key, room), []).extend(
            (number, index, request.alone(index)) for index in range(request.count)
        )
    for (_, room), every in alike.items():
        yield from (every[start : start + room] for start in range(0, len(every), room))


def _sent(piece: Piece) -> tuple[list[Any], Files]:
    """The requests with their pictures; the device refuses a request whose picture is missing or changed."""
    files, requests = Files(), [request for _, _, request in piece]
    for picture in (one for request in requests for one in request.pictures()):
        with contextlib.suppress(OSError):
            if picture.sha256 == sha256(path := Path(picture.path)):
                files[picture.sha256] = path.name, path.read_bytes()
    return requests, files


# --- On a device ------------------------------------------------------------------------------------------------------


def _maker(opener: Opener, model: str, options: dict[str, str], digest: str) -> Callable[..., Events]:
    settings.stay_offline()
    settings.place(**options)
    backend = opener(model)
    if backend.digest() != digest:
        raise Refused("cluster.other_model", node=platform.node())
    backend.load()
    return partial(_run_there, backend)


def _run_there(backend: Backend, requests: list[Any], files: Files) -> Events:
    """All events but steps, which nobody watches."""
    with tempfile.TemporaryDirectory(prefix="studio-") if files else contextlib.nullcontext("") as folder:
        paths = {digest: Path(folder, digest, name) for digest, (name, _) in files.items()}
        for digest, path in paths.items():
            path.parent.mkdir()
            path.write_bytes(files[digest][1])

        def here(picture: Picture) -> Picture:
            return picture.model_copy(update={"path": str(paths.get(picture.sha256, picture.path))})

        events = _run_each(backend, [(number, event.with_pictures(here)) for number, event in enumerate(requests)])
        return [(n, event) for n, event in events if not isinstance(event, Progress) or event.unknown or event.read_as]


def _run_each(backend: Backend, numbered: list[tuple[int, Any]]) -> Iterator[tuple[int, Event | Failed]]:
    """Runs the requests together; where that fails, one by one."""
    try:
        for place, event in run_batch(backend, [request for _, request in numbered], previews=False):
            yield numbered[place][0], event
    except Exception as error:
        if len(numbered) > 1:
            for pair in numbered:
                yield from _run_each(backend, [pair])
        else:
            yield numbered[0][0], Failed(error.message if isinstance(error, Refused) else explain(error))
