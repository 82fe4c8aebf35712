"""The API's documentation as one HTML page without a script, made from its OpenAPI schema: nothing is loaded."""

import itertools
import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup, escape

HERE = Path(__file__).parent
Row = tuple[str, Markup, str]  # name, type as HTML, text


def page(schema: dict[str, Any]) -> str:
    """The documentation of an OpenAPI 3.1 schema."""
    environment = Environment(loader=FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["code"] = _code
    operations = [
        _operation(path, method, said) for path, methods in schema["paths"].items() for method, said in methods.items()
    ]
    models = [
        (name, model.get("description", ""), _rows(model.get("properties", {})))
        for name, model in schema["components"]["schemas"].items()
    ]
    chapters = itertools.groupby(operations, lambda one: one["tag"])
    title = f"{schema['info']['title']} {schema['info']['version']}"
    return environment.get_template("docs.html").render(title=title, chapters=chapters, models=models)


def _operation(path: str, method: str, said: dict[str, Any]) -> dict[str, Any]:
    bodies = [("sent", _kind(one["schema"]), "") for one in said.get("requestBody", {}).get("content", {}).values()]
    for status, answer in said["responses"].items():
        kinds = [_kind(one.get("schema", {})) or escape(name) for name, one in answer.get("content", {}).items()]
        bodies.append((status, Markup(" or ").join(kinds), answer.get("description", "")))
    parameters = _rows({one["name"]: {**one["schema"], **one} for one in said.get("parameters", [])})
    about = said.get("description", "")
    shown = {"tag": said["tags"][0], "path": path, "method": method.upper(), "about": about}
    return {**shown, "parameters": parameters, "bodies": bodies}


def _rows(fields: dict[str, Any]) -> list[Row]:
    return [(name, _kind(said), said.get("description", "")) for name, said in fields.items()]


def _code(text: str) -> Markup:
    """What is between backticks as code."""
    parts = text.split("`")
    return Markup().join(Markup("<code>{}</code>").format(part) if n % 2 else part for n, part in enumerate(parts))


def _kind(said: dict[str, Any]) -> Markup:
    """A type in a few words; models are links."""
    if "$ref" in said:
        name = said["$ref"].rpartition("/")[2]
        return Markup('<a href="#{0}">{0}</a>').format(name)
    if "anyOf" in said:
        return Markup(" or ").join(dict.fromkeys(_kind(part) for part in said["anyOf"]))
    if "enum" in said or "const" in said:
        return Markup(" | ").join(json.dumps(value) for value in said.get("enum", [said.get("const")]))
    if said.get("type") == "array":
        return Markup("list of {}").format(_kind(said.get("items", {})) or "anything")
    usual = f" = {json.dumps(said['default'])}" if said.get("default") is not None else ""
    return escape(said.get("type", "") + usual)
