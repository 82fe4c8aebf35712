"""The contact sheet: the fixed prompts of `assets/prompts/sheet.txt`, one picture each, none picked.

`python -m studio.sheet [--model embedded] [--out assets/examples/sheet.png]`
"""

import argparse
import sys
import tempfile
from pathlib import Path

from models.assets import prompt_list
from models.data.pixels import load_picture
from models.data.sheet import captioned
from studio.backends.registry import open_backend
from studio.capabilities import Refused
from studio.foreground import run
from studio.prompts import fields_of
from studio.requests import image_request, resolve
from studio.settings import stay_offline


def draw(model: str, out: Path) -> None:
    """Make every picture with the model's usual settings, its line's number as seed, and save the sheet."""
    backend, lines = open_backend(model), prompt_list("sheet")
    can = backend.capabilities()
    same = {"model": model, "shape": can.shape(len(lines))}
    asked = [image_request(**fields_of(line), seed=number, **same) for number, line in enumerate(lines, 1)]
    with tempfile.TemporaryDirectory() as folder:
        batch = run(backend, [resolve(request, can) for request in asked], Path(folder))
        if batch.code:
            raise Refused(batch.problem or "stopped.")
        pictures = [load_picture(row.path) for row in batch.rows]
    out.parent.mkdir(parents=True, exist_ok=True)
    captioned(pictures, lines).save(out)


def main() -> int:
    """Exit code 0, or 2 with a sentence."""
    parser = argparse.ArgumentParser(prog="python -m studio.sheet", description="Draw the contact sheet.")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--out", type=Path, default=Path("assets/examples/sheet.png"))
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
