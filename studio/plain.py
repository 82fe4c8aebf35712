"""Pictures whose files say nothing: neither inside nor by their name."""

import hashlib
import tempfile
from dataclasses import replace
from pathlib import Path

from studio.backends.base import Backend
from studio.capabilities import Refused
from studio.files import ready_folder, remove_empty, write_whole
from studio.foreground import Batch, Row, run
from studio.metadata import stripped
from studio.requests import ImageRequest


def run_plain(backend: Backend, requests: list[ImageRequest], folder: Path) -> Batch:
    """Like `foreground.run`, but the files in `folder` are plain and are named by what they hold.

    The pictures are made in a place of their own and come over when all are made. So a plain file never stands where
    one that says its origin is looked for, and is itself not found but made again.
    """
    made = ready_folder(folder, sum(request.count for request in requests))
    with tempfile.TemporaryDirectory(prefix="studio-") as work:
        batch = run(backend, requests, Path(work))
        rows, batch.rows = batch.rows, []
        try:
            for row in rows:
                batch.rows.append(_moved(row, folder))
        except Refused as refusal:
            batch.problem = str(refusal)
    if not batch.rows:
        remove_empty(made)
    return batch


def _moved(row: Row, folder: Path) -> Row:
    data = stripped(Path(row.path))
    path = folder / f"{hashlib.sha256(data).hexdigest()[:16]}.png"
    write_whole(path, data)
    return replace(row, path=str(path))
