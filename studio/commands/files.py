"""`studio info`: what a picture file says about itself."""

import json
from pathlib import Path

import typer

from studio.capabilities import Refused
from studio.commands.base import Json, app
from studio.metadata import read


@app.command()
def info(file: Path, as_json: Json = False) -> None:
    """Show the settings that a picture file holds."""
    found = read(file)
    if not found:
        raise Refused(f"{file} holds no settings.")
    flat = {**found, **found["request"]} if "request" in found else found
    rows = [(key, value) for key, value in flat.items() if key != "request" and value not in ("", None, [])]
    typer.echo(json.dumps(found, ensure_ascii=False, indent=1) if as_json else "\n".join(f"{k}: {v}" for k, v in rows))
