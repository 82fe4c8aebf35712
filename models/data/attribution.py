"""`ATTRIBUTION.md`, generated from the manifest, so that it names what is really in the world."""

import json
from pathlib import Path

from jinja2 import Template


def attribution(folder: Path) -> str:
    """The text, from `folder/manifest.json`; FileNotFoundError says the command that builds it."""
    manifest = folder / "manifest.json"
    if not manifest.exists():
        raise FileNotFoundError(f"no manifest in {folder}; build the pictures with: python -m models.data build")
    template = Template(Path(__file__).with_name("attribution.md.j2").read_text(encoding="utf-8"))
    return template.render(packages=json.loads(manifest.read_text(encoding="utf-8"))["packages"]) + "\n"
