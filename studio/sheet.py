"""The contact sheets: the fixed prompts of `assets/prompts/sheet.txt` and `clips.txt`, one picture or clip each, none
picked.

`python -m studio.sheet [--model embedded] [--out assets/examples]` also draws one subject in every style, for the
page's style picker.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from models.assets import prompt_list
from models.data.pixels import fit, load_picture, png
from models.data.sheet import captioned
from models.messages import Refused
from studio.backends.base import Backend, open_backend
from studio.clips import ClipFile
from studio.foreground import run
from studio.planner import plan
from studio.requests import make_request
from studio.settings import stay_offline

SUBJECT, SEED = "a smiling cat", 1  # of the styles' pictures


def draw(model: str, folder: Path) -> None:
    """Draw the sheets and styles with the model's usual settings into `folder`; Refused where the model can't."""
    backend = open_backend(model)
    can = backend.capabilities()
    lines, names = prompt_list("sheet"), [style.name for style in can.styles]
    shape = can.shape(len(lines) + len(names))
    rows = _numbered(lines, shape=shape)
    rows += [{"prompt": SUBJECT, "style": name, "seed": SEED, "shape": shape} for name in names]
    with tempfile.TemporaryDirectory() as temporary:
        pictures = [load_picture(path) for path in _drawn(backend, model, rows, temporary)]
    (folder / "styles").mkdir(parents=True, exist_ok=True)
    captioned(pictures[: len(lines)], lines).save(folder / "sheet.webp", quality=85, method=6)
    for name, picture in zip(names, pictures[len(lines) :], strict=True):
        png(picture).save(folder / "styles" / f"{name.replace(' ', '-')}.webp", lossless=True)
    if "clip" in can.tasks:
        _draw_clips(backend, model, folder / "clips.webp")


def _draw_clips(backend: Backend, model: str, target: Path) -> None:
    """All clips play at once, as long as the shortest."""
    lines = prompt_list("clips")
    with tempfile.TemporaryDirectory() as temporary:
        files = [ClipFile.open(path) for path in _drawn(backend, model, _numbered(lines, task="clip"), temporary)]
        clips = [[fit(frame.picture()) for frame in file.frames()] for file in files]
    sheets = [captioned(list(frames), lines) for frames in zip(*clips, strict=False)]
    sheets[0].save(
        target, save_all=True, append_images=sheets[1:], duration=round(1000 / files[0].fps), loop=0, quality=80
    )


def _numbered(lines: list[str], **fields: Any) -> list[dict[str, Any]]:
    return [{"prompt": line, "seed": number, **fields} for number, line in enumerate(lines, 1)]


def _drawn(backend: Backend, model: str, rows: list[dict[str, Any]], folder: str) -> list[Path]:
    jobs = plan([make_request(**fields, model=model) for fields in rows], backend)
    batch = run(backend, jobs, Path(folder))
    if batch.code:
        raise Refused(next(iter(batch.problems), "series.stopped"))
    return [Path(row.path) for row in batch.rows]


def main() -> int:
    """Exit code 0, or 2 with a sentence."""
    parser = argparse.ArgumentParser(prog="python -m studio.sheet", description="Draw sheet and styles.")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--out", type=Path, default=Path("assets/examples"), metavar="DIR")
    options = parser.parse_args()
    stay_offline()
    try:
        draw(options.model, options.out)
    except Refused as refusal:
        print(f"studio: {refusal}", file=sys.stderr)
        return 2
    print(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
