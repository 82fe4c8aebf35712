"""Prompts as people write them on one line: `A + B` is a blend of two meanings, `W:WORDS` a part of a mix."""

import re
from pathlib import Path
from typing import Any

PICTURES = (".png", ".webp", ".jpg", ".jpeg", ".gif")


def fields_of(line: str) -> dict[str, Any]:
    """A line as fields of an image request."""
    parts = [part.strip() for part in line.split(" + ")]
    return {"prompt": line} if len(parts) == 1 else {"mix": tuple({"text": part} for part in parts)}


def ingredient(part: str) -> dict[str, Any]:
    """`W:PROMPT` or `W:FILE` as a part of a mix; without a weight it is 1. What looks like a picture file is one."""
    match = re.fullmatch(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)):(.*)", part, re.DOTALL)
    weight, what = (float(match[1]), match[2].strip()) if match else (1.0, part.strip())
    is_file = Path(what).suffix.lower() in PICTURES
    return {"weight": weight, "picture": {"path": what}} if is_file else {"weight": weight, "text": what}


def given(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields of an image request as a program writes them: pictures by path, the parts of a mix as on a line."""
    read = dict(fields)
    for name in ("like", "image", "mask"):
        if isinstance(read.get(name), str | Path):
            read[name] = {"path": str(read[name])}
    if "mix" in read:
        read["mix"] = tuple(ingredient(part) if isinstance(part, str) else part for part in read["mix"])
    return read
