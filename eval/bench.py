"""`python -m eval bench`: prompts of the sticker world with exact truth, drawn by any model or scored where they lie.

`assets/bench/prompts.jsonl` holds, of each prompt, its language, what is true of it (things, colours, numbers, places,
the way that a clip moves), and for pictures the English caption that is right beside one that is wrong in one thing:
the judge chooses (`eval.metrics.image`), and is right of all the real scenes.
"""

import argparse
import json
from collections import defaultdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageSequence

from eval.copies import shown_of
from eval.generator import draw
from eval.judge import Judge
from eval.metrics.image import right_choices
from eval.report import add_outputs, publish, refusing
from eval.rows import Row, share_row
from eval.score import SUFFIXES
from models.assets import assets
from models.data.clips import direction_seen
from models.data.pixels import FORMATS, fit, load_picture, png, read_picture
from models.messages import Refused
from models.weights import part_digests

NAME = "prompts.jsonl"
EACH = 24  # scenes of an attribute, things, clips; two prompts of each
MOTION = "motion"  # the attribute of clips
MOST = 64  # frames of a clip

Prompt = dict[str, Any]


def score(folder: Path, wanted: list[Prompt], judge: Judge) -> list[Row]:
    """The share of right files NAME.png (or any other kind) for each attribute and language; a missing file is wrong.
    Refused where there is none of them, or one can't be read."""
    files = {path.stem: path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES}
    if not files.keys() & {prompt["name"] for prompt in wanted}:
        raise Refused("eval.no_bench", path=str(folder), first=wanted[0]["name"])
    groups: dict[str, list[Prompt]] = defaultdict(list)
    for prompt in wanted:
        groups[f"{prompt['attribute']}, {prompt['language']}"].append(prompt)
    return [_row(name, group, files, judge) for name, group in groups.items()]


def _row(name: str, wanted: list[Prompt], files: dict[str, Path], judge: Judge) -> Row:
    there = [prompt for prompt in wanted if prompt["name"] in files]
    moves, right = wanted[0]["attribute"] == MOTION, np.zeros(len(wanted))
    if moves:
        right[: len(there)] = [_direction(files[prompt["name"]]) == prompt["direction"] for prompt in there]
    elif there:
        pixels = np.stack([load_picture(files[prompt["name"]]) for prompt in there])
        captions = ([prompt[side] for prompt in there] for side in ("right", "wrong"))
        right[: len(there)] = right_choices(judge, pixels, *captions)
    missing = len(wanted) - len(there)
    return share_row(
        name, right, parts=() if moves else ("judge",),
        against=(("chance", 0.25 if moves else 0.5),),
        note=f"{missing} missing, which count as wrong" if missing else "",
    )  # fmt: skip


def _direction(path: Path) -> str:
    """Where a clip goes, what is as its corner left out where it is opaque; "" for a picture that stands still."""
    read_picture(path)  # refuses what can't be read
    with Image.open(path, formats=FORMATS) as clip:
        frames = [fit(png(shown_of(frame.convert("RGBA")))) for frame in islice(ImageSequence.Iterator(clip), MOST)]
    return direction_seen(np.stack(frames)) if len(frames) > 1 else ""


@refusing
def main(words: list[str]) -> int:
    """Entry point: 0 done, 2 refused."""
    parser = argparse.ArgumentParser(
        prog="python -m eval bench", description="Prompts with exact truth, for any model."
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="pictures and clips by the names of the prompts")
    parser.add_argument("--model", metavar="MODEL", help="draw them into FOLDER first, by any model of `studio models`")
    parser.add_argument("--count", type=int, default=EACH, metavar="N", help="the first prompts of each kind alone")
    parser.add_argument("--weights", type=Path, metavar="DIR", help="where the judge is, instead of the shipped one")
    add_outputs(parser)
    arguments = parser.parse_args(words)
    lines = (assets() / "bench" / NAME).read_text(encoding="utf-8").splitlines()
    wanted = [prompt for prompt in map(json.loads, lines) if int(prompt["name"].split("-")[1]) < arguments.count]
    if arguments.model:
        known = ("name", "prompt", "seed", "task")
        draw([{name: prompt[name] for name in known} for prompt in wanted], arguments.model, arguments.folder)
    rows = score(arguments.folder, wanted, Judge.load(arguments.weights))
    publish(
        "bench", {"bench": rows}, arguments, model=arguments.model, judge=part_digests(("judge",), arguments.weights)
    )
    return 0
