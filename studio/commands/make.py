"""`studio generate` and `studio embed`: work that a model does."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from studio import settings
from studio.backends.registry import open_backend
from studio.capabilities import Refused
from studio.commands.base import Home, Json, Model, app, print_rows
from studio.events import Vector
from studio.foreground import Batch, run
from studio.plain import run_plain
from studio.requests import embed_request, image_request, resolve, resolve_embed


@app.command()
def generate(
    prompts: Annotated[list[str] | None, typer.Argument(metavar="[PROMPT]...", help="English or Chinese.")] = None,
    negative: Annotated[str, typer.Option(help="What should not be in the picture.")] = "",
    style: Annotated[str, typer.Option(help="`studio styles` lists them.")] = "",
    count: Annotated[int, typer.Option(help="Pictures a prompt.")] = 1,
    seed: Annotated[int | None, typer.Option(help="The first picture's seed; the next ones count up.")] = None,
    steps: Annotated[int | None, typer.Option(help="More takes longer and is finer.")] = None,
    guidance: Annotated[float | None, typer.Option(help="How closely to keep to the prompt.")] = None,
    scheduler: Annotated[str, typer.Option(help="The sampler.")] = "",
    like: Annotated[str | None, typer.Option(metavar="FILE", help="Another picture of this one's sense.")] = None,
    mix: Annotated[
        list[str] | None, typer.Option(metavar="W:PROMPT|FILE", help="A part of a blend. Repeat it.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where to put them (else the studio's own folder).")] = None,
    no_metadata: Annotated[
        bool, typer.Option("--no-metadata", help="Files that say nothing: no prompt, no settings, no mark.")
    ] = False,
    model: Model = "embedded",
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Make pictures from words, from another picture (--like) or from a blend (--mix)."""
    common = {"negative": negative, "style": style, "count": count, "seed": seed, "steps": steps, "guidance": guidance}
    common |= {"scheduler": scheduler, "model": model, "mix": tuple(_ingredient(part) for part in mix or ())}
    common |= {"like": {"path": like} if like is not None else None}
    backend = open_backend(model)
    can = backend.capabilities()
    requests = [resolve(image_request(prompt=prompt, **common), can) for prompt in _prompts(prompts, like, mix)]
    folder = out or settings.pictures(settings.home(home))
    batch = (run_plain if no_metadata else run)(backend, requests, folder)
    _finish(batch, as_json)


@app.command()
def embed(
    text: Annotated[list[str] | None, typer.Option(help="Words. Repeat it for more.")] = None,
    image: Annotated[list[str] | None, typer.Option(metavar="FILE", help="A picture. Repeat it for more.")] = None,
    model: Model = "embedded",
    as_json: Json = False,
) -> None:
    """Place words and pictures in the 128-dimensional semantic space."""
    request = resolve_embed(
        embed_request(texts=tuple(text or ()), pictures=tuple({"path": path} for path in image or ()), model=model)
    )
    backend = open_backend(model)
    backend.capabilities()
    backend.load()
    rows = [
        {"kind": event.kind, "input": event.input, "vector": list(event.vector)}
        for event in backend.run(request)
        if isinstance(event, Vector)
    ]
    print_rows(rows, as_json, lambda row: f"{row['input']}\t{' '.join(f'{value:.4f}' for value in row['vector'])}")


def _prompts(prompts: list[str] | None, like: str | None, mix: list[str] | None) -> list[str]:
    """With a picture or a blend, words may be left out."""
    if not prompts and not (like or mix):
        raise Refused('say what to make, for example: studio generate "a smiling cat".')
    return prompts or [""]


def _ingredient(part: str) -> dict[str, Any]:
    """`W:PROMPT` or `W:FILE`; without a weight it is 1. What looks like a picture file is one."""
    match = re.fullmatch(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)):(.*)", part, re.DOTALL)
    weight, what = (float(match[1]), match[2].strip()) if match else (1.0, part.strip())
    is_file = Path(what).suffix.lower() in (".png", ".webp", ".jpg", ".jpeg", ".gif")
    return {"weight": weight, "picture": {"path": what}} if is_file else {"weight": weight, "text": what}


def _finish(batch: Batch, as_json: bool) -> None:
    """Print what was made and leave with the right code."""
    rows = [row.as_dict() for row in batch.rows]
    if rows or not batch.problem:
        print_rows(rows, as_json, lambda row: row["path"])
    if batch.problem:
        typer.echo(f"studio: {batch.problem}", err=True)
    if batch.code:
        raise typer.Exit(batch.code)
