"""A batch from its sources to its end, as the command and the Python interface do it."""

import datetime
import hashlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from models.messages import Refused
from studio.backends.base import Backend
from studio.batch import sources
from studio.batch.folder import opened
from studio.batch.plan import Desk, Plan, plan, safe_name
from studio.batch.rows import Source
from studio.batch.runner import Outcome, Runner
from studio.metadata import version


def run(
    backend: Backend, read: Sequence[Source], desk: Desk, out: Path | None, root: Path, watch: Callable[[Runner], None]
) -> tuple[Outcome, Path]:
    """The batch, begun or gone on with, in the folder `out` (None: one in the home `root`) -> what came of it, and
    where. `watch` iterates the runner to its end, or stops it.

    Refused, and nothing written, where there is nothing to do.
    """
    told: dict[str, Any] = {"source": sources.digest(read), "model": desk.model, "digest": desk.digest}
    path = out or _own_folder(root, read, told)
    begun = (path / "jobs.jsonl").exists()
    asked = Plan() if begun else plan(read, desk)
    if not begun:
        refuse_nothing(asked)
    told |= {"version": version(), "files": [source.name for source in read], "argv": sys.argv[1:], "begun": _now()}
    with opened(path, sum(job.request.count for job in asked.jobs)) as folder:
        before = folder.begun(told)
        if before is not None:
            told["begun"], asked = before.get("begun"), folder.load_plan()
        else:
            folder.check_free(asked.jobs, told)
            folder.save_plan(asked, told)
        runner = Runner(backend, folder, asked)
        watch(runner)
        ended = {"ended": _now(), "result": runner.outcome.as_dict() | {"errors": len(runner.outcome.problems)}}
        folder.save_run({**told, "more_errors": asked.more, **ended})
    return runner.outcome, path


def refuse_nothing(asked: Plan) -> None:
    """Refused where a plan holds nothing to do."""
    if not asked.jobs and asked.problems:
        more = len(asked.problems) + asked.more - 1
        raise Refused(asked.problems[0].sentence().rstrip(".") + (f", and {more} more." if more else "."))
    if not asked.jobs:
        raise Refused("there is nothing to do; write a prompt a line, for example: a smiling cat --d 1.")


def _own_folder(root: Path, read: Sequence[Source], told: dict[str, Any]) -> Path:
    """The same for the same prompts and model, so that the same command goes on with the same batch."""
    stem = safe_name(Path(read[0].name).stem) or "batch"
    return root / "batches" / f"{stem}-{hashlib.sha256((told['source'] + told['digest']).encode()).hexdigest()[:12]}"


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
