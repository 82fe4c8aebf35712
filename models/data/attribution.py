"""`ATTRIBUTION.md`, generated from the manifest and from the lock of the animated set, so that it names what is really
there.
"""

import json
from pathlib import Path

from jinja2 import Template

from models.data.animated import LOCK, PACKAGES


def attribution(folder: Path) -> str:
    """The text, from `folder/manifest.json`; FileNotFoundError says the command that builds it."""
    manifest = folder / "manifest.json"
    if not manifest.exists():
        raise FileNotFoundError(f"no manifest in {folder}; build the pictures with: python -m models.data build")
    template = Template(Path(__file__).with_name("attribution.md.j2").read_text(encoding="utf-8"))
    packages, lock = json.loads(manifest.read_text(encoding="utf-8"))["packages"], json.loads(LOCK.read_text())
    animated = [{**vars(one), **lock[one.name]} for one in PACKAGES]
    return template.render(packages=packages, animated=animated) + "\n"
