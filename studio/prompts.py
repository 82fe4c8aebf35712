"""Prompt files that ship: one prompt a line, `#` begins a comment, `A + B` is a blend of two meanings."""

from typing import Any

from models.assets import assets


def prompt_list(name: str) -> list[str]:
    """The prompts of `assets/prompts/<name>.txt`, in order."""
    lines = (assets() / "prompts" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def fields_of(line: str) -> dict[str, Any]:
    """A line as fields of an image request."""
    parts = [part.strip() for part in line.split(" + ")]
    return {"prompt": line} if len(parts) == 1 else {"mix": tuple({"text": part} for part in parts)}
