"""The files that jobs are given: copied into the home, so that a job does not depend on where they lay.

They are removed when the last artifact that was made from them is.
"""

import contextlib
import hashlib
import itertools
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from models.messages import Message, Refused
from models.references.credits import Credit
from studio.clips import moves
from studio.files import ABANDONED, make_folder, sha256, write_whole
from studio.home import Home
from studio.metadata.files import credits_in, read
from studio.requests import PICTURES, MediaRequest, Picture, Request

INPUTS = "inputs"  # in the home
FILES = 10_000  # pictures of one folder
SHA256 = re.compile("[0-9a-f]{64}")
SUFFIX = 8  # characters of a file's ending that are kept


def keep(request: Request, root: Path) -> Any:
    """The resolved request with its pictures in the home `root`. Refused where one changed or can't be copied."""
    folder = root / INPUTS
    return request.with_pictures(lambda picture: _copied(picture, folder))


def pictures_in(folder: Path) -> list[Path]:
    """The files of pictures and clips in a folder and those below it, sorted; links to folders are not followed.

    Refused where there is none, or more than FILES.
    """
    files = (path for path in folder.rglob("*") if path.suffix.lower() in PICTURES and path.is_file())
    pictures = sorted(itertools.islice(files, FILES + 1))
    if not pictures:
        raise Refused("folder.empty", folder=str(folder), endings=PICTURES)
    if len(pictures) > FILES:
        raise Refused("folder.too_many", folder=str(folder), most=FILES)
    return pictures


def credits_given(request: MediaRequest) -> tuple[Credit, ...]:
    """The credits of the pictures that an artifact is made from; a caption has none."""
    given = [] if request.task == "caption" else request.pictures()
    return tuple(dict.fromkeys(one for picture in given for one in credits_in(Path(picture.path))))


def notes(request: MediaRequest) -> list[Message]:
    """Notes on the files of a request: of which clips only one frame is used."""
    whole = {"like", *(["image"] if getattr(request, "extend", False) else [])}  # all frames of these count
    named = {name: value for name, value in vars(request).items() if isinstance(value, Picture) and name not in whole}
    code, messages = "clip.middle_frame" if request.task == "caption" else "clip.first_frame", []
    for name, picture in named.items():
        with contextlib.suppress(Refused):  # it is gone; whoever needs it will say so
            messages += [Message(code, {"name": name})] if moves(picture.path) else []
    return messages


def _copied(picture: Picture, folder: Path) -> Picture:
    source = Path(picture.path)
    target = folder / f"{picture.sha256}{source.suffix.lower()[:SUFFIX]}"
    if target.is_file() and sha256(target) == picture.sha256:
        with contextlib.suppress(OSError):
            os.utime(target)  # it is wanted anew: `remove_unneeded` lets it be
    else:
        try:
            data = source.read_bytes()
        except OSError as error:
            raise Refused("picture.cant_read", path=str(source), problem=error.strerror) from error
        if hashlib.sha256(data).hexdigest() != picture.sha256:
            raise Refused("picture.changed_now", path=str(source))
        make_folder(folder)
        write_whole(target, data, "--home")
    return picture.model_copy(update={"path": str(target)})


def remove_unneeded(home: Home) -> None:
    """Remove given pictures older than an hour that nothing names: no job but a done one whose artifacts are gone, no
    series, and no artifact of the gallery or its bin.
    """
    folder = home.root / INPUTS
    old = {path.stem: path for path in folder.glob("*") if time.time() - path.stat().st_mtime > ABANDONED}
    for text in _naming(home):
        if not old:
            return
        for name in SHA256.findall(text):
            old.pop(name, None)
    for path in old.values():
        with contextlib.suppress(OSError):  # the next time, then
            path.unlink()


def _naming(home: Home) -> Iterator[str]:
    """Texts that name input pictures, the cheapest first."""
    rows = home.database.rows("SELECT request FROM jobs WHERE state != 'done' OR id IN (SELECT job FROM artifacts)")
    yield from (str(row["request"]) for row in rows)
    for path in (home.root / "series").glob("*.jsonl"):
        yield path.read_text(encoding="utf-8", errors="replace")
    for row in home.database.rows("SELECT sha256, file FROM artifacts WHERE job NOT IN (SELECT id FROM jobs)"):
        with contextlib.suppress(Refused):  # made by a command, or from before the database was made again
            yield json.dumps(read(home.gallery.path_of(row)).get("request"), default=str)
