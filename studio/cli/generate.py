"""Commands that use a model in this process: generate, animate, caption, other media, embed, suggest and read."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import click

from models.data.grammar import language_of
from models.messages import Message, Refused
from studio import media
from studio.backends.base import Backend, open_backend
from studio.backends.base import run as run_request
from studio.capabilities import with_fast
from studio.cli.base import FILE, MODEL, OUT, Common, app, command, leave, request_options, warn
from studio.clips import moves
from studio.events import Reading, Vector
from studio.foreground import Batch, Row, exit_code, run
from studio.home import Home
from studio.inputs import notes, pictures_in
from studio.metadata.files import read
from studio.planner import Job, plan, plan_with, resolve
from studio.requests import (
    PICTURES,
    SUBTRACTED,
    CaptionRequest,
    ClipRequest,
    ImageRequest,
    MediaRequest,
    ReadRequest,
    has_words,
    make_request,
    media_tasks,
)
from studio.run import BareFolderSink, FolderSink, GallerySink, Sink, file_names

A = TypeVar("A")


@command("wildcards", *OUT)
@click.argument("prompts", nargs=-1, metavar="[PROMPT]...", help="English or Chinese.")
@click.option(
    "--mix",
    multiple=True,
    metavar="W:PROMPT|FILE",
    help="A part of a blend; a negative weight takes away. Repeat it.",
)
@click.option(
    "--without",
    multiple=True,
    metavar="PROMPT|FILE",
    help="Take this meaning away: --mix -0.5:PROMPT. Repeat it.",
)
@request_options(ImageRequest, leave_out=("prompt", "mix"))
@request_options(ImageRequest, "fast")
def generate(common: Common, prompts: Sequence[str], mix: Sequence[str], without: Sequence[str], **fields: Any) -> None:
    """Make pictures from words, from another picture's meaning (--like), from a blend of both (--mix), or from a
    picture itself (--image).

    "Like this but not that" is --like FILE --without THAT. With --image words may be left out: then the new picture
    keeps the meaning of the old one.
    """
    parts = [*mix, *(f"{SUBTRACTED}:{part}" for part in without)]
    fields = with_fast({**fields, "mix": parts, "model": common.model})
    if not prompts and not parts and fields["like"] is None and fields["image"] is None:
        raise Refused("cli.no_prompt")
    if len(prompts) > 1 and not any(" " in word for word in prompts):
        prompts = [" ".join(prompts)]
        warn(Message("cli.one_prompt", {"prompt": prompts[0]}))
    _make([make_request(prompt=prompt, **fields) for prompt in prompts or [""]], common)


def add_media_commands() -> None:
    """A command for each medium of `studio.requests.REQUESTS` that has none yet."""
    for kind in media_tasks().values():
        if kind.command is not None and (kind.command or kind.model_fields["task"].default) not in app.commands:
            _add_media_command(kind)


def _add_media_command(kind: type[MediaRequest]) -> None:
    """Its words are the argument, its other fields are options, its help is the request's docstring."""
    task = kind.model_fields["task"].default
    prompt = click.argument("prompt", default="", metavar="[PROMPT]", help="English or Chinese.")

    @command(*OUT, name=kind.command or task, about=kind.__doc__ or "")
    @(prompt if "prompt" in kind.model_fields else lambda function: function)
    @request_options(kind, leave_out=("prompt",))
    def make(common: Common, **fields: Any) -> None:
        _make([make_request(task, **fields, model=common.model)], common)


_add_media_command(ClipRequest)


def _make(requests: Sequence[MediaRequest], common: Common) -> None:
    """Plan requests, do their jobs and print the results; of a clip also its frames and their rate."""
    backend, jobs = planned(requests, common)
    batch = run_here(backend, jobs, common)
    rows = []
    for row in batch.rows:
        facts: dict[str, Any] = {}
        if row.kind == "clip":
            clip = media.read(Path(row.path).read_bytes(), "image/webp")
            facts = {"frames": clip.frames, "fps": round(clip.frames / clip.seconds, 2) if clip.seconds else 0}
        rows.append({**row.as_dict(), **facts})
    finish(batch, rows, common)


# --- Captions ---------------------------------------------------------------------------------------------------------


@command(*OUT)
@click.argument(
    "files",
    nargs=-1,
    required=True,
    metavar="FILE|DIR...",
    help="Pictures, and folders of them; of a clip the middle frame is described.",
)
@click.option(
    "--training-set",
    type=FILE,
    metavar="DIR",
    help="Copy the pictures and their captions into this new folder, as trainers read them.",
)
@request_options(CaptionRequest, leave_out=("image", "count"))
def caption(common: Common, files: Sequence[str], training_set: Path | None, **fields: Any) -> None:
    """Describe pictures in words: files, and all that are in folders. With --training-set the pictures are also copied
    there with their captions, as trainers read them.
    """
    if training_set:
        from studio.export.training import check_new

        if common.out:
            raise Refused("request.exclusive", first="--out", second="--training-set")
        check_new(training_set)
    paths = [str(path) for file in files for path in (pictures_in(Path(file)) if Path(file).is_dir() else [file])]
    backend = open_backend(common.model)
    jobs, problems = _each_planned(backend, paths, common, fields)
    batch = run_here(backend, [job for _, job in jobs], common)
    batch.problems[:0] = problems
    by_job = {row.job_id: row for row in batch.rows}
    rows = [_caption_row(file, by_job[job.id]) for file, job in jobs if job.id in by_job]
    if training_set and rows and not batch.stopped:
        _write_training_set(rows, jobs[0][1].request, training_set)
    finish(batch, rows, common, lambda row: f"{row['path']}\t{row['caption']}")


def _each_planned(
    backend: Backend, files: Sequence[str], common: Common, fields: dict[str, Any]
) -> tuple[list[tuple[str, Job]], list[str]]:
    """A job a file, and why there is none of some; Refused where there is none at all."""
    can, digest, lists = backend.capabilities(), backend.digest(), common.lists()
    shape = max(can.described) if len(files) > 1 else 1
    jobs, refusals = list[tuple[str, Job]](), list[Refused]()
    for file in files:
        try:
            request = make_request("caption", image=file, model=common.model, shape=shape, **fields)
            (job,) = plan_with(request, can, digest, lists)
            jobs.append((file, job))
        except Refused as refusal:
            refusals.append(refusal)
    if not jobs:
        raise refusals[0]
    _warn_of_files([job for _, job in jobs])
    return jobs, list(map(str, refusals))


def _caption_row(file: str, row: Row) -> dict[str, Any]:
    """A caption as it is printed, and whether the model knows what it describes."""
    record = read(Path(row.path))
    others = [{"text": text, "score": score} for text, score in record.get("candidates", [])]
    facts = {"caption": row.text, "score": row.score, "known": record.get("known", True), "candidates": others}
    return {"path": file, **facts, "file": row.path}


def _write_training_set(rows: Sequence[dict[str, Any]], request: CaptionRequest, folder: Path) -> None:
    """Write what is known and still, and say how many are left out."""
    from studio.export.training import Example, kind_of, write_training_set

    used = [row for row in rows if row["known"] and not moves(row["path"])]
    kind = kind_of(request)
    examples = [Example(Path(row["path"]), Path(row["path"]).name, {kind: row["caption"]}) for row in used]
    write_training_set(examples, folder)
    warn(Message("training.written", {"count": len(used), "folder": str(folder)}))
    if left_out := len(rows) - len(used):
        warn(Message("training.left_out", {"count": left_out}))


# --- Answers that are not stored --------------------------------------------------------------------------------------


@command(*MODEL, "as_json")
@click.option("--text", multiple=True, help="Words. Repeat it for more.")
@click.option("--image", multiple=True, metavar="FILE", help="A picture or a clip. Repeat it for more.")
def embed(common: Common, text: Sequence[str], image: Sequence[str]) -> None:
    """Place words and pictures in the 128-dimensional semantic space."""
    vectors = answers(Vector, "embed", common.model, texts=text, images=image)
    rows = [{"kind": vector.kind, "input": vector.input, "vector": list(vector.vector)} for vector in vectors]
    common.print_rows(rows, lambda row: f"{row['input']}\t{' '.join(f'{value:.4f}' for value in row['vector'])}")


@command("model", "as_json")
@click.argument("text", help="A prompt, or how it begins.")
def suggest(common: Common, text: str) -> None:
    """Complete the last word of a prompt, and name the nearest things that can be drawn for unknown words."""
    if not has_words(text):
        raise Refused("request.empty_prompt")
    from models.prompts.completion import complete, with_nearest

    nearest = [prompt for reading in readings([text], common.model) for prompt in with_nearest(reading)]
    rows = [{"kind": "complete", "text": prompt} for prompt in complete(text)]
    rows += [{"kind": "nearest", "text": prompt} for prompt in nearest]
    common.print_rows(rows, lambda row: f"{row['kind']}\t{row['text']}")


@command("model", "as_json", name="read")
@click.argument("texts", nargs=-1, required=True, metavar="PROMPT...", help="Prompts to read.")
@request_options(ReadRequest, "negative")
def read_prompts(common: Common, texts: Sequence[str], **fields: Any) -> None:
    """Print how each word of prompts is drawn, or that it is left out or not known."""
    common.print_rows([asdict(reading) for reading in readings(texts, common.model, **fields)], _reading_text)


def readings(texts: Sequence[str], model: str, **fields: Any) -> list[Reading]:
    """How a model reads prompts; [] where it does not read them."""
    return answers(Reading, "read", model, texts=texts, **fields) if "read" in open_backend(model).tasks else []


def answers(kind: type[A], task: str, model: str, **fields: Any) -> list[A]:
    """A model's answers to a request that stores nothing, in this process."""
    backend = open_backend(model)
    request = resolve(make_request(task, model=model, **fields), backend.capabilities())
    return [event for event in run_request(backend, request) if isinstance(event, kind)]


def _reading_text(row: dict[str, Any]) -> str:
    """A reading in the language of its prompt: a line a word, and the prompts to take instead."""
    language, lines = language_of(row["text"]), [row["text"]]
    for part in row["parts"]:
        state = Message(f"page.chips.{part['state']}").text(language)
        word, drawn_as = part["read_as"], f" → {part['drawn_as']}" if part["drawn_as"] else ""
        read_as = f", {Message('page.chips.read_as', {'word': word}).text(language)}" if word else ""
        is_offered = part["nearest"] and part["state"] != "drawn"
        near = f"; {Message('reading.nearest', {'nearest': part['nearest']}).text(language)}" if is_offered else ""
        lines.append(f"  {part['text']}\t{state}{read_as}{drawn_as}{near}")
    if row["instead"]:
        lines.append(Message("reading.nothing", {"text": row["text"], "instead": row["instead"]}).text(language))
    return "\n".join(lines)


# --- Shared -----------------------------------------------------------------------------------------------------------


def planned(requests: Sequence[MediaRequest], common: Common) -> tuple[Backend, list[Job]]:
    """The model, and the jobs planned for it; notes on their files are printed."""
    backend = open_backend(requests[0].model)
    jobs = plan(requests, backend, common.lists())
    _warn_of_files(jobs)
    return backend, jobs


def _warn_of_files(jobs: Sequence[Job]) -> None:
    for note in dict.fromkeys(str(note) for job in jobs for note in notes(job.request)):
        warn(note)


def run_here(backend: Backend, jobs: list[Job], common: Common, names: dict[str, str] | None = None) -> Batch:
    """Do planned jobs: into the folder --out, under `names` by job id, or into the gallery."""
    if common.out is not None:
        if common.out.suffix.lower() in (*PICTURES, ".avi") and not common.out.exists():
            raise Refused("cli.out_is_folder", out=common.out)
        file_name = (lambda job: [names[job.id]]) if names else file_names
        sink: Sink = BareFolderSink(common.out) if common.no_metadata else FolderSink(common.out, file_name)
        return run(backend, jobs, common.out, sink)
    if common.no_metadata:
        raise Refused("cli.plain_needs_out")
    gallery = Home(common.root).gallery
    for job in jobs:
        gallery.restore_job(job.id)
    return run(backend, jobs, gallery.folder, GallerySink(gallery))


def finish(
    batch: Batch, rows: list[dict[str, Any]], common: Common, line: Callable[[Any], str] = lambda row: str(row["path"])
) -> None:
    """Print the results, then the problems, and leave with the exit code."""
    if rows or not batch.problems:
        common.print_rows(rows, line)
    for problem in dict.fromkeys(batch.problems):
        warn(problem)
    leave(exit_code(bool(batch.problems), bool(rows), batch.stopped))
