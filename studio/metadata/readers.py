"""Settings in the texts of files: our record, and what A1111 and programs like it write, under our names.

The format is that of A1111's `infotext_utils.parse_generation_parameters`; `programs.toml` has the names.
"""

import json
import math
import re
import tomllib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from studio.metadata.origin import Origin

DEPTH = 64  # levels of JSON that are followed
LAST_LINE = 2**15  # characters of A1111's settings
# Unanchored and with bounded keys, so that a hostile line takes no more than linear time.
PAIR = re.compile(r'(\w[\w \-/]{1,63}):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')

PROGRAMS: dict[str, Any] = tomllib.loads(Path(__file__).with_name("programs.toml").read_text(encoding="utf-8"))


def read_texts(texts: dict[str, str]) -> dict[str, Any]:
    """The settings of our record, else of A1111's text; `{}` where there is neither.

    Ours are an `Origin`; A1111's are `program` and, where given, `prompt`, `negative`, `steps`, `guidance`, `seed`,
    `scheduler`, `size` ("512x512"), `model`, `style`, and what has no name here under `other`.
    """
    if record := parse_record(texts.get("studio", "")):
        return record
    settings = parse_parameters(texts.get("parameters", ""))
    return {"program": "A1111", **settings} if settings else {}


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


KEYWORDS = frozenset(("studio", "parameters"))


def parsed(text: str) -> Any:
    """JSON, without the numbers that are none; None where it is not JSON or goes too deep."""
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
