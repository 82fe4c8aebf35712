"""Commands on a home: the queue, search, checks; and the servers, of the page and of tools."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from filelock import Timeout

from models.messages import Refused
from studio import maintenance, settings
from studio.backends.base import open_backend
from studio.cli.base import FILE, HOME, MODEL, SHARED, Common, command, leave, request_options, warn
from studio.files import make_folder, why, write_whole
from studio.folders import Folders, Step, index_gallery
from studio.foreground import bar_on_stderr
from studio.home import Home
from studio.queue import Queue, QueuedJob, State
from studio.ratings import Ratings
from studio.requests import PICTURES, SearchRequest
from studio.studio import Studio
from studio.worker import alone, trouble

ENDED: tuple[State, ...] = ("done", "failed", "cancelled", "quarantined")
SHOWN = 20  # ended jobs that are listed
ids_argument = click.argument("ids", nargs=-1, metavar="[ID]...", help="The first characters of a job's id do.")


# --- The queue ----------------------------------------------------------------------------------------------------


@command(*HOME)
@click.option("every", "--all", is_flag=True, help="Also the latest jobs that have ended.")
def queue(common: Common, every: bool) -> None:
    """List the jobs: what runs, what waits, what went wrong."""
    jobs = Home(common.root).queue
    listed = jobs.jobs() + jobs.jobs(ENDED if every else ("failed", "quarantined"), SHOWN)
    if not common.as_json:
        if jobs.is_paused():
            warn("The queue is paused; studio resume goes on.", program="")
        if notice := trouble(common.root):
            warn(f"Last from the worker: {notice}", program="")
        if not listed:
            warn("Nothing runs, nothing waits, nothing went wrong.", program="")
    common.print_rows([_job_row(job) for job in listed], _job_line)


@command(*HOME)
@ids_argument
@click.option("every", "--all", is_flag=True, help="All that run or wait.")
def cancel(common: Common, ids: Sequence[str], every: bool) -> None:
    """Stop running jobs at their next step and take waiting ones out of the queue."""
    jobs = Home(common.root).queue
    wanted = _wanted(jobs, ids, every, "studio cancel --all")
    _print_result(common, f"{jobs.cancel(wanted)} cancelled", wanted)


@command(*HOME)
@ids_argument
@click.option("every", "--all", is_flag=True, help="All that failed or were quarantined.")
def retry(common: Common, ids: Sequence[str], every: bool) -> None:
    """Put jobs that failed, were cancelled or were set aside in the queue again."""
    jobs = Home(common.root).queue
    wanted = _wanted(jobs, ids, every, "studio retry --all")
    _print_result(common, f"{jobs.retry(wanted)} in line again", wanted)


@command(*HOME)
def pause(common: Common) -> None:
    """Begin no more jobs; the one that runs goes on."""
    Home(common.root).queue.pause()
    _print_result(common, "paused", None)


@command(*HOME)
def resume(common: Common) -> None:
    """Go on after a pause."""
    Home(common.root).queue.pause(False)
    _print_result(common, "going on", None)


def _wanted(jobs: Queue, ids: Sequence[str], every: bool, command: str) -> list[str] | None:
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


@command(*MODEL, *HOME)
@click.argument("words", default="", metavar="[QUERY]", help="In any language that the model knows.")
@click.option("--image", type=FILE, metavar="FILE", help="Also like this picture or clip.")
@click.option("--without", default="", metavar="WORDS|FILE", help="And without this.")
@request_options(SearchRequest, "k")
@click.option("--folder", type=FILE, metavar="DIR", help="In this folder, not in the gallery.")
@request_options(SearchRequest, "meaning")
def search(
    common: Common, words: str, image: Path | None, without: str, k: int, folder: Path | None, meaning: bool
) -> None:
    """Search the gallery by words, by a picture, or by both: those that say it first, then those that mean it."""
    if not words.strip() and image is None:
        raise Refused("cli.search_what")
    taken = Path(without) if Path(without).suffix.lower() in PICTURES else without
    hits: list[tuple[Path, float | None, str]]
    with Studio(common.home) as studio:
        if folder is not None:
            folders = Folders(studio, common.model)
            _follow(folders.index(folder))
            hits = [(hit.path, hit.score, hit.prompt) for hit in folders.search(folder, words, image, taken, k)]
        else:
            results = studio.search(words, like=image, without=taken, k=k, meaning=meaning, model=common.model)
            hits = [(hit.picture.path, hit.score, hit.picture.prompt) for hit in results]
            if note := studio.foreign(common.model):
                warn(note)
    rows = [
        {"path": str(path), "score": None if score is None else round(score, 4), "prompt": prompt}
        for path, score, prompt in hits
    ]
    common.print_rows(rows, lambda row: "\t".join("" if value is None else str(value) for value in row.values()))
    if not rows:
        warn("Nothing was found.", program="")


@command(*MODEL, *HOME)
@click.argument(
    "folder", required=False, type=FILE, metavar="[DIR]", help="With the folders below it. Else the gallery."
)
def index(common: Common, folder: Path | None) -> None:
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


@command(*HOME)
@click.option("to_bin", "--bin", is_flag=True, help="Keep the best of each group and put the others in the bin.")
def duplicates(common: Common, to_bin: bool) -> None:
    """List near-duplicates of the gallery, the best of each group first; --bin puts the others in the bin."""
    with Studio(common.home) as studio:
        groups = studio.duplicates()
        if to_bin:
            studio.gallery.delete(picture.sha256 for group in groups for picture in group.others)
    rows = [{"best": str(group.best.path), "others": [str(other.path) for other in group.others]} for group in groups]
    common.print_rows(rows, lambda row: "\t".join([row["best"], *row["others"]]))
    if not rows:
        warn("There are none.", program="")


@command(*HOME)
@click.argument("action", type=click.Choice(("count", "export", "undo", "learn", "stop")), default="count")
@click.argument("file", required=False, type=FILE)
def ratings(common: Common, action: str, file: Path | None) -> None:
    """Count the ratings of pairs (on the page's Rate tab); export FILE writes them as JSON Lines; undo removes the
    latest; learn learns from them, and from then on the best of several is chosen by that; stop ends this.
    """
    rated = Ratings(Home(common.root))
    if (action == "export") != (file is not None):
        raise Refused("cli.ratings_file")
    if file is not None:
        write_whole(file, "".join(rated.lines()).encode())
    document: dict[str, Any] = {"file": str(file)} if file else {}
    if action == "undo":
        document = {"removed": rated.undo()}
    elif action == "learn":
        digest, about = rated.learn()
        document = {"reward": digest, **about}
    elif action == "stop":
        rated.stop()
    document = {**document, **rated.counts()}
    common.print_document(document, "\n".join(f"{name}\t{value}" for name, value in document.items()))


# --- The home's files ---------------------------------------------------------------------------------------------


@command(*HOME)
def doctor(common: Common) -> None:
    """Look for files that are missing, altered, cut short or in no gallery, and say what to do."""
    findings = [
        {"kind": finding.kind, "path": finding.path, "advice": str(finding.message)}
        for finding in maintenance.inspect(Home(common.root))
    ]
    common.print_rows(findings, lambda row: f"{row['kind']}\t{row['path']}\t{row['advice']}")
    if not common.as_json:
        warn("More of each: docs/trouble.md#what-studio-doctor-finds" if findings else "All is well.", program="")
    leave(1 if findings else 0)


@command(*HOME)
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


# --- Styles and servers -------------------------------------------------------------------------------------------


@command("model", "as_json")
def styles(common: Common) -> None:
    """List the styles that the model knows."""
    rows = [style.model_dump() for style in open_backend(common.model).capabilities().styles]
    common.print_rows(rows, lambda row: f"{row['name']}\t{row['zh']}")


@command("model", "home")
def mcp(common: Common) -> None:
    """Serve a chat program over standard input and output (Model Context Protocol); it starts this command itself."""
    from studio.mcp import server  # half a second that only this command needs

    open_backend(common.model)
    try:
        with Studio(common.home) as studio:
            server(studio, common.model, local=True).run("stdio")
    except KeyboardInterrupt as error:
        raise click.exceptions.Exit(130) from error


@command("model", "memory", "embedder", "home", name="open")
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
@click.option("--port", type=int, default=7860, help="0 takes a free one.")
@click.option(
    "folders",
    "--models",
    multiple=True,
    type=FILE,
    metavar="DIR",
    help="Look for models in this folder too. Repeat it.",
)
@click.option("--no-browser", is_flag=True, help="Don't open a browser window.")
@click.option(
    "--password",
    metavar="WORD",
    help="Everything asks for it, and --host may then let other computers in; better as the environment's"
    " STUDIO_PASSWORD: a command line can be read by everybody on this computer.",
)
@click.option(
    "--allow-network",
    is_flag=True,
    help="Let --host open the studio without a password: whoever reaches it sees all pictures and may use it.",
)
@click.option("--device", default="", help=SHARED["device"].help)
def open_page(
    common: Common,
    host: str,
    port: int,
    folders: Sequence[Path],
    no_browser: bool,
    password: str | None,
    allow_network: bool,
    device: str,
) -> None:
    """Open Studio 128 in the browser."""
    from studio.page import serve  # which no other command needs

    settings.place(device=device, models=map(str, folders))
    serve.open_page(common.root, common.model, host, port, password, allow_network, not no_browser)
