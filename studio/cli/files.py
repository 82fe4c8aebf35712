"""`studio info`, `verify` and `strip`: what picture files say about themselves, whether it is true, and without it."""

import functools
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from models.messages import Refused
from studio.backends.registry import open_backend
from studio.cli.base import Json, app, printable
from studio.files import ready_folder, why, write_whole
from studio.foreground import STOPPED
from studio.metadata import read, stripped
from studio.verify import verify as verified

Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="PNG, WebP, JPEG, AVIF or GIF.")]


@app.command()
def info(files: Files, as_json: Json = False) -> None:
    """Show the settings that picture files hold: the studio's, or those of other programs."""

    def look(file: Path) -> dict[str, Any]:
        found = read(file)
        if not found:
            raise Refused(f"{file} holds no settings.")
        return found

    rows, code = each(files, look)
    _print(rows, as_json, len(files), _listed)
    raise typer.Exit(code)


@app.command()
def verify(
    files: Files,
    model: Annotated[str | None, typer.Option(help="The model to make them with (else the one they name).")] = None,
    as_json: Json = False,
) -> None:
    """Make pictures again from their settings and compare. Exit code 1 where one of them differs."""
    opener = functools.cache(open_backend)  # loaded once for all files
    rows, code = each(files, lambda file: asdict(verified(file, model, opener)))
    _print(rows, as_json, len(files), _judged)
    raise typer.Exit(code or int(any(row["result"] == "different" for row in rows)))


@app.command()
def strip(
    files: Files,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where to put them (else beside each file).")] = None,
    as_json: Json = False,
) -> None:
    """Write copies without settings or other metadata, NAME-plain.png beside NAME.png. No pixel changes."""

    def copy(file: Path) -> dict[str, Any]:
        data = stripped(file)
        target = out / file.name if out else file.with_stem(f"{file.stem}-plain")
        if out:
            ready_folder(out, 1)
        if not _is(target, data):
            write_whole(target, data)
        return {"out": str(target)}

    rows, code = each(files, copy)
    _print(rows, as_json, len(files), lambda row: row["out"])
    raise typer.Exit(code)


def _is(target: Path, data: bytes) -> bool:
    """Whether the file is there already; Refused where another one is."""
    try:
        if target.exists() and (target.is_dir() or target.read_bytes() != data):
            raise Refused(f"{target} is there already and is another file; give another --out.")
        return target.exists()
    except OSError as error:
        raise Refused(why(error, target.parent)) from error


def each(files: list[Path], do: Callable[[Path], dict[str, Any]]) -> tuple[list[dict[str, Any]], int]:
    """A row a file, and the exit code: 1 where some were refused, each with a sentence on stderr, 2 where all were.

    Stopped with Ctrl-C, the rows so far.
    """
    rows: list[dict[str, Any]] = []
    for file in files:
        try:
            rows.append({"path": str(file), **do(file)})
        except KeyboardInterrupt:
            return rows, STOPPED
        except Refused as refusal:
            if len(files) == 1:
                raise
            typer.echo(printable(f"studio: {refusal}"), err=True)
    return rows, 0 if len(rows) == len(files) else 1 if rows else 2


def _print(rows: list[dict[str, Any]], as_json: bool, asked: int, lines: Callable[[dict[str, Any]], str]) -> None:
    """One JSON document, an object where one file was asked for and a list where more were; or lines."""
    if as_json and rows:
        typer.echo(json.dumps(rows[0] if asked == 1 else rows, ensure_ascii=False, indent=1))
    elif rows:
        typer.echo("\n".join(lines(row) for row in rows))


def _listed(row: dict[str, Any]) -> str:
    flat = {**row, **row.get("request", {}), "seed": row.get("seed"), **row.get("other", {})}
    shown = {key: value for key, value in flat.items() if key not in ("request", "other", "vector")}
    return "\n".join(printable(f"{key}: {value}") for key, value in shown.items() if value not in ("", None, [], {}))


def _judged(row: dict[str, Any]) -> str:
    psnr = f" ({row['psnr']} dB)" if row["psnr"] is not None else ""
    why = f": {row['why']}" if row["why"] else ""
    return printable(f"{row['path']}\t{row['result']}{psnr}{why}")
