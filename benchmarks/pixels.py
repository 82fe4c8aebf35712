"""Whether a change of the code changes a picture: `python benchmarks/pixels.py record FILE`, then `compare FILE`.

Draws the 64 prompts of the contact sheet, those of `pixels.txt` and the edits of `pixels.jsonl` through `studio batch`
with the shipped weights, and hashes the pixels of each picture. Pixels depend on the processor: compare on the machine
that recorded. `compare` prints each prompt whose pixels differ, and exits with 1.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from PIL import Image, ImageDraw

from models.assets import prompt_list

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("record", "compare"))
    parser.add_argument("file", type=Path, help="where the hashes are, JSON")
    parser.add_argument("--first", type=int, metavar="N", help="the first lines of each file alone")
    parser.add_argument("--model", default="embedded")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        drawn = draw(Path(folder), options.model, options.first)
    if options.action == "record":
        options.file.write_text(json.dumps(drawn, indent=1, ensure_ascii=False))
        print(f"{len(drawn)} pictures recorded")
        return 0
    recorded = json.loads(options.file.read_text())
    other = [name for name in recorded.keys() | drawn.keys() if recorded.get(name) != drawn.get(name)]
    print("\n".join([*sorted(other), f"{len(other)} of {len(recorded)} pictures differ"]))
    return 1 if other else 0


def draw(folder: Path, model: str, first: int | None) -> dict[str, str]:
    """Draw the prompts -> sha256 of the pixels by the prompt's file, line and picture."""
    save_inputs(folder)
    more = (HERE / "pixels.txt").read_text(encoding="utf-8").splitlines()
    prompts = [*prompt_list("sheet"), *(line for line in more if not line.startswith("#"))]
    lines = [line if "--d " in line else f"{line} --d {number}" for number, line in enumerate(prompts, 1)]
    (folder / "words.txt").write_text("\n".join(lines[:first]), encoding="utf-8")
    edits = map(json.loads, (HERE / "pixels.jsonl").read_text(encoding="utf-8").splitlines()[:first])
    (folder / "edits.jsonl").write_text("\n".join(json.dumps(edit | {"seed": 7}) for edit in edits))
    hashes = {}
    for file in ("words.txt", "edits.jsonl"):
        out = folder / file.split(".")[0]
        options = ["--model", model, "--out", str(out), "--home", str(folder / "home")]
        command = [sys.executable, "-m", "studio", "batch", str(folder / file), *options]
        code = subprocess.run(command, cwd=ROOT).returncode
        if code not in (0, 1):  # 1: some prompts were refused, as a nonsense word is; they have no picture here
            raise SystemExit(code)
        drawn = Counter[int]()  # pictures of a line: names of files depend on how jobs are hashed
        for job in map(json.loads, (out / "jobs.jsonl").read_text(encoding="utf-8").splitlines()):
            for name in job["files"] if job["status"] == "done" else []:
                drawn[job["line"]] += 1
                with Image.open(out / "images" / name) as picture:
                    pixels = f"{picture.mode} {picture.size}".encode() + picture.tobytes()
                hashes[f"{file}:{job['line']}-{drawn[job['line']]}"] = hashlib.sha256(pixels).hexdigest()
    return hashes


def save_inputs(folder: Path) -> None:
    """A picture to start from, a mask whose upper half is drawn anew, and a wildcard."""
    picture = Image.new("RGBA", (128, 128))
    pen = ImageDraw.Draw(picture)
    pen.ellipse((16, 24, 112, 120), fill=(250, 200, 60, 255), outline=(90, 60, 10, 255), width=4)
    pen.ellipse((42, 56, 52, 70), fill=(40, 30, 20, 255))
    pen.ellipse((76, 56, 86, 70), fill=(40, 30, 20, 255))
    picture.save(folder / "start.png")
    mask = Image.new("L", (128, 128))
    ImageDraw.Draw(mask).rectangle((0, 0, 127, 60), fill=255)
    mask.save(folder / "mask.png")
    wildcards = folder / "home" / "wildcards"
    wildcards.mkdir(parents=True)
    (wildcards / "animal.txt").write_text("cat\nfox\nwhale\n")


if __name__ == "__main__":
    sys.exit(main())
