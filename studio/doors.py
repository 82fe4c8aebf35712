"""What commands, HTTP and tools share: the settings of requests that they offer, and the state of the models.

`SETTINGS` has type, default and help of each setting. `with_settings` gives a function one parameter a setting. What
its caller sets arrives in `**fields`, under the names of `studio.requests`; pictures are text: a path for a command, a
path, an id or base64 for a tool.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel

from models.messages import Refused
from studio.backends.registry import KINDS, open_backend
from studio.capabilities import FAST

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Setting:
    """Type, default and help of a setting."""

    type: Any
    default: Any
    help: str
    is_picture: bool = False


SETTINGS: dict[str, Setting] = {
    "prompt": Setting(str, "", "What to draw, in English or Chinese, for example: a smiling cat."),
    "negative": Setting(str, "", "What should not be in the picture."),
    "style": Setting(str, "", "A style that the model knows; `styles` lists them."),
    "count": Setting(int, 1, "How many pictures of a prompt."),
    "seed": Setting(int | None, None, "The first picture's seed; the next ones count up. The same makes the same."),
    "steps": Setting(int | None, None, "More takes longer and is finer."),
    "guidance": Setting(float | None, None, "How closely to keep to the prompt."),
    "scheduler": Setting(str, "", "The sampler."),
    "fast": Setting(bool, False, "The fast variant of the model: four steps without guidance, a little worse."),
    "best_of": Setting(
        int | None, None, "Draw so many for each picture and keep the one nearest to what was asked for."
    ),
    "size": Setting(int | None, None, "Pixels a side: usually 128; 512 is drawn and then enlarged."),
    "like": Setting(str | None, None, "A picture whose meaning the new one shares.", is_picture=True),
    "image": Setting(str | None, None, "A picture to start from; of a moving one, the first frame.", is_picture=True),
    "strength": Setting(
        float | None,
        None,
        "How much of the start picture is forgotten, 1 is all; usually 0.6, with mask or expand 1; 0 enlarges it.",
    ),
    "mask": Setting(
        str | None,
        None,
        "Draw the start picture anew where this is white; black and transparent is kept.",
        is_picture=True,
    ),
    "expand": Setting(
        float | None,
        None,
        "Draw a border round the start picture: 0.25 makes it wider by a quarter on each side.",
    ),
    "variations": Setting(int | None, None, "So many variations of the start picture; words may be left out."),
    "frames": Setting(int | None, None, "How many frames a clip has."),
    "fps": Setting(int | None, None, "Frames a second."),
    "loop": Setting(bool, True, "Whether a clip's end leads back to its beginning."),
    "last": Setting(str | None, None, "The last frame of a clip; the first is the start picture.", is_picture=True),
    "language": Setting(str, "en", "Of a caption: en or zh."),
    "long": Setting(bool, False, "A long caption."),
    "candidates": Setting(int | None, None, "How many captions are tried; the best one is the caption."),
}


def with_settings(*names: str, annotate: Callable[[str, Setting], Any], before: str = "") -> Callable[[F], F]:
    """Decorator: parameters for the settings `names` in place of the function's `**fields`, each with the annotation
    that `annotate` gives it. They come before the parameter `before`, else last.
    """

    def parameter(name: str) -> inspect.Parameter:
        setting, kind = SETTINGS[name], inspect.Parameter.KEYWORD_ONLY
        return inspect.Parameter(name, kind, default=setting.default, annotation=annotate(name, setting))

    def decorate(function: F) -> F:
        declared = inspect.signature(function, eval_str=True)
        own = list(declared.parameters.values())[:-1]
        place = next((n for n, one in enumerate(own) if one.name == before), len(own))
        more = [parameter(name) for name in names]
        rest = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own[place:]]
        signature = declared.replace(parameters=[*own[:place], *more, *rest])
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


def model_states(usual: str) -> list[ModelState]:
    """All models, the usual one first."""
    others = [name for name in KINDS if name != usual.partition(":")[0]]
    return [model_state(name) for name in (usual, *others)]
