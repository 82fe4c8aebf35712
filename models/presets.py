"""Sizes as a table: `presets.toml` holds the arguments of each part's constructor, by part and preset."""

import tomllib
from pathlib import Path
from typing import Any

PRESETS: dict[str, dict[str, dict[str, Any]]] = tomllib.loads(
    Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
)


def preset(part: str, name: str) -> dict[str, Any]:
    """The constructor arguments of `part` at size `name`; ValueError names what there is."""
    if part not in PRESETS:
        raise ValueError(f"unknown part {part!r}; there are {', '.join(sorted(PRESETS))}")
    if name not in PRESETS[part]:
        raise ValueError(f"{part} has no preset {name!r}; there are {', '.join(sorted(PRESETS[part]))}")
    return dict(PRESETS[part][name])
