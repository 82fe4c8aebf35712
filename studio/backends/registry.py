"""The backends by name. A new one is a row of `registry.toml` and a file beside it.

A model is called `kind` or `kind:argument`, such as `diffusers:FOLDER`.
"""

import importlib
import tomllib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from models.messages import Message, Refused, did_you_mean
from studio.capabilities import Capabilities

if TYPE_CHECKING:
    from studio.backends.base import Backend

Opener = Callable[[str], "Backend"]  # what `open_backend` is; tests bring their own


@dataclass(frozen=True)
class Kind:
    """A backend: its class `cls` in `module`, a sentence `about` it, and the `argument` that may follow the colon in
    its name. A `trial` one is for tests and never recommended; a `named` one is no model without its argument.
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

MODELS = tuple(name for name, kind in KINDS.items() if not kind.named)  # those that are there without an argument


def open_backend(model: str) -> "Backend":
    """The backend that `model` names, not loaded yet; Refused names what there is."""
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


def offered(model: str, served: str) -> str:
    """The model that a client names: the served one, or one of the table. Refused for others, such as those that take a
    folder, which only whoever starts the studio may choose.
    """
    if model not in (served, *MODELS):
        raise Refused("model.unknown", model=model, hint=did_you_mean(model, MODELS), models=list(MODELS))
    return model


def able(task: str) -> list[str]:
    """Names of the models that do a task and can be recommended."""
    found = []
    for name in (name for name, kind in KINDS.items() if not kind.trial and not kind.named):
        with suppress(Refused):  # its files are missing
            found += [name] if task in open_backend(name).capabilities().tasks else []
    return found


def no_task(can: Capabilities, task: str, needed: str = "") -> Refused:
    """A model does not do a task, for which it would have to do what is `needed`: which models do."""
    models = able(needed or task)
    hint = Message("hint.able", {"models": models}) if models else ""
    asked, *does = (Message(f"task.{one}") for one in (task, *can.tasks))
    return Refused("model.no_task", model=can.title, task=asked, tasks=does, hint=hint)
