"""`studio models` and `studio styles`: what is there to work with."""

from typing import Any

from models.messages import Refused
from studio.backends.registry import KINDS, open_backend
from studio.cli.base import Json, Model, app, print_rows


@app.command()
def styles(model: Model = "embedded", as_json: Json = False) -> None:
    """List the styles that the model knows."""
    rows = [style.model_dump() for style in open_backend(model).capabilities().styles]
    print_rows(rows, as_json, lambda row: f"{row['name']}\t{row['zh']}")


@app.command()
def models(as_json: Json = False) -> None:
    """List the models, and what is missing where one is not ready."""
    rows = [_state(name) for name in KINDS]
    print_rows(rows, as_json, lambda row: f"{row['model']}\t{row['problem'] or 'ready'}\t{row['about']}")


def _state(model: str) -> dict[str, Any]:
    try:
        backend = open_backend(model)
        backend.capabilities()
        digest, problem = backend.digest(), ""
    except Refused as refusal:
        digest, problem = "", str(refusal)
    return {"model": model, "about": KINDS[model].about, "ready": not problem, "problem": problem, "digest": digest}
