"""What commands, HTTP and tools share: the settings of requests that they offer, and the state of the models.

`SETTINGS` has type, default and help of each setting. `with_settings` gives a function one parameter a setting. What
its caller sets arrives in `**fields`, under the names of `studio.requests`; pictures are text: a path for a command, a
path, an id or base64 for a tool.
"""

import inspect
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_args

from pydantic import BaseModel

from models.messages import Refused
from studio.backends.base import KINDS, MODELS, open_backend
from studio.capabilities import FAST
from studio.requests import REQUESTS, Picture

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Setting:
    """Type, default and help of a setting."""

    type: Any
    default: Any
    help: str
    is_picture: bool = False


def kinds(annotation: Any) -> list[Any]:
    """All that an annotation is made of."""
    return [annotation, *(kind for part in get_args(annotation) for kind in kinds(part))]


def _setting(name: str, about: str) -> Setting:
    """As the first request that has a field of that name says."""
    if name == "fast":  # a scheduler, see `request_fields`
        return Setting(bool, False, about)
    field = next(request.model_fields[name] for request in REQUESTS.values() if name in request.model_fields)
    made_of = kinds(field.annotation)
    if Picture in made_of:
        return Setting(str | None, None, about, is_picture=True)
    plain: Any = next((kind for kind in (bool, int, float) if kind in made_of), str)
    plain = int | str if {int, str} <= set(made_of) else plain
    return Setting(plain | None if NoneType in made_of else plain, field.default, about)


_HELP = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
SETTINGS = {name: _setting(name, about) for name, about in _HELP.items()}


def with_settings(
    *names: str, annotate: Callable[[str, Setting], Any], before: str = "", required: Sequence[str] = ()
) -> Callable[[F], F]:
    """Decorator: parameters for the settings `names` in place of the function's `**fields`, each with the annotation
    that `annotate` gives it, and without a default where it is `required`. They come before the parameter `before`,
    else last.
    """

    def parameter(name: str) -> inspect.Parameter:
        setting, kind = SETTINGS[name], inspect.Parameter.KEYWORD_ONLY
        default = inspect.Parameter.empty if name in required else setting.default
        return inspect.Parameter(name, kind, default=default, annotation=annotate(name, setting))

    def decorate(function: F) -> F:
        declared = inspect.signature(function, eval_str=True)
        own = list(declared.parameters.values())[:-1]
        place = next((n for n, one in enumerate(own) if one.name == before), len(own))
        rest = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own[place:]]
        signature = declared.replace(parameters=[*own[:place], *map(parameter, names), *rest])
        function.__signature__ = signature  # type: ignore[attr-defined]
        return function

    return decorate


def request_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """The settings as fields of an `ImageRequest`: `fast` is a scheduler there. Refused where both are given."""
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
    """What a model is and can do, without loading it; Refused where there is no kind of that name."""
    about, can, digest, problem = KINDS[name.partition(":")[0]].about, None, "", ""
    try:
        backend = open_backend(name)
        can = backend.capabilities().model_dump(mode="json")
        digest = backend.digest()
    except Refused as refusal:
        problem = str(refusal)
    return ModelState(name=name, about=about, ready=not problem, problem=problem, digest=digest, capabilities=can)


def model_problem(name: str) -> str:
    """What is wrong with a model, "" where nothing is, as far as that is known at once."""
    try:
        open_backend(name).check()
    except Refused as refusal:
        return str(refusal)
    return ""


def model_states(usual: str) -> list[ModelState]:
    """All models, the usual one first."""
    others = [name for name in MODELS if name != usual.partition(":")[0]]
    return [model_state(name) for name in (usual, *others)]
