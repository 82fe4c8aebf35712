"""Lines of a text file: a prompt with short flags (sd-scripts), or long flags alone (A1111's "Prompts from file").

a smiling cat --n blurry --d 1,2 --s 20 --l 4 --f cat
--prompt "a smiling cat" --negative_prompt blurry --steps 20
"""

import re
import shlex
from typing import Any

from studio.batch.rows import Wrong, once

_FLAG = re.compile(r"\s--(?=[A-Za-z]\w*(?:\s|$))")


def read_line(line: str) -> dict[str, Any]:
    """The settings of a line, as text; Wrong where its flags can't be told apart."""
    return once(_long(line) if line.startswith("--") else _short(line))


def _short(line: str) -> list[tuple[str, str]]:
    prompt, *flags = _FLAG.split(line)
    pairs = [flag.strip().partition(" ") for flag in flags]
    for name, _, value in pairs:
        if not value.strip():
            raise Wrong(f"--{name} has no value.", line.rfind(f"--{name}") + 1)
    return [("prompt", prompt.strip()), *((name, value.strip()) for name, _, value in pairs)]


def _long(line: str) -> list[tuple[str, str]]:
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise Wrong(f"a quotation mark is open ({str(error).lower()}).") from error
    pairs = []
    for name, value in zip(words[::2], [*words[1::2], None], strict=False):
        if not name.startswith("--") or value is None:
            at = line.rfind(name)
            what = "has no value" if name.startswith("--") else 'is no flag; put text with spaces in "quotes"'
            raise Wrong(f"{name[:40]} {what}.", at + 1 if at >= 0 else None)
        pairs.append((name[2:], value))
    return pairs
