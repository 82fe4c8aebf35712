"""The settings of a row: names that other programs use, text into numbers, and paths that begin beside the file.

A row may say its `task`; its settings are the fields of that task's request.
"""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.messages import did_you_mean
from studio.batch.sources import BadRow, Source
from studio.capabilities import Capabilities
from studio.doors import kinds
from studio.fields import Picture, spelled
from studio.prompts import ingredient
from studio.requests import DIGESTS, REQUESTS, MediaRequest
from studio.syntax import literal

if TYPE_CHECKING:
    from studio.batch.readers import Row

_NAMES = tomllib.loads(Path(__file__).with_name("names.toml").read_text(encoding="utf-8"))
ALIASES = {alias: own for own, aliases in _NAMES["aliases"].items() for alias in aliases.split()}
SIDES = ("w", "h", "width", "height")  # other programs' two for our one: `size`
IGNORED = set(_NAMES["ignored"]["names"].split())
TASKS = {name: request for name, request in REQUESTS.items() if issubclass(request, MediaRequest)}
# The settings of all tasks by name, with their types, without what planning fills in.
SETTINGS = {
    name: field.annotation
    for request in reversed(TASKS.values())
    for name, field in request.model_fields.items()
    if name not in (*DIGESTS, "guided_from")
}
OWN = SETTINGS.keys() | {"name"}
SEEDS_A_LINE = 1_000


@dataclass
class Settings:
    """What a row says, in our words: its task, the fields of a request, its seeds, its name, and what was left out."""

    fields: dict[str, Any]
    task: str = "image"
    seeds: list[Any] = field(default_factory=list)
    name: str = ""
    ignored: list[str] = field(default_factory=list)


def is_known(name: str) -> bool:
    """Whether a row may use `name`."""
    return name in OWN or name in IGNORED or name in SIDES or (name in ALIASES and ALIASES[name] in OWN)


def check_name(name: str) -> None:
    """BadRow names the nearest setting where there is none of that name."""
    if not is_known(name):
        known = [*OWN, *ALIASES]
        raise BadRow("batch.unknown_setting", name=name[:40], hint=did_you_mean(name[:40], known))


def settings(row: "Row", source: Source, can: Capabilities | None = None) -> Settings:
    """The settings of a row; BadRow where a name means nothing, comes twice, or its value can't be one. Other
    programs' width and height are left out where they say a size that the model does not make.
    """
    found, sides = Settings({}), dict[str, Any]()
    for name, value in row.fields.items():
        check_name(name)
        if name in IGNORED:
            found.ignored.append(name)
        elif value is not None and value != "":
            own = ALIASES.get(name, name)
            if name in SIDES:
                sides[name] = value
            else:
                _put(found.fields, own, name, _value(own, value, row.typed, source))
    _put_size(found, sides, can)
    found.seeds = _seeds(found.fields.pop("seed", None), row.typed)
    found.task, found.name = str(found.fields.pop("task", "image")), found.fields.pop("name", "")
    if found.task not in TASKS:
        task = found.task[:40]
        raise BadRow("request.unknown_task", task=task, hint=did_you_mean(task, TASKS), tasks=list(TASKS))
    if not isinstance(found.name, str):
        raise BadRow("batch.no_text", name="name", value=repr(found.name))
    if not row.expand:  # braces and wildcards stand for themselves
        found.fields = {name: _spelled(name, value) for name, value in found.fields.items()}
    return found


def _put(fields: dict[str, Any], own: str, name: str, value: Any) -> None:
    """A1111 makes `n_iter` times `batch_size` pictures; else a setting has one value."""
    if own not in fields:
        fields[own] = value
    elif own == "count" and isinstance(value, int) and isinstance(fields[own], int):
        fields[own] *= value
    else:
        raise BadRow("batch.twice_as", name=own, alias=name)


def _put_size(found: Settings, sides: dict[str, Any], can: Capabilities | None) -> None:
    """Width and height as the size that they mean; one of them is enough, and `size` itself goes first."""
    said = {name[0]: str(value).strip() for name, value in sides.items()}
    both = [said.get("w") or said.get("h") or "", said.get("h") or said.get("w") or ""]
    size = spelled(*map(int, both)) if all(map(str.isdecimal, both)) else 0
    if "size" not in found.fields and can and can.makes(size):
        found.fields["size"] = size
    else:
        found.ignored += sides


def _value(own: str, value: Any, typed: bool, source: Source) -> Any:
    made_of = kinds(SETTINGS.get(own))
    if own == "mix":
        parts = value if isinstance(value, list) else [value]
        return tuple(_ingredient(part, source) for part in parts)
    if Picture in made_of:
        return _picture(value, source)
    if typed or own == "seed":
        return value
    number = next((kind for kind in (int, float) if kind in made_of and str not in made_of), None)
    return _number(own, value, number) if number else value


def _number(own: str, value: str, kind: type) -> Any:
    try:
        return kind(value)
    except ValueError as error:
        code = "batch.no_whole_number" if kind is int else "batch.no_number"
        raise BadRow(code, name=own, value=value[:40]) from error


def _seeds(value: Any, typed: bool) -> list[Any]:
    """A seed, several of them (each a job of its own), or none; -1 is A1111's word for any."""
    several = value.split(",") if isinstance(value, str) and not typed else value
    several = several if isinstance(several, list) else [several]
    if len(several) > SEEDS_A_LINE:
        raise BadRow("batch.too_many_seeds", count=len(several), most=SEEDS_A_LINE)
    if not typed:
        several = [_number("seed", one.strip(), int) if one else one for one in several]
    return [None if seed == -1 else seed for seed in several]


def _picture(value: Any, source: Source) -> Any:
    """A path as a picture; a relative one begins where the prompt file lies."""
    path = value.get("path") if isinstance(value, dict) else value
    return {"path": str(source.folder / Path(path))} if isinstance(path, str) else value


def _ingredient(part: Any, source: Source) -> Any:
    part = ingredient(part) if isinstance(part, str) else part
    if isinstance(part, dict) and part.get("picture") is not None:
        return {**part, "picture": _picture(part["picture"], source)}
    return part


def _spelled(name: str, value: Any) -> Any:
    if name == "mix":
        return tuple(_spelled("part", part) for part in value)
    if name == "part" and isinstance(value, dict) and "text" in value:
        return {**value, "text": _spelled("prompt", value["text"])}
    return literal(value) if name in ("prompt", "negative") and isinstance(value, str) else value
