"""`studio batch`: prompt files."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from rich.progress import ProgressColumn, Task
from rich.text import Text

from studio.backends.base import open_backend
from studio.batch.plan import Context, Job, Plan, plan
from studio.batch.readers import Problem, opened
from studio.batch.run import Runner, refuse_nothing, run_files
from studio.cli.base import Common, command, leave, warn
from studio.events import not_drawn
from studio.foreground import bar_on_stderr

LISTED = 20  # problems and words on the terminal


@command()
def batch(
    common: Common, files: list[str], out: Path | None = None, dry_run: bool = False, cluster: str | None = None
) -> None:
    """Make the pictures of prompt files; stopped in any way, the same command goes on where it was."""
    if not dry_run:
        done = run_files(files, common.model, common.lists(), out, common.root, _watch, cluster=cluster)
        _print_outcome(done, common)
        leave(done.code)
        return
    backend = open_backend(common.model)
    with opened(files) as sources:
        context = Context(common.model, backend.capabilities(), backend.digest(), common.lists())
        _print_plan(plan(sources, context), common)


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


def _print_plan(planned: Plan, common: Common) -> None:
    """The jobs that would be done. Exit code 1 where there are lines that can't be."""
    refuse_nothing(planned)
    jobs, errors = [job.as_dict() for job in planned.jobs], [problem.as_dict() for problem in planned.problems]
    total = len(jobs) + len(errors) + planned.more
    text = "\n".join(map(_job_line, planned.jobs))
    if common.as_json or text:
        common.print_document({"total": total, "jobs": jobs, "errors": errors}, text)
    _warn_of(planned, planned.problems)
    leave(1 if errors else 0)


def _job_line(job: Job) -> str:
    one = job.request
    named = ("steps", "guidance", "scheduler", "style")
    settings = [value if (value := getattr(one, name, None)) not in (None, "") else "-" for name in named]
    settings[1] = f"{settings[1]:g}" if isinstance(settings[1], float) else settings[1]
    return "\t".join(map(str, [job.line, one.seed, one.count, *settings, one.title or "from pictures"]))


def _print_outcome(done: Runner, common: Common) -> None:
    row = {**done.as_dict(), "out": str(done.folder.path)}
    common.print_document(row, f"{row['done']} done, {row['found']} found, {row['failed']} failed: {row['out']}")
    for said in not_drawn(list(done.unknown.values())[:LISTED]):
        warn(said, program="")
    _warn_of(done.plan, done.problems)
    if done.problem:
        warn(done.problem)


def _warn_of(planned: Plan, problems: Sequence[Problem]) -> None:
    for problem in problems[:LISTED]:
        warn(problem.placed)
    if len(problems) + planned.more > LISTED:
        warn(f"and {len(problems) + planned.more - LISTED} more; errors.jsonl lists them.")
    if planned.ignored:
        warn(f"left out, for it means nothing here: {planned.left_out}.")
