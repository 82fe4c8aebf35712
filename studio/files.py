"""Files that are whole or not there."""

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import tempfile
import time
import uuid
from collections.abc import Iterable
from pathlib import Path

import psutil

from models.messages import Message, Refused

ERRORS = {
    errno.ENOSPC: "file.disk_full",
    errno.EDQUOT: "file.disk_full",
    errno.EACCES: "file.read_only",
    errno.EPERM: "file.read_only",
    errno.EROFS: "file.read_only",
    errno.EEXIST: "file.no_folder",
    errno.ENOTDIR: "file.no_folder",
    errno.ENAMETOOLONG: "file.name_too_long",
}
PART = ".part-"  # how the names of unfinished files begin
UPLOAD = "upload-"  # how the names of folders begin that hold the pictures of one request
DAY = 86_400.0  # seconds
ABANDONED = 3600.0  # seconds
PICTURE_BYTES = 256 * 1024  # more than a 128-pixel PNG with its metadata takes


def write_whole(path: Path, data: bytes, option: str = "--out") -> None:
    """Write `data` so that `path` holds all of it or does not change, whatever fails and whenever the power goes.

    Raises Refused with a sentence where the disk is full or the folder can't be written; `option` is what chose it.
    """
    part = path.with_name(f"{PART}{os.getpid()}-{uuid.uuid4().hex}")
    try:
        with part.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise Refused(why(error, path.parent, option)) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def make_folder(folder: Path, option: str = "--home") -> None:
    """Make a folder and those above it; Refused where that can't be; `option` is what chose it."""
    try:
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            _sync_folder(folder.parent)  # else its files could be there after a power cut and it not
    except OSError as error:
        raise Refused(why(error, folder, option)) from error


def ready_folder(folder: Path, pictures: int, option: str = "--out") -> list[Path]:
    """Make `folder` and try it out before any work is done -> the folders that were made, deepest first.

    Refused, and nothing left behind, where it can't be written or has no room for so many `pictures`; `option` is what
    chose it.
    """
    created: list[Path] = []
    try:
        created = [parent for parent in (folder, *folder.parents) if not parent.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(folder).free < pictures * PICTURE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        remove_empty(created)
        raise Refused(why(error, folder, option)) from error
    return created


def sha256(path: Path) -> str:
    """The sha256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_plain(path: Path) -> bool:
    """Whether `path` is a file with bytes of its own: no link, pipe or device, and not in a linked folder."""
    try:
        return stat.S_ISREG(path.lstat().st_mode) and not path.parent.is_symlink()
    except (OSError, ValueError):  # a name with a zero byte
        return False


def remove_parts(folder: Path) -> None:
    """Remove unfinished files below `folder` that nobody is writing: their process is gone, or they are too old."""
    for part in folder.rglob(f"{PART}*"):
        with contextlib.suppress(OSError):
            writer = part.name.removeprefix(PART).partition("-")[0]
            alive = writer.isdecimal() and psutil.pid_exists(int(writer))
            if not alive or time.time() - part.stat().st_mtime > ABANDONED:
                part.unlink()


def remove_uploads(uploads: Iterable[Path]) -> None:
    """Remove uploaded files and folders older than a day."""
    for upload in uploads:
        with contextlib.suppress(OSError):
            if time.time() - upload.stat().st_mtime > DAY:
                shutil.rmtree(upload) if upload.is_dir() else upload.unlink()


def remove_empty(folders: list[Path]) -> None:
    """Remove those of `folders` (deepest first) that are there and empty."""
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return


def why(error: OSError, folder: Path, option: str = "--out") -> Message:
    """What went wrong with a folder, and what to do."""
    code = ERRORS.get(error.errno or 0, "file.cant_write")
    return Message(code, {"folder": str(folder), "option": option, "problem": str(error.strerror or error)})


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows has no fsync of a folder
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
