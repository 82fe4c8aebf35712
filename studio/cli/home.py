"""Commands on a home and on what is installed: the queue, search, checks, and the server of tools."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer
from filelock import Timeout

from models.messages import Refused
from studio import maintenance
from studio.backends.base import open_backend
from studio.cli.base import Common, command, leave, warn
from studio.files import make_folder, why
from studio.folders import Folders, Step, index_gallery
from studio.foreground import bar_on_stderr
from studio.heartbeat import trouble
from studio.home import Home
from studio.queue import Queue, QueuedJob, State
from studio.requests import PICTURES
from studio.studio import Studio
from studio.worker import alone

ENDED: tuple[State, ...] = ("done", "failed", "cancelled", "quarantined")
SHOWN = 20  # ended jobs that are listed


# --- The queue ----------------------------------------------------------------------------------------------------


@command()
def queue(common: Common, every: bool = False) -> None:
    """List the jobs: what runs, what waits, what went wrong."""
    jobs = Home(common.root).queue
    listed = jobs.jobs() + jobs.jobs(ENDED if every else ("failed", "quarantined"), SHOWN)
    if not common.as_json:
        if jobs.is_paused():
            warn("The queue is paused; studio resume goes on.", program="")
        if notice := trouble(common.root) or jobs.notice():
            warn(f"Last from the worker: {notice}", program="")
        if not listed:
            warn("Nothing runs, nothing waits, nothing went wrong.", program="")
    common.print_rows([_job_row(job) for job in listed], _job_line)


@command()
def cancel(common: Common, ids: list[str] | None = None, every: bool = False, after_picture: bool = False) -> None:
    """Stop running jobs at their next step and take waiting ones out of the queue."""
    jobs = Home(common.root).queue
    wanted = _wanted(jobs, ids, every, "studio cancel --all")
    if not after_picture:
        _print_result(common, f"{jobs.cancel(wanted)} cancelled", wanted)
        return
    for job in wanted if wanted is not None else [job.id for job in jobs.jobs(limit=-1)]:
        jobs.finish_picture(job)
    _print_result(common, "they stop after the picture that is being drawn", wanted)


@command()
def retry(common: Common, ids: list[str] | None = None, every: bool = False) -> None:
    """Put jobs that failed, were cancelled or were set aside in the queue again."""
    jobs = Home(common.root).queue
    wanted = _wanted(jobs, ids, every, "studio retry --all")
    _print_result(common, f"{jobs.retry(wanted)} in line again", wanted)


@command()
def move(common: Common, job: str, before: str | None = None, priority: int | None = None) -> None:
    """Change a waiting job's place in the queue."""
    jobs = Home(common.root).queue
    identity = jobs.find(job)
    if priority is not None:
        jobs.prioritise(identity, priority)
    if before is not None or priority is None:
        jobs.move(identity, jobs.find(before) if before else None)
    _print_result(common, f"{jobs.ahead(identity)} before it", [identity])


@command()
def pause(common: Common) -> None:
    """Begin no more jobs; the one that runs goes on."""
    Home(common.root).queue.pause()
    _print_result(common, "paused", None)


@command()
def resume(common: Common) -> None:
    """Go on after a pause."""
    Home(common.root).queue.pause(False)
    _print_result(common, "going on", None)


def _wanted(jobs: Queue, ids: list[str] | None, every: bool, command: str) -> list[str] | None:
    """Full ids, None for all."""
    if bool(ids) == every:
        raise Refused("cli.which_jobs", command=command)
    return [jobs.find(start) for start in ids] if ids else None


def _print_result(common: Common, sentence: str, jobs: list[str] | None) -> None:
    common.print_document({"jobs": jobs or "all", "result": sentence}, f"{sentence}.")


def _job_row(job: QueuedJob) -> dict[str, Any]:
    names = ("id", "state", "priority", "sentence", "submitted", "started", "ended")
    request = {"task": job.request.task, **job.request.model_dump(mode="json", exclude_defaults=True)}
    return {**{name: getattr(job, name) for name in names}, "prompt": job.request.title, "request": request}


def _job_line(row: dict[str, Any]) -> str:
    return "\t".join(part for part in (row["id"][:12], row["state"], row["prompt"], row["sentence"]) if part)


# --- Search -------------------------------------------------------------------------------------------------------


@command()
def search(
    common: Common,
    words: str = "",
    image: Path | None = None,
    without: str = "",
    k: int = 20,
    folder: Path | None = None,
    meaning: bool = True,
) -> None:
    """Search the gallery by words, by a picture, or by both: those that say it first, then those that mean it."""
    if not words.strip() and image is None:
        raise Refused("cli.search_what")
    taken = Path(without) if Path(without).suffix.lower() in PICTURES else without
    found: list[tuple[Path, float | None, str]]
    with Studio(common.home) as studio:
        if folder is not None:
            folders = Folders(studio, common.model)
            _follow(folders.index(folder))
            found = [(one.path, one.score, one.prompt) for one in folders.search(folder, words, image, taken, k)]
        else:
            hits = studio.search(words, like=image, without=taken, k=k, meaning=meaning, model=common.model)
            found = [(hit.picture.path, hit.score, hit.picture.prompt) for hit in hits]
            if said := studio.foreign(common.model):
                warn(said)
    rows = [
        {"path": str(path), "score": None if score is None else round(score, 4), "prompt": prompt}
        for path, score, prompt in found
    ]
    common.print_rows(rows, lambda row: "\t".join("" if value is None else str(value) for value in row.values()))
    if not rows:
        warn("Nothing was found.", program="")


@command()
def index(common: Common, folder: Path | None = None) -> None:
    """Look at a folder's pictures, so that `studio search --folder DIR` finds them at once; without one, at those of
    the gallery that have no vector of the model.
    """
    with Studio(common.home) as studio:
        steps = Folders(studio, common.model).index(folder) if folder else index_gallery(studio, common.model)
        looked, problems = _follow(steps)
    row = {"folder": str(folder or "gallery"), "looked_at": looked, "failed": problems}
    common.print_rows([row], lambda row: f"{row['looked_at']} looked at, {row['failed']} failed: {row['folder']}")
    leave(1 if problems else 0)


def _follow(steps: Iterator[Step]) -> tuple[int, int]:
    """(pictures looked at, those that could not be)."""
    problems, total = 0, 0
    with bar_on_stderr() as bar:
        task = bar.add_task("looking", total=None)
        for step in steps:
            total = step.total
            bar.update(task, total=total, completed=step.done)
            if step.problem:
                problems += 1
                warn(step.problem)
    return total - problems, problems


@command()
def duplicates(common: Common, to_bin: bool = False) -> None:
    """List near-duplicates of the gallery, the best of each group first; --bin puts the others in the bin."""
    with Studio(common.home) as studio:
        groups = studio.duplicates()
        if to_bin:
            studio.gallery.delete(one.sha256 for group in groups for one in group.others)
    rows = [{"best": str(group.best.path), "others": [str(one.path) for one in group.others]} for group in groups]
    common.print_rows(rows, lambda row: "\t".join([row["best"], *row["others"]]))
    if not rows:
        warn("There are none.", program="")


# --- The home's files ---------------------------------------------------------------------------------------------


@command()
def doctor(common: Common) -> None:
    """Look for files that are missing, altered, cut short or in no gallery, and say what to do."""
    found = [
        {"kind": one.kind, "path": one.path, "advice": str(one.message)}
        for one in maintenance.inspect(Home(common.root))
    ]
    common.print_rows(found, lambda row: f"{row['kind']}\t{row['path']}\t{row['advice']}")
    if not common.as_json:
        warn("More of each: docs/trouble.md#what-studio-doctor-finds" if found else "All is well.", program="")
    leave(1 if found else 0)


@command()
def rebuild(common: Common) -> None:
    """Make the database again from the picture files; the old one is kept beside it."""
    root = common.root
    make_folder(root)
    try:
        with alone(root):  # a worker that writes into the old database would lose what it wrote
            done = asdict(maintenance.rebuild(root))
    except Timeout as error:
        raise Refused("cli.home_is_open", home=root) from error
    except OSError as error:
        raise Refused(why(error, root, "--home")) from error
    text = f"{done['pictures']} pictures and {done['jobs']} jobs taken up, {done['skipped']} files left alone."
    common.print_document(done, text)


# --- What there is ------------------------------------------------------------------------------------------------


@command()
def styles(common: Common) -> None:
    """List the styles that the model knows."""
    rows = [style.model_dump() for style in open_backend(common.model).capabilities().styles]
    common.print_rows(rows, lambda row: f"{row['name']}\t{row['zh']}")


@command()
def mcp(common: Common) -> None:
    """Serve a chat program over standard input and output (Model Context Protocol); it starts this command itself."""
    from studio.mcp import server  # half a second that only this command needs

    open_backend(common.model)
    try:
        with Studio(common.home) as studio:
            server(studio, common.model, local=True).run("stdio")
    except KeyboardInterrupt as error:
        raise typer.Exit(130) from error
