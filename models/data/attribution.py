"""`ATTRIBUTION.md`, generated from the manifest, so that it names what is really in the world."""

import json
from pathlib import Path
from typing import Any

HEADER = """# Attribution

The models in `assets/weights` were trained on the pictures and texts below, and the space by the teacher below.
`assets/weights/prototypes` holds of each thing and style one of the pictures (of women and men one each), at 64 pixels,
for the generator to draw it from: what is drawn in a style that has drawn the thing is near to that picture, so name
its makers where their licence asks for it. Nothing else of them is part of this repository; `python -m models.data
build` fetches pictures and texts from the npm registry in the versions named here.
Whether a model is an adaptation of what it was trained on is unsettled; everybody is named all the same.

This file is generated: `python -m models.data licences`.

## Pictures

| package | version | made by | licence | pictures | changed how |
|---|---|---|---|---|---|
"""

TEXTS = """
## Texts

| package | version | made by | licence |
|---|---|---|---|
"""

TEACHERS = (
    "\n## Teachers\n\n| model | made by | licence | what it taught |\n|---|---|---|---|\n"
    "| `all-MiniLM-L6-v2` | N. Reimers and I. Gurevych (Sentence-BERT) "
    "| [Apache-2.0](https://www.apache.org/licenses/LICENSE-2.0) "
    "| the space: which words are near in meaning; nothing of it ships |\n"
)

HASHES = """
## Archives

| package | sha256 |
|---|---|
"""

LICENCE_LINKS = {
    "Apache-2.0": "https://www.apache.org/licenses/LICENSE-2.0",
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "MIT": "https://spdx.org/licenses/MIT.html",
    "LicenseRef-WordNet": "https://wordnet.princeton.edu/license-and-commercial-use",
}


def attribution(folder: Path) -> str:
    """The text, from `folder/manifest.json`; FileNotFoundError says the command that builds it."""
    manifest = folder / "manifest.json"
    if not manifest.exists():
        raise FileNotFoundError(f"no manifest in {folder}; build the pictures with: python -m models.data build")
    rows = json.loads(manifest.read_text(encoding="utf-8"))["packages"]
    pictures = "".join(
        f"| `{r['name']}` | {r['version']} | {r['author']} | {_link(r['licence'])} "
        f"| {r['pictures']:,} | {r['modification']} |\n"
        for r in rows
        if r["pictures"]
    )
    texts = _without_pictures([row for row in rows if row["kind"] == "text"])
    hashes = "".join(f"| `{r['name']}` | `{r['sha256']}` |\n" for r in rows)
    return HEADER + pictures + TEXTS + texts + TEACHERS + HASHES + hashes


def _without_pictures(rows: list[dict[str, Any]]) -> str:
    return "".join(f"| `{r['name']}` | {r['version']} | {r['author']} | {_link(r['licence'])} |\n" for r in rows)


def _link(licence: str) -> str:
    return f"[{licence}]({LICENCE_LINKS[licence]})" if licence in LICENCE_LINKS else licence
