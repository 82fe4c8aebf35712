"""`studio batch`: prompt files."""

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import ProgressColumn, Task
from rich.text import Text

from studio import settings
from studio.backends.registry import open_backend
from studio.batch import sources
from studio.batch.plan import Context, Plan, plan
from studio.batch.run import Outcome, Runner, refuse_nothing, run
from studio.batch.sources import Problem
from studio.commands.base import Home, Json, Model, app
from studio.foreground import bar_on_stderr
from studio.wildcards import Wildcards

TOLD = 20  # problems and words on the terminal


@app.command()
def batch(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help=".txt, .jsonl, .json, .csv, .yaml, or -.")],
    out: Annotated[Path | None, typer.Option(help="The batch's folder (else one in the studio's own).")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the jobs and do nothing.")] = False,
    wildcards: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The lists of __wildcards__ (else wildcards/ in the home).")
    ] = None,
    model: Model = "embedded",
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Make the pictures of prompt files; stopped in any way, the same command goes on where it was."""
    backend, root = open_backend(model), settings.home(home)
    lists = Wildcards(wildcards or settings.wildcards(root))
    context = Context(model, backend.capabilities(), backend.digest(), lists)
    with sources.opened(files) as read:
        if dry_run:
            _show(plan(read, context), as_json)
            return
        outcome, path = run(backend, read, context, out, root, _watch)
    _tell(outcome, path, as_json)
    if outcome.code:
        raise typer.Exit(outcome.code)


def _watch(runner: Runner) -> None:
    with contextlib.closing(runner.run()) as running, bar_on_stderr(PicturesASecond()) as bar:
        task = bar.add_task("pictures", total=runner.total, completed=runner.pictures)
        try:
            for done in running:
                bar.update(task, completed=done)
        except KeyboardInterrupt:
            runner.outcome.stopped = True


class PicturesASecond(ProgressColumn):
    """How fast it goes, once it goes."""

    def render(self, task: Task) -> Text:
        """As in 12.3/s."""
        return Text(f"{task.speed:.1f}/s" if task.speed else "", style="progress.data.speed")


def _show(asked: Plan, as_json: bool) -> None:
    """The jobs that would be done. Exit code 1 where there are lines that can't be."""
    refuse_nothing(asked)
    jobs, errors = [job.as_dict() for job in asked.jobs], [problem.as_dict() for problem in asked.problems]
    if as_json:
        total = len(jobs) + len(errors) + asked.more
        typer.echo(json.dumps({"total": total, "jobs": jobs, "errors": errors}, ensure_ascii=False, indent=1))
    else:
        for job in asked.jobs:
            one = job.request
            cells = [job.line, one.seed, one.count, one.steps, f"{one.guidance:g}", one.scheduler, one.style or "-"]
            typer.echo("\t".join(map(str, [*cells, one.prompt or "from pictures"])))
    _tell_problems(asked, asked.problems)
    if errors:
        raise typer.Exit(1)


def _tell(outcome: Outcome, path: Path, as_json: bool) -> None:
    told = {**outcome.as_dict(), "out": str(path)}
    if as_json:
        typer.echo(json.dumps(told, ensure_ascii=False, indent=1))
    else:
        typer.echo(f"{told['done']} done, {told['found']} found, {told['failed']} failed: {path}")
    for word in list(outcome.unknown.values())[:TOLD]:
        nearest = f"; nearest: {', '.join(word.nearest)}" if word.nearest else ""
        typer.echo(f"I don't know {word.word}{nearest}.", err=True)
    _tell_problems(outcome.plan, outcome.problems)
    if outcome.problem:
        typer.echo(f"studio: {outcome.problem}", err=True)


def _tell_problems(asked: Plan, problems: Sequence[Problem]) -> None:
    for problem in problems[:TOLD]:
        typer.echo(f"studio: {problem.sentence()}", err=True)
    if len(problems) + asked.more > TOLD:
        typer.echo(f"studio: and {len(problems) + asked.more - TOLD} more; errors.jsonl lists them.", err=True)
    if asked.ignored:
        met = ", ".join(f"{name} ({count})" for name, count in asked.ignored.most_common())
        typer.echo(f"studio: left out, for it means nothing here: {met}.", err=True)
