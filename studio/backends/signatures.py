"""What the pipelines of diffusers take and give, read from its source files: importing it takes seconds and torch."""

import ast
import importlib.util
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

REQUIRED = "required"  # the default of a parameter that has none
TASKS = {"IMAGE2IMAGE": "image", "INPAINT": "mask_image", "IMAGE2VIDEO": "image"}  # tables, and what is in them takes


@dataclass(frozen=True)
class Pipeline:
    """A pipeline's class: the parameters of its call with their defaults (REQUIRED where there is none, None where the
    default is no constant), and the kinds of outputs that it gives: images, frames, audios.
    """

    name: str
    loras: bool  # whether it loads them
    takes: dict[str, Any]
    gives: frozenset[str]
    constants: dict[str, Any]  # what its code sets where nothing is said: {"height": 1024, "default_sample_size": 128}


@cache
def pipeline(name: str) -> Pipeline | None:
    """The pipeline of that class; None where diffusers has none of that name."""
    tree = _class(name)
    call = _method(tree, "__call__")
    if tree is None or call is None:
        return None
    return Pipeline(name, _loads_loras(tree), _parameters(call), frozenset(_outputs(call)), _constants(tree))


@cache
def counterpart(name: str, takes: str) -> str:
    """The class with the same components that takes a picture ("image"), also a mask ("mask_image"), or a ControlNet
    ("control"), as diffusers' tables of automatic pipelines say; "" where there is none.
    """
    tables = _tables()
    homes = [(task, key) for task, table in tables.items() for key, cls in table.items() if cls == name]
    if takes == "control":
        found = [tables[task].get(f"{key}-controlnet", "") for task, key in homes]
    else:
        found = [
            tables.get(task, {}).get(key, "") for task, needed in TASKS.items() if needed == takes for _, key in homes
        ]
    return next((one for one in found if one not in ("", name)), "")


@cache
def compatible_schedulers(name: str) -> tuple[str, ...]:
    """The schedulers that can take the place of the one of that class, itself first."""
    others = _attribute(name, "_compatibles")
    if isinstance(others, ast.ListComp):  # over the members of an enumeration
        members = _class(ast.unparse(others.generators[0].iter))
        found = [ast.unparse(one.targets[0]) for one in members.body if isinstance(one, ast.Assign)] if members else []
    else:
        found = ast.literal_eval(others) if others else []
    return (name, *(one for one in found if one != name and one in _files()))


def is_library(name: str) -> bool:
    """Whether parts of a pipeline may come from the library, or the module of diffusers, of that name."""
    return name in ("diffusers", "transformers") or (_root() / "pipelines" / name).is_dir()


# --- Source files -----------------------------------------------------------------------------------------------------


@cache
def _root() -> Path:
    found = importlib.util.find_spec("diffusers")
    assert found is not None and found.submodule_search_locations
    return Path(found.submodule_search_locations[0])


@cache
def _files() -> dict[str, Path]:
    """The file of each class of a pipeline or scheduler."""
    files = [*_root().glob("pipelines/**/*.py"), *_root().glob("schedulers/*.py")]
    return {name: file for file in sorted(files) for name in re.findall(r"^class (\w+)\(", _source(file), re.MULTILINE)}


def _source(file: Path) -> str:
    return file.read_text(encoding="utf-8")


@cache
def _class(name: str) -> ast.ClassDef | None:
    file = _files().get(name)
    body = ast.parse(_source(file)).body if file else []
    return next((node for node in body if isinstance(node, ast.ClassDef) and node.name == name), None)


def _method(tree: ast.ClassDef | None, name: str) -> ast.FunctionDef | None:
    """Of the class or the nearest of its bases."""
    for node in tree.body if tree else ():
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return node
    bases = (_method(_class(ast.unparse(base)), name) for base in (tree.bases if tree else ()))
    return next((found for found in bases if found), None)


def _loads_loras(tree: ast.ClassDef) -> bool:
    bases = [ast.unparse(base) for base in tree.bases]
    known = [base for base in map(_class, bases) if base]
    return any(base.endswith("LoraLoaderMixin") for base in bases) or any(map(_loads_loras, known))


def _attribute(name: str, attribute: str) -> ast.expr | None:
    tree = _class(name)
    sets = (node for node in (tree.body if tree else ()) if isinstance(node, ast.Assign))
    return next((node.value for node in sets if ast.unparse(node.targets[0]) == attribute), None)


def _parameters(call: ast.FunctionDef) -> dict[str, Any]:
    given, defaults = call.args.args[1:] + call.args.kwonlyargs, [*call.args.defaults, *call.args.kw_defaults]
    behind = zip(reversed(given), reversed(defaults), strict=False)
    return {arg.arg: REQUIRED for arg in given} | {arg.arg: _constant(one) for arg, one in behind if one}


def _outputs(call: ast.FunctionDef) -> set[str]:
    """Names of the fields of what it returns."""
    calls = (node.value for node in ast.walk(call) if isinstance(node, ast.Return) and isinstance(node.value, ast.Call))
    return {keyword.arg for one in calls for keyword in one.keywords if keyword.arg}


def _constants(tree: ast.ClassDef) -> dict[str, Any]:
    """What stands for a setting that is not given: `height = height or 1024`, `self.default_sample_size = 128`."""
    found: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            value = node.value
            if isinstance(value, ast.BoolOp) and isinstance(value.op, ast.Or):
                value = value.values[-1]
            if isinstance(constant := _constant(value), int):
                found.setdefault(ast.unparse(node.targets[0]).removeprefix("self."), constant)
    return found


def _constant(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


@cache
def _tables() -> dict[str, dict[str, str]]:
    """The tables of the automatic pipelines: {task: {key: class}}."""
    tree = ast.parse(_source(_root() / "pipelines" / "auto_pipeline.py"))
    found: dict[str, dict[str, str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and (
            task := re.fullmatch(r"AUTO_(\w+)_PIPELINES_MAPPING", ast.unparse(node.targets[0]))
        ):
            pairs = [pair.elts for pair in ast.walk(node.value) if isinstance(pair, ast.Tuple)]
            found[task[1]] = {ast.literal_eval(key): ast.unparse(cls) for key, cls in pairs}
    return found
