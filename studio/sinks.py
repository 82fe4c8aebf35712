"""Where finished artifacts go: a folder that somebody named, or the gallery. What lies there is not made again."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from models.messages import Refused
from studio import media
from studio.events import Saved
from studio.files import write_whole
from studio.gallery import Gallery
from studio.media import Artifact
from studio.metadata.files import content, read, strip, write
from studio.metadata.origin import placed, provenance
from studio.planner import Job

PNG_END = b"IEND\xaeB`\x82"  # Pillow reads a PNG that lacks it


class Sink(Protocol):
    """A place for finished artifacts."""

    def found(self, job: Job) -> dict[int, Saved]:
        """The job's artifacts that are here and whole, by index."""

    def keep(self, job: Job, artifact: Artifact) -> Path:
        """Put an artifact here, whole or not at all -> its file; Refused where it can't be written."""


def file_names(job: Job) -> list[str]:
    """The usual file name of each artifact: `<job>-<index>-<seed>.<ending>`. No word of the prompt gets into a name."""
    request = job.request
    return [f"{job.id[:16]}-{index}-{seed}{request.suffix}" for index, seed in enumerate(request.seeds())]


def plain_name(data: bytes) -> str:
    """A file name, without its ending, that says nothing but what the file holds."""
    return hashlib.sha256(data).hexdigest()[:16]


class FolderSink(Sink):
    """Files in a folder, under their usual names or, a job's, under those that `named` gives."""

    def __init__(self, folder: Path, named: Callable[[Job], Sequence[str]] = file_names) -> None:
        self.folder, self._named = folder, named

    def found(self, job: Job) -> dict[int, Saved]:
        saved = (_found(self.folder / name, job) for name in self._named(job))
        return {one.index: one for one in saved if one}

    def keep(self, job: Job, artifact: Artifact) -> Path:
        path = self.folder / self._named(job)[artifact.index]
        write_whole(path, _file(artifact, job))
        return path


class BareFolderSink(Sink):
    """Files named by their content, without metadata. They can't be found again, only made again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def found(self, job: Job) -> dict[int, Saved]:
        return {}

    def keep(self, job: Job, artifact: Artifact) -> Path:
        path = self.folder / f"{plain_name(artifact.data)}{artifact.suffix}"
        write_whole(path, artifact.data)
        return path


class GallerySink(Sink):
    """The gallery: file, row, thumbnail and vector."""

    def __init__(self, gallery: Gallery) -> None:
        self.gallery = gallery

    def found(self, job: Job) -> dict[int, Saved]:
        return self.gallery.results(job.id)

    def keep(self, job: Job, artifact: Artifact) -> Path:
        return self.gallery.add(_file(artifact, job), artifact, job)


def _file(artifact: Artifact, job: Job) -> bytes:
    """The bytes of an artifact with its metadata inside."""
    return write(artifact.data, artifact.media_type, provenance(job, artifact))


def holds_another(path: Path, job: str) -> bool:
    """Whether `path` is there and is no artifact of that job."""
    if not path.exists():
        return False
    try:
        return bool(read(path).get("job_id") != job)
    except Refused:
        return True


def _found(path: Path, job: Job) -> Saved | None:
    """The artifact of this job that `path` holds already, if it is whole."""
    try:
        origin, data = read(path), content(path)
        artifact = placed(media.read(strip(data, path), media.media_type_of(path)), origin)
        if artifact.kind != "text":
            media.frames(data)  # decodes: what is cut short is made again
    except (OSError, SyntaxError, ValueError, KeyError, EOFError):
        return None
    if origin.get("job_id") != job.id or (path.suffix == ".png" and not data.endswith(PNG_END)):
        return None
    return artifact.saved(path, 0.0, cached=True)
