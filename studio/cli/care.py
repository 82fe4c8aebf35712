"""`studio doctor` and `studio rebuild`: looking after a home."""

import json
from dataclasses import asdict

import typer
from filelock import FileLock, Timeout

from models.messages import Refused
from studio import care, settings
from studio.cli.base import Home, Json, app, print_rows
from studio.files import make_folder
from studio.house import House
from studio.worker import LOCK


@app.command()
def doctor(as_json: Json = False, home: Home = None) -> None:
    """Look for files that are missing, altered, cut short or in no gallery, and say what to do."""
    found = [asdict(finding) for finding in care.inspect(House(settings.home(home)))]
    print_rows(found, as_json, lambda row: f"{row['kind']}\t{row['path']}\t{row['advice']}")
    if found:
        if not as_json:
            typer.echo("More of each: docs/trouble.md#what-studio-doctor-finds", err=True)
        raise typer.Exit(1)
    if not as_json:
        typer.echo("All is well.", err=True)


@app.command()
def rebuild(as_json: Json = False, home: Home = None) -> None:
    """Make the database again from the picture files; the old one is kept beside it."""
    root = settings.home(home)
    make_folder(root)
    lock = FileLock(root / LOCK, timeout=0)
    try:
        with lock:  # a worker that writes into the old database would write into the void
            done = asdict(care.rebuild(root))
    except Timeout as error:
        raise Refused(f"a studio is open on {root}; close it first.") from error
    text = f"{done['pictures']} pictures and {done['jobs']} jobs taken up, {done['skipped']} files left alone."
    typer.echo(json.dumps(done) if as_json else text)
