"""`studio frames`: the frames of a clip as pictures."""

from pathlib import Path

from models.messages import Refused
from studio.cli.base import Common, command
from studio.clips import ClipFile
from studio.files import ready_folder, write_whole
from studio.metadata import encoded


@command()
def frames(
    common: Common,
    file: Path,
    every: int | None = None,
    at: float | None = None,
    number: int | None = None,
    out: Path | None = None,
) -> None:
    """Write the frames of a clip as pictures, NAME-0001.png for the first one: all, or those that an option chooses."""
    clip = ClipFile.open(file)
    chosen, folder = clip.choice(every, at, number), out or file.parent
    ready_folder(folder, len(chosen))
    rows = []
    for frame in clip.chosen(chosen):
        target, data = folder / f"{file.stem}-{frame.number:04}.png", encoded(frame.picture(), None, "png")
        if not target.exists():
            write_whole(target, data)
        elif not target.is_file() or target.read_bytes() != data:
            raise Refused("cli.another_file", path=target)
        rows.append({"path": str(target), "frame": frame.number, "time": round(frame.time, 3)})
    common.print_rows(rows, lambda row: str(row["path"]))
