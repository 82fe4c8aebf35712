"""The API's papers as one HTML page without a script, made from its OpenAPI schema: nothing is loaded from anywhere."""

import json
import re
from collections.abc import Iterator
from html import escape
from typing import Any

STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 20%, transparent) }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line) }
details { border: 1px solid var(--line); border-radius: 8px; margin: .5rem 0; padding: .5rem .8rem }
summary { cursor: pointer; overflow-wrap: anywhere }
summary p { display: inline }
summary b { display: inline-block; min-width: 4.5rem; font-family: ui-monospace, monospace }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 }
td p { margin: 0 }
td, th { text-align: left; vertical-align: top; padding: .2rem .8rem .2rem 0 }
tr { border-bottom: 1px solid var(--line) }
code, pre { font: .9em ui-monospace, monospace } pre { overflow-x: auto }
"""
INTRODUCTION = """
<p>Jobs, the gallery and search of the studio that runs on this computer. Requests and answers are JSON; an error is
<code>{"error": "one sentence"}</code>. The schema for machines is at <a href="openapi.json">openapi.json</a>. A studio
with a password wants it by HTTP Basic, under any user name.</p>
<pre>curl -s http://127.0.0.1:7860/api/v1/jobs -H 'content-type: application/json' -d '{"prompt": "a smiling cat"}'
curl -N http://127.0.0.1:7860/api/v1/jobs/ID/events
curl -s http://127.0.0.1:7860/api/v1/gallery/SHA256/file -o cat.png</pre>
"""


def page(schema: dict[str, Any]) -> str:
    """The papers of an OpenAPI 3.1 schema."""
    title = f"{escape(schema['info']['title'])} {escape(schema['info']['version'])}"
    operations = [(path, *one) for path, methods in schema["paths"].items() for one in methods.items()]
    tags = dict.fromkeys(said["tags"][0] for _, _, said in operations)
    parts = [part for tag in tags for part in _chapter(tag, [one for one in operations if one[2]["tags"][0] == tag])]
    models = "".join(_model(name, model) for name, model in schema["components"]["schemas"].items())
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
        f"<h1>{title}</h1>{INTRODUCTION}{''.join(parts)}<h2>What goes in and out</h2>{models}</html>"
    )


def _chapter(tag: str, operations: list[tuple[str, str, dict[str, Any]]]) -> Iterator[str]:
    yield f"<h2>{escape(tag.capitalize())}</h2>"
    for path, method, said in operations:
        about = said.get("description", "")
        head = f"<b>{method.upper()}</b> <code>{escape(path)}</code> {_prose(about.partition('.')[0])}"
        yield f"<details><summary>{head}</summary>{_prose(about)}{_parameters(said)}{_bodies(said)}</details>"


def _parameters(said: dict[str, Any]) -> str:
    rows = [(one["name"], one["schema"], one.get("description", "")) for one in said.get("parameters", [])]
    return _table((name, _kind(kind), about or kind.get("description", "")) for name, kind, about in rows)


def _bodies(said: dict[str, Any]) -> str:
    """What is sent, and what comes back, by name of the model."""
    sent = [_kind(media["schema"]) for media in said.get("requestBody", {}).get("content", {}).values()]
    rows = [("sent", kind, "") for kind in sent]
    for status, answer in said["responses"].items():
        kinds = [_kind(media.get("schema", {})) or escape(name) for name, media in answer.get("content", {}).items()]
        rows.append((status, " or ".join(kinds), answer.get("description", "")))
    return _table(rows)


def _model(name: str, model: dict[str, Any]) -> str:
    fields = model.get("properties", {}).items()
    rows = ((field, _kind(said), said.get("description", "")) for field, said in fields)
    about = _prose(model.get("description", ""))
    # The name that links lead to is inside: a browser that goes there opens what it is in.
    inside = f'<div id="{escape(name)}">{about}{_table(rows)}</div>'
    return f"<details><summary><b>{escape(name)}</b></summary>{inside}</details>"


def _prose(text: str) -> str:
    """Text as HTML: paragraphs, and code where it is between backticks."""
    marked = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
    return "".join(f"<p>{part}</p>" for part in marked.split("\n\n"))


def _kind(said: dict[str, Any]) -> str:
    """A type in a few words, as HTML; models are links."""
    if "$ref" in said:
        name = escape(said["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in said:
        return " or ".join(dict.fromkeys(_kind(part) for part in said["anyOf"]))
    if "enum" in said or "const" in said:
        return " | ".join(escape(json.dumps(value)) for value in said.get("enum", [said.get("const")]))
    if said.get("type") == "array":
        return f"list of {_kind(said.get('items', {})) or 'anything'}"
    usual = f" = {escape(json.dumps(said['default']))}" if said.get("default") is not None else ""
    return escape(said.get("type", "")) + usual


def _table(rows: Any) -> str:
    """Rows of (name, kind as HTML, text)."""
    cells = "".join(f"<tr><th><code>{escape(n)}</code><td>{kind}<td>{_prose(about)}" for n, kind, about in rows)
    return f"<table>{cells}</table>" if cells else ""
