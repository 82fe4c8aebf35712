"""The contact sheet: the fixed prompts of `assets/prompts/sheet.txt`, one picture each, none picked.

`python -m studio.sheet [--model embedded] [--out assets/examples]` also draws one subject in every style, for the
page's style picker.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from models.assets import prompt_list
from models.data.pixels import load_picture, png
from models.data.sheet import captioned
from models.messages import Refused
from studio.backends.registry import open_backend
from studio.foreground import run
from studio.planner import plan
from studio.requests import make_request
from studio.settings import stay_offline

SUBJECT, SEED = "a smiling cat", 1  # of the styles' pictures


def draw(model: str, folder: Path) -> None:
    """Draw sheet and styles with the model's usual settings into `folder`; Refused where the model can't."""
    backend = open_backend(model)
    can = backend.capabilities()
    lines, names = prompt_list("sheet"), [style.name for style in can.styles]
    asked: list[dict[str, Any]] = [{"prompt": line, "seed": number} for number, line in enumerate(lines, 1)]
    asked += [{"prompt": SUBJECT, "style": name, "seed": SEED} for name in names]
    shape = can.shape(len(asked))
    jobs = plan([make_request(**fields, model=model, shape=shape) for fields in asked], backend)
    with tempfile.TemporaryDirectory() as made:
        batch = run(backend, jobs, Path(made))
        if batch.code:
            raise Refused(batch.problem or "series.stopped")
        pictures = [load_picture(row.path) for row in batch.rows]
    (folder / "styles").mkdir(parents=True, exist_ok=True)
    captioned(pictures[: len(lines)], lines).save(folder / "sheet.webp", quality=85, method=6)
    for name, picture in zip(names, pictures[len(lines) :], strict=True):
        png(picture).save(folder / "styles" / f"{name.replace(' ', '-')}.webp", lossless=True)


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
