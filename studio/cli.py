"""The `studio` command: the same work as the page's, without it.

Exit codes: 0 done, 1 partly done, 2 refused with one sentence on stderr, 130 stopped. With `--json` stdout holds one
JSON document and nothing else; progress is always on stderr.
"""

import json
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from studio import settings
from studio.backends.registry import KINDS, open_backend
from studio.capabilities import Refused
from studio.events import Vector
from studio.foreground import Batch, run
from studio.metadata import read
from studio.requests import embed_request, image_request, resolve, resolve_embed

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Studio 128: pictures from words, from pictures and from mixes of both, on your own machine.",
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Model = Annotated[str, typer.Option(help="The model that does the work; `studio models` lists them.")]
Home = Annotated[Path | None, typer.Option(help="The studio's folder (else STUDIO_HOME, else the system's place).")]


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
    batch = run(backend, requests, folder)
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
    _print(rows, as_json, lambda row: f"{row['input']}\t{' '.join(f'{value:.4f}' for value in row['vector'])}")


@app.command()
def styles(model: Model = "embedded", as_json: Json = False) -> None:
    """List the styles that the model knows."""
    rows = [style.model_dump() for style in open_backend(model).capabilities().styles]
    _print(rows, as_json, lambda row: f"{row['name']}\t{row['zh']}")


@app.command()
def models(as_json: Json = False) -> None:
    """List the models, and what is missing where one is not ready."""
    rows = [_state(name) for name in KINDS]
    _print(rows, as_json, lambda row: f"{row['model']}\t{row['problem'] or 'ready'}\t{row['about']}")


@app.command()
def info(file: Path, as_json: Json = False) -> None:
    """Show the settings that a picture file holds."""
    found = read(file)
    if not found:
        raise Refused(f"{file} holds no settings.")
    flat = {**found, **found["request"]} if "request" in found else found
    rows = [(key, value) for key, value in flat.items() if key != "request" and value not in ("", None, [])]
    typer.echo(json.dumps(found, ensure_ascii=False, indent=1) if as_json else "\n".join(f"{k}: {v}" for k, v in rows))


def main() -> NoReturn:
    """Run the command line and exit with its code."""
    settings.stay_offline()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # to be stopped politely is to be stopped
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks Chinese is no reason to fail
    sys.exit(_exit_code())


def _exit_code() -> int:
    try:
        return typer.main.get_command(app).main(prog_name="studio", standalone_mode=False) or 0
    except Refused as refusal:
        typer.echo(f"studio: {refusal}", err=True)
        return 2
    except Exception as error:
        if not hasattr(error, "format_message"):  # typer's own complaints about options have it
            raise
        typer.echo(f"studio: {_one_sentence(error.format_message())}", err=True)
        return 2


def _one_sentence(message: str) -> str:
    return " ".join(message.split()).rstrip(".") + "."


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


def _state(model: str) -> dict[str, Any]:
    try:
        backend = open_backend(model)
        backend.capabilities()
        digest, problem = backend.digest(), ""
    except Refused as refusal:
        digest, problem = "", str(refusal)
    return {"model": model, "about": KINDS[model].about, "ready": not problem, "problem": problem, "digest": digest}


def _finish(batch: Batch, as_json: bool) -> None:
    """Print what was made and leave with the right code."""
    rows = [row.as_dict() for row in batch.rows]
    if rows or not batch.problem:
        _print(rows, as_json, lambda row: row["path"])
    if batch.problem:
        typer.echo(f"studio: {batch.problem}", err=True)
    if batch.code:
        raise typer.Exit(batch.code)


def _print(rows: list[dict[str, Any]], as_json: bool, line: Callable[[dict[str, Any]], str]) -> None:
    typer.echo(json.dumps(rows, ensure_ascii=False, indent=1) if as_json else "\n".join(line(row) for row in rows))


if __name__ == "__main__":
    main()
