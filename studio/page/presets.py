"""Settings that are kept under a name, in `presets.json` of the home, for every tab that makes pictures."""

import json
from pathlib import Path
from typing import Any

from models.messages import Refused
from studio.files import write_whole
from studio.requests import visible

FILE = "presets.json"
MOST, NAME_LIMIT = 100, 60  # presets; characters of a name
# Inputs whose values are kept: what is to be drawn, and by which seed, is none of them.
KEPT = ("style", "negative", "count", "scheduler", "steps", "guidance", "best_of", "reference_strength", "size")


def presets(home: Path) -> dict[str, dict[str, Any]]:
    """Values of inputs by the name that they are kept under; what can't be read is none."""
    try:
        found = json.loads((home / FILE).read_text(encoding="utf-8"))
        return {str(name): {one: values[one] for one in KEPT if one in values} for name, values in found.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def keep(home: Path, name: str, values: dict[str, Any]) -> str:
    """Keep values of inputs -> the name. Refused where it is none, or there are too many."""
    name, known = visible(name).strip()[:NAME_LIMIT], presets(home)
    if not name:
        raise Refused("page.making.preset_unnamed")
    if name not in known and len(known) >= MOST:
        raise Refused("page.making.presets_full", most=MOST)
    _write(home, {**known, name: {one: values[one] for one in KEPT if one in values}})
    return name


def forget(home: Path, name: str) -> None:
    _write(home, {one: values for one, values in presets(home).items() if one != name})


def _write(home: Path, known: dict[str, dict[str, Any]]) -> None:
    write_whole(home / FILE, json.dumps(known, ensure_ascii=False, indent=1).encode(), "--home")
