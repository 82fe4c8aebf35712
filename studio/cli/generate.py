"""`studio generate`, `animate`, `caption` and `embed`: what a model makes, in this process."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from models.messages import Refused
from studio import media, settings
from studio.backends.base import Backend
from studio.backends.base import run as run_request
from studio.backends.registry import open_backend
from studio.cli.base import command, leave, print_rows, warn
from studio.doors import request_fields
from studio.events import Vector
from studio.foreground import STOPPED, Batch, run
from studio.home import Home
from studio.metadata import read
from studio.planner import Job, plan, resolve
from studio.prompts import given
from studio.requests import MediaRequest, make_request
from studio.search import SUBTRACTED
from studio.sinks import BareFolderSink, FolderSink, GallerySink, Sink, file_names
from studio.wildcards import Wildcards


@command(before="wildcards")
def generate(
    prompts: list[str] | None = None,
    mix: list[str] | None = None,
    without: list[str] | None = None,
    wildcards: Path | None = None,
    out: Path | None = None,
    no_metadata: bool = False,
    model: str = "embedded",
    as_json: bool = False,
    home: Path | None = None,
    **fields: Any,
) -> None:
    """Make pictures from words, from another picture's meaning (--like), from a blend of both (--mix), or from a
    picture itself (--image).

    "Like this but not that" is --like FILE --without THAT. With --image words may be left out: then the new picture
    keeps the meaning of the old one.
    """
    parts = [*(mix or ()), *(f"{SUBTRACTED}:{part}" for part in without or ())]
    said = given({**request_fields(fields), "mix": parts, "model": model})
    if not prompts and not (parts or said.get("like") or said.get("image")):
        raise Refused("cli.no_prompt")
    requests = [make_request(prompt=prompt, **said) for prompt in prompts or [""]]
    backend, jobs = planned(model, requests, home, wildcards)
    batch = run_here(backend, jobs, out, home, no_metadata)
    finish(batch.problem, batch.stopped, [row.as_dict() for row in batch.rows], as_json)


@command(before="out")
def animate(
    prompt: str = "",
    out: Path | None = None,
    no_metadata: bool = False,
    model: str = "embedded",
    as_json: bool = False,
    home: Path | None = None,
    **fields: Any,
) -> None:
    """Make clips (animated WebP) from words, from a first frame (--image), or from a first and a --last one."""
    request = make_request("clip", prompt=prompt, **given({**request_fields(fields), "model": model}))
    backend, jobs = planned(model, [request], home)
    batch = run_here(backend, jobs, out, home, no_metadata)
    rows = []
    for row in batch.rows:
        clip = media.read(Path(row.path).read_bytes(), "image/webp")
        fps = round(clip.frames / clip.seconds, 2) if clip.seconds else 0
        rows.append({**row.as_dict(), "frames": clip.frames, "fps": fps})
    finish(batch.problem, batch.stopped, rows, as_json)


@command(before="out")
def caption(
    files: list[str],
    out: Path | None = None,
    no_metadata: bool = False,
    model: str = "embedded",
    as_json: bool = False,
    home: Path | None = None,
    **fields: Any,
) -> None:
    """Describe pictures in words."""
    requests = [make_request("caption", image={"path": file}, model=model, **fields) for file in files]
    backend, jobs = planned(model, requests, home)
    batch = run_here(backend, jobs, out, home, no_metadata)
    pictures = {job.id: file for job, file in zip(jobs, files, strict=True)}
    rows = []
    for row in batch.rows:
        others = [{"text": text, "score": score} for text, score in read(Path(row.path)).get("candidates", [])]
        facts = {"caption": row.text, "score": row.score, "candidates": others, "file": row.path}
        rows.append({"path": pictures[row.job_id], **facts})
    finish(batch.problem, batch.stopped, rows, as_json, lambda row: f"{row['path']}\t{row['caption']}")


@command()
def embed(
    text: list[str] | None = None, image: list[str] | None = None, model: str = "embedded", as_json: bool = False
) -> None:
    """Place words and pictures in the 128-dimensional semantic space."""
    images = tuple({"path": path} for path in image or ())
    asked, backend = make_request("embed", texts=tuple(text or ()), images=images, model=model), open_backend(model)
    request = resolve(asked, backend.capabilities())
    backend.load()
    found = [event for event in run_request(backend, request) if isinstance(event, Vector)]
    rows = [{"kind": one.kind, "input": one.input, "vector": list(one.vector)} for one in found]
    print_rows(rows, as_json, lambda row: f"{row['input']}\t{' '.join(f'{value:.4f}' for value in row['vector'])}")


def planned(
    model: str, asked: Sequence[MediaRequest], home: Path | None, wildcards: Path | None = None
) -> tuple[Backend, list[Job]]:
    """The model, and the jobs planned for it."""
    backend = open_backend(model)
    return backend, plan(asked, backend, Wildcards(wildcards or settings.wildcards(settings.home(home))))


def run_here(
    backend: Backend,
    jobs: list[Job],
    out: Path | None,
    home: Path | None,
    plain: bool = False,
    names: dict[str, str] | None = None,
) -> Batch:
    """Do planned jobs: into the folder `out`, under `names` by job id, or into the gallery."""
    if out is not None:
        named = (lambda job: [names[job.id]]) if names else file_names
        sink: Sink = BareFolderSink(out) if plain else FolderSink(out, named)
        return run(backend, jobs, out, sink)
    if plain:
        raise Refused("cli.plain_needs_out")
    gallery = Home(settings.home(home)).gallery
    for job in jobs:
        gallery.take_out(job.id)
    return run(backend, jobs, gallery.folder, GallerySink(gallery))


def finish(
    problem: str,
    stopped: bool,
    rows: list[dict[str, Any]],
    as_json: bool,
    line: Callable[[Any], str] = lambda row: str(row["path"]),
) -> None:
    """Print what was made, then the problem, and leave with the exit code."""
    if rows or not problem:
        print_rows(rows, as_json, line)
    if problem:
        warn(problem)
    leave(STOPPED if stopped else (1 if rows else 2) if problem else 0)
