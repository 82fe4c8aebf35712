"""`studio generate`, `animate`, `embed`, `suggest` and `read`, in this process."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from models.data.grammar import language_of
from models.messages import Message, Refused
from models.prompts.completion import complete, with_nearest
from studio import media
from studio.backends.base import Backend, open_backend
from studio.backends.base import run as run_request
from studio.cli.base import Common, command, leave, warn
from studio.doors import request_fields
from studio.events import Reading, Vector
from studio.foreground import Batch, exit_code, run
from studio.home import Home
from studio.inputs import notes
from studio.planner import Job, plan, resolve
from studio.requests import PICTURES, MediaRequest, has_words, make_request
from studio.search import SUBTRACTED
from studio.sinks import BareFolderSink, FolderSink, GallerySink, Sink, file_names

A = TypeVar("A")


@command(before="wildcards")
def generate(
    common: Common,
    prompts: list[str] | None = None,
    mix: list[str] | None = None,
    without: list[str] | None = None,
    **fields: Any,
) -> None:
    """Make pictures from words, from another picture's meaning (--like), from a blend of both (--mix), or from a
    picture itself (--image).

    "Like this but not that" is --like FILE --without THAT. With --image words may be left out: then the new picture
    keeps the meaning of the old one.
    """
    parts = [*(mix or ()), *(f"{SUBTRACTED}:{part}" for part in without or ())]
    said = {**request_fields(fields), "mix": parts, "model": common.model}
    if not prompts and not parts and said.get("like") is None and said.get("image") is None:
        raise Refused("cli.no_prompt")
    requests = [make_request(prompt=prompt, **said) for prompt in _whole(prompts or [""])]
    backend, jobs = planned(requests, common)
    batch = run_here(backend, jobs, common)
    finish(batch, [row.as_dict() for row in batch.rows], common)


def _whole(words: list[str]) -> list[str]:
    """Prompts as they were meant: several words without quotation marks are one."""
    if len(words) < 2 or any(" " in word for word in words):
        return words
    warn(Message("cli.one_prompt", {"prompt": " ".join(words)}))
    return [" ".join(words)]


@command(before="out")
def animate(common: Common, prompt: str = "", **fields: Any) -> None:
    """Make clips (animated WebP) from words, from a first frame (--image), or from a first and a --last one.

    With --extend a clip is given as --image and goes on from its last frame: the new clip holds both parts.
    """
    request = make_request("clip", prompt=prompt, **{**request_fields(fields), "model": common.model})
    backend, jobs = planned([request], common)
    batch = run_here(backend, jobs, common)
    rows = []
    for row in batch.rows:
        clip = media.read(Path(row.path).read_bytes(), "image/webp")
        fps = round(clip.frames / clip.seconds, 2) if clip.seconds else 0
        rows.append({**row.as_dict(), "frames": clip.frames, "fps": fps})
    finish(batch, rows, common)


@command()
def embed(common: Common, text: list[str] | None = None, image: list[str] | None = None) -> None:
    """Place words and pictures in the 128-dimensional semantic space."""
    images = tuple({"path": path} for path in image or ())
    found = answers(Vector, "embed", common.model, texts=tuple(text or ()), images=images)
    rows = [{"kind": one.kind, "input": one.input, "vector": list(one.vector)} for one in found]
    common.print_rows(rows, lambda row: f"{row['input']}\t{' '.join(f'{value:.4f}' for value in row['vector'])}")


@command()
def suggest(common: Common, text: str) -> None:
    """Complete the last word of a prompt, and name the nearest things that can be drawn for unknown words."""
    if not has_words(text):
        raise Refused("request.empty_prompt")
    nearest = [prompt for reading in readings([text], common.model) for prompt in with_nearest(reading)]
    rows = [{"kind": "complete", "text": prompt} for prompt in complete(text)]
    rows += [{"kind": "nearest", "text": prompt} for prompt in nearest]
    common.print_rows(rows, lambda row: f"{row['kind']}\t{row['text']}")


@command("read")
def read_prompts(common: Common, texts: list[str], **fields: Any) -> None:
    """Say what becomes of the words of prompts: drawn as what, left out, or not known."""
    found = [asdict(one) for one in readings(texts, common.model, **fields)]
    common.print_rows(found, _said)


def readings(texts: Sequence[str], model: str, **fields: Any) -> list[Reading]:
    """What becomes of the words of prompts; none by a model that does not read them."""
    return answers(Reading, "read", model, texts=tuple(texts), **fields) if "read" in open_backend(model).tasks else []


def answers(kind: type[A], task: str, model: str, **fields: Any) -> list[A]:
    """What a model answers to a request that stores nothing, in this process."""
    backend = open_backend(model)
    request = resolve(make_request(task, model=model, **fields), backend.capabilities())
    return [event for event in run_request(backend, request) if isinstance(event, kind)]


def _said(row: dict[str, Any]) -> str:
    """What becomes of a prompt, in its own language."""
    language = language_of(row["text"])
    return "\n".join(
        [row["text"], *(_part_line(part, language) for part in row["parts"]), *_instead_line(row, language)]
    )


def _part_line(part: dict[str, Any], language: str) -> str:
    state = Message(f"page.chips.{part['state']}").text(language)
    drawn_as = f" → {part['drawn_as']}" if part["drawn_as"] else ""
    is_offered = part["nearest"] and part["state"] != "drawn"
    near = f"; {Message('reading.nearest', {'nearest': part['nearest']}).text(language)}" if is_offered else ""
    return f"  {part['text']}\t{state}{drawn_as}{near}"


def _instead_line(row: dict[str, Any], language: str) -> list[str]:
    said = Message("reading.nothing", {"text": row["text"], "instead": row["instead"]})
    return [said.text(language)] if row["instead"] else []


def planned(asked: Sequence[MediaRequest], common: Common) -> tuple[Backend, list[Job]]:
    """The model, and the jobs planned for it; what is worth knowing of their files is said."""
    backend = open_backend(asked[0].model)
    jobs = plan(asked, backend, common.lists())
    for note in dict.fromkeys(str(note) for job in jobs for note in notes(job.request)):
        warn(note)
    return backend, jobs


def run_here(backend: Backend, jobs: list[Job], common: Common, names: dict[str, str] | None = None) -> Batch:
    """Do planned jobs: into the folder that was named, under `names` by job id, or into the gallery."""
    if common.out is not None:
        if common.out.suffix.lower() in (*PICTURES, ".avi") and not common.out.exists():
            raise Refused("cli.out_is_folder", out=common.out)
        named = (lambda job: [names[job.id]]) if names else file_names
        sink: Sink = BareFolderSink(common.out) if common.no_metadata else FolderSink(common.out, named)
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
    """Print what was made, then the problems, and leave with the exit code."""
    if rows or not batch.problems:
        common.print_rows(rows, line)
    for problem in dict.fromkeys(batch.problems):
        warn(problem)
    leave(exit_code(bool(batch.problems), bool(rows), batch.stopped))
