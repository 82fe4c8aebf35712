"""The interface between the studio and whatever makes media, and the table of backends.

A model is called `kind` or `kind:argument`, such as `diffusers:FOLDER`. A new kind is a row of `registry.toml` and a
module beside it.
"""

import importlib
import tomllib
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel

from models.messages import Message, Refused, did_you_mean
from studio.capabilities import Capabilities
from studio.events import Progress, Reading, Vector
from studio.media import Artifact

Event = Progress | Artifact | Vector | Reading
# Takes resolved requests of equal batch key and whether previews are wanted; yields (number of the request, event).
# Closing the iterator cancels all of them. Refused if one of them can't be done. The bytes of an artifact do not depend
# on the other requests or on their order.
Handler = Callable[[Sequence[Any], bool], Iterator[tuple[int, Event]]]
Opener = Callable[[str], "Backend"]  # the signature of `open_backend`; tests pass others


class Backend(Protocol):
    """A model that the studio can use. Everything but `load` and the handlers is cheap and imports no torch.

    The queue asks for `group` artifacts at a time, a multiple of every batch shape; where one fails, so many are made
    again.
    """

    group: int = 64

    @property
    def tasks(self) -> Mapping[str, Handler]:
        """A handler for each task of `studio.requests.REQUESTS` that the model does."""

    def capabilities(self) -> Capabilities:
        """Styles, schedulers and ranges; Refused where the model's files are missing or damaged."""

    def check(self) -> None:
        """Refused where its files are missing or damaged, as far as that is seen without reading them through."""
        self.digest()

    def digest(self) -> str:
        """Hex digest of the weights: part of a job's identity."""

    def space(self) -> str:
        """The semantic space's name: vectors of two spaces don't compare. "" where it has none; Refused as `digest`."""

    def load(self) -> None:
        """Bring the model into memory, once; Refused with a sentence that says which file is missing or altered."""

    def batch_key(self, request: Any) -> Hashable:
        """Requests of equal keys may go to a handler together."""
        return request.batch_key()


def per_request(make: Callable[[Any], Iterator[Event]]) -> Handler:
    """A handler that does one request after the other with `make`."""

    def handler(requests: Sequence[Any], previews: bool) -> Iterator[tuple[int, Event]]:
        for number, request in enumerate(requests):
            yield from ((number, event) for event in make(request))

    return handler


def run(backend: Backend, request: Any, previews: bool = False) -> Iterator[Event]:
    """Do one resolved request."""
    yield from (event for _, event in run_batch(backend, [request], previews))


def run_batch(backend: Backend, requests: Sequence[Any], previews: bool = True) -> Iterator[tuple[int, Event]]:
    """Do resolved requests of equal batch key with the handler of their task; Refused where there is none."""
    task = requests[0].task
    if task not in backend.tasks:
        raise no_task(backend.capabilities(), task)
    yield from backend.tasks[task](requests, previews)


# --- The table --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """A backend: its class `cls` in `module`, a sentence `about` it, and the `argument` that may follow the colon in
    its name. A `trial` kind is for tests and is never recommended; a `named` kind needs its argument.
    """

    module: str
    cls: str
    about: str
    argument: str = ""
    trial: bool = False
    named: bool = False


KINDS: dict[str, Kind] = {
    name: Kind(**row)
    for name, row in tomllib.loads(Path(__file__).with_name("registry.toml").read_text(encoding="utf-8")).items()
}

MODELS = tuple(name for name, kind in KINDS.items() if not kind.named)  # those that need no argument


def open_backend(model: str) -> Backend:
    """The backend that `model` names, not loaded yet; Refused lists the kinds."""
    name, _, argument = model.partition(":")
    kind = KINDS.get(name)
    if kind is None:
        raise Refused("model.unknown", model=model, hint=did_you_mean(name, KINDS), models=list(KINDS))
    if argument and not kind.argument:
        raise Refused("model.no_argument", name=name, model=model)
    if kind.named and not argument:
        raise Refused("model.no_name", name=name)
    cls = getattr(importlib.import_module(kind.module), kind.cls)
    return cls(argument) if argument else cls()


class ModelState(BaseModel):
    """A model. Where it is not `ready`, `problem` says what is missing."""

    name: str
    about: str
    ready: bool
    problem: str
    digest: str
    capabilities: dict[str, Any] | None


def model_state(name: str) -> ModelState:
    """The state of a model, without loading it; Refused where there is no kind of that name."""
    about, can, digest, problem = KINDS[name.partition(":")[0]].about, None, "", ""
    try:
        backend = open_backend(name)
        can = backend.capabilities().model_dump(mode="json")
        digest = backend.digest()
    except Refused as refusal:
        problem = str(refusal)
    return ModelState(name=name, about=about, ready=not problem, problem=problem, digest=digest, capabilities=can)


def model_problem(name: str) -> str:
    """Why a model is not ready, "" where it is, as far as a quick check shows."""
    try:
        open_backend(name).check()
    except Refused as refusal:
        return str(refusal)
    return ""


def model_states(usual: str) -> list[ModelState]:
    """All models, the usual one first."""
    return [model_state(name) for name in (usual, *(name for name in MODELS if name != usual.partition(":")[0]))]


def offered(model: str, served: str) -> str:
    """`model`, where a client may choose it: the model that is served, or one of MODELS. Refused for others: only
    whoever starts the studio may name a folder.
    """
    if model not in (served, *MODELS):
        raise Refused("model.unknown", model=model, hint=did_you_mean(model, MODELS), models=list(MODELS))
    return model


def able(task: str) -> list[str]:
    """Names of the models that do a task and can be recommended."""
    names = []
    for name in (name for name, kind in KINDS.items() if not kind.trial and not kind.named):
        with suppress(Refused):  # its files are missing
            names += [name] if task in open_backend(name).capabilities().tasks else []
    return names


def no_task(can: Capabilities, task: str, needed: str = "") -> Refused:
    """A model does not do a task, for which it would have to do `needed`: the refusal says which models do."""
    models = able(needed or task)
    hint = Message("hint.able", {"models": models}) if models else ""
    request, *does = (Message(f"task.{name}") for name in (task, *can.tasks))
    return Refused("model.no_task", model=can.title, task=request, tasks=does, hint=hint)
