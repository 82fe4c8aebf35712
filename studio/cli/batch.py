"""`studio batch`, `set` and `grid`: prompt files, pictures that belong together, and settings compared on one sheet."""

import contextlib
import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.progress import ProgressColumn, Task
from rich.text import Text

from models.messages import Refused
from studio.backends.base import open_backend
from studio.batch.plan import Context, Job, Plan, plan, safe_name
from studio.batch.readers import Problem, Source
from studio.batch.run import Runner, refuse_nothing, run_files
from studio.cli.base import FILE, HOME, MODEL, Common, command, leave, request_options, warn
from studio.cli.files import for_app_option, outline_option, pack_files, pack_option
from studio.cli.generate import finish, planned, readings, run_here
from studio.clips import picture_of
from studio.events import not_drawn
from studio.export.apps import app_named
from studio.export.make import Wanted
from studio.export.pack import check_pack
from studio.files import ready_folder, write_whole
from studio.foreground import Batch, bar_on_stderr
from studio.grid import Axis, Grid
from studio.metadata.files import credits_in
from studio.requests import ImageRequest, make_request
from studio.run import holds_another
from studio.sets import make_set, refuse_unknown

LISTED = 20  # problems and words on the terminal
LOOK = ("style", "negative", "seed", "steps", "guidance", "scheduler", "size")  # what sets and grids let users set


@command("wildcards", *MODEL, *HOME)
@click.argument("files", nargs=-1, required=True, metavar="FILE...", help=".txt, .jsonl, .json, .csv, .yaml, or -.")
@click.option("--out", type=FILE, help="The batch's folder (else one in the studio's own).")
@click.option("--dry-run", is_flag=True, help="Print the jobs and do nothing.")
@click.option(
    "--cluster",
    is_flag=False,
    flag_value="local",
    metavar="[ADDRESS]",
    help="Share them out over a Ray cluster: its HOST:PORT, or auto (else over this machine's devices).",
)
def batch(common: Common, files: Sequence[str], out: Path | None, dry_run: bool, cluster: str | None) -> None:
    """Make the pictures of prompt files; stopped in any way, the same command goes on where it was."""
    if not dry_run:
        runner = run_files(files, common.model, common.lists(), out, common.root, _watch, cluster=cluster)
        row = {**runner.as_dict(), "out": str(runner.folder.path)}
        common.print_document(row, f"{row['done']} done, {row['found']} found, {row['failed']} failed: {row['out']}")
        for sentence in not_drawn(list(runner.unknown.values())[:LISTED]):
            warn(sentence, program="")
        _warn_of(runner.plan, runner.problems)
        if runner.problem:
            warn(runner.problem)
        leave(runner.code)
        return
    backend = open_backend(common.model)
    context = Context(common.model, backend.capabilities(), backend.digest(), common.lists())
    work = plan(list(map(Source.open, files)), context)
    refuse_nothing(work)
    jobs, errors = [job.as_dict() for job in work.jobs], [problem.as_dict() for problem in work.problems]
    text = "\n".join(map(_job_line, work.jobs))
    if common.as_json or text:
        total = len(jobs) + len(errors)
        common.print_document({"total": total, "jobs": jobs, "errors": errors}, text)
    _warn_of(work, work.problems)
    leave(1 if errors else 0)


def _watch(runner: Runner) -> None:
    with contextlib.closing(runner.run()) as running, bar_on_stderr(PicturesASecond()) as bar:
        total = sum(job.request.count for job in runner.jobs)
        task = bar.add_task("pictures", total=total, completed=len(runner.saved))
        try:
            for pictures in running:
                bar.update(task, completed=pictures)
        except KeyboardInterrupt:
            runner.stopped = True


class PicturesASecond(ProgressColumn):
    """How fast it goes, once it goes."""

    def render(self, task: Task) -> Text:
        """As in 12.3/s."""
        return Text(f"{task.speed:.1f}/s" if task.speed else "", style="progress.data.speed")


def _job_line(job: Job) -> str:
    request = job.request
    names = ("steps", "guidance", "scheduler", "style")
    values = [value if (value := getattr(request, name, None)) not in (None, "") else "-" for name in names]
    values[1] = f"{values[1]:g}" if isinstance(values[1], float) else values[1]
    return "\t".join(map(str, [job.line, request.seed, request.count, *values, request.title or "from pictures"]))


def _warn_of(work: Plan, problems: Sequence[Problem]) -> None:
    for problem in problems[:LISTED]:
        warn(problem.placed)
    if len(problems) > LISTED:
        warn(f"and {len(problems) - LISTED} more; errors.jsonl lists them.")
    if work.ignored:
        warn(f"left out, for it means nothing here: {work.left_out}.")


# --- Sets and grids ---------------------------------------------------------------------------------------------------


@command(*MODEL, *HOME, name="set")
@click.argument("kind", help="emotions, subjects, style.")
@click.argument("first", metavar="SUBJECT|EMOTION|STYLE", help="The same in all of them.")
@click.argument("words", nargs=-1, metavar="[WORD]...", help="Different in each (else six).")
@request_options(ImageRequest, *LOOK)
@click.option("--out", type=FILE, help="Where to put them (else into the studio's gallery).")
@pack_option
@for_app_option
@outline_option
def set_of(
    common: Common,
    kind: str,
    first: str,
    words: Sequence[str],
    out: Path | None,
    pack_title: str,
    for_app: str,
    outline: bool,
    **fields: Any,
) -> None:
    """Make pictures that belong together: `emotions cat`, `subjects happy`, `style noto cat dog pizza`."""
    chosen = app_named(for_app) if for_app else None
    if bool(pack_title) != bool(chosen):
        raise Refused("cli.pack_needs_app")
    members = make_set(kind, first, words, **fields, model=common.model)
    if chosen:
        check_pack(pack_title, len(members), chosen)
    refuse_unknown(members, lambda subjects: readings(subjects, common.model))
    backend, jobs = planned([member.request for member in members], common)
    labels = {job.id: member.label for job, member in zip(jobs, members, strict=True)}
    names = {job: f"{n:02}-{safe_name(label) or 'picture'}.png" for n, (job, label) in enumerate(labels.items(), 1)}
    for job, name in names.items():
        if out and holds_another(out / name, job):
            raise Refused("cli.another_picture", path=out / name)
    results = run_here(backend, jobs, replace(common, out=out), names)
    rows = [{**row.as_dict(), "label": labels[row.job_id]} for row in results.rows]
    if chosen and not results.code:
        labelled = [(Path(row["path"]), row["label"]) for row in rows]
        rows.append(pack_files(labelled, pack_title, Wanted(for_app, outline=outline), None, out or Path()))
    finish(results, rows, common)


@command(*MODEL, *HOME)
@click.argument("prompt", default="", metavar="[PROMPT]", help="English or Chinese.")
@click.option(
    "--x",
    default="",
    metavar="SETTING=VALUES",
    help="prompt, style, seed, steps, guidance, scheduler, model, strength; 1-4, a, b...",
)
@click.option("--y", default="", metavar="SETTING=VALUES", help="The same, for the rows.")
@request_options(ImageRequest, *LOOK)
@click.option("--out", type=FILE, metavar="FILE", help="The sheet (else grid-....png here).")
def grid(common: Common, prompt: str, x: str, y: str, out: Path | None, **fields: Any) -> None:
    """Compare two settings on one labelled sheet: `--x "seed=1-4" --y "style=noto, outline"`.

    Values as for A1111's X/Y/Z plot: a list, 1-5, 1-10 (+2), 1-10 [5]; for the prompt, words that it says and what to
    put in their place.
    """
    if not x:
        raise Refused("cli.grid_what")
    request = make_request(prompt=prompt, **fields, model=common.model)
    sheet = Grid(request, Axis.parse(x), Axis.parse(y) if y else None)
    _make_sheet(sheet, out or Path(sheet.name), common)


def _make_sheet(sheet: Grid, target: Path, common: Common) -> None:
    """Draw a grid's pictures into the gallery, model by model, and write the sheet."""
    requests = sheet.requests()
    if target.is_dir():
        raise Refused("cli.is_folder", path=target, example=target / sheet.name)
    ready_folder(target.parent, 1)
    paths, whole = dict[int, str](), Batch()
    for model in dict.fromkeys(request.model for request in requests):
        places = [place for place, request in enumerate(requests) if request.model == model]
        backend, jobs = planned([requests[place] for place in places], common)
        results = run_here(backend, jobs, common)
        by_job = {row.job_id: row.path for row in results.rows}
        paths |= {place: by_job[job.id] for place, job in zip(places, jobs, strict=True) if job.id in by_job}
        whole = Batch([], whole.problems + results.problems, whole.stopped or results.stopped)
    rows = []
    if paths and not whole.stopped:
        pictures = [paths.get(place) for place in range(len(requests))]
        owed = itertools.chain.from_iterable(credits_in(Path(path)) for path in paths.values())
        write_whole(target, sheet.file([picture_of(path) if path else None for path in pictures], owed))
        axes = {"columns": sheet.x.labels(), "rows": sheet.y.labels() if sheet.y else []}
        rows = [{"path": str(target), **axes, "pictures": pictures}]
    finish(whole, rows, common)
