"""The pictures that jobs are given: copied into the home, so that a job in line does not depend on where they lay."""

import hashlib
from pathlib import Path
from typing import Any

from studio.capabilities import Refused
from studio.fields import Picture
from studio.files import make_folder, write_whole
from studio.requests import ImageRequest

INPUTS = "inputs"  # in the home
SUFFIX = 8  # characters of a file's ending that are kept


def keep(request: ImageRequest, root: Path) -> ImageRequest:
    """The resolved request with its pictures read from the home `root`, each under its sha256. The job's id stays.

    Refused where a picture has changed since the request was resolved, or can't be copied.
    """
    folder = root / INPUTS
    update: dict[str, Any] = {name: _copied(value, folder) for name, value in request if isinstance(value, Picture)}
    update["mix"] = tuple(
        part.model_copy(update={"picture": _copied(part.picture, folder)}) if part.picture else part
        for part in request.mix
    )
    return request.model_copy(update=update)


def _copied(picture: Picture, folder: Path) -> Picture:
    source = Path(picture.path)
    target = folder / f"{picture.sha256}{source.suffix.lower()[:SUFFIX]}"
    if not _holds(target, picture.sha256):
        try:
            data = source.read_bytes()
        except OSError as error:
            raise Refused(f"{source} can't be read ({error.strerror}); give another picture.") from error
        if hashlib.sha256(data).hexdigest() != picture.sha256:
            raise Refused(f"{source} was changed just now; ask again.")
        make_folder(folder)
        write_whole(target, data, "--home")
    return picture.model_copy(update={"path": str(target)})


def _holds(path: Path, sha256: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256
