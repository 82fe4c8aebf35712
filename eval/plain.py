"""Things that are asked for by name alone, as most people ask: no style is wanted, only the thing.

Such a picture is led to the thing's draft (`models.sampling.hooks`), which is a training drawing, or its mirror image.
So the draft itself stands beside it as a control: what is drawn should be as easily known, and be no copy as often as
real held-out drawings are none. And who asks twice wants to see two pictures: those of two seeds should be as unlike as
what two hands drew.
"""

from collections.abc import Iterator

import numpy as np

from eval import sets
from eval.bench import SEED, Bench
from eval.image import DRAWN, judge, judge_real
from eval.intervals import bootstrap, wilson
from eval.neighbours import COPY
from eval.parts import IMAGE
from eval.ranks import cosine
from eval.rows import Row
from models.data.captions import display_name
from models.data.pixels import SIZE

VARIETY = "distance in EffLite0"  # 1 - cosine


def plain_rows(bench: Bench) -> Iterator[Row]:
    """Of held-out cells, one of each concept: is it among the 10 nearest drawings, and is it some training picture?"""
    asked = sets.one_a_concept(sets.cells(bench.world, bench.sizes.cells))
    prompts = [display_name(picture, "en") for picture in asked]
    made, control, real = (
        judge(bench, asked, bench.generate(prompts), mirrored=True),
        judge(bench, asked, drafts(bench, prompts), mirrored=True),
        judge_real(bench, asked, mirrored=True),
    )
    for answer, name in (
        ("concept", "concept among the 10 nearest drawings"),
        ("copied", "copies of training pictures, mirrored or not"),
    ):
        own, of_drafts, drawn = (getattr(judged, answer) for judged in (made, control, real))
        yield Row(
            "plain", f"no style named: {name}", float(own.mean()), len(own), interval=wilson(own.sum(), len(own)),
            against=(("real held-out", float(drawn.mean())), ("drafts alone", float(of_drafts.mean()))),
            note=COPY if answer == "copied" else "",
            seeds=DRAWN, parts=IMAGE,
        )  # fmt: skip
    yield variety_row(bench)


def variety_row(bench: Bench) -> Row:
    """Of things that two art families drew, two pictures of each, by seeds in a row: how unlike they are."""
    pairs = sets.hands(bench.world, bench.sizes.conditions)
    made = bench.features(bench.generate([display_name(pair[0], "en") for pair in pairs for _ in range(2)]))
    drawn = bench.features_of([picture for pair in pairs for picture in pair])
    apart = _apart(made[::2], made[1::2])
    others = np.roll(made[1::2], 1, axis=0)
    return Row(
        "plain", f"no style named: {VARIETY} of two seeds' pictures", float(apart.mean()), len(pairs),
        interval=bootstrap(apart),
        against=(
            ("two hands' drawings", float(_apart(drawn[::2], drawn[1::2]).mean())),
            ("of two things", float(_apart(made[::2], others).mean())),
        ),
        seeds=DRAWN, parts=IMAGE,
    )  # fmt: skip


def _apart(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """1 - cosine (N,) of features (N, 1280)."""
    return 1 - cosine(first, second).diagonal()


def drafts(bench: Bench, prompts: list[str]) -> np.ndarray:
    """Premultiplied uint8 (N, 128, 128, 4): what each is drawn from by `generate`; nothing where there is no draft."""
    pictures = np.zeros((len(prompts), SIZE, SIZE, 4), np.uint8)
    for number, prompt in enumerate(prompts):
        if target := bench.parts.wording.target(prompt):
            store = bench.parts.references
            found = store.retrieve(target.concept, SEED + number, gender=target.gender, paint=target.paint)
            pictures[number] = store.drawing(found)
    return pictures
