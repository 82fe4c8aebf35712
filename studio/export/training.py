"""Pictures with their captions, as trainers read them: `metadata.jsonl` for Hugging Face's imagefolder, whose first two
columns are `file_name` and `text`, and beside each picture its text, as kohya's sd-scripts read it.
"""

import itertools
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.messages import Refused
from models.references.credits import as_file
from studio.batch.plan import safe_name
from studio.files import PART, ready_folder, why, write_whole
from studio.metadata.files import content, credits_in
from studio.requests import CaptionRequest

KINDS = ("long", "short", "tags")  # of texts; a picture is trained with the first that it has
METADATA = "metadata.jsonl"


@dataclass(frozen=True)
class Example:
    """A picture's file, the name that it had, and its texts, by their kinds."""

    path: Path
    name: str
    texts: Mapping[str, str]


def kind_of(request: CaptionRequest) -> str:
    """Which of KINDS it asks for."""
    return "tags" if request.tags else "long" if request.long else "short"


def training_set(examples: Sequence[Example]) -> Iterator[tuple[str, Path | bytes]]:
    """(name, content) of each file. Where pictures have texts of several kinds, each kind is a column, too."""
    kinds = [kind for kind in KINDS if any(example.texts.get(kind) for example in examples)]
    taken, rows = set[str](), list[dict[str, str]]()
    for example in examples:
        stem = _free(safe_name(Path(example.name).stem) or "picture", taken)
        texts = {kind: example.texts.get(kind, "") for kind in kinds}
        row = {"file_name": f"{stem}{example.path.suffix.lower()}", "text": next(filter(None, texts.values()), "")}
        rows.append({**row, **(texts if len(kinds) > 1 else {})})
        yield row["file_name"], example.path
        yield f"{stem}.txt", row["text"].encode()
    yield METADATA, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def check_new(folder: Path) -> None:
    """Refused where something is in the folder already."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise Refused("training.not_new", folder=str(folder))


def write_training_set(examples: Sequence[Example], folder: Path) -> None:
    """Write a training set as a folder, whole or not at all. Refused where that can't be."""
    if not examples:
        raise Refused("training.nothing")
    folder = folder.absolute()
    check_new(folder)
    ready_folder(folder.parent, len(examples), "--training-set")
    part = folder.with_name(f"{PART}{os.getpid()}-{uuid.uuid4().hex}")
    try:
        part.mkdir()
        for name, data in training_set(examples):
            write_whole(part / name, data if isinstance(data, bytes) else content(data), "--training-set")
        for name, data in as_file(owed for one in examples for owed in credits_in(one.path)).items():
            write_whole(part / name, data, "--training-set")
        if folder.is_dir():
            folder.rmdir()
        part.rename(folder)
    except OSError as error:
        raise Refused(why(error, folder.parent, "--training-set")) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _free(stem: str, taken: set[str]) -> str:
    """A name that no other picture has, also where capitals don't count."""
    names = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
    free = next(name for name in names if name.casefold() not in taken)
    taken.add(free.casefold())
    return free
