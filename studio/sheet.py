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

import numpy as np

from models.assets import prompt_list
from models.data.pixels import fit, png
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
    styles = [{"prompt": SUBJECT, "style": name, "seed": SEED} for name in names]
    pictures = [clip[0] for clip in _drawn(backend, model, [*_numbered(lines), *styles])]
    (folder / "styles").mkdir(parents=True, exist_ok=True)
    captioned(pictures[: len(lines)], lines).save(folder / "sheet.webp", quality=85, method=6)
    for name, picture in zip(names, pictures[len(lines) :], strict=True):
        png(picture).save(folder / "styles" / f"{name.replace(' ', '-')}.webp", lossless=True)
    if "clip" in can.tasks:  # all play at once, as long as the shortest
        lines = prompt_list("clips")
        clips = _drawn(backend, model, _numbered(lines, task="clip"))
        first, *rest = [captioned(list(frames), lines) for frames in zip(*clips, strict=False)]
        duration = round(1000 / can.fps.usual)
        first.save(folder / "clips.webp", save_all=True, append_images=rest, duration=duration, loop=0, quality=80)


def _numbered(lines: list[str], **fields: Any) -> list[dict[str, Any]]:
    return [{"prompt": line, "seed": number, **fields} for number, line in enumerate(lines, 1)]


def _drawn(backend: Backend, model: str, rows: list[dict[str, Any]]) -> list[list[np.ndarray]]:
    """The frames of each picture or clip, premultiplied."""
    jobs = plan([make_request(**fields, model=model) for fields in rows], backend)
    with tempfile.TemporaryDirectory() as folder:
        batch = run(backend, jobs, Path(folder))
        if batch.code:
            raise Refused(next(iter(batch.problems), "series.stopped"))
        return [[fit(frame.picture()) for frame in ClipFile.open(row.path).frames()] for row in batch.rows]


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
