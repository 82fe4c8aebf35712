"""`studio batch`: prompt files."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from rich.progress import ProgressColumn, Task
from rich.text import Text

from studio import settings
from studio.backends.registry import open_backend
from studio.batch import sources
from studio.batch.plan import Context, Job, Plan, plan
from studio.batch.run import Runner, refuse_nothing, run
from studio.batch.sources import Problem
from studio.cli.base import command, leave, print_document, warn
from studio.foreground import bar_on_stderr
from studio.wildcards import Wildcards

LISTED = 20  # problems and words on the terminal


@command()
def batch(
    files: list[str],
    out: Path | None = None,
    dry_run: bool = False,
    wildcards: Path | None = None,
    model: str = "embedded",
    as_json: bool = False,
    home: Path | None = None,
) -> None:
    """Make the pictures of prompt files; stopped in any way, the same command goes on where it was."""
    backend, root = open_backend(model), settings.home(home)
    lists = Wildcards(wildcards or settings.wildcards(root))
    context = Context(model, backend.capabilities(), backend.digest(), lists)
    with sources.opened(files) as read:
        if dry_run:
            _print_plan(plan(read, context), as_json)
            return
        done = run(backend, read, context, out, root, _watch)
    _print_outcome(done, as_json)
    leave(done.code)


def _watch(runner: Runner) -> None:
    with contextlib.closing(runner.run()) as running, bar_on_stderr(PicturesASecond()) as bar:
        total = sum(job.request.count for job in runner.jobs)
        task = bar.add_task("pictures", total=total, completed=len(runner.records))
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


def _print_plan(planned: Plan, as_json: bool) -> None:
    """The jobs that would be done. Exit code 1 where there are lines that can't be."""
    refuse_nothing(planned)
    jobs, errors = [job.as_dict() for job in planned.jobs], [problem.as_dict() for problem in planned.problems]
    total = len(jobs) + len(errors) + planned.more
    text = "\n".join(map(_job_line, planned.jobs))
    if as_json or text:
        print_document({"total": total, "jobs": jobs, "errors": errors}, as_json, text)
    _warn_of(planned, planned.problems)
    leave(1 if errors else 0)


def _job_line(job: Job) -> str:
    one = job.request
    named = ("steps", "guidance", "scheduler", "style")
    settings = [value if (value := getattr(one, name, None)) not in (None, "") else "-" for name in named]
    settings[1] = f"{settings[1]:g}" if isinstance(settings[1], float) else settings[1]
    return "\t".join(map(str, [job.line, one.seed, one.count, *settings, one.title or "from pictures"]))


def _print_outcome(done: Runner, as_json: bool) -> None:
    row = {**done.as_dict(), "out": str(done.folder.path)}
    print_document(row, as_json, f"{row['done']} done, {row['found']} found, {row['failed']} failed: {row['out']}")
    for word in list(done.unknown.values())[:LISTED]:
        nearest = f"; nearest: {', '.join(word.nearest)}" if word.nearest else ""
        warn(f"I don't know {word.word}{nearest}.", program="")
    _warn_of(done.plan, done.problems)
    if done.problem:
        warn(done.problem)


def _warn_of(planned: Plan, problems: Sequence[Problem]) -> None:
    for problem in problems[:LISTED]:
        warn(problem.placed)
    if len(problems) + planned.more > LISTED:
        warn(f"and {len(problems) + planned.more - LISTED} more; errors.jsonl lists them.")
    if planned.ignored:
        met = ", ".join(f"{name} ({count})" for name, count in planned.ignored.most_common())
        warn(f"left out, for it means nothing here: {met}.")
