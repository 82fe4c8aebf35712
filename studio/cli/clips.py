"""`studio frames`: the frames of a clip as pictures."""

import contextlib
from pathlib import Path

from models.messages import Refused
from studio.cli.base import Common, command
from studio.clips import ClipFile
from studio.files import ready_folder, write_whole
from studio.metadata import encoded, provenance_in


@command()
def frames(
    common: Common,
    file: Path,
    every: int | None = None,
    at: float | None = None,
    number: int | None = None,
    out: Path | None = None,
) -> None:
    """Write the frames of a clip as pictures, NAME-0001.png for the first one: all, or those that an option chooses.

    Those of a clip that was made here say so, and which frame they are.
    """
    clip, says = ClipFile.open(file), None
    chosen, folder = clip.choice(every, at, number), out or file.parent
    if not common.no_metadata:
        with contextlib.suppress(Refused):  # of some files nothing is read
            says = provenance_in(file)
    ready_folder(folder, len(chosen))
    rows = []
    for frame in clip.chosen(chosen):
        target = folder / f"{file.stem}-{frame.number:04}.png"
        data = encoded(frame.picture(), says and says.with_how(frame=frame.number), "png")
        if not target.exists():
            write_whole(target, data)
        elif not target.is_file() or target.read_bytes() != data:
            raise Refused("cli.another_file", path=target)
        rows.append({"path": str(target), "frame": frame.number, "time": round(frame.time, 3)})
    common.print_rows(rows, lambda row: str(row["path"]))
