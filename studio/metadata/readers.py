"""Settings that other programs write into their pictures, under our names: a row for each program; the names are in
`programs.toml`.

Formats as their sources give them: A1111 `infotext_utils.parse_generation_parameters`, ComfyUI's API graph.
"""

import json
import math
import re
import tomllib
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from studio.metadata.origin import Origin

DEPTH = 64  # levels of JSON that are followed; a workflow has five or so
LAST_LINE = 2**15  # characters of A1111's settings
# Unanchored and with bounded keys, so that a hostile line takes no more than linear time.
PAIR = re.compile(r'(\w[\w \-/]{1,63}):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')

PROGRAMS: dict[str, Any] = tomllib.loads(Path(__file__).with_name("programs.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Reader:
    """A program: the keyword of its text, and the function that turns it into settings (`{}` for others' texts)."""

    program: str
    keyword: str
    parse: Callable[[str], dict[str, Any]]


def read_texts(texts: dict[str, str]) -> dict[str, Any]:
    """The settings of the first program that wrote one of the texts; `{}` where none did.

    Ours are an `Origin`; the others' are `program` and, where given, `prompt`, `negative`, `steps`,
    `guidance`, `seed`, `scheduler`, `size` ("512x512"), `model`, `style`, and what has no name here under `other`.
    """
    for reader in READERS:
        settings = reader.parse(texts[reader.keyword]) if reader.keyword in texts else {}
        if settings:
            return settings if reader.program == OURS else {"program": reader.program, **settings}
    return {}


def parse_record(text: str) -> dict[str, Any]:
    """Our record."""
    try:
        record = Origin.model_validate(parsed(text))
    except (ValidationError, RecursionError):
        return {}
    # Lists, as in JSON.
    lists = {"candidates": list(map(list, record.candidates)), "credits": list(map(asdict, record.credits))}
    return {**record.model_dump(), **lists}


def parse_parameters(text: str) -> dict[str, Any]:
    """A1111's text: prompt, "Negative prompt:" at the start of a line, then a last line of three or more settings."""
    *lines, last = text.strip().split("\n")
    pairs = PAIR.findall(last) if len(last) <= LAST_LINE else []
    if len(pairs) < 3:
        return {}
    stripped = [line.strip() for line in lines]
    negatives = [i for i, line in enumerate(stripped) if line.startswith("Negative prompt:")]
    cut = negatives[0] if negatives else len(stripped)
    negative = "\n".join(line.removeprefix("Negative prompt:").strip() for line in stripped[cut:])
    settings = {key.strip(): _unquoted(value.strip()) for key, value in pairs}
    known = {ours: settings.pop(theirs) for ours, theirs in PROGRAMS["a1111"].items() if theirs in settings}
    return _settings({"prompt": "\n".join(stripped[:cut]), "negative": negative, **known}, settings)


def _unquoted(text: str) -> str:
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return text
    value = parsed(text)
    return value if isinstance(value, str) else text


def comfyui(text: str) -> dict[str, Any]:
    """ComfyUI's graph, as far as it is the usual one: a KSampler and what flows into it."""
    graph = {name: node for name, node in _object(parsed(text)).items() if isinstance(node, dict)}
    samplers = [name for name, node in graph.items() if "KSampler" in str(node.get("class_type"))]
    if not samplers:
        return {}
    # Of several passes the one that begins with noise alone has the picture's seed.
    first = max(samplers, key=lambda name: _number(_inputs(graph, name).get("denoise", 1)) or 0)
    width, height = (_upstream(graph, first, "latent_image", (side,), int) for side in ("width", "height"))
    words = ("text", "text_g", "text_l", "string", "prompt", "value")
    return _settings(
        {
            "prompt": _upstream(graph, first, "positive", words, str),
            "negative": _upstream(graph, first, "negative", words, str),
            "steps": _input(graph, first, "steps"),
            "guidance": _input(graph, first, "cfg"),
            "seed": _input(graph, first, "noise_seed" if "noise_seed" in _inputs(graph, first) else "seed"),
            "scheduler": _input(graph, first, "sampler_name"),
            "size": _by(width, height),
            "model": _upstream(graph, first, "model", ("ckpt_name", "unet_name", "model_name"), str),
        },
        {},
    )


OURS = "Studio 128"
READERS = (
    Reader(OURS, "studio", parse_record),
    Reader("A1111", "parameters", parse_parameters),
    Reader("ComfyUI", "prompt", comfyui),  # last: others keep the graph of a picture that they worked on
)
KEYWORDS = frozenset(reader.keyword for reader in READERS)


def parsed(text: str) -> Any:
    """JSON, without the numbers that are none (ComfyUI writes NaN); None where it is not JSON or goes too deep."""
    try:
        value = json.loads(text, parse_constant=lambda _: None, parse_float=_finite)
    except (ValueError, RecursionError):
        return None
    level = [value]
    for _ in range(DEPTH):
        inside = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)]
        level = [part for whole in inside for part in whole]
    return None if level else value


def _finite(text: str) -> float | None:
    return float(text) if math.isfinite(float(text)) else None


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _settings(known: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """With whole numbers and numbers as such. What is no number where one is due joins the others."""
    kinds: dict[str, Callable[[Any], Any]] = {"steps": _whole, "seed": _whole, "guidance": _number}
    settings = {}
    for name, value in known.items():
        fit = kinds.get(name, str)(value) if value is not None else None
        if fit is not None:
            settings[name] = fit
        elif value is not None:
            other[name] = value
    useful = any(name in settings for name in ("prompt", "seed", "steps"))
    return {**settings, **({"other": other} if other else {})} if useful else {}


def _whole(value: Any) -> int | None:
    text = str(value).strip()
    return int(text) if re.fullmatch(r"-?\d{1,20}", text, re.ASCII) else None


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _by(width: object, height: object) -> str | None:
    return f"{width}x{height}" if _whole(width) and _whole(height) else None


def _inputs(graph: dict[str, Any], name: str) -> dict[str, Any]:
    return _object(graph[name].get("inputs"))


def _input(graph: dict[str, Any], name: str, key: str) -> Any:
    """A setting of a node, or of the node that it is wired to."""
    value = _inputs(graph, name).get(key)
    if isinstance(value, list):
        return _upstream(graph, name, key, (key, "value", "seed", "int", "float"), (int, float, str))
    return value


def _upstream(graph: dict[str, Any], name: str, wire: str, keys: tuple[str, ...], kind: Any) -> Any:
    """The first value of this kind under one of `keys`, along the wire and on to what feeds it, nearest first."""
    todo, seen = deque([_inputs(graph, name).get(wire)]), set()
    while todo:
        link = todo.popleft()
        if not isinstance(link, list) or len(link) != 2 or str(link[0]) not in graph:
            continue
        node, slot = str(link[0]), link[1] if link[1] in (0, 1) else None
        if (node, slot) in seen:
            continue
        seen.add((node, slot))
        inputs = _inputs(graph, node)
        for key in keys:
            if isinstance(inputs.get(key), kind):
                return inputs[key]
        both = [inputs[side] for side in ("positive", "negative") if side in inputs]
        todo.extend([both[slot]] if len(both) == 2 and slot is not None else inputs.values())
    return None
