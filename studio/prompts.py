"""Prompts as people write them on one line: `A + B` is a blend of two things, `W:WORDS` a part of a mix."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from models.messages import Refused
from models.prompts.weighting import QUOTED

R = TypeVar("R")

MIX_LIMIT = 8  # things in one picture
SUM = re.compile(r"(?:^|\s)\+(?=\s|$)|(?<!＋)＋(?!＋)")
# Endings of files that are read as pictures and clips.
PICTURES = (".png", ".webp", ".jpg", ".jpeg", ".gif", ".avif", ".apng", ".webm", ".mkv", ".mp4", ".mov")


def summands(prompt: str) -> list[str]:
    """The parts of a prompt `A + B`; the prompt alone where it has no sum, is quoted, or has too many; [] if empty."""
    parts = [part.strip() for part in SUM.split(prompt) if part.strip()]
    things = all(re.search(r"[^\W\d_]", part) and _closed(part) for part in parts)
    if 1 < len(parts) <= MIX_LIMIT and things and not QUOTED.fullmatch(prompt):
        return parts
    return [prompt] if parts else []


def _closed(part: str) -> bool:
    """Whether all brackets are closed in it: `(cat + dog:1.3)` is one part, which weighs both."""
    return all(part.count(opened) == part.count(closed) for opened, closed in ("()", "[]"))


def ingredient(part: str) -> dict[str, Any]:
    """`W:PROMPT` or `W:FILE` as a part of a mix; without a weight it is 1. What looks like a picture file is one."""
    match = re.fullmatch(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)):(.*)", part, re.DOTALL)
    weight, what = (float(match[1]), match[2].strip()) if match else (1.0, part.strip())
    is_file = Path(what).suffix.lower() in PICTURES
    return {"weight": weight, "picture": {"path": what}} if is_file else {"weight": weight, "text": what}


def given(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields of an image request as a program writes them: pictures by path, the parts of a mix as on a line."""
    read = dict(fields)
    for name in ("like", "image", "mask", "last"):
        if isinstance(read.get(name), str | Path):
            read[name] = {"path": str(read[name])}
    if "mix" in read:
        read["mix"] = tuple(ingredient(part) if isinstance(part, str) else part for part in read["mix"])
    return read


def only(requests: Sequence[R]) -> R:
    """The one request that a prompt came to; Refused where the seed draws the words and each picture has its own."""
    if len(requests) > 1:
        raise Refused("syntax.one_job_each")
    return requests[0]
