"""`studio caption`: pictures described in words, and made into a training set."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.messages import Message, Refused
from studio.backends.base import Backend, open_backend
from studio.cli.base import Common, command, warn
from studio.cli.generate import finish, run_here
from studio.clips import moves
from studio.export.training import Example, check_new, kind_of, write_training_set
from studio.foreground import Row
from studio.inputs import notes, pictures_in
from studio.metadata.files import read
from studio.planner import Job, plan_with
from studio.requests import make_request


@command(before="out")
def caption(common: Common, files: list[str], training_set: Path | None = None, **fields: Any) -> None:
    """Describe pictures in words: files, and all that are in folders. With --training-set the pictures are also copied
    there with their captions, as trainers read them.
    """
    if training_set:
        if common.out:
            raise Refused("request.exclusive", first="--out", second="--training-set")
        check_new(training_set)
    backend = open_backend(common.model)
    jobs, problems = _each_planned(backend, [one for file in files for one in _listed(file)], common, fields)
    batch = run_here(backend, [job for _, job in jobs], common)
    batch.problems[:0] = problems
    made = {row.job_id: row for row in batch.rows}
    rows = [_described(file, made[job.id]) for file, job in jobs if job.id in made]
    if training_set and rows and not batch.stopped:
        _write_training_set(rows, kind_of(jobs[0][1].request), training_set)
    finish(batch, rows, common, lambda row: f"{row['path']}\t{row['caption']}")


def _listed(file: str) -> list[str]:
    return [str(one) for one in pictures_in(Path(file))] if Path(file).is_dir() else [file]


def _each_planned(
    backend: Backend, files: Sequence[str], common: Common, fields: dict[str, Any]
) -> tuple[list[tuple[str, Job]], list[str]]:
    """A job a file, and why there is none of some; Refused where there is none at all."""
    can, digest, lists = backend.capabilities(), backend.digest(), common.lists()
    shape = max(can.described) if len(files) > 1 else 1
    jobs, refusals = list[tuple[str, Job]](), list[Refused]()
    for file in files:
        try:
            asked = make_request("caption", image={"path": file}, model=common.model, shape=shape, **fields)
            (job,) = plan_with(asked, can, digest, lists)
            jobs.append((file, job))
        except Refused as refusal:
            refusals.append(refusal)
    if not jobs:
        raise refusals[0]
    for note in dict.fromkeys(str(note) for _, job in jobs for note in notes(job.request)):
        warn(note)
    return jobs, list(map(str, refusals))


def _described(file: str, row: Row) -> dict[str, Any]:
    """What is printed of a caption, and whether the model knows what it describes."""
    said = read(Path(row.path))
    others = [{"text": text, "score": score} for text, score in said.get("candidates", [])]
    facts = {"caption": row.text, "score": row.score, "known": said.get("known", True), "candidates": others}
    return {"path": file, **facts, "file": row.path}


def _write_training_set(rows: Sequence[dict[str, Any]], kind: str, folder: Path) -> None:
    """Write what is known and still; what is left out is said."""
    kept = [row for row in rows if row["known"] and not moves(row["path"])]
    examples = [Example(Path(row["path"]), Path(row["path"]).name, {kind: row["caption"]}) for row in kept]
    write_training_set(examples, folder)
    left_out = len(rows) - len(kept)
    warn(Message("training.written", {"count": len(kept), "folder": str(folder)}))
    if left_out:
        warn(Message("training.left_out", {"count": left_out}))
