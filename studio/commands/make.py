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
from studio.house import House
from studio.requests import embed_request, image_request, resolve, resolve_embed
from studio.shelves import GalleryShelf

WITHOUT = -0.5  # the weight of what --without takes away


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
        list[str] | None,
        typer.Option(metavar="W:PROMPT|FILE", help="A part of a blend; a negative weight takes away. Repeat it."),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(metavar="PROMPT|FILE", help=f"Take this sense away: --mix {WITHOUT}:PROMPT. Repeat it."),
    ] = None,
    image: Annotated[
        str | None, typer.Option(metavar="FILE", help="A picture to start from; of a moving one, the first frame.")
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(help="How much of --image is forgotten, 1 is all; usually 0.6, where a part is kept 1."),
    ] = None,
    mask: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Draw --image anew where this is white; black and transparent is kept."),
    ] = None,
    expand: Annotated[
        float | None,
        typer.Option(help="Draw a border round --image: 0.25 makes it wider by a quarter on each side."),
    ] = None,
    variations: Annotated[
        int | None, typer.Option(help="So many near relatives of --image; words may be left out.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where to put them (else into the studio's gallery).")] = None,
    model: Model = "embedded",
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Make pictures from words, from another picture's sense (--like), from a blend of both (--mix), or from a
    picture itself (--image).

    "Like this but not that" is --like FILE --without THAT. With --image words may be left out: then it stays of its
    own sense.
    """
    mix = [*(mix or ()), *(f"{WITHOUT}:{part}" for part in without or ())]
    common = {"negative": negative, "style": style, "count": count, "seed": seed, "steps": steps, "guidance": guidance}
    common |= {"scheduler": scheduler, "model": model, "mix": tuple(_ingredient(part) for part in mix or ())}
    common |= {"like": {"path": like} if like is not None else None}
    common |= {"image": _file(image), "strength": strength, "mask": _file(mask), "expand": expand}
    common |= {"variations": variations}
    backend = open_backend(model)
    can = backend.capabilities()
    given = bool(mix) or like is not None or image is not None
    requests = [resolve(image_request(prompt=prompt, **common), can) for prompt in _prompts(prompts, given)]
    if out is None:
        gallery = House(settings.home(home)).gallery
        batch = run(backend, requests, gallery.folder, GalleryShelf(gallery))
    else:
        batch = run(backend, requests, out)
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


def _prompts(prompts: list[str] | None, given: bool) -> list[str]:
    """With a picture or a blend given, words may be left out."""
    if not prompts and not given:
        raise Refused('say what to make, for example: studio generate "a smiling cat".')
    return prompts or [""]


def _file(path: str | None) -> dict[str, str] | None:
    return None if path is None else {"path": path}


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
