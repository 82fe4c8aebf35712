"""What A1111's clients ask before they begin: models, samplers, styles, options, and lists of what there is none of.

A client chooses by A1111's names and often can't be told others. A name of the very method is taken as such; one of a
method that is not here is taken for the nearest that is, and the answer says so; any other is not found. `a1111.json`
has the names, and the answers that never change.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from PIL import Image

from models.messages import Message
from studio.api.a1111_state import Served, routes

Row = dict[str, Any]
Notes = tuple[Message, ...]


@dataclass(frozen=True)
class Sampler:
    """A scheduler of ours: its name at A1111, other names of the same method, and methods that it stands in for."""

    name: str
    ours: str
    same: list[str]
    stands_for: list[str]


DATA: Row = json.loads(Path(__file__).with_name("a1111.json").read_text(encoding="utf-8"))
SAMPLERS = [Sampler(**row) for row in DATA["samplers"]]
# Before 1.9 the schedule was a part of the sampler's name: "DPM++ 2M Karras".
_SCHEDULE = re.compile(r" (karras|exponential|polyexponential)$", re.IGNORECASE)
OURS = "Studio 128"
UPSCALERS = {"None": Image.Resampling.LANCZOS, "Lanczos": Image.Resampling.LANCZOS, "Nearest": Image.Resampling.NEAREST}


def sampler(name: str, schedulers: Sequence[str]) -> tuple[str, Notes] | None:
    """(scheduler, notes on it) for a name of A1111's or ours, among `schedulers`; None: not found."""
    bare = _SCHEDULE.sub("", name.strip())
    for row in SAMPLERS:
        if row.ours not in schedulers:
            continue
        if bare.casefold() in map(str.casefold, (row.name, row.ours, *row.same)):
            return row.ours, (_other_schedule(name),) if bare != name.strip() else ()
        if bare.casefold() in map(str.casefold, row.stands_for):
            return row.ours, (Message("api.note_sampler", {"name": bare, "taken": row.name}),)
    return None


def schedule(name: str) -> Notes | None:
    """Notes on a noise schedule, by its label or in small letters with underscores; none on the automatic one, which
    is the only one. None: not found.
    """
    for label in DATA["schedules"]:
        if name.casefold().replace("_", " ") == label.casefold():
            return (_other_schedule(label),) if label != "Automatic" else ()
    return None


def sampler_name(scheduler: str) -> str:
    """A1111's name for one of our schedulers."""
    return next((row.name for row in SAMPLERS if row.ours == scheduler), scheduler)


def _other_schedule(name: str) -> Message:
    return Message("api.note_schedule", {"name": name[:60]})


@routes.get("/samplers")
def samplers(state: Served) -> list[Row]:
    """Those that are the very method; among their aliases the names that they stand in for."""
    can = state.capabilities().schedulers
    rows = sorted((row for row in SAMPLERS if row.ours in can), key=lambda row: row.ours != can[0])
    return [{"name": row.name, "aliases": [row.ours, *row.same, *row.stands_for], "options": {}} for row in rows]


@routes.get("/sd-models")
def models(state: Served) -> list[Row]:
    """What can be chosen, the served one first. A file name is a path at A1111; here it is the name again."""
    rows = []
    for name in state.names():
        digest, same = state.digest(name), {"model_name": name, "filename": name, "config": None}
        rows.append({"title": state.title(name), **same, "hash": digest[:10] or None, "sha256": digest or None})
    return rows


@routes.get("/prompt-styles")
def styles(state: Served) -> list[Row]:
    """The model's styles. Their text is as in captions, for clients that put it into the prompt themselves."""
    named = [style.name for style in state.capabilities().styles]
    return [{"name": name, "prompt": f"{{prompt}}, {name} style", "negative_prompt": ""} for name in named]


@routes.get("/upscalers")
def upscalers(state: Served) -> list[Row]:
    """What `extra-single-image` takes."""
    blank = {"model_name": None, "model_path": None, "model_url": None}
    ours = [OURS] if len(state.capabilities().sizes) > 1 else []
    return [{"name": name, **blank, "scale": 4} for name in (*UPSCALERS, *ours)]


@routes.get("/options")
def options(state: Served) -> Row:
    """What is set: the model, and what clients look for that can't be set here."""
    model = {"sd_model_checkpoint": state.title(state.model), "sd_checkpoint_hash": state.digest(state.model)}
    return {**model, **DATA["options"]}


@routes.post("/options")
def choose(state: Served, said: Row) -> None:
    """Set the model. Clients send all options back; the others have no meaning here and stay as they are."""
    state.model = state.chosen({"sd_model_checkpoint": said.get("sd_model_checkpoint")})


@routes.get("/memory")
def memory() -> Row:
    """Of the computer, in bytes."""
    ram = psutil.virtual_memory()
    free = {"free": ram.available, "used": ram.total - ram.available, "total": ram.total}
    return {"ram": free, "cuda": {"error": "unavailable"}}


def _answering(value: Any) -> Callable[[], Any]:
    return lambda: value


for _name, _value in DATA["constant"].items():
    routes.add_api_route(f"/{_name}", _answering(_value), methods=["GET"], name=_name)
for _name in DATA["nothing"]:  # to refresh, to load or to unload: the worker does that
    routes.add_api_route(f"/{_name}", _answering({}), methods=["POST"], name=_name)
