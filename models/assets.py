"""Files of the project: where assets lie (top of a checkout, or inside the wheel), and the sizes of parts."""

import tomllib
from pathlib import Path
from typing import Any


def assets() -> Path:
    """The folder with `weights/` and `prompts/`; FileNotFoundError says what a broken installation lacks."""
    here = Path(__file__).resolve().parent
    for folder in (here / "_assets", here.parent / "assets"):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f"no assets beside {here}; install the package again: pip install --force-reinstall studio128"
    )


def prompt_list(name: str) -> list[str]:
    """The prompts of `assets/prompts/<name>.txt` in order: one a line, `#` begins a comment."""
    lines = (assets() / "prompts" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


PRESETS: dict[str, dict[str, dict[str, Any]]] = tomllib.loads(
    Path(__file__).with_name("presets.toml").read_text(encoding="utf-8")
)


def preset(part: str, name: str) -> dict[str, Any]:
    """The constructor arguments of `part` at size `name`; ValueError names what there is."""
    if part not in PRESETS:
        raise ValueError(f"unknown part {part!r}; there are {', '.join(sorted(PRESETS))}")
    if name not in PRESETS[part]:
        raise ValueError(f"{part} has no preset {name!r}; there are {', '.join(sorted(PRESETS[part]))}")
    return dict(PRESETS[part][name])
