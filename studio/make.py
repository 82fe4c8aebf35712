"""One job from request to files: what the command runs in its own process and the page's worker in another."""

import time
from collections.abc import Generator
from pathlib import Path

from PIL import Image

from studio.backends.base import Backend
from studio.events import Progress, Result, Saved
from studio.files import write_whole
from studio.metadata import Job, png_bytes, read
from studio.requests import ImageRequest, job_id

PNG_END = b"IEND\xaeB`\x82"  # Pillow reads a PNG that lacks it


def names(request: ImageRequest, job: str) -> list[str]:
    """The file name of each picture: `<job>-<index>-<seed>.png`. No word of the prompt gets into a name."""
    return [f"{job[:16]}-{index}-{seed}.png" for index, seed in enumerate(request.seeds())]


def make(backend: Backend, request: ImageRequest, folder: Path) -> Generator[Progress | Saved, None, None]:
    """Do a resolved request into `folder`, each picture whole as soon as it is finished.

    Work that was done before is found, not done again. Refused where a picture can't be written; dropping the iterator
    cancels and leaves what is whole.
    """
    yield Progress(0, 0)
    began = time.monotonic()
    job = Job(request, job_id(request, backend.digest()), backend.digest())
    paths = [folder / name for name in names(request, job.id)]
    there = [found(path, job) for path in paths]
    if all(there):
        yield from (saved for saved in there if saved)
        return
    backend.load()
    for event in backend.run(request):
        if isinstance(event, Result):
            path = paths[event.index]
            write_whole(path, png_bytes(event, job))
            yield Saved(str(path), event.index, event.seed, event.score, time.monotonic() - began)
        elif isinstance(event, Progress):
            yield event


def found(path: Path, job: Job) -> Saved | None:
    """The picture of this job that `path` holds already, if it is whole."""
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            picture.load()
        origin, whole = read(path), path.read_bytes().endswith(PNG_END)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
    if not whole or origin.get("job_id") != job.id:
        return None
    return Saved(str(path), origin["index"], origin["seed"], origin["score"], 0.0, found=True)


def explain(error: Exception) -> str:
    """What went wrong inside a model, as a sentence."""
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):  # torch's allocator
        return "the memory does not suffice; ask for fewer pictures at once."
    first = (str(error).splitlines() or [""])[0][:200]
    return f"the model failed ({type(error).__name__}: {first}); please report it with what is in the terminal."
