"""Where finished pictures go: a folder that somebody named, or the gallery. Work that lies there is not done again."""

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from PIL import Image

from models.messages import Refused
from studio.events import Result, Saved
from studio.files import write_whole
from studio.gallery import Entry, Gallery
from studio.metadata import Job, encoded, png_bytes, read
from studio.requests import ImageRequest
from studio.vectors import as_bytes

PNG_END = b"IEND\xaeB`\x82"  # Pillow reads a PNG that lacks it


class Shelf(Protocol):
    """A place for finished pictures."""

    def found(self, job: Job) -> dict[int, Saved]:
        """The job's pictures that are here and whole, by index."""

    def keep(self, job: Job, result: Result) -> Path:
        """Put a picture here, whole or not at all -> its file; Refused where it can't be written."""


def names(request: ImageRequest, job: str) -> list[str]:
    """The usual file name of each picture: `<job>-<index>-<seed>.png`. No word of the prompt gets into a name."""
    return [f"{job[:16]}-{index}-{seed}.png" for index, seed in enumerate(request.seeds())]


class Folder:
    """PNG files in a folder, under their usual names or, a job's, under those that `named` gives."""

    def __init__(self, folder: Path, named: Callable[[Job], Sequence[str]] | None = None) -> None:
        self.folder = folder
        self._named = named or (lambda job: names(job.request, job.id))

    def found(self, job: Job) -> dict[int, Saved]:
        """Read back from the files' own settings."""
        looked = (_found(self.folder / name, job) for name in self._named(job))
        return {saved.index: saved for saved in looked if saved}

    def keep(self, job: Job, result: Result) -> Path:
        """Under its name."""
        path = self.folder / self._named(job)[result.index]
        write_whole(path, png_bytes(result, job))
        return path


class PlainFolder:
    """Files that say nothing: neither inside, nor by their name. They can't be found again, only made again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def found(self, job: Job) -> dict[int, Saved]:
        """Nothing."""
        return {}

    def keep(self, job: Job, result: Result) -> Path:
        """Named by what it holds."""
        data = encoded([result.picture], None, "png")
        path = self.folder / f"{hashlib.sha256(data).hexdigest()[:16]}.png"
        write_whole(path, data)
        return path


class GalleryShelf:
    """The gallery."""

    def __init__(self, gallery: Gallery) -> None:
        self.gallery = gallery

    def found(self, job: Job) -> dict[int, Saved]:
        """As the rows say, where the files are there."""
        return self.gallery.found(job.id)

    def keep(self, job: Job, result: Result) -> Path:
        """File, row, thumbnail and vector."""
        request = job.request
        entry = Entry(
            job=job.id,
            position=result.index,
            seed=result.seed,
            prompt=request.prompt,
            style=request.style,
            model=request.model,
            digest=job.digest,
            score=result.score,
            made=time.time(),
            space=result.space,
            vector=as_bytes(result.vector) if result.vector else b"",
        )
        return self.gallery.add(png_bytes(result, job), entry)


def holds_another(path: Path, job: str) -> bool:
    """Whether `path` is there and is no picture of that job."""
    if not path.exists():
        return False
    try:
        return read(path).get("job_id") != job
    except Refused:
        return True


def _found(path: Path, job: Job) -> Saved | None:
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
