"""`studio search` and `studio index`: finding pictures by what they say and what they mean."""

from pathlib import Path
from typing import Annotated, Any

import typer

from models.messages import Refused
from studio.cli.base import Home, Json, Model, app, print_rows, printable
from studio.folders import Folders, Found
from studio.foreground import bar_on_stderr
from studio.prompts import PICTURES
from studio.search import Hit
from studio.studio import Studio


@app.command()
def search(
    words: Annotated[str, typer.Argument(metavar="[QUERY]", help="In any language that the model knows.")] = "",
    image: Annotated[Path | None, typer.Option(metavar="FILE", help="Also like this picture.")] = None,
    without: Annotated[str, typer.Option(metavar="WORDS|FILE", help="And without this.")] = "",
    k: Annotated[int, typer.Option("--k", min=1, help="At most so many.")] = 20,
    folder: Annotated[Path | None, typer.Option(metavar="DIR", help="In this folder, not in the gallery.")] = None,
    meaning: Annotated[bool, typer.Option(help="Also what means it and does not say it.")] = True,
    model: Model = "embedded",
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Search the gallery by words, by a picture, or by both: those that say it first, then those that mean it."""
    if not words.strip() and image is None:
        raise Refused('say what to look for, for example: studio search "a smiling cat".')
    taken = Path(without) if Path(without).suffix.lower() in PICTURES else without
    with Studio(home) as studio:
        if folder is not None:
            folders = Folders(studio, model)
            _index(folders, folder)
            rows = [_file_row(found) for found in folders.search(folder, words, image, taken, k)]
        else:
            hits = studio.search(words, like=image, without=taken, k=k, meaning=meaning, model=model)
            rows = [_row(hit) for hit in hits]
    print_rows(rows, as_json, _line)
    if not rows:
        typer.echo("Nothing was found.", err=True)


@app.command()
def index(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="With the folders below it.")],
    model: Model = "embedded",
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Look at a folder's pictures, so that `studio search --folder DIR` finds them at once."""
    with Studio(home) as studio:
        looked, problems = _index(Folders(studio, model), folder)
    row = {"folder": str(folder), "looked_at": looked, "failed": problems}
    print_rows([row], as_json, lambda row: f"{row['looked_at']} looked at, {row['failed']} failed: {row['folder']}")
    if problems:
        raise typer.Exit(1)


def _index(folders: Folders, folder: Path) -> tuple[int, int]:
    """(pictures looked at, those that could not be)."""
    problems, total = 0, 0
    with bar_on_stderr() as bar:
        task = bar.add_task("looking", total=None)
        for step in folders.index(folder):
            total = step.total
            bar.update(task, total=total, completed=step.done)
            if step.problem:
                problems += 1
                typer.echo(printable(f"studio: {step.problem}"), err=True)
    return total - problems, problems


def _row(hit: Hit) -> dict[str, Any]:
    score = None if hit.score is None else round(hit.score, 4)
    return {"path": str(hit.picture.path), "score": score, "prompt": hit.picture.prompt}


def _file_row(found: Found) -> dict[str, Any]:
    return {"path": str(found.path), "score": round(found.score, 4), "prompt": found.prompt}


def _line(row: dict[str, Any]) -> str:
    return f"{row['path']}\t{'' if row['score'] is None else row['score']}\t{row['prompt']}"
