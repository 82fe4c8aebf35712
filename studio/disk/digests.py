"""sha256 of weights, computed once for each state of a file and noted in the home's cache."""

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path

from models.weights import file_sha256
from studio.disk.models import LocalModel
from studio.files import make_folder, sha256, write_whole

GIT = 40  # hex digits by which git, and a hub cache, name small files
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Digests:
    """The digests that are noted in the home `root`. They are of files as they were: {path: [bytes, mtime, sha256]}."""

    def __init__(self, root: Path) -> None:
        self._path = root / "cache" / "sha256.json"
        try:
            held = json.loads(self._path.read_text(encoding="utf-8"))
            self._noted = {path: row for path, row in held.items() if len(row) == 3}
        except (OSError, ValueError, AttributeError, TypeError):
            self._noted = {}

    def known(self, path: Path) -> str:
        """Of a file, "" where nobody has computed it yet. A hub cache names large files by theirs."""
        real = path.resolve()
        if real.parent.name == "blobs" and _SHA256.fullmatch(real.name):
            return real.name
        *state, digest = self._noted.get(str(real), (0, 0, ""))
        return digest if state == _state(real) else ""

    def of(self, path: Path) -> str:
        """Of a file, computed where it is not known."""
        real, digest = path.resolve(), self.known(path)
        if not digest:
            digest = file_sha256(real)
            self._noted[str(real)] = [*_state(real), digest]
            make_folder(self._path.parent)
            write_whole(self._path, json.dumps(self._noted).encode(), "--home")
        return digest

    def of_model(self, model: LocalModel, compute: bool = False) -> str:
        """Of a model: that of its file, or one for all its files; "" where one is not known and not to be computed."""
        if model.path.is_file():
            return self.of(model.path) if compute else self.known(model.path)
        if not model.files or not (compute or all(map(self.known, model.files))):
            return ""
        return self.of_files(model.files, model.path)

    def of_files(self, files: Iterable[Path], root: Path, **beside: str) -> str:
        """One for the names below `root` and the contents of files, and for digests `beside` them."""
        listed = {path.relative_to(root).as_posix(): self.of(path) for path in files} | beside
        return hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()

    def altered(self, model: LocalModel) -> tuple[list[Path], int]:
        """Files of a model that are no longer what they were, and how many could be compared. All are read through: a
        hub cache names each by its digest, others are compared with what was noted; what was not is noted now.
        """
        from huggingface_hub.utils.sha import git_hash

        wrong, compared = [], 0
        for path in model.everything:
            real = path.resolve()
            expected = real.name if real.parent.name == "blobs" else self.known(path)
            if not expected:
                self.of(path)
                continue
            compared += 1
            if expected != (git_hash(real.read_bytes()) if len(expected) == GIT else sha256(real)):
                wrong.append(path)
        return wrong, compared


def _state(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]
