"""`studio queue`, `cancel`, `retry`, `pause`, `resume`: the jobs of a home, whoever put them in line."""

import json
from typing import Annotated, Any

import typer

from models.messages import Refused
from studio import settings
from studio.cli.base import Home, Json, app, print_rows
from studio.house import House
from studio.queue import FURTHEST, Queue, QueuedJob, State

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="The first characters of a job's id do.")]
ENDED: tuple[State, ...] = ("done", "failed", "cancelled", "aside")
SHOWN = 20  # ended jobs that are listed


@app.command()
def queue(
    every: Annotated[bool, typer.Option("--all", help="Also the latest jobs that have ended.")] = False,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """List the jobs: what runs, what waits, what went wrong."""
    jobs = _queue(home)
    listed = jobs.jobs() + jobs.jobs(ENDED if every else ("failed", "aside"), SHOWN)
    if not as_json:
        if jobs.is_paused():
            typer.echo("The queue is paused; studio resume goes on.", err=True)
        if notice := jobs.notice():
            typer.echo(f"Last from the worker: {notice}", err=True)
        if not listed:
            typer.echo("Nothing runs, nothing waits, nothing went wrong.", err=True)
    print_rows([_row(job) for job in listed], as_json, _line)


@app.command()
def cancel(
    ids: Ids = None,
    every: Annotated[bool, typer.Option("--all", help="All that run or wait.")] = False,
    after_picture: Annotated[
        bool, typer.Option("--after-picture", help="Keep the picture that is being drawn.")
    ] = False,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Stop running jobs at their next step and take waiting ones out of line."""
    jobs = _queue(home)
    wanted = _wanted(jobs, ids, every, "studio cancel --all")
    if after_picture:
        for job in wanted if wanted is not None else [job.id for job in jobs.jobs(limit=-1)]:
            jobs.finish_picture(job)
        _said(as_json, "they stop after the picture that is being drawn", wanted)
    else:
        _said(as_json, f"{jobs.cancel(wanted)} cancelled", wanted)


@app.command()
def retry(
    ids: Ids = None,
    every: Annotated[bool, typer.Option("--all", help="All that failed or were set aside.")] = False,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Put jobs that failed, were cancelled or were set aside in line again."""
    jobs = _queue(home)
    wanted = _wanted(jobs, ids, every, "studio retry --all")
    _said(as_json, f"{jobs.retry(wanted)} in line again", wanted)


@app.command()
def move(
    job: Annotated[str, typer.Argument(help="The first characters of its id do.")],
    before: Annotated[str | None, typer.Option(metavar="ID", help="The job to go before; else to the end.")] = None,
    priority: Annotated[
        int | None, typer.Option(min=-FURTHEST, max=FURTHEST, help="Higher ones are done first; the usual is 0.")
    ] = None,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Change a waiting job's place in line."""
    jobs = _queue(home)
    identity = jobs.find(job)
    if priority is not None:
        jobs.prioritise(identity, priority)
    if before is not None or priority is None:
        jobs.move(identity, jobs.find(before) if before else None)
    _said(as_json, f"{jobs.ahead(identity)} before it", [identity])


@app.command()
def pause(as_json: Json = False, home: Home = None) -> None:
    """Begin no more jobs; the one that runs goes on."""
    _queue(home).pause()
    _said(as_json, "paused", None)


@app.command()
def resume(as_json: Json = False, home: Home = None) -> None:
    """Go on after a pause."""
    _queue(home).pause(False)
    _said(as_json, "going on", None)


def _queue(home: Any) -> Queue:
    return House(settings.home(home)).queue


def _wanted(jobs: Queue, ids: list[str] | None, every: bool, hint: str) -> list[str] | None:
    """Full ids, None for all."""
    if bool(ids) == every:
        raise Refused(f"say which jobs, or all of them: {hint}.")
    return [jobs.find(start) for start in ids] if ids else None


def _said(as_json: bool, sentence: str, jobs: list[str] | None) -> None:
    typer.echo(json.dumps({"jobs": jobs or "all", "result": sentence}) if as_json else f"{sentence}.")


def _row(job: QueuedJob) -> dict[str, Any]:
    names = ("id", "state", "priority", "sentence", "submitted", "started", "ended")
    request = job.request.model_dump(mode="json", exclude_defaults=True)
    return {**{name: getattr(job, name) for name in names}, "prompt": job.request.prompt, "request": request}


def _line(row: dict[str, Any]) -> str:
    return "\t".join(part for part in (row["id"][:12], row["state"], row["prompt"], row["sentence"]) if part)
