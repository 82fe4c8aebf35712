"""Shared by commands, HTTP and tools: the switch for the fast variant, and the state of the models."""

from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from models.messages import Refused
from studio.backends.base import KINDS, MODELS, open_backend
from studio.capabilities import FAST

FAST_FIELD: FieldInfo = FieldInfo(
    annotation=bool,
    default=False,
    description="The fast variant of the model: four steps without guidance, a little worse.",
)


def with_fast(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields of a request, where `fast` is the scheduler of that name; Refused where another is given, too."""
    rest = {name: value for name, value in fields.items() if name != "fast"}
    if not fields.get("fast"):
        return rest
    if rest.get("scheduler") not in (None, "", FAST):
        raise Refused("cli.fast_and_scheduler", scheduler=rest["scheduler"])
    return {**rest, "scheduler": FAST}


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
