"""From what a file says back to a request: drop a picture, and its settings are there again."""

import contextlib
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.messages import Message, Refused
from studio import loras
from studio.backends.base import MODELS
from studio.capabilities import FAST, Capabilities
from studio.metadata.files import content
from studio.metadata.origin import PROGRAMS, is_picture
from studio.planner import resolve
from studio.requests import ImageRequest, make_request, planned_fields, read_size, sides

SAMPLED = ("scheduler", "steps", "guidance")


@dataclass(frozen=True)
class Restored:
    """Fields for `make_request`, all of which the model takes, and a message for each thing that it does not."""

    fields: dict[str, Any]
    lost: tuple[Message, ...]


def restore(
    settings: dict[str, Any], can: Capabilities, folder: Path | None = None, tasks: Sequence[str] = ("image", "enlarge")
) -> Restored:
    """The request that makes the artifact whose file has these `settings` (from `read`), as far as the model can.

    A record of ours gives this one artifact: its seed, a count of one, and the batch shape in which it was drawn.
    Source pictures are looked for in `folder`, by file name and content: a file must not name other paths.
    A request of another task than `tasks` is not restored; one that enlarges is an image request of strength 0.
    """
    if "request" not in settings:
        return _theirs(settings, can)
    task = settings["request"].get("task", "image")
    if task not in tasks:
        return Restored({}, (Message("metadata.other_task", {"task": str(task)}),))
    shape = settings["how"].get("batch", settings["request"].get("shape"))
    fields, lost = {}, list[Message]()
    recorded = {name: value for name, value in settings["request"].items() if name not in planned_fields()}
    if task == "enlarge":
        model = recorded.get("model", "embedded")
        recorded = {"image": recorded["image"], "size": recorded["size"], "strength": 0, "model": model}
    if recorded.get("strength") == 0:  # nothing was sampled: these settings had no effect
        recorded = {name: value for name, value in recorded.items() if name not in SAMPLED}
    single = {"seed": settings["seed"], "count": 1, "shape": shape}
    if task in ("image", "enlarge"):  # its own seed draws it, without the candidates that it was chosen from
        recorded.setdefault("guided_from", 0.0)  # a record without it is of a picture that was guided all the way
        single["best_of"] = None
    if can.base and recorded.get("preferences") is None and loras.preferences(1.0, can.base, needed=False):
        recorded["preferences"] = 0.0  # the picture was drawn without what is in use now
    for name, value in {**recorded, **single}.items():
        try:
            fields[name] = _here(value, folder)
        except Refused as refusal:
            lost.append(refusal.message)
    return _accepted(fields, can, lost) if task in ("image", "enlarge") else Restored(fields, tuple(lost))


def _theirs(settings: dict[str, Any], can: Capabilities) -> Restored:
    fields = {name: value for name, value in settings.items() if name not in ("program", "size", "other")}
    lost = list[Message]()
    size = read_size(settings.get("size"))
    if size is not None and can.makes(size):
        fields["size"] = size
    elif "size" in settings:
        sizes = ["x".join(map(str, sides(one))) for one in can.sizes]
        lost.append(Message("metadata.other_size", {"size": settings["size"], "sizes": " or ".join(sizes)}))
    if "scheduler" in fields:
        fields["scheduler"] = PROGRAMS["samplers"].get(fields["scheduler"].lower(), fields["scheduler"])
    for name in ("scheduler", "style"):
        with contextlib.suppress(Refused):  # as it is spelled here; what is not here is recorded below
            if name in fields:
                fields[name] = getattr(can, name)(fields[name])
    if settings.get("other"):
        lost.append(Message("metadata.other_settings", {"names": list(settings["other"])}))
    return _accepted(fields, can, lost)


def _accepted(fields: dict[str, Any], can: Capabilities, lost: list[Message]) -> Restored:
    """All of the fields where they fit together, else one after the other as many as do."""
    wanted = {name: value for name, value in fields.items() if value not in ("", None, (), [])}
    model = wanted.get("model", "embedded")
    if (not isinstance(model, str) or model not in MODELS) and wanted.pop("model") is not None:
        named = re.split("[:/]", str(model))[-1]  # a folder goes by its name in files
        lost += [Message("metadata.other_model", {"model": str(model)})] if named != can.title else []
    if not _problem(wanted, can):
        return Restored(wanted, tuple(lost))
    accepted: dict[str, Any] = {}
    order = ["scheduler", *ImageRequest.model_fields]  # it first: some leave no choice of steps
    for name in sorted(wanted, key=lambda name: order.index(name) if name in order else len(order)):
        if wanted.get("scheduler") == FAST and FAST not in can.schedulers and name in SAMPLED[1:]:
            continue  # its few steps without guidance are no other's
        problem = _problem({**accepted, name: wanted[name]}, can)
        if problem:
            lost.append(problem)
        else:
            accepted[name] = wanted[name]
    return Restored(accepted, tuple(lost))


def _problem(fields: dict[str, Any], can: Capabilities) -> Message | None:
    """Why a request of these fields is refused, or None. A prompt that is missing is not the point."""
    try:
        resolve(make_request(**{"prompt": "a", **fields}), can)
    except Refused as refusal:
        return refusal.message
    return None


def _here(value: Any, folder: Path | None) -> Any:
    """Plain values with each picture's path in `folder`; Refused where it is not there."""
    if is_picture(value):
        name = str(value["path"]).replace("\\", "/").rpartition("/")[2]
        with contextlib.suppress(Refused):
            if folder and name and hashlib.sha256(content(folder / name)).hexdigest() == value["sha256"]:
                return {"path": str(folder / name), "sha256": value["sha256"]}
        raise Refused("metadata.source_gone", name=name)
    if isinstance(value, dict):
        return {key: _here(part, folder) for key, part in value.items()}
    return [_here(part, folder) for part in value] if isinstance(value, list | tuple) else value
