"""The pictures that jobs are given: copied into the home, so that a job in line does not depend on where they lay.

They go when the last picture that was made from them does.
"""

import contextlib
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from models.messages import Refused
from studio.fields import Picture
from studio.files import ABANDONED, make_folder, write_whole
from studio.house import House
from studio.metadata import read
from studio.requests import ImageRequest

INPUTS = "inputs"  # in the home
SHA256 = re.compile("[0-9a-f]{64}")
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
    if _holds(target, picture.sha256):
        with contextlib.suppress(OSError):
            os.utime(target)  # it is wanted anew: `remove_unneeded` lets it be
    else:
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


def remove_unneeded(house: House) -> None:
    """Remove pictures that were given, but not within the hour, and that nothing names any more: no job but one that is
    done and whose pictures are gone, no job that is yet to be put in line, and no picture of the gallery or its bin.
    """
    folder = house.root / INPUTS
    old = {path.stem: path for path in folder.glob("*") if time.time() - path.stat().st_mtime > ABANDONED}
    for text in _naming(house):
        if not old:
            return
        for name in SHA256.findall(text):
            old.pop(name, None)
    for path in old.values():
        with contextlib.suppress(OSError):  # the next time, then
            path.unlink()


def _naming(house: House) -> Iterator[str]:
    """What names pictures that were given, the cheapest first."""
    rows = house.database.rows("SELECT request FROM jobs WHERE state != 'done' OR id IN (SELECT job FROM pictures)")
    yield from (str(row["request"]) for row in rows)
    for path in (house.root / "series").glob("*.jsonl"):
        yield path.read_text(encoding="utf-8", errors="replace")
    for row in house.database.rows("SELECT file FROM pictures WHERE job NOT IN (SELECT id FROM jobs)"):
        with contextlib.suppress(Refused):  # made by a command, or from before the database was made again
            yield json.dumps(read(house.root / row["file"]).get("request"), default=str)
