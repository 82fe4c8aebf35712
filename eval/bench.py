"""`python -m eval bench`: prompts of the sticker world with exact truth, drawn by any model or scored where they lie.

`assets/bench/prompts.jsonl` holds, of each prompt, its language, what is true of it (things, colours, numbers, places,
the way that a clip moves), and for pictures the English caption that is right beside one that is wrong in one thing:
the judge chooses (`eval.metrics.scenes`), and is right of all the real scenes.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageSequence

from eval import sets
from eval.clips import DIRECTED, plain_clips
from eval.context import Context
from eval.copies import shown_of
from eval.extractors import SUFFIXES
from eval.generator import Parts, draw
from eval.judge import Judge
from eval.metrics.scenes import held_out_choices, right_choices
from eval.report import add_outputs, publish, refusing
from eval.rows import SEED, SIZES, Row, share_row
from models.assets import assets
from models.data.captions import display_name, scene_facts
from models.data.clips import direction_seen
from models.data.grammar import LANGUAGES
from models.data.pixels import FORMATS, fit, load_picture, png, read_picture
from models.data.scenes import ATTRIBUTES
from models.data.stored import whole
from models.data.world import World
from models.messages import Refused
from models.weights import part_digests

NAME = "prompts.jsonl"
EACH = 24  # scenes of an attribute, things, clips; two prompts of each
MOTION = "motion"  # the attribute of clips
MOST = 64  # frames of a clip

Prompt = dict[str, Any]


def prompts(context: Context, each: int = EACH) -> Iterator[Prompt]:
    """The benchmark, of held-out pictures and combinations; `MissingError` where the world is too small for it."""
    things = sets.per_concept(sets.cells(context.world, 50 * each))[: 2 * each]
    by_language = [[display_name(thing, language) for thing in things] for language in LANGUAGES]
    facts: list[Any] = [[("thing", thing.concept)] for thing in things]
    real = sets.pixels(context.world, things)
    yield from _choices(
        context, each, "thing", by_language, facts, by_language[0], by_language[0][1:] + by_language[0][:1], real
    )
    for attribute in ATTRIBUTES:
        scenes, right, wrong = held_out_choices(context, attribute)
        by_language = [[scene.caption(SEED, language, "short") for scene in scenes] for language in LANGUAGES]
        facts = [sorted(scene_facts(scene)) for scene in scenes]
        real = np.stack([scene.render(context.world) for scene in scenes])
        yield from _choices(context, each, attribute, by_language, facts, right, wrong, real)
    clips = list(plain_clips(context.world, each, "test", DIRECTED, SEED))
    by_language = [[clip.caption(context.world, SEED, language) for clip in clips] for language in LANGUAGES]
    yield from _prompts(MOTION, by_language, [{"direction": clip.direction} for clip in clips])


def _choices(
    context: Context, each: int, attribute: str, by_language: list[list[str]], facts: list[Any], right: list[str],
    wrong: list[str], real: np.ndarray,
) -> Iterator[Prompt]:  # fmt: skip
    """Prompts with the two captions that the judge chooses between; those that it chooses rightly of what is real."""
    chosen = np.flatnonzero(right_choices(context.parts.judge, real, right, wrong) == 1)[:each]
    truths = [{"facts": facts[row], "right": right[row], "wrong": wrong[row]} for row in chosen]
    yield from _prompts(attribute, [[texts[row] for row in chosen] for texts in by_language], truths)


def _prompts(attribute: str, by_language: list[list[str]], truths: list[Prompt]) -> Iterator[Prompt]:
    """Texts by language, N each, with N truths."""
    task = "clip" if attribute == MOTION else "image"
    for language, texts in zip(LANGUAGES, by_language, strict=True):
        for n, (text, truth) in enumerate(zip(texts, truths, strict=True)):
            fields = {"name": f"{attribute}-{n:02d}-{language}", "prompt": text, "seed": SEED + n, "task": task}
            yield {**fields, "attribute": attribute, "language": language, **truth}


def score(folder: Path, wanted: list[Prompt], judge: Judge) -> list[Row]:
    """Of each attribute and language the share that is as the prompt says, of the files NAME.png (or any other kind);
    one that is missing is wrong. Refused where there is none of them, or one can't be read."""
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
    parser.add_argument("--publish", action="store_true", help="write the prompts anew, into FOLDER, from the pictures")
    add_outputs(parser)
    arguments = parser.parse_args(words)
    if arguments.publish:
        context = Context(World.load(), SIZES["quick"], Parts(arguments.weights))
        with whole(arguments.folder / NAME) as part:
            lines = [json.dumps(prompt, ensure_ascii=False) + "\n" for prompt in prompts(context, arguments.count)]
            part.write_text("".join(lines), encoding="utf-8")
        return 0
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
