"""Wildcards: `__colours__` stands for a line of `colours.txt` in a folder of lists.

A list is a text file, one entry a line (`#` begins a comment, `3::red` comes up three times as often), or a list in a
YAML file, named by its keys: `{clothes: {hats: [...]}}` is `__clothes/hats__`. Names are looked up among the files that
are there and never joined to a path, so that no prompt reads a file from elsewhere.
"""

import fnmatch
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from models.messages import Refused, did_you_mean
from studio.yaml_file import load_yaml

FILES = 10_000
FILE_BYTES = 4 * 2**20
COMMENT = re.compile(r"(?:^|\s)#.*")
WEIGHT = re.compile(r"\s*(\d{1,6}(?:\.\d{1,6})?|\.\d{1,6})::")


@dataclass(frozen=True)
class Entry:
    """A line of a list: its text, the name of the list that it is from, and how often it comes up."""

    text: str
    source: str
    weight: float = 1.0


class Wildcards:
    """The lists under `folder`, each read when it is first asked for; what is there is looked at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[str, tuple[Entry, ...]] = {}

    def entries(self, name: str) -> tuple[Entry, ...]:
        """The entries of the list `name`, or of all that match (`colours*`, `clothes/**`); Refused for none."""
        if name.startswith(("/", "\\", "~")) or ".." in re.split(r"[/\\]", name) or ":" in name:
            raise Refused("syntax.wildcard_outside", name=name, folder=str(self.folder))
        names = [known for known in sorted(self._known) if fnmatch.fnmatchcase(known, name)]
        if not names:
            code = "wildcard_missing" if self.folder.is_dir() else "wildcards_missing"
            hint = did_you_mean(name, self._known)
            raise Refused(f"syntax.{code}", name=name, hint=hint, folder=str(self.folder))
        found = tuple(entry for known in names for entry in self._list(known))
        if not found:
            raise Refused("syntax.wildcard_empty", name=name, file=str(self._known[names[0]][0]))
        return found

    def _list(self, name: str) -> tuple[Entry, ...]:
        if name not in self._read:
            path, lines = self._known[name]
            self._check_inside(path)
            lines = _text(path).splitlines() if lines is None else lines
            matched = [(WEIGHT.match(text), text) for line in lines if (text := COMMENT.sub("", line).strip())]
            self._read[name] = tuple(
                Entry(text[match.end() :].strip(), name, float(match[1])) if match else Entry(text, name)
                for match, text in matched
            )
        return self._read[name]

    @cached_property
    def _known(self) -> dict[str, tuple[Path, list[str] | None]]:
        """Where each list is, and its lines where it is part of a YAML file."""
        known: dict[str, tuple[Path, list[str] | None]] = {}
        for path in self._files():
            if path.suffix.lower() == ".txt":
                known[path.relative_to(self.folder).with_suffix("").as_posix()] = path, None
            elif path.suffix.lower() in (".yaml", ".yml"):
                self._check_inside(path)
                known |= {"/".join(keys): (path, lines) for keys, lines in _lists(load_yaml(_text(path), str(path)))}
        return known

    def _files(self) -> Iterator[Path]:
        """Files in the folder and in those below it; links to folders are not followed."""
        count = 0
        for place, folders, files in os.walk(self.folder):
            folders.sort()
            for file in sorted(files):
                count += 1
                if count > FILES:
                    raise Refused("syntax.wildcard_files", folder=str(self.folder), most=FILES)
                yield Path(place) / file

    def _check_inside(self, path: Path) -> None:
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise Refused("syntax.wildcard_link", file=str(path), folder=str(self.folder))


def _text(path: Path) -> str:
    if not path.is_file():  # a pipe would never end
        raise Refused("batch.is_no_file", file=str(path))
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES + 1)
        if len(data) > FILE_BYTES:
            raise Refused("syntax.list_too_large", file=str(path), most=FILE_BYTES >> 20)
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refused("syntax.list_not_utf8", file=str(path), byte=error.start + 1) from error
    except OSError as error:
        raise Refused("syntax.unreadable", file=str(path), why=error.strerror or str(error)) from error


def _lists(tree: object, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """The keys that lead to a list, and its lines."""
    if isinstance(tree, list) and keys:
        yield keys, [str(item) for item in tree if isinstance(item, str | int | float)]
    elif isinstance(tree, dict):
        for key, below in tree.items():
            yield from _lists(below, (*keys, str(key)))
